//! The simulated driver: hands events in, carries actions out, one step at a time.

use std::net::IpAddr;

use rais::data_plane::DataPlane as _;
use rais::group::{Action, AddressScript, Body, Event, Message, Report};
use rais_common::time::Time;

use super::host::Step;
use super::{Cluster, Happening, Nanos};

/// A driver that does more than this at one moment does not come to rest.
const STEP_LIMIT: usize = 20_000;

/// How late a timer may be.
const WAKE_LATE: Nanos = 100_000;

impl Cluster {
    /// Lets a host's driver run until it has nothing to do at this moment.
    pub(super) fn drive(&mut self, index: usize) {
        for _ in 0..STEP_LIMIT {
            if !self.hosts[index].lives() {
                return;
            }
            if self.freeze(index) {
                return;
            }
            let local = self.hosts[index].clock.at(self.now);
            let step = self.hosts[index].steps.pop_front();
            if let Some(step) = step {
                self.hosts[index].count_step();
                self.carry_out(index, step);
                continue;
            }
            let host = &mut self.hosts[index];
            let Some(event) = host.next_event(local) else {
                self.wait(index);
                return;
            };
            host.turn = local;
            host.count_step();
            host.turn(local, event);
        }
        self.fail(format_args!("host {index} does not come to rest"));
    }

    /// Begins the pause that is due, if one is.
    fn freeze(&mut self, index: usize) -> bool {
        let host = &mut self.hosts[index];
        let Some(&(0, span)) = host.freezes.front() else { return false };
        host.freezes.pop_front();
        host.paused = true;
        let incarnation = host.incarnation;
        self.note_change(index, "pauses");
        self.schedule(self.now + span, Happening::Thaw { host: index, incarnation });
        true
    }

    fn wait(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        let late = host.chance.below(WAKE_LATE);
        let Some(group) = &host.group else { return };
        let at = host.clock.when(group.next_deadline()).max(self.now) + late;
        host.wake += 1;
        let wake = host.wake;
        self.schedule(at, Happening::Wake { host: index, wake });
    }

    fn carry_out(&mut self, index: usize, step: Step) {
        let action = match step {
            Step::Do(action) => action,
            Step::Check { at, lease_until, renew_before } => {
                let host = &mut self.hosts[index];
                if host.clock.at(self.now) < renew_before {
                    host.steps.push_front(Step::Renew { at, lease_until });
                }
                return;
            }
            Step::Renew { at, lease_until } => return self.renew(index, at, lease_until),
        };
        self.check_step(index, &action);
        match action {
            Action::Fence(_)
            | Action::Stage { .. }
            | Action::Forward { .. }
            | Action::Forget(_) => self.change_plane(index, action),
            Action::Open { address, epoch } => self.open(index, address, epoch),
            Action::Measure { address, epoch } => {
                self.hosts[index].inbox.push_front(Event::Measured { address, epoch });
            }
            Action::Shorten(until) => {
                self.hosts[index].plane.lease(until).expect("memory does not fail");
            }
            Action::Heartbeat { message, lease_until, renew_before } => {
                let in_time = self.hosts[index].clock.at(self.now) < renew_before;
                if in_time && self.send(index, &message) {
                    let at = self.hosts[index].turn;
                    let check = Step::Check { at, lease_until, renew_before };
                    self.hosts[index].steps.push_front(check);
                }
            }
            Action::Send(message) => {
                self.note(index, format_args!("sends {:?}", message.body));
                self.send(index, &message);
            }
            Action::Configure { address, epoch } => {
                let result = self.outcome(index);
                let event = Event::Configured { address, epoch, result: result.1 };
                self.work(index, address, result.0, event);
            }
            Action::Deconfigure { address, epoch } => {
                let result = self.outcome(index);
                let event = Event::Deconfigured { address, epoch, result: result.1 };
                self.work(index, address, result.0, event);
            }
            Action::RunScript { script, address, epoch, .. } => {
                self.run_script(index, script, address, epoch);
            }
            Action::Announce(_) => {}
            Action::MoveEnded(result) => {
                self.note(index, format_args!("** move ended: {result:?}"));
                self.hosts[index].moved.push(result);
            }
            Action::Report(report) => self.report(index, &report),
            Action::Stopped => {
                self.note(index, "** has ended");
                // It may have tried for long to take an address off, and was counted meanwhile.
                self.changed = self.now;
                self.hosts[index].die(self.now);
            }
        }
    }

