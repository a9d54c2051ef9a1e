//! Which job may run next: in order for one address, within limits for all.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use super::Job;

/// What a job keeps busy. Each has a limit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// The network interface: quick.
    Interface,
    /// A script: anything up to its deadline.
    Script,
}

/// Jobs that wait, by address. An address is known here only while it has a job waiting or
/// running.
#[derive(Debug)]
pub(super) struct Lanes {
    addresses: HashMap<IpAddr, VecDeque<(Lane, Job)>>,
    interface: Slots,
    script: Slots,
    waiting: usize,
}

/// One lane: the addresses whose first job is for it and may run, in the order they got there.
#[derive(Debug)]
struct Slots {
    ready: VecDeque<IpAddr>,
    running: usize,
    limit: usize,
}

impl Slots {
    const fn new(limit: usize) -> Self {
        Self { ready: VecDeque::new(), running: 0, limit }
    }

    fn take(&mut self) -> Option<IpAddr> {
        if self.running >= self.limit {
            return None;
        }
        let address = self.ready.pop_front()?;
        self.running += 1;
        Some(address)
    }
}

impl Lanes {
    /// At most so many jobs of each lane at once.
    pub(super) fn new(interface: usize, script: usize) -> Self {
        Self {
            addresses: HashMap::new(),
            interface: Slots::new(interface),
            script: Slots::new(script),
            waiting: 0,
        }
    }

    /// How many jobs wait.
    pub(super) const fn waiting(&self) -> usize {
        self.waiting
    }

    /// Puts a job behind those of its address.
    pub(super) fn push(&mut self, lane: Lane, address: IpAddr, job: Job) {
        self.waiting += 1;
        match self.addresses.entry(address) {
            std::collections::hash_map::Entry::Occupied(mut jobs) => {
                jobs.get_mut().push_back((lane, job));
            }
            std::collections::hash_map::Entry::Vacant(idle) => {
                idle.insert(VecDeque::from([(lane, job)]));
                self.slots(lane).ready.push_back(address);
            }
        }
    }

    /// A job that may start now; [`done`](Self::done) must follow. The interface goes first.
    pub(super) fn next(&mut self) -> Option<(Lane, IpAddr, Job)> {
        let address = self.interface.take().or_else(|| self.script.take())?;
        let (lane, job) = self.addresses.get_mut(&address)?.pop_front()?;
        self.waiting -= 1;
        Some((lane, address, job))
    }

    /// The job that ran for `address` in `lane` ended: the next one may follow.
    pub(super) fn done(&mut self, lane: Lane, address: IpAddr) {
        let slots = self.slots(lane);
        slots.running = slots.running.saturating_sub(1);
        match self.addresses.get(&address).and_then(VecDeque::front) {
            Some((next, _)) => {
                let next = *next;
                self.slots(next).ready.push_back(address);
            }
            None => {
                self.addresses.remove(&address);
            }
        }
    }

    const fn slots(&mut self, lane: Lane) -> &mut Slots {
        match lane {
            Lane::Interface => &mut self.interface,
            Lane::Script => &mut self.script,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn job(last: u8, epoch: u64) -> Job {
        Job::Configure { address: address(last), epoch }
    }

    fn started(lanes: &mut Lanes) -> Vec<Job> {
        std::iter::from_fn(|| lanes.next()).map(|(_, _, job)| job).collect()
    }

    #[test]
    fn one_address_in_order_others_beside_it() {
        let mut lanes = Lanes::new(8, 8);
        for epoch in 1..=2 {
            lanes.push(Lane::Interface, address(1), job(1, epoch));
            lanes.push(Lane::Interface, address(2), job(2, epoch));
        }
        assert_eq!(started(&mut lanes), [job(1, 1), job(2, 1)]);
        lanes.done(Lane::Interface, address(2));
        assert_eq!(started(&mut lanes), [job(2, 2)]);
        lanes.done(Lane::Interface, address(1));
        assert_eq!(started(&mut lanes), [job(1, 2)]);
    }

    #[test]
    fn each_lane_keeps_its_limit() {
        let mut lanes = Lanes::new(1, 2);
        for last in 1..=3 {
            lanes.push(Lane::Script, address(last), job(last, 1));
            lanes.push(Lane::Interface, address(last + 10), job(last + 10, 1));
        }
        assert_eq!(started(&mut lanes), [job(11, 1), job(1, 1), job(2, 1)]);
        assert_eq!(lanes.waiting(), 3);
        lanes.done(Lane::Script, address(1));
        assert_eq!(started(&mut lanes), [job(3, 1)]);
        lanes.done(Lane::Interface, address(11));
        assert_eq!(started(&mut lanes), [job(12, 1)]);
    }

    #[test]
    fn an_idle_address_leaves_nothing_behind() {
        let mut lanes = Lanes::new(1, 1);
        for round in 0..3 {
            lanes.push(Lane::Script, address(1), job(1, round));
            assert_eq!(started(&mut lanes), [job(1, round)]);
            lanes.done(Lane::Script, address(1));
            assert!(lanes.addresses.is_empty());
            assert_eq!((lanes.script.running, lanes.waiting()), (0, 0));
        }
    }
}
