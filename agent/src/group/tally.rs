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
    given: usize,
}

impl Tally {
    /// What each host lists, and `promised`: what it was told to acquire and does not list yet.
    pub fn new(
        situation: &Situation<'_>,
        promised: impl Iterator<Item = (IpAddr, HostId)>,
    ) -> Self {
        let listed = situation.members.iter().map(|m| (m.host, m.info.served.len()));
        let mut tally = Self { counts: listed.collect(), share: share(situation), given: 0 };
        promised.for_each(|(_, host)| tally.add(host));
        Self { given: 0, ..tally }
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
        self.given += 1;
    }

    /// How many were added since it was made.
    pub fn given(&self) -> usize {
        self.given
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

#[cfg(test)]
mod tests {
    use super::super::balance::tests::with;
    use super::super::control::tests::{Leader, at, host};
    use super::*;

    // load and addresses of hosts that can bear 100 → what an address weighs, in thousandths
    #[test]
    fn weight_of_an_address() {
        type Host = (u32, &'static [u8]);
        let rows: [(&[Host], u64); 5] = [
            (&[(50, &[10, 11]), (10, &[12])], 200),
            (&[(50, &[10, 11]), (0, &[])], 250),
            (&[(10, &[10, 11, 12])], 33),
            (&[(10, &[])], 100),
            (&[], 0),
        ];
        for (hosts, expected) in rows {
            let hosts = (2..).zip(hosts).map(|(n, &(load, addresses))| (n, with(load, addresses)));
            let mut leader = Leader::new(hosts.collect());
            let weight =
                |leader: &Leader| Tally::new(&leader.situation(at(0)), std::iter::empty()).share();
            assert_eq!(weight(&leader), expected);
            let mut broken = with(7, &[13, 14]);
            broken.capacity = 0;
            leader.hosts.push((9, broken));
            assert_eq!(weight(&leader), expected, "what cannot bear anything says nothing");
        }
    }

    // What hosts have, were promised, and are given in this turn.
    #[test]
    fn counts() {
        let leader = Leader::new(vec![(2, with(0, &[10, 11])), (3, with(0, &[]))]);
        let promised =
            [(IpAddr::from([10, 78, 0, 12]), host(3)), (IpAddr::from([10, 78, 0, 13]), host(9))];
        let mut tally = Tally::new(&leader.situation(at(0)), promised.into_iter());
        tally.add(host(2));
        assert_eq!([2, 3, 9].map(|n| tally.of(host(n))), [3, 1, 0]);
    }
}
