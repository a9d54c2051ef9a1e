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

    fn take(&mut self, most: usize) -> Vec<IpAddr> {
        let room = self.limit.saturating_sub(self.running).min(most).min(self.ready.len());
        self.running += room;
        self.ready.drain(..room).collect()
    }
}

impl Lanes {
    /// At most so many jobs of each lane at once; those of the interface are one task.
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

    /// Jobs that may start now, as one task; [`done`](Self::done) must follow. The interface goes
    /// first, and has one task at a time; scripts have one each.
    pub(super) fn next(&mut self) -> Option<(Lane, Vec<IpAddr>, Vec<Job>)> {
        let mut lane = Lane::Interface;
        let mut addresses = Vec::new();
        if self.interface.running == 0 {
            addresses = self.interface.take(usize::MAX);
        }
        if addresses.is_empty() {
            lane = Lane::Script;
            addresses = self.script.take(1);
        }
        let mut jobs = Vec::with_capacity(addresses.len());
        for address in &addresses {
            let first = self.addresses.get_mut(address).and_then(VecDeque::pop_front);
            jobs.extend(first.map(|(_, job)| job));
        }
        self.waiting = self.waiting.saturating_sub(jobs.len());
        (!jobs.is_empty()).then_some((lane, addresses, jobs))
    }

    /// The jobs that ran for these addresses in `lane` ended: the next ones may follow.
    pub(super) fn done(&mut self, lane: Lane, addresses: &[IpAddr]) {
        let slots = self.slots(lane);
        slots.running = slots.running.saturating_sub(addresses.len());
        for address in addresses {
            match self.addresses.get(address).and_then(VecDeque::front) {
                Some((next, _)) => {
                    let next = *next;
                    self.slots(next).ready.push_back(*address);
                }
                None => {
                    self.addresses.remove(address);
                }
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

    /// The jobs of each task that starts.
    fn started(lanes: &mut Lanes) -> Vec<Vec<Job>> {
        std::iter::from_fn(|| lanes.next()).map(|(_, _, jobs)| jobs).collect()
    }

    #[test]
    fn one_address_in_order_others_beside_it() {
        let mut lanes = Lanes::new(8, 8);
        for epoch in 1..=2 {
            lanes.push(Lane::Interface, address(1), job(1, epoch));
            lanes.push(Lane::Interface, address(2), job(2, epoch));
        }
        assert_eq!(started(&mut lanes), [[job(1, 1), job(2, 1)]]);
        lanes.push(Lane::Interface, address(3), job(3, 1));
        assert!(started(&mut lanes).is_empty(), "one task at a time");
        lanes.done(Lane::Interface, &[address(1), address(2)]);
        assert_eq!(started(&mut lanes), [[job(3, 1), job(1, 2), job(2, 2)]]);
    }

    #[test]
    fn each_lane_keeps_its_limit() {
        let mut lanes = Lanes::new(2, 2);
        for last in 1..=3 {
            lanes.push(Lane::Script, address(last), job(last, 1));
            lanes.push(Lane::Interface, address(last + 10), job(last + 10, 1));
        }
        let tasks = started(&mut lanes);
        assert_eq!(tasks, [vec![job(11, 1), job(12, 1)], vec![job(1, 1)], vec![job(2, 1)]]);
        assert_eq!(lanes.waiting(), 2);
        lanes.done(Lane::Script, &[address(1)]);
        assert_eq!(started(&mut lanes), [[job(3, 1)]]);
        lanes.done(Lane::Interface, &[address(11), address(12)]);
        assert_eq!(started(&mut lanes), [[job(13, 1)]]);
    }

    #[test]
    fn an_idle_address_leaves_nothing_behind() {
        let mut lanes = Lanes::new(1, 1);
        for round in 0..3 {
            lanes.push(Lane::Script, address(1), job(1, round));
            assert_eq!(started(&mut lanes), [[job(1, round)]]);
            lanes.done(Lane::Script, &[address(1)]);
            assert!(lanes.addresses.is_empty());
            assert_eq!((lanes.script.running, lanes.waiting()), (0, 0));
        }
    }
}
