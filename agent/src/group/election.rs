//! Who leads: the live member with the lowest id.
//!
//! A leader gives orders once every host in sight follows it, or once it has waited for the
//! timeout. Until then an order of its predecessor may still be on its way to a host; a host that
//! says it follows the new leader has shown, in the same message, what it took from the old one,
//! and takes nothing from it any more. Hosts that are still joining have to follow as well: where
//! two end their joining at the same moment, each sees the other join and would lead alone.
//!
//! A host that has lost the leader from sight alone does not lead: as long as one in sight follows
//! a lower id, that one is heard and gives the orders.
//!
//! It also waits, no longer than the timeout, for hosts that others hear and it does not yet: where
//! a cut heals, the first host it hears again knows of the others, whose addresses are served.

use std::time::Duration;

use rais_common::time::Time;

use super::membership::Membership;
use super::{HostId, Phase};

/// The lowest id among this host, if it is a member, and the members in sight.
pub(super) fn leader(me: HostId, phase: Phase, others: &Membership) -> Option<HostId> {
    let own = (phase == Phase::Member).then_some(me);
    own.into_iter().chain(others.first_member()).min()
}

/// Whether the leader may give orders.
pub(super) fn may_order(
    me: HostId,
    since: Time,
    now: Time,
    timeout: Duration,
    others: &Membership,
) -> bool {
    let staying = || others.iter().filter(|(_, peer)| peer.info.phase != Phase::Leaving);
    if staying().any(|(_, peer)| peer.info.leader.is_some_and(|leader| leader < me)) {
        return false;
    }
    let followed = staying().all(|(_, peer)| peer.info.leader == Some(me));
    (followed || now >= since + timeout) && !others.awaits_hidden(now, timeout)
}

#[cfg(test)]
mod tests;
