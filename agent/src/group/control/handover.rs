//! Addresses that their holder serves until another host is prepared to take them over.

use std::net::IpAddr;

use super::super::balance::Shift;
use super::super::placement::keeper;
use super::super::{AddressState, HostId, Reason};
use super::{Control, Decision, Row, Situation, Taken, leaves, rank};

/// A host that lists an address, in which state, and under which epoch.
type Listed = (HostId, AddressState, u64);

/// How often a hand-over is tried. A host that does not hear the holder cannot take part in one, nor
/// can one without the XDP program; then the holder is told to release the address first.
const HAND_OVERS: u8 = 3;

impl Control {
    /// Has an address go from its holder to another host. `before`: what was meant of it last.
    pub(super) fn hand_over(
        &mut self,
        situation: &Situation<'_>,
        shift: Shift,
        reason: Reason,
        before: Option<Taken>,
    ) -> Decision {
        let Shift { address, from, to, epoch } = shift;
        let same = before.filter(|before| before.epoch == epoch && before.to == Some(to));
        let tries = same.map_or(0, |before| before.tries).saturating_add(1);
        self.taken.insert(address, Taken { reason, to: Some(to), epoch, tries });
        let can = |host| situation.member(host).is_some_and(|member| member.info.hands_over());
        if tries > HAND_OVERS || !can(from) || !can(to) {
            return Decision::Release { address, to: from, epoch, reason, heir: None };
        }
        let next = situation.database.epoch(address).saturating_add(1);
        let (from, after) = (Some(from), Some(from));
        Decision::Acquire { address, from, to, epoch: next, reason, after }
    }

    /// An address that a host is to take over: its holder is told to let go once that host is
    /// prepared.
    pub(super) fn finish(
        &self,
        situation: &Situation<'_>,
        address: IpAddr,
        row: &Row,
        out: &mut Vec<Decision>,
    ) {
        let release = |(to, _, epoch): Listed, reason, heir| Decision::Release {
            address,
            to,
            epoch,
            reason,
            heir,
        };
        let (waiting, settled): (Vec<Listed>, Vec<Listed>) =
            row.holders.iter().copied().partition(|h| h.1.waits());
        let Some(&heir) = waiting.iter().max_by_key(|h| (h.2, h.0)) else { return };
        for taker in waiting {
            if self.is_overdue(situation, address, taker.0) {
                out.push(release(taker, Reason::Stuck, None));
            } else if taker != heir {
                out.push(release(taker, Reason::Duplicate, None));
            }
        }
        if settled.iter().any(|h| h.1 != AddressState::Online) {
            return;
        }
        let settled = Row { holders: &settled, valid: row.valid, preferred: row.preferred };
        if let &[holder] = settled.holders {
            let prepared = heir.1 == AddressState::Prepared && heir.2 > holder.2;
            if prepared && !self.is_overdue(situation, address, heir.0) {
                let reason = self.why(situation, address, holder.0, heir.0);
                out.push(release(holder, reason, Some(heir.0)));
            }
            return;
        }
        let keep = keeper(address, &rank(situation, &settled));
        let others = settled.holders.iter().filter(|h| Some(h.0) != keep);
        out.extend(others.map(|&h| release(h, Reason::Duplicate, None)));
    }

    /// Whether a host has been at it for too long.
    pub(super) fn is_overdue(
        &self,
        situation: &Situation<'_>,
        address: IpAddr,
        host: HostId,
    ) -> bool {
        self.waiting.is_overdue(situation, address, host)
    }

    /// Why an address goes over, where it was perhaps another leader that wanted it.
    fn why(
        &self,
        situation: &Situation<'_>,
        address: IpAddr,
        holder: HostId,
        heir: HostId,
    ) -> Reason {
        let meant = self.taken.get(&address).filter(|taken| taken.to == Some(heir));
        let left = situation.member(holder).is_some_and(leaves);
        let otherwise = if left { Reason::Shutdown } else { Reason::Superseded };
        meant.map_or(otherwise, |taken| taken.reason)
    }
}
