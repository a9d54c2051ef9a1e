//! An even spread: where one host has two addresses more than another that is no busier, the
//! leader moves one of them over. Hosts that were started one after the other share the work in
//! the end, and a host that comes back gets its part of it. What an address' preferred host holds
//! stays there.
//!
//! Each move brings two hosts nearer to each other in number and none is made towards a busier
//! host, so that the moves come to an end. They are made one at a time and not at once: nothing
//! is urgent about them.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use rais_common::time::Time;

use super::HostId;
use super::balance::{Balancer, Shift, is_crowded, movable};
use super::control::{Member, Row, Situation, place};
use super::placement::{ALIKE, Random, THOUSANDTHS, utilisation};
use super::tally::Tally;

/// How long a host has to be available before it is given a share: one that comes and goes is not
/// to take addresses along.
const STEADY_FOR: Duration = Duration::from_secs(3);

/// How long a leader leaves things alone after a change, in time and in heartbeats.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_HEARTBEATS: u32 = 10;

/// What a leader remembers of the spread.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Spreader {
    /// Nothing is moved before.
    calm_at: Option<Time>,
}

impl Spreader {
    /// The next move, if there is one. `moving`: some address of the group is on its way anyhow.
    /// `balancer`: what it moved lately stays where it is. `tally`: addresses by host.
    pub fn decide(
        &mut self,
        situation: &Situation<'_>,
        table: &BTreeMap<IpAddr, Row>,
        moving: bool,
        balancer: &Balancer,
        tally: &Tally,
        random: &mut Random,
    ) -> Option<Shift> {
        if !situation.spread {
            return None;
        }
        let now = situation.now;
        let pause = PAUSE.max(situation.heartbeat * PAUSE_HEARTBEATS);
        let calm_at = *self.calm_at.get_or_insert(now + pause);
        if moving {
            self.calm_at = Some(now + pause);
        }
        if moving || now < calm_at {
            return None;
        }
        let count = |host: HostId| tally.of(host);
        let mut sources: Vec<&Member<'_>> =
            situation.members.iter().filter(|m| m.follows).collect();
        sources.sort_by_key(|m| (Reverse(count(m.host)), m.host));
        let fewest = situation.members.iter().map(|m| count(m.host)).min()?;
        let shift = sources
            .into_iter()
            .take_while(|source| count(source.host) >= fewest + 2)
            .find_map(|source| shift_from(source, situation, table, balancer, tally, random))?;
        self.calm_at = Some(now + pause);
        Some(shift)
    }
}

/// An address that `source` has too many, and the host that has too few.
fn shift_from(
    source: &Member<'_>,
    situation: &Situation<'_>,
    table: &BTreeMap<IpAddr, Row>,
    balancer: &Balancer,
    tally: &Tally,
    random: &mut Random,
) -> Option<Shift> {
    let count = |host: HostId| tally.of(host);
    let level = |m: &Member<'_>| utilisation(m.info.load, m.info.capacity, THOUSANDTHS);
    let fits = |m: &Member<'_>| {
        let steady =
            m.available_since.is_some_and(|since| situation.now.since(since) >= STEADY_FOR);
        let alike = m.info.preferred.is_empty() == source.info.preferred.is_empty();
        let busier = level(m) >= level(source).saturating_add(ALIKE);
        let relieved = balancer.was_relieved(m.host);
        let crowded = situation.balance.is_some_and(|marks| is_crowded(m, source, marks));
        steady
            && alike
            && !busier
            && !relieved
            && !crowded
            && count(m.host) + 2 <= count(source.host)
    };
    movable(source, situation, table)
        .into_iter()
        .filter(|&(address, ..)| !balancer.rests(address))
        .find_map(|(address, row, epoch)| {
            let to = place(situation, address, row, tally, random, fits)?;
            Some(Shift { address, from: source.host, to, epoch })
        })
}

#[cfg(test)]
mod tests;
