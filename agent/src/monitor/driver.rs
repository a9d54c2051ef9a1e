//! The driver: carries a [`Group`]'s actions out, in their order, and hands it what happens.
//!
//! It is the only thread that knows the `Group`. It never waits for netlink, scripts, disk or a
//! reader: the data plane and the control sockets are called inline and do not block, everything
//! else goes to bounded queues. Should it stop for whatever reason, no heartbeat is sent, no lease
//! renewed, and the XDP program falls silent by itself.

mod armed;
mod steps;

use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use armed::Armed;
use steps::Step;

use super::dns::Views;
use super::link::Link;
use super::receive;
use super::scripts::{Job, Scripts};
use super::transmit::Transmitter;
use crate::announce::Announcer;
use crate::clock;
use crate::config::checked::Seal;
use crate::data_plane::{DataPlane, DataPlaneError};
use crate::group::{Action, Event, Group, HostId, Message, MoveRefusal, Report, Settings, View};
use crate::metrics::Measures;
use crate::record::Recorder;
use crate::wire::Encoder;
use rais_common::time::Time;

/// Most inputs that wait for the driver. A message that finds no room is dropped and counted by
/// whoever brought it; the sender repeats what matters.
const INBOX: usize = 4_096;

/// Most addresses whose results the group is told at once. One whose counters the kernel first makes
/// when it is opened counts for several.
const AT_ONCE: usize = 512;
const UNPREPARED: usize = 16;

/// So many addresses are announced for each millisecond of a lease.
const ANNOUNCED: usize = 64;

/// Most times the sockets are drained before a tick, so that a flood cannot hold it up for ever.
const DRAINS: usize = 16;

/// A driver that has nothing to do shows once in this time that it goes on.
pub const TURN: Duration = Duration::from_millis(500);

/// Something for the driver.
#[derive(Debug)]
pub enum Input {
    /// For the group.
    Event(Event),
    /// Somebody wants to see the group and its control interfaces.
    View(oneshot::Sender<(View, Vec<Link>)>),
    /// The operator wants an address moved, and to hear what became of it.
    Move {
        /// The address.
        address: IpAddr,
        /// The host that is to have it.
        to: HostId,
        /// Where to say so.
        reply: MoveReply,
    },
    /// Somebody wants to know the addresses of the group.
    Addresses(oneshot::Sender<Vec<IpAddr>>),
    /// These are to be given routes on this host, whether it has them or not. The answer: those
    /// that may be given one now, or why none may.
    FenceBeforehand(Vec<IpAddr>, oneshot::Sender<Result<Vec<IpAddr>, String>>),
    /// The counters of these are to be made, whoever has them. The answer: they are, as far as there
    /// is room for them, or why not.
    CountBeforehand(Vec<IpAddr>, oneshot::Sender<Result<(), String>>),
    /// These have their routes.
    Routed(Vec<IpAddr>),
    /// The operator has changed the configuration.
    Reconfigure(Box<Reconfigure>),
}

/// What changes for a driver. Nothing of it can fail any more.
#[derive(Debug)]
pub struct Reconfigure {
    /// What the group decides by.
    pub settings: Option<Box<Settings>>,
    /// Messages are protected so from now on.
    pub seal: Option<(Encoder, Seal)>,
    /// Who keeps the group's zone from now on, if anybody.
    pub views: Option<Option<Views>>,
    /// Told when that is done.
    pub done: oneshot::Sender<()>,
}

/// Where the outcome of a move is wanted.
pub type MoveReply = oneshot::Sender<Result<(), MoveRefusal>>;

/// Where inputs are put for a driver. In boxes, since a channel takes the room of all that it may
/// hold when it is made: half a MiB otherwise, for each group that comes.
pub type Inbox = SyncSender<Box<Input>>;

/// A new inbox: where to put inputs, and where the driver takes them from.
#[must_use]
pub fn inbox() -> (Inbox, Receiver<Box<Input>>) {
    sync_channel(INBOX)
}

