//! A group's actions, those of one kind for many addresses together.
//!
//! Where thousands of addresses move, one system call for all of them is a few milliseconds, and
//! one for each would keep heartbeats waiting. An action may only be carried out earlier than the
//! group said where nothing can tell the difference: never past what others see, nor past what
//! undoes it.

use std::net::IpAddr;

use crate::group::Action;

/// One action, or several of a kind.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    Fence(Vec<IpAddr>),
    Open(Vec<(IpAddr, u64)>),
    Configure(Vec<(IpAddr, u64)>),
    Announce(Vec<IpAddr>),
    One(Action),
}

/// The steps so far, and those that may still grow, by their places.
#[derive(Default)]
struct Steps {
    all: Vec<Step>,
    fence: Option<usize>,
    open: Option<usize>,
    configure: Option<usize>,
    announce: Option<usize>,
}

/// The steps that do what these actions do.
pub(super) fn of(actions: Vec<Action>) -> Vec<Step> {
    let mut steps = Steps::default();
    for action in actions {
        steps.add(action);
    }
    steps.all
}

impl Steps {
    fn add(&mut self, action: Action) {
        match action {
            Action::Fence(addresses) => self.fence(addresses),
            Action::Open { address, epoch } => self.open(address, epoch),
            Action::Configure { address, epoch } => self.configure(address, epoch),
            Action::Announce(addresses) => self.announce(addresses),
            // The same address may be put in place again after it.
            Action::Deconfigure { .. } => {
                self.configure = None;
                self.all.push(Step::One(action));
            }
            Action::Measure { .. }
            | Action::RunScript { .. }
            | Action::Report(_)
            | Action::MoveEnded(_) => self.all.push(Step::One(action)),
            Action::Forget(_)
            | Action::Heartbeat { .. }
            | Action::Send(_)
            | Action::Shorten(_)
            | Action::Stage { .. }
            | Action::Forward { .. }
            | Action::Stopped => {
                let all = std::mem::take(&mut self.all);
                *self = Self { all, ..Self::default() };
                self.all.push(Step::One(action));
            }
        }
    }

    fn fence(&mut self, mut addresses: Vec<IpAddr>) {
        // An address that is to be opened before it is fenced, or the other way round, is.
        self.open = None;
        if let Some(Step::Fence(all)) = self.at(self.fence) {
            all.append(&mut addresses);
        } else {
            self.fence = Some(self.all.len());
            self.all.push(Step::Fence(addresses));
        }
    }

    fn open(&mut self, address: IpAddr, epoch: u64) {
        self.fence = None;
        if let Some(Step::Open(all)) = self.at(self.open) {
            all.push((address, epoch));
        } else {
            // Announced is what is open.
            self.announce = None;
            self.open = Some(self.all.len());
            self.all.push(Step::Open(vec![(address, epoch)]));
        }
    }

    fn configure(&mut self, address: IpAddr, epoch: u64) {
        if let Some(Step::Configure(all)) = self.at(self.configure) {
            all.push((address, epoch));
        } else {
            self.configure = Some(self.all.len());
            self.all.push(Step::Configure(vec![(address, epoch)]));
        }
    }

    fn announce(&mut self, mut addresses: Vec<IpAddr>) {
        if let Some(Step::Announce(all)) = self.at(self.announce) {
            all.append(&mut addresses);
        } else {
            self.announce = Some(self.all.len());
            self.all.push(Step::Announce(addresses));
        }
    }

    fn at(&mut self, place: Option<usize>) -> Option<&mut Step> {
        self.all.get_mut(place?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::Report;

    fn a(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn fence(last: u8) -> Action {
        Action::Fence(vec![a(last)])
    }

    fn open(last: u8) -> Action {
        Action::Open { address: a(last), epoch: 1 }
    }

    fn configure(last: u8) -> Action {
        Action::Configure { address: a(last), epoch: 1 }
    }

    fn deconfigure(last: u8) -> Action {
        Action::Deconfigure { address: a(last), epoch: 1 }
    }

    fn announce(last: u8) -> Action {
        Action::Announce(vec![a(last)])
    }

    fn report() -> Action {
        Action::Report(Report::TestPassed)
    }

    #[test]
    fn what_is_for_many_addresses_comes_together() {
        let ordered = vec![report(), fence(1), configure(1), report(), fence(2), configure(2)];
        let both = vec![(a(1), 1), (a(2), 1)];
        assert_eq!(
            of(ordered),
            [
                Step::One(report()),
                Step::Fence(vec![a(1), a(2)]),
                Step::Configure(both.clone()),
                Step::One(report()),
            ]
        );
        let ready = vec![open(1), announce(1), report(), open(2), announce(2), report()];
        assert_eq!(
            of(ready),
            [
                Step::Open(both),
                Step::Announce(vec![a(1), a(2)]),
                Step::One(report()),
                Step::One(report()),
            ]
        );
    }

    // Nothing passes what undoes it, or what others see: each stays in its place.
    #[test]
    fn what_must_not_change_places_does_not() {
        let cases = [
            vec![open(1), fence(1), open(1)],
            vec![fence(1), open(1), fence(1)],
            vec![fence(1), Action::Forget(a(1)), fence(1)],
            vec![configure(1), deconfigure(1), configure(1)],
            vec![announce(1), open(2), announce(2)],
            vec![fence(1), Action::Stopped, fence(2)],
        ];
        for actions in cases {
            assert_eq!(of(actions.clone()).len(), actions.len(), "{actions:?}");
        }
    }
}
