//! What happens by itself, one thing at a time, and what a choice does.

use std::sync::Arc;

use rais::group::{Action, Body, Event, Message};

use super::choice::{Choice, Fault};
use super::host::{Job, Step, Underway};
use super::setup::{HEARTBEAT, LONGEST, Setup, TIMEOUT};
use super::world::{Datagram, World};

/// What happens next if nothing goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// An agent starts for the first time.
    Start(usize),
    /// A driver goes on with its turn.
    Step(usize),
    /// A driver hands in what happened.
    Turn(usize),
    /// An interface is done.
    Done(usize),
    /// A datagram arrives; its place among those in flight.
    Arrival(usize),
    /// A driver hands in the time.
    Tick(usize),
    /// A pause has lasted as long as any does.
    Thaw(usize),
    /// Nothing more at this moment: half a heartbeat passes.
    Time,
}

impl World {
    pub(super) fn due(&self) -> Due {
        let now = self.time();
        let find = |which: &dyn Fn(usize) -> bool| self.order().find(|&host| which(host));
        let lives = |host: usize| self.hosts[host].lives();
        let started = |host: usize| self.hosts[host].starts.is_some_and(|at| at <= self.now);
        let done = |host: usize| {
            let job = self.hosts[host].jobs.front();
            lives(host)
                && job.is_some_and(|job| job.slow.is_none_or(|since| self.is_longest(since)))
        };
        let ticks = |host: usize| {
            let group = self.hosts[host].group.as_ref();
            lives(host) && group.is_some_and(|group| group.next_deadline() <= now)
        };
        let thaws =
            |host: usize| self.hosts[host].paused.is_some_and(|since| self.is_longest(since));
        let arrives = || self.flying.iter().position(|datagram| !datagram.late);
        find(&started)
            .map(Due::Start)
            .or_else(|| find(&|h| lives(h) && !self.hosts[h].steps.is_empty()).map(Due::Step))
            .or_else(|| find(&|h| lives(h) && self.hosts[h].waiting().is_some()).map(Due::Turn))
            .or_else(|| find(&done).map(Due::Done))
            .or_else(|| arrives().map(Due::Arrival))
            .or_else(|| find(&ticks).map(Due::Tick))
            .or_else(|| find(&thaws).map(Due::Thaw))
            .unwrap_or(Due::Time)
    }

    fn pass_time(&mut self) {
        self.now += 1;
        let now = self.now;
        self.flying.retain(|datagram| now - datagram.sent <= LONGEST);
        for path in &mut self.paths {
            if path.missed > 1 && now - path.heard >= TIMEOUT {
                path.excused = now + TIMEOUT + 3 * HEARTBEAT;
            }
        }
    }

    fn arrive(&mut self, index: usize) {
        let Datagram { from, to, message, late, .. } = self.flying.remove(index);
        let now = self.now;
        if !late && matches!(message.body, Body::Info(_)) {
            let path = self.path(from, to);
            (path.missed, path.heard) = (0, now);
        }
        let at = self.time();
        let host = self.host(to);
        if host.group.is_some() {
            host.socket.push_back((at, message));
        }
    }

    fn turn(&mut self, index: usize, event: Event) {
        let now = self.time();
        let told = match &event {
            Event::Received { message, .. } => {
                format!("hears {} #{}: {:?}", message.source, message.sequence, message.body)
            }
            event => format!("is told {event:?}"),
        };
        self.note(index, told);
        for report in self.host(index).turn(now, event) {
            self.note(index, format_args!("reports {report:?}"));
        }
    }

    fn send(&mut self, from: usize, message: &Arc<Message>) {
        for to in self.order().filter(|&to| to != from) {
            if self.hosts[to].group.is_none() {
                continue;
            }
            let (message, sent) = (Arc::clone(message), self.now);
            self.flying.push(Datagram { from, to, message, sent, late: false });
        }
    }

