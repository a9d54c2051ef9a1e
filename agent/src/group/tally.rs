//! How many addresses each host has, or is about to have, and what one weighs.

use std::net::IpAddr;

use super::HostId;
use super::control::Situation;
use super::placement::{THOUSANDTHS, utilisation};

/// Addresses by host.
#[derive(Debug)]
pub(super) struct Tally {
    /// Ascending by host.
    counts: Vec<(HostId, usize)>,
    share: u64,
}

impl Tally {
    /// What each host lists, and `promised`: what it was told to acquire and does not list yet.
    pub fn new(
        situation: &Situation<'_>,
        promised: impl Iterator<Item = (IpAddr, HostId)>,
    ) -> Self {
        let listed = situation.members.iter().map(|m| (m.host, m.info.served.len()));
        let mut tally = Self { counts: listed.collect(), share: share(situation) };
        promised.for_each(|(_, host)| tally.add(host));
        tally
    }

    /// How many addresses a host has; none where it is not known.
    pub fn of(&self, host: HostId) -> usize {
        let found = self.counts.binary_search_by_key(&host, |&(host, _)| host).ok();
        found.and_then(|n| self.counts.get(n)).map_or(0, |&(_, count)| count)
    }

    /// A host is about to have one more.
    pub fn add(&mut self, host: HostId) {
        let found = self.counts.binary_search_by_key(&host, |&(host, _)| host).ok();
        if let Some((_, count)) = found.and_then(|n| self.counts.get_mut(n)) {
            *count += 1;
        }
    }

    /// What an address adds to a host's utilisation on average, in thousandths. Hosts that are
    /// given several addresses at once do not show it before they are.
    pub fn share(&self) -> u64 {
        self.share
    }
}

fn share(situation: &Situation<'_>) -> u64 {
    let members = situation.members.iter().filter(|m| m.info.capacity > 0);
    let (level, addresses) = members.fold((0_u64, 0_u64), |(level, addresses), m| {
        let served = u64::try_from(m.info.served.len()).unwrap_or(u64::MAX);
        let own = utilisation(m.info.load, m.info.capacity, THOUSANDTHS);
        (level.saturating_add(own), addresses.saturating_add(served))
    });
    level / addresses.max(1)
}
