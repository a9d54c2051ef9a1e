//! An even spread: where one host has two addresses more than another that is no busier, the
//! leader moves one of them over. Hosts that were started one after the other share the work in
//! the end, and a host that comes back gets its part of it. What an address' preferred host holds
//! stays there.
//!
//! Each move brings two hosts nearer to each other in number and none is made towards a busier
//! host, so that the moves come to an end. They are made one at a time and not at once: nothing
//! is urgent about them.

use std::cmp::Reverse;
use std::time::Duration;

use rais_common::time::Time;

use super::HostId;
use super::balance::{Balancer, Movable, Shift, is_crowded};
use super::control::{Member, Situation};
use super::membership::available;
use super::placement::{ALIKE, Random, THOUSANDTHS, utilisation};
use super::table::Table;
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
        table: &Table,
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
        let following = situation.members.iter().filter(|m| m.follows);
        let members: Vec<(usize, &Member<'_>)> = following.map(|m| (tally.of(m.host), m)).collect();
        let mut targets = members.clone();
        targets.retain(|&(_, m)| is_steady(m, now));
        targets.sort_by_key(|&(count, _)| count);
        let &(fewest, _) = targets.first()?;
        let mut sources = members;
        sources.retain(|&(count, _)| count >= fewest + 2);
        if sources.is_empty() {
            return None;
        }
        sources.sort_by_key(|&(count, m)| (Reverse(count), m.host));
        let mut movable = Movable::new(situation, table);
        let shift = sources.into_iter().find_map(|(count, source)| {
            let fitting = || {
                let fewer = targets.iter().take_while(|&&(has, _)| has + 2 <= count);
                let fitting = fewer.filter(|(_, m)| takes_from(m, source, situation, balancer));
                let mut hosts: Vec<HostId> = fitting.map(|(_, m)| m.host).collect();
                hosts.sort_unstable();
                hosts
            };
            movable.shift(source.host, fitting, situation, balancer, tally, random)
        })?;
        self.calm_at = Some(now + pause);
        Some(shift)
    }
}

/// Whether a host could be given addresses, and that for some time.
fn is_steady(host: &Member<'_>, now: Time) -> bool {
    let since = host.available_since.filter(|_| available(host.info));
    since.is_some_and(|since| now.since(since) >= STEADY_FOR)
}

/// Whether a host is to take addresses from one that has more of them.
fn takes_from(
    host: &Member<'_>,
    source: &Member<'_>,
    situation: &Situation<'_>,
    balancer: &Balancer,
) -> bool {
    let level = |m: &Member<'_>| utilisation(m.info.load, m.info.capacity, THOUSANDTHS);
    let alike = host.info.preferred.is_empty() == source.info.preferred.is_empty();
    let busier = level(host) >= level(source).saturating_add(ALIKE);
    let relieved = || balancer.was_relieved(host.host);
    let crowded = || situation.balance.is_some_and(|marks| is_crowded(host, source, marks));
    alike && !busier && !relieved() && !crowded()
}

#[cfg(test)]
mod tests;