    fn step(&mut self, setup: &Setup, index: usize) {
        let now = self.time();
        let Some(step) = self.host(index).steps.pop_front() else { return };
        let host = self.host(index);
        match step {
            Step::Do(action) => self.act(setup, index, action),
            Step::Leave { message, lease_until, renew_before } => {
                host.steps.push_front(Step::Check { lease_until, renew_before });
                self.check_heartbeat(index, &message);
                self.send(index, &message);
            }
            Step::Check { lease_until, renew_before } => {
                if now < renew_before {
                    host.steps.push_front(Step::Renew { lease_until });
                }
            }
            Step::Renew { lease_until } => {
                host.lease = lease_until;
                let at = host.turn;
                host.own.push_back(Event::HeartbeatSent { at, lease_until });
                self.check_answers(setup, index);
            }
        }
    }

    fn act(&mut self, setup: &Setup, index: usize, action: Action) {
        let now = self.time();
        let host = self.host(index);
        let done = |event| Job { event, slow: None };
        match action {
            Action::Fence(addresses) => {
                host.open.retain(|address, _| !addresses.contains(address));
                host.underway.retain(|address, _| !addresses.contains(address));
                self.note(index, format_args!("fences {addresses:?}"));
            }
            Action::Open { address, epoch } => {
                host.open.insert(address, epoch);
                host.underway.remove(&address);
                self.note(index, format_args!("opens {address} epoch {epoch}"));
                self.check_able(index, "opens", address);
                self.check_answers(setup, index);
            }
            Action::Stage { address, from } => {
                host.underway.insert(address, Underway::Staged(from));
                self.note(index, format_args!("makes ready for {address}"));
                self.check_answers(setup, index);
            }
            Action::Forward { address, to, until, leased } => {
                host.open.remove(&address);
                host.underway.insert(address, Underway::Forwarded { to, until, leased });
                self.note(index, format_args!("sends {address} on to {to:?}"));
                self.check_answers(setup, index);
            }
            Action::Forget(address) => {
                host.open.remove(&address);
                host.underway.remove(&address);
            }
            Action::Shorten(until) => host.lease = until,
            Action::Heartbeat { message, lease_until, renew_before } => {
                if now < renew_before {
                    let message = Arc::new(message);
                    host.steps.push_front(Step::Leave { message, lease_until, renew_before });
                }
            }
            Action::Send(message) => {
                self.note(index, format_args!("sends {:?}", message.body));
                self.send(index, &Arc::new(message));
            }
            Action::Configure { address, epoch } => {
                host.jobs.push_back(done(Event::Configured { address, epoch, result: Ok(()) }));
                self.check_able_to_take(index, address);
            }
            Action::Deconfigure { address, epoch } => {
                host.jobs.push_back(done(Event::Deconfigured { address, epoch, result: Ok(()) }));
            }
            Action::RunScript { script, address, epoch, .. } => {
                let result = Ok(());
                let event = Event::ScriptEnded { script, address, epoch, result };
                host.jobs.push_back(done(event));
            }
            Action::Stopped => host.die(),
            // What is measured decides nothing.
            Action::Announce(_)
            | Action::Measure { .. }
            | Action::Report(_)
            | Action::MoveEnded(_) => {}
        }
    }
}

impl Setup {
    /// Makes a choice, and then what follows from it for certain, up to the next moment.
    pub(super) fn make(&self, world: &mut World, choice: Choice) {
        match choice {
            Choice::Go => {
                if self.go(world) {
                    return;
                }
            }
            choice => {
                world.quiet = world.now;
                self.choose(world, choice);
            }
        }
        while world.violation.is_none() {
            let due = world.due();
            if !self.is_certain(world, due) || (due == Due::Time && !world.nothing_free()) {
                return;
            }
            if self.go(world) {
                return;
            }
        }
    }

    /// Does what is due. True where that was to let time pass.
    fn go(&self, world: &mut World) -> bool {
        match world.due() {
            Due::Start(host) => {
                world.quiet = world.now;
                world.start(self, host);
            }
            Due::Step(host) => world.step(self, host),
            Due::Turn(host) => {
                let Some(event) = world.hosts[host].waiting() else { return false };
                world.host(host).take_waiting();
                world.turn(host, event);
            }
            Due::Done(host) => {
                if let Some(job) = world.host(host).jobs.pop_front() {
                    if job.slow.is_some() {
                        world.quiet = world.now;
                    }
                    world.host(host).inbox.push_back(job.event);
                }
            }
            Due::Arrival(index) => world.arrive(index),
            Due::Tick(host) => world.turn(host, Event::Tick),
            Due::Thaw(host) => {
                world.quiet = world.now;
                world.host(host).paused = None;
                world.note(host, "** goes on");
            }
            Due::Time => {
                world.pass_time();
                world.check_settled(self);
                return true;
            }
        }
        false
    }