/// What the driver works with.
pub struct Driver {
    /// The decision maker.
    pub group: Group,
    /// What answers for the group's addresses on this host.
    pub plane: Box<dyn DataPlane>,
    /// Where inputs come from.
    pub inbox: Receiver<Box<Input>>,
    /// The control sockets, to drain before others are judged silent.
    pub sockets: Arc<Mutex<receive::Receiver>>,
    /// Encodes and seals.
    pub encoder: Encoder,
    /// Sends over the control interfaces.
    pub transmitter: Transmitter,
    /// Slow work.
    pub scripts: Scripts,
    /// Gratuitous ARP and unsolicited neighbour advertisements.
    pub announcer: Announcer,
    /// Takes note of what happened.
    pub reports: mpsc::Sender<Report>,
    /// Who keeps the group's zone, where one is kept.
    pub views: Option<Views>,
    /// Takes note of every turn, where that is wanted.
    pub recorder: Recorder,
    /// The lease as it was last written.
    pub lease_until: Time,
    /// Who waits for the end of a move.
    pub mover: Option<MoveReply>,
    /// It was said that no lease can be had, and none was had since: not said at each heartbeat.
    pub complained: bool,
    /// Counts and measures.
    pub measures: Arc<Measures>,
    /// When what is being done on time was due.
    pub due: Option<Time>,
    /// What is kept for later where there are many addresses.
    pub waiting: Waiting,
}

/// What a driver keeps for later where there are many addresses. Nothing, at its start.
#[derive(Debug, Default)]
pub struct Waiting {
    /// What is in place beforehand.
    armed: Armed,
    /// What came of things that were done at once, for so many addresses that heartbeats go
    /// between.
    later: VecDeque<Vec<Event>>,
    /// For how many addresses the last of them count.
    last_counts_for: usize,
    /// What is to be announced: as many at a time as leave while the lease lives.
    announcing: VecDeque<IpAddr>,
}

impl Driver {
    /// Runs until the group has stopped or nobody is left to talk to it.
    pub fn run(mut self) {
        loop {
            self.measures.turn();
            let left = self.group.next_deadline().since(clock::now());
            let wait = if self.waiting.later.is_empty() { left.min(TURN) } else { Duration::ZERO };
            let going = match self.inbox.recv_timeout(wait) {
                Ok(input) => self.take(*input),
                Err(RecvTimeoutError::Timeout) => true,
                Err(RecvTimeoutError::Disconnected) => false,
            };
            let going = going && self.take_later();
            let deadline = self.group.next_deadline();
            self.due = (clock::now() >= deadline).then_some(deadline);
            if !going || (self.due.is_some() && !self.tick()) {
                return;
            }
            self.due = None;
        }
    }

    /// Hands in everything that has arrived, then the time. While the lock is held the receive
    /// thread has nothing in its hands: what it had read is in the inbox, the rest still in the
    /// sockets.
    fn tick(&mut self) -> bool {
        let mut arrived = Vec::new();
        let before = clock::now();
        {
            let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
            arrived.extend(self.inbox.try_iter().take(INBOX).map(|input| *input));
            for _ in 0..DRAINS {
                let drained = sockets.drain(&mut |event| arrived.push(Input::Event(event)));
                if drained.empty {
                    break;
                }
            }
        }
        if !arrived.is_empty() {
            arrived.push(Input::Event(Event::HeardUntil(before)));
        }
        arrived.into_iter().all(|input| self.take(input)) && self.step(Event::Tick)
    }

    /// False once the group has stopped.
    fn take_later(&mut self) -> bool {
        let event = self.waiting.later.pop_front().and_then(Event::together);
        event.is_none_or(|event| self.step(event))
    }

    /// Has the group told a little later.
    fn tell_later(&mut self, event: Event) {
        let counts_for = if let Event::Configured { address, .. } = event
            && !self.plane.is_prepared(address)
        {
            UNPREPARED
        } else {
            1
        };
        let Waiting { later, last_counts_for: last, .. } = &mut self.waiting;
        if let Some(events) = later.back_mut().filter(|_| *last + counts_for <= AT_ONCE) {
            events.push(event);
            *last += counts_for;
        } else {
            later.push_back(vec![event]);
            *last = counts_for;
        }
    }