    /// What answers for addresses changes in another way than by opening one.
    fn change_plane(&mut self, index: usize, action: Action) {
        self.note(index, format_args!("{action:?}"));
        let plane = &mut self.hosts[index].plane;
        let changed = match action {
            Action::Fence(addresses) => addresses.into_iter().try_for_each(|a| plane.fence(a)),
            Action::Stage { address, from } => plane.stage(address, from),
            Action::Forward { address, to, until, leased } => {
                plane.forward(address, to, until, leased)
            }
            Action::Forget(address) => plane.forget(address),
            _ => Ok(()),
        };
        changed.expect("memory does not fail");
        self.check_answers(index);
    }

    fn open(&mut self, index: usize, address: IpAddr, epoch: u64) {
        self.note(index, format_args!("opens {address} epoch {epoch}"));
        if self.hosts[index].busy.get(&address).is_some_and(|&until| self.now < until) {
            self.fail(format_args!("I1: host {index} opens {address} before it is there"));
        }
        self.hosts[index].plane.open(address).expect("memory does not fail");
        self.check_answers(index);
        self.check_move(index, address);
    }

    fn renew(&mut self, index: usize, at: Time, lease_until: Time) {
        self.hosts[index].plane.lease(lease_until).expect("memory does not fail");
        self.hosts[index].inbox.push_front(Event::HeartbeatSent { at, lease_until });
        self.check_answers(index);
    }

    /// Sends to every other host. False where nothing leaves.
    fn send(&mut self, from: usize, message: &Message) -> bool {
        if !self.hosts[from].interface_up {
            return false;
        }
        let heartbeat = matches!(message.body, Body::Info(_));
        for to in (0..self.hosts.len()).filter(|&to| to != from) {
            let copies = self.network.transmit(self.now, (from, to), heartbeat);
            for at in copies {
                self.schedule(at, Happening::Arrival { to, message: message.clone() });
            }
        }
        true
    }

    fn report(&mut self, index: usize, report: &Report) {
        self.note(index, format_args!("reports {report:?}"));
        match report {
            Report::AcquireFailed { .. } | Report::ReleaseFailed { .. } => {
                self.anything_failed = true;
                self.changed = self.now;
            }
            Report::Ordered { acquire, address, reason, .. } => {
                // Hosts that refused an address may be given it again at any later time.
                if self.anything_failed {
                    self.changed = self.now;
                }
                if !acquire {
                    self.note_release(index, *address, *reason);
                }
            }
            _ => {}
        }
    }

    /// How long the interface takes, and whether it works.
    fn outcome(&mut self, index: usize) -> (Nanos, Result<(), String>) {
        let chance = &mut self.hosts[index].chance;
        let span = chance.between(20_000, 3_000_000);
        if chance.per_mille(self.failures) {
            return (span, Err("the interface refuses".to_owned()));
        }
        (span, Ok(()))
    }

    fn run_script(&mut self, index: usize, script: AddressScript, address: IpAddr, epoch: u64) {
        let ends = |result| Event::ScriptEnded { script, address, epoch, result };
        let chance = &mut self.hosts[index].chance;
        let span = chance.between(1_000_000, self.timing.script - 6_000_000);
        let fails = chance.per_mille(self.failures);
        let hangs = chance.per_mille(self.failures);
        let (span, result) = match (fails, hangs) {
            (_, true) => {
                let span = self.timing.action_limit + chance.below(20_000_000);
                // Until then nothing can be in order.
                self.changed = self.changed.max(self.now + span);
                (span, Err("killed at its deadline".to_owned()))
            }
            (true, false) => (span, Err("exit status 1".to_owned())),
            (false, false) => (span, Ok(())),
        };
        self.work(index, address, span, ends(result));
    }

    /// The scripts thread: in order for each address, different addresses at once.
    fn work(&mut self, index: usize, address: IpAddr, span: Nanos, event: Event) {
        let now = self.now;
        let host = &mut self.hosts[index];
        let done = host.busy.get(&address).copied().unwrap_or(0).max(now) + span;
        host.busy.insert(address, done);
        let incarnation = host.incarnation;
        self.schedule(done, Happening::Done { host: index, incarnation, event });
    }
}
