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

use super::control::{Member, Row, Situation, home, place};
use super::placement::{Random, affinity, utilisation};
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
        table: &BTreeMap<IpAddr, Row>,
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
        let shift = sources
            .into_iter()
            .find_map(|source| self.shift_from(source, situation, marks, table, tally, random))?;
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

    /// An address that `source` can be relieved of, and the host that has room for it.
    fn shift_from(
        &self,
        source: &Member<'_>,
        situation: &Situation<'_>,
        marks: Balance,
        table: &BTreeMap<IpAddr, Row>,
        tally: &Tally,
        random: &mut Random,
    ) -> Option<Shift> {
        let fits = |m: &Member<'_>| {
            m.host != source.host
                && level(m.info, marks) <= u64::from(marks.low)
                && !is_crowded(m, source, marks)
        };
        let movable = movable(source, situation, table).into_iter();
        movable.filter(|&(address, ..)| !self.rests(address)).find_map(|(address, row, epoch)| {
            let to = place(situation, address, row, tally, random, fits)?;
            Some(Shift { address, from: source.host, to, epoch })
        })
    }
}

/// What a host holds alone and is not at home there, with the epoch it is held under; in an order
/// that differs from host to host.
pub(super) fn movable<'a>(
    source: &Member<'_>,
    situation: &Situation<'_>,
    table: &'a BTreeMap<IpAddr, Row>,
) -> Vec<(IpAddr, &'a Row, u64)> {
    let mut movable: Vec<(IpAddr, &Row, u64)> = table
        .iter()
        .filter_map(|(&address, row)| {
            let &[(holder, _, epoch)] = row.holders.as_slice() else { return None };
            let at_home = home(situation, address, row).is_some_and(|m| m.host == holder);
            (row.valid && holder == source.host && !at_home).then_some((address, row, epoch))
        })
        .collect();
    movable.sort_by_key(|&(address, ..)| affinity(address, source.host));
    movable
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
