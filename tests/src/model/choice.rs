//! What can happen next in a state.

use std::str::FromStr;

use super::host::{Host, Step};
use super::setup::{LONGEST, Setup, UNIT};
use super::steps::Due;
use super::world::World;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The datagram that is about to arrive is lost.
    Loss,
    /// It arrives later, perhaps after others, or never.
    Delay,
    /// It arrives now, and once more later.
    Double,
    /// The host pauses before what it is about to do.
    Pause(usize),
    /// The agent is killed before what it is about to do.
    Kill(usize),
    /// The tests of the host fail.
    Fail(usize),
    /// The operator quiesces the host.
    Quiesce(usize),
    /// The interface of the host takes its time.
    Slow(usize),
}

/// One way on from a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// What is due happens.
    Go,
    /// Something goes wrong.
    Wrong(Fault),
    /// A pause ends.
    Resume(usize),
    /// A late datagram arrives; its place among those in flight.
    Arrive(usize),
    /// An agent starts again.
    Start(usize),
    /// An interface has done what it was slow to do.
    Finish(usize),
    /// The tests of a host pass again.
    Pass(usize),
    /// The operator resumes a host.
    Unquiesce(usize),
}

/// Which faults a run may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a choice of its own, not a state")]
pub struct Kinds {
    /// Datagrams get lost.
    pub loss: bool,
    /// Datagrams are late, and so overtaken.
    pub delay: bool,
    /// Datagrams are doubled.
    pub double: bool,
    /// Hosts pause.
    pub pause: bool,
    /// Agents are killed.
    pub kill: bool,
    /// Tests fail.
    pub fail: bool,
    /// Hosts are quiesced.
    pub quiesce: bool,
    /// Interfaces are slow.
    pub slow: bool,
}

impl Kinds {
    /// Nothing goes wrong.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            loss: false,
            delay: false,
            double: false,
            pause: false,
            kill: false,
            fail: false,
            quiesce: false,
            slow: false,
        }
    }

    /// Everything does.
    #[must_use]
    pub const fn all() -> Self {
        Self {
            loss: true,
            delay: true,
            double: true,
            pause: true,
            kill: true,
            fail: true,
            quiesce: true,
            slow: true,
        }
    }
}

impl FromStr for Kinds {
    type Err = String;

    /// Words with commas between them, or `all`.
    fn from_str(words: &str) -> Result<Self, String> {
        let mut kinds = Self::none();
        for word in words.split(',') {
            match word.trim() {
                "all" => kinds = Self::all(),
                "loss" => kinds.loss = true,
                "delay" => kinds.delay = true,
                "double" => kinds.double = true,
                "pause" => kinds.pause = true,
                "kill" => kinds.kill = true,
                "fail" => kinds.fail = true,
                "quiesce" => kinds.quiesce = true,
                "slow" => kinds.slow = true,
                other => {
                    return Err(format!(
                        "{other:?} is no fault: loss, delay, double, pause, kill, fail, quiesce, \
                         slow or all"
                    ));
                }
            }
        }
        Ok(kinds)
    }
}

impl Setup {
    /// Every way on; none where a rule has been broken.
    pub(super) fn choices(&self, world: &World, choices: &mut Vec<Choice>) {
        if world.violation.is_some() {
            return;
        }
        let due = world.due();
        choices.push(Choice::Go);
        if world.faults < self.faults {
            self.faults(world, due, &mut |fault| choices.push(Choice::Wrong(fault)));
        }
        if due == Due::Time {
            free(world, choices);
        }
    }

    /// Whether what is due can only happen.
    pub(super) fn is_certain(&self, world: &World, due: Due) -> bool {
        let mut any = false;
        if world.faults < self.faults {
            self.faults(world, due, &mut |_| any = true);
        }
        !any
    }

    fn faults(&self, world: &World, due: Due, say: &mut dyn FnMut(Fault)) {
        let kinds = self.kinds;
        let mut acts = |host| {
            if kinds.pause {
                say(Fault::Pause(host));
            }
            if kinds.kill {
                say(Fault::Kill(host));
            }
        };
        match due {
            Due::Step(host) if world.hosts[host].steps.front().is_some_and(Step::shows) => {
                acts(host);
            }
            Due::Turn(host) | Due::Tick(host) => acts(host),
            Due::Arrival(_) => {
                let ways = [
                    (kinds.loss, Fault::Loss),
                    (kinds.delay, Fault::Delay),
                    (kinds.double, Fault::Double),
                ];
                ways.into_iter().filter(|way| way.0).for_each(|way| say(way.1));
            }
            Due::Done(host) if kinds.slow => {
                if world.hosts[host].jobs.front().is_some_and(|job| job.slow.is_none()) {
                    say(Fault::Slow(host));
                }
            }
            Due::Time => {
                let runs = |host: &&Host| host.group.is_some();
                for (index, host) in world.hosts.iter().enumerate() {
                    let host = Some(&**host).filter(runs);
                    if kinds.fail && host.is_some_and(|h| h.ok) {
                        say(Fault::Fail(index));
                    }
                    if kinds.quiesce && host.is_some_and(|h| !h.quiesced) {
                        say(Fault::Quiesce(index));
                    }
                }
            }
            Due::Step(_) | Due::Done(_) | Due::Start(_) | Due::Thaw(_) => {}
        }
    }
}

/// What ends a fault, at the end of each moment.
fn free(world: &World, choices: &mut Vec<Choice>) {
    for (index, host) in world.hosts.iter().enumerate() {
        if host.group.is_none() && host.starts.is_none() {
            choices.push(Choice::Start(index));
        }
        if host.paused.is_some() {
            choices.push(Choice::Resume(index));
        }
        if host.group.is_none() {
            continue;
        }
        if host.lives() && host.jobs.front().is_some_and(|job| job.slow.is_some()) {
            choices.push(Choice::Finish(index));
        }
        if !host.ok {
            choices.push(Choice::Pass(index));
        }
        if host.quiesced {
            choices.push(Choice::Unquiesce(index));
        }
    }
    let late = world.flying.iter().enumerate().filter(|(_, datagram)| datagram.late);
    choices.extend(late.map(|(index, _)| Choice::Arrive(index)));
}

impl World {
    /// Whether nothing is under way that may end at any time.
    pub(super) fn nothing_free(&self) -> bool {
        let mut choices = Vec::new();
        free(self, &mut choices);
        choices.is_empty()
    }

    /// Since `since` as long as anything lasts.
    pub(super) fn is_longest(&self, since: rais_common::time::Time) -> bool {
        self.time().since(since) >= UNIT * LONGEST
    }
}