    fn choose(&self, world: &mut World, choice: Choice) {
        match choice {
            Choice::Go => {}
            Choice::Wrong(fault) => {
                world.faults += 1;
                go_wrong(world, fault);
            }
            Choice::Resume(host) => {
                world.note(host, "** goes on");
                world.host(host).paused = None;
            }
            Choice::Arrive(index) => {
                world.note(world.flying[index].to, "** a late datagram arrives");
                world.arrive(index);
            }
            Choice::Start(host) => world.start(self, host),
            Choice::Finish(host) => {
                world.note(host, "** its interface is done");
                if let Some(job) = world.host(host).jobs.front_mut() {
                    job.slow = None;
                }
                if let Some(job) = world.host(host).jobs.pop_front() {
                    world.host(host).inbox.push_back(job.event);
                }
            }
            Choice::Pass(host) => set_health(world, host, true),
            Choice::Unquiesce(host) => quiesce(world, host, false),
        }
    }
}

fn go_wrong(world: &mut World, fault: Fault) {
    match (fault, world.due()) {
        (Fault::Loss, Due::Arrival(index)) => {
            let Datagram { from, to, message, .. } = world.flying.remove(index);
            miss(world, from, to, &message, "is lost");
        }
        (Fault::Delay, Due::Arrival(index)) => {
            world.flying[index].late = true;
            let Datagram { from, to, message, .. } = world.flying[index].clone();
            miss(world, from, to, &message, "is late");
        }
        (Fault::Double, Due::Arrival(index)) => {
            let copy = Datagram { late: true, ..world.flying[index].clone() };
            world.note(copy.to, format_args!("** {} is doubled", title(&copy.message)));
            world.flying.push(copy);
            world.arrive(index);
        }
        (Fault::Pause(host), _) => {
            let step = format!("{:?}", world.hosts[host].steps.front());
            world.note(host, format_args!("** pauses before {step}"));
            world.host(host).paused = Some(world.time());
        }
        (Fault::Kill(host), _) => {
            world.note(host, "** is killed");
            world.host(host).die();
        }
        (Fault::Fail(host), _) => set_health(world, host, false),
        (Fault::Quiesce(host), _) => quiesce(world, host, true),
        (Fault::Slow(host), _) => {
            world.note(host, "** its interface is slow");
            let now = world.time();
            if let Some(job) = world.host(host).jobs.front_mut() {
                job.slow = Some(now);
            }
        }
        (Fault::Loss | Fault::Delay | Fault::Double, _) => {}
    }
}

fn miss(world: &mut World, from: usize, to: usize, message: &Message, what: &str) {
    world.note(to, format_args!("** {} {what}", title(message)));
    if matches!(message.body, Body::Info(_)) {
        world.path(from, to).missed += 1;
    }
}

fn title(message: &Message) -> String {
    let kind = match &message.body {
        Body::Info(_) => "the heartbeat",
        Body::Acquire(_) => "the order to acquire",
        Body::Release(_) => "the order to release",
        _ => "the message",
    };
    format!("{kind} #{} of {}", message.sequence, message.source)
}

fn set_health(world: &mut World, host: usize, ok: bool) {
    world.note(host, format_args!("** healthy: {ok}"));
    world.host(host).ok = ok;
    world.host(host).inbox.push_back(Event::Health { ok, detail: String::new() });
}

fn quiesce(world: &mut World, host: usize, quiesced: bool) {
    world.note(host, format_args!("** quiesced: {quiesced}"));
    world.host(host).quiesced = quiesced;
    world.host(host).inbox.push_back(Event::Quiesce(quiesced));
}
