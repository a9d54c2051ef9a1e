//! Load balancing among hosts: from one that stays above the high water mark the leader moves
//! floating and orphaned addresses, one at a time, to hosts at or below the low one. An address
//! that its preferred host holds stays there.
//!
//! Three things keep addresses from wandering. Measurements get the time to follow a move before
//! the next one. A move is not made if an average address of the holder would lift the new one
//! above the high water mark: that would only move the trouble. And since an address may carry
//! more than the average, one that was moved rests.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use rais_common::time::Time;

use super::control::{Member, Situation, home, place};
use super::membership::available;
use super::placement::{Random, affinity, utilisation};
use super::table::{Row, Table};
use super::tally::Tally;
use super::{Balance, HostId, HostInfo};

/// How long a host has to be above the high water mark without a break, in time and in heartbeats:
/// load is measured over a second, and told once a heartbeat. A burst is over by then.
const ABOVE_FOR: Duration = Duration::from_secs(3);
const ABOVE_HEARTBEATS: u32 = 10;

/// How long a leader leaves things alone after a move has come to its end: clients take seconds to
/// reconnect, and only then does the load measured tell what the move has brought.
const COOLDOWN: Duration = Duration::from_secs(10);

/// How long an address is not moved again: one so busy that no host bears it moves twelve times in
/// an hour at most, not every few seconds.
const REST: Duration = Duration::from_mins(5);

/// An address that is to change its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shift {
    pub address: IpAddr,
    pub from: HostId,
    pub to: HostId,
    /// The epoch it is held under.
    pub epoch: u64,
}

/// What a leader remembers of loads and moves.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Balancer {
    /// Since when a host has been above the high water mark.
    above: BTreeMap<HostId, Time>,
    /// Nothing is moved before.
    cool_at: Option<Time>,
    /// When an address was moved.
    moved: BTreeMap<IpAddr, Time>,
    /// When a host was last relieved of an address.
    relieved: BTreeMap<HostId, Time>,
}

impl Balancer {
    /// The next move, if there is one. `moving`: some address of the group is on its way anyhow,
    /// and nothing is added to that. `tally`: addresses by host.
    pub fn decide(
        &mut self,
        situation: &Situation<'_>,
        table: &Table,
        moving: bool,
        tally: &Tally,
        random: &mut Random,
    ) -> Option<Shift> {
        let marks = situation.balance?;
        let now = situation.now;
        self.note_levels(situation, marks);
        self.moved.retain(|_, &mut at| now.since(at) < REST);
        self.relieved.retain(|_, &mut at| now.since(at) < REST);
        self.cool_at = self.cool_at.filter(|&at| now < at);
        if moving || self.cool_at.is_some() {
            self.cool_at = self.cool_at.map(|at| if moving { now + COOLDOWN } else { at });
            return None;
        }
        let long = ABOVE_FOR.max(situation.heartbeat * ABOVE_HEARTBEATS);
        let stays = |host| self.above.get(&host).is_some_and(|&since| now.since(since) >= long);
        let mut sources: Vec<&Member<'_>> =
            situation.members.iter().filter(|m| m.follows && stays(m.host)).collect();
        sources.sort_by_key(|m| (Reverse(level(m.info, marks)), m.host));
        if sources.is_empty() {
            return None;
        }
        let mut movable = Movable::new(situation, table);
        let shift = sources.into_iter().find_map(|source| {
            let fits = |m: &&Member<'_>| {
                m.host != source.host
                    && m.follows
                    && available(m.info)
                    && level(m.info, marks) <= u64::from(marks.low)
                    && !is_crowded(m, source, marks)
            };
            let fitting = || situation.members.iter().filter(fits).map(|m| m.host).collect();
            movable.shift(source.host, fitting, situation, self, tally, random)
        })?;
        self.cool_at = Some(now + COOLDOWN);
        self.moved.insert(shift.address, now);
        self.relieved.insert(shift.from, now);
        Some(shift)
    }

    /// Whether an address was moved lately and is to stay for now.
    pub fn rests(&self, address: IpAddr) -> bool {
        self.moved.contains_key(&address)
    }

    /// Whether a host had too much to do lately, and is not to be given more for evenness' sake.
    pub fn was_relieved(&self, host: HostId) -> bool {
        self.relieved.contains_key(&host)
    }

    fn note_levels(&mut self, situation: &Situation<'_>, marks: Balance) {
        let before = std::mem::take(&mut self.above);
        self.above = situation
            .members
            .iter()
            .filter(|m| level(m.info, marks) > u64::from(marks.high))
            .map(|m| (m.host, before.get(&m.host).copied().unwrap_or(situation.now)))
            .collect();
    }
}

/// What may be taken from the hosts that have it, by host.
#[derive(Debug)]
pub(super) struct Movable<'a>(BTreeMap<HostId, Vec<(IpAddr, Row<'a>, u64)>>);

impl<'a> Movable<'a> {
    /// What a host holds alone and is not at home there, with the epoch it is held under. The table
    /// is gone through once for all hosts.
    pub fn new(situation: &Situation<'_>, table: &'a Table) -> Self {
        let mut movable: BTreeMap<HostId, Vec<_>> = BTreeMap::new();
        for (address, row) in table.iter().filter(|(_, row)| row.valid) {
            let &[(holder, _, epoch)] = row.holders else { continue };
            let own = row.preferred == Some(holder);
            if !(own && home(situation, address, &row).is_some()) {
                movable.entry(holder).or_default().push((address, row, epoch));
            }
        }
        Self(movable)
    }

    /// An address that `source` can be relieved of, and the host that takes it: one of those that
    /// are `fitting`, ascending. What the balancer moved lately stays where it is. Each source is
    /// asked about once.
    pub fn shift(
        &mut self,
        source: HostId,
        fitting: impl FnOnce() -> Vec<HostId>,
        situation: &Situation<'_>,
        balancer: &Balancer,
        tally: &Tally,
        random: &mut Random,
    ) -> Option<Shift> {
        let mut movable = self.0.remove(&source)?;
        let fitting = fitting();
        if fitting.is_empty() {
            return None;
        }
        // In an order that differs from host to host.
        movable.sort_by_cached_key(|&(address, ..)| affinity(address, source));
        let fits = |m: &Member<'_>| fitting.binary_search(&m.host).is_ok();
        let mut movable = movable.into_iter().filter(|&(address, ..)| !balancer.rests(address));
        movable.find_map(|(address, row, epoch)| {
            let to = place(situation, address, &row, tally, random, fits)?;
            Some(Shift { address, from: source, to, epoch })
        })
    }
}

/// Whether an average address of `source` would lift this host above the high mark.
pub(super) fn is_crowded(host: &Member<'_>, source: &Member<'_>, marks: Balance) -> bool {
    let after = host.info.load.saturating_add(average(source.info));
    utilisation(after, host.info.capacity, marks.scale) > u64::from(marks.high)
}

/// Utilisation in the scale of the marks.
fn level(info: &HostInfo, marks: Balance) -> u64 {
    utilisation(info.load, info.capacity, marks.scale)
}

/// What an address of this host carries on average.
fn average(info: &HostInfo) -> u32 {
    let addresses = u32::try_from(info.served.len()).unwrap_or(u32::MAX);
    info.load / addresses.max(1)
}

#[cfg(test)]
pub(super) mod tests;