    /// False once the group has stopped.
    fn take(&mut self, input: Input) -> bool {
        match input {
            Input::Event(Event::Together(events)) => {
                for event in events {
                    self.tell_later(event);
                }
                true
            }
            Input::Event(event) => self.step(event),
            Input::View(reply) => {
                // Whoever asked may have gone.
                drop(reply.send(self.view()));
                true
            }
            Input::Reconfigure(new) => self.reconfigure(*new),
            Input::Move { address, to, reply } => {
                // One at a time: it is for the operator to wait for the one before.
                if self.mover.as_ref().is_some_and(|waiting| !waiting.is_closed()) {
                    reply.send(Err(MoveRefusal::Busy)).ok();
                    return true;
                }
                self.mover = Some(reply);
                self.step(Event::Move { address, to })
            }
            // Whoever asked may have gone.
            Input::Addresses(reply) => {
                reply.send(self.group.addresses()).ok();
                true
            }
            Input::FenceBeforehand(addresses, reply) => {
                let (group, plane) = (&self.group, self.plane.as_mut());
                let fenced = self.waiting.armed.fence(&addresses, |a| group.has(a), plane);
                reply.send(fenced.map_err(|error| error.to_string())).ok();
                true
            }
            Input::CountBeforehand(addresses, reply) => {
                let made = self.plane.count_beforehand(&addresses);
                reply.send(made.map_err(|error| error.to_string())).ok();
                true
            }
            Input::Routed(addresses) => {
                self.waiting.armed.routed(addresses);
                true
            }
        }
    }

    /// False once the group has stopped.
    fn reconfigure(&mut self, new: Reconfigure) -> bool {
        if let Some((encoder, seal)) = new.seal {
            let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
            sockets.rekey(encoder.salt(), &seal);
            self.encoder = encoder;
        }
        if let Some(views) = new.views {
            self.views = views;
        }
        let settings = new.settings.map(Event::Reconfigured);
        let going = settings.is_none_or(|event| self.step(event));
        // Whoever asked may have gone.
        new.done.send(()).ok();
        going
    }

    fn view(&self) -> (View, Vec<Link>) {
        let now = clock::now();
        let links = {
            let sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
            let counters = self.transmitter.counters();
            counters.map(|(name, sent)| Link::new(now, name, sent, &sockets)).collect()
        };
        (self.group.view(now), links)
    }

