//! The lists of hosts that say them in parts, until they are whole.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use rais_common::time::Time;

use super::parts::{finest, listed_sum, sums};
use super::{HostId, Listed, Slice, Sum};

/// Most hosts, and most addresses of one.
const HOSTS: usize = 4_096;
const ADDRESSES: usize = 65_536;

/// A host of which nothing is known yet is waited for as many timeouts at most.
const LONGEST: u32 = 32;

/// Before all addresses.
const LOWEST: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

#[derive(Clone, Debug, Hash)]
struct Staged {
    boot: u64,
    set: BTreeMap<IpAddr, Listed>,
    /// The same addresses by the finest slices.
    by_slice: BTreeSet<(u16, IpAddr)>,
    digest: u64,
    /// The digest of the set as it was last asked for when it was whole.
    taken: Option<u64>,
    /// Since when it has not been what the host has.
    behind: Option<Time>,
    /// When more of it was seen to have arrived, and its digest then; for what was never whole.
    nearer: Option<(Time, u64)>,
    /// When the host was last asked.
    asked: Option<Time>,
}

impl Staged {
    fn new(boot: u64) -> Self {
        Self {
            boot,
            set: BTreeMap::new(),
            by_slice: BTreeSet::new(),
            digest: 0,
            taken: None,
            behind: None,
            nearer: None,
            asked: None,
        }
    }

    /// Replaces what there was of a slice.
    fn replace(&mut self, slice: Slice, entries: &[Listed]) {
        let first = slice.first();
        let gone = self.by_slice.range((first, LOWEST)..).map(|&(_, address)| address);
        let gone: Vec<IpAddr> = gone.take_while(|&address| slice.has(address)).collect();
        for address in gone {
            self.by_slice.remove(&(finest(address), address));
            if let Some(listed) = self.set.remove(&address) {
                self.digest = self.digest.wrapping_sub(listed_sum(&listed));
            }
        }
        for listed in entries.iter().filter(|listed| slice.has(listed.address)) {
            if self.set.len() < ADDRESSES && !self.set.contains_key(&listed.address) {
                self.set.insert(listed.address, *listed);
                self.by_slice.insert((finest(listed.address), listed.address));
                self.digest = self.digest.wrapping_add(listed_sum(listed));
            }
        }
    }
}

#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Staging {
    hosts: BTreeMap<HostId, Staged>,
}

impl Staging {
    /// A host has said a slice of its lists.
    pub fn part(&mut self, id: HostId, boot: u64, slice: Slice, entries: &[Listed]) {
        if let Some(staged) = self.of(id, boot) {
            staged.replace(slice, entries);
        }
    }

    /// The lists of a host, if they are whole, and whether they are the same as the last time.
    pub fn whole(
        &mut self,
        id: HostId,
        boot: u64,
        sum: Sum,
        now: Time,
    ) -> Option<(&BTreeMap<IpAddr, Listed>, bool)> {
        let staged = self.of(id, boot)?;
        if staged.digest != sum.digest {
            staged.behind.get_or_insert(now);
            if staged.nearer.is_none_or(|(_, digest)| digest != staged.digest) {
                staged.nearer = Some((now, staged.digest));
            }
            return None;
        }
        (staged.behind, staged.asked) = (None, None);
        let same = staged.taken.replace(staged.digest) == Some(staged.digest);
        Some((&staged.set, same))
    }

    /// What to ask a host with, unless it was asked less than `pause` ago: the sums of the slices.
    pub fn question(
        &mut self,
        id: HostId,
        sum: Sum,
        now: Time,
        pause: Duration,
    ) -> Option<Vec<u64>> {
        let staged = self.hosts.get_mut(&id)?;
        if staged.asked.is_some_and(|at| now < at + pause) {
            return None;
        }
        staged.asked = Some(now);
        Some(sums(staged.set.values().map(|l| (l.address, listed_sum(l))), sum.bits))
    }

    /// Whether the lists of a host in sight are not whole, and may be yet: it is given the timeout.
    /// One of which nothing is known yet is given it as often as more has arrived, within reason:
    /// nothing is to be taken over that it may have.
    pub fn awaits(&self, now: Time, timeout: Duration) -> bool {
        self.hosts.values().any(|staged| {
            let Some(behind) = staged.behind else { return false };
            let nearer = staged.nearer.filter(|_| staged.taken.is_none()).map(|(at, _)| at);
            let until = nearer.map_or(behind, |at| at.min(behind + timeout * LONGEST)) + timeout;
            now < until
        })
    }

    /// A host says its lists in its heartbeats, or is no longer in sight.
    pub fn forget(&mut self, id: HostId) {
        self.hosts.remove(&id);
    }

    fn of(&mut self, id: HostId, boot: u64) -> Option<&mut Staged> {
        if !self.hosts.contains_key(&id) && self.hosts.len() >= HOSTS {
            return None;
        }
        let staged = self.hosts.entry(id).or_insert_with(|| Staged::new(boot));
        if staged.boot != boot {
            *staged = Staged::new(boot);
        }
        Some(staged)
    }
}

#[cfg(test)]
mod tests;