    /// One event, and what follows from carrying out its actions.
    fn step(&mut self, event: Event) -> bool {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let now = clock::now();
            let told = self.recorder.note(&event);
            let actions = self.group.handle(now, event);
            self.recorder.turn(now, told, &actions);
            for step in steps::of(actions) {
                match self.carry_out(now, step) {
                    Outcome::Done => {}
                    Outcome::Happened(event) => events.push_back(event),
                    Outcome::Stopped => return false,
                }
            }
        }
        true
    }

    fn carry_out(&mut self, now: Time, step: Step) -> Outcome {
        match step {
            Step::Fence(addresses) => {
                self.announce_no_more(&addresses);
                self.fence(&addresses);
                Outcome::Done
            }
            Step::Open(addresses) => self.open(&addresses),
            Step::Configure(addresses) => {
                self.configure(addresses);
                Outcome::Done
            }
            Step::Announce(addresses) => {
                // Each waits once at most.
                self.announce_no_more(&addresses);
                self.waiting.announcing.extend(addresses);
                self.announce();
                Outcome::Done
            }
            Step::One(action) => self.carry_out_one(now, action),
        }
    }

    /// Hands on what the announcer can send while the lease lives; the rest waits for the next.
    fn announce(&mut self) {
        let lease = self.lease_until.since(clock::now()).as_millis();
        let room = usize::try_from(lease).unwrap_or(usize::MAX).saturating_mul(ANNOUNCED);
        let room = room.saturating_sub(self.announcer.waiting()).min(self.waiting.announcing.len());
        if room > 0 {
            let some = self.waiting.announcing.drain(..room).collect();
            self.announcer.announce(some, self.lease_until);
        }
    }

    /// These are not to be announced for now: this host may have them no more.
    fn announce_no_more(&mut self, addresses: &[IpAddr]) {
        if !self.waiting.announcing.is_empty() {
            let gone: HashSet<&IpAddr> = addresses.iter().collect();
            self.waiting.announcing.retain(|address| !gone.contains(address));
        }
    }

    /// Opens these; those that could not be are told.
    fn open(&mut self, addresses: &[(IpAddr, u64)]) -> Outcome {
        let mut failed = Vec::new();
        let mut rest = addresses;
        while !rest.is_empty() {
            let all: Vec<IpAddr> = rest.iter().map(|&(address, _)| address).collect();
            let Err((at, error)) = self.plane.open_all(&all) else { break };
            if let Some(&(address, epoch)) = rest.get(at) {
                failed.push(Event::OpenFailed { address, epoch, error: error.to_string() });
            }
            rest = rest.get(at + 1..).unwrap_or_default();
        }
        Event::together(failed).map_or(Outcome::Done, Outcome::Happened)
    }

    /// Has these put in place, unless they are.
    fn configure(&mut self, addresses: Vec<(IpAddr, u64)>) {
        for (address, epoch) in addresses {
            let result = if self.waiting.armed.has_route(address) {
                Ok(())
            } else {
                match self.scripts.submit(Job::Configure { address, epoch }) {
                    Ok(()) => continue,
                    Err(full) => Err(full.to_string()),
                }
            };
            self.tell_later(Event::Configured { address, epoch, result });
        }
    }

    /// What cannot be handed over without a gap is fenced.
    fn fence_unless(&mut self, address: IpAddr, done: Result<(), DataPlaneError>) {
        if let Err(error) = done {
            tracing::warn!(%address, %error, "packets may be lost while it changes hosts");
            self.fence(&[address]);
        }
    }

    fn forget(&mut self, address: IpAddr) {
        if self.waiting.armed.keeps(address) {
            self.fence(&[address]);
        } else if let Err(error) = self.plane.forget(address) {
            tracing::error!(%address, %error, "the address stays fenced on this host");
        }
    }

    fn carry_out_one(&mut self, now: Time, action: Action) -> Outcome {
        match action {
            Action::Stage { address, from } => {
                let staged = self.plane.stage(address, from);
                self.fence_unless(address, staged);
            }
            Action::Forward { address, to, until, leased } => {
                self.announce_no_more(&[address]);
                let forwarded = self.plane.forward(address, to, until, leased);
                self.fence_unless(address, forwarded);
            }
            Action::Forget(address) => self.forget(address),
            Action::Measure { address, epoch } => {
                return Outcome::Happened(Event::Measured { address, epoch });
            }
            Action::Shorten(until) => {
                if let Err(error) = self.plane.lease(until) {
                    fall_silent(self.plane.as_mut(), &error);
                }
                self.lease_until = until;
            }
            Action::Heartbeat { message, lease_until, renew_before } => {
                let outcome = self.heartbeat(now, &message, lease_until, renew_before);
                if let Some(views) = &mut self.views {
                    views.offer(now, || self.group.view(now));
                }
                return outcome;
            }
            Action::Send(message) => {
                self.send(&message);
            }
            Action::Deconfigure { address, epoch } if self.waiting.armed.keeps(address) => {
                self.tell_later(Event::Deconfigured { address, epoch, result: Ok(()) });
            }
            Action::Deconfigure { address, epoch } => {
                let job = Job::Deconfigure { address, epoch };
                return self.submit(job, |result| Event::Deconfigured { address, epoch, result });
            }
            Action::RunScript { script, address, epoch, reason } => {
                let job = Job::Script { script, address, epoch, reason };
                return self.submit(job, |result| Event::ScriptEnded {
                    script,
                    address,
                    epoch,
                    result,
                });
            }
            // A report that finds no room is lost to readers, not to the group.
            Action::Report(report) => {
                if self.reports.try_send(report).is_err() {
                    self.measures.report_dropped();
                }
                // A dead host is not to stay in the zone until the next heartbeat.
                if let Some(views) = &mut self.views {
                    views.offer(now, || self.group.view(now));
                }
            }
            Action::MoveEnded(result) => {
                // Whoever asked may have gone.
                if let Some(mover) = self.mover.take() {
                    mover.send(result).ok();
                }
            }
            Action::Stopped => return Outcome::Stopped,
            // These are steps of their own.
            Action::Fence(_)
            | Action::Open { .. }
            | Action::Configure { .. }
            | Action::Announce(_) => {}
        }
        Outcome::Done
    }

    fn fence(&mut self, addresses: &[IpAddr]) {
        if let Err(error) = self.plane.fence_all(addresses) {
            fall_silent(self.plane.as_mut(), &error);
        }
    }

    /// Queues slow work; `ended` says what it means that there is no room for it.
    fn submit(&self, job: Job, ended: impl FnOnce(Result<(), String>) -> Event) -> Outcome {
        match self.scripts.submit(job) {
            Ok(()) => Outcome::Done,
            Err(full) => Outcome::Happened(ended(Err(full.to_string()))),
        }
    }

    /// Sends unless that has become too late, and renews the lease only after it left on at least
    /// one interface, and in time.
    fn heartbeat(
        &mut self,
        at: Time,
        message: &Message,
        lease_until: Time,
        renew_before: Time,
    ) -> Outcome {
        let in_time = || clock::now() < renew_before;
        if !in_time() || !self.send(message) || !in_time() {
            self.measures.heartbeat_missed();
            return Outcome::Done;
        }
        if let Some(due) = self.due.take() {
            self.measures.lateness.observe(clock::now().since(due));
        }
        match self.plane.lease(lease_until) {
            Ok(()) => {
                self.complained = false;
                self.measures.heartbeat_sent();
                self.lease_until = lease_until;
                self.announce();
                Outcome::Happened(Event::HeartbeatSent { at, lease_until })
            }
            Err(error) => {
                self.measures.heartbeat_missed();
                self.complain("the lease was not renewed", &error);
                Outcome::Done
            }
        }
    }

    /// Whether the message left on at least one control interface.
    fn send(&mut self, message: &Message) -> bool {
        match self.encoder.encode(message) {
            Ok(datagram) => self.transmitter.send(datagram).interfaces_ok > 0,
            Err(error) => {
                self.complain("a message could not be encoded", &error);
                false
            }
        }
    }

    /// Says once why no lease can be had.
    fn complain(&mut self, what: &str, error: &dyn std::error::Error) {
        if !std::mem::replace(&mut self.complained, true) {
            tracing::error!("{what}: {error}");
        }
    }
}

enum Outcome {
    Done,
    Happened(Event),
    Stopped,
}

/// An address could not be fenced, so this host may go on answering for it. The one thing that is
/// certain to end that is the lease: the agent ends and lets it run out. A restarted agent takes
/// everything away first.
fn fall_silent(plane: &mut dyn DataPlane, error: &DataPlaneError) -> ! {
    let revoked = plane.lease(Time::ZERO);
    tracing::error!(%error, ?revoked, "cannot withdraw an address: ending, so that the lease ends");
    std::process::abort();
}

/// Hands an event to a driver if there is room. False where it was dropped.
#[must_use]
pub fn offer(inbox: &Inbox, event: Event) -> bool {
    match inbox.try_send(Box::new(Input::Event(event))) {
        Ok(()) => true,
        Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
    }
}

/// Hands an event to a driver, waiting while its inbox is full: for results that must not be lost.
/// The driver empties its inbox at least once a heartbeat, and waits for nobody. False where it
/// has ended.
#[must_use]
pub fn deliver(inbox: &Inbox, event: Event) -> bool {
    inbox.send(Box::new(Input::Event(event))).is_ok()
}
