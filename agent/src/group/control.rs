//! The leader's work: a table of who serves what, and for each address one decision.
//!
//! The rules are those of the control thread, in this order; the first that applies decides:
//! 1. acquiring or releasing anywhere: wait, but not for ever;
//! 2. nobody holds it: the preferred host, else a spare, else an eligible host (one that nobody
//!    ever held waits while its preferred host is joining);
//! 3. held, but not by its available preferred host: failback by policy;
//! 4. several holders: one keeps it, the others release.
//!
//! Where all that is in order and nothing is under way, one address at most goes from a host that
//! has too much to do to one that has room (`balance`), or from one that has many addresses to one
//! that has few (`spread`).
//!
//! An address that its holder still serves is handed over (`handover`): the next one is told to
//! acquire it first, and the holder to release it when that one is prepared.
//!
//! An order that may still be on its way blocks its address until the host it went to has shown,
//! by its own heartbeat, that it took the order or never will.

mod handover;
mod sweep;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use rais_common::time::Time;

use super::balance::{Balancer, Shift};
use super::membership::{Membership, available};
use super::orphan::Database;
use super::phases::Unserved;
use super::placement::{Candidate, Holder, Random, THOUSANDTHS, choose, keeper, utilisation};
use super::spread::Spreader;
use super::table::{ALL, Row, Table};
use super::tally::Tally;
use super::{
    AddressState, Balance, Failback, HostId, HostInfo, MoveRefusal, MoveRequest, Phase, Placement,
    Reason,
};

use sweep::Sweep;
use waiting::Waiting;

/// A host as the leader sees it, itself included.
#[derive(Clone, Debug)]
pub(super) struct Member<'a> {
    pub host: HostId,
    pub info: &'a HostInfo,
    /// Follows this leader, so that it would take its orders.
    pub follows: bool,
    pub available_since: Option<Time>,
}

/// What the leader decided about one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// `after`: the host that serves the address until this one is prepared.
    Acquire {
        address: IpAddr,
        from: Option<HostId>,
        to: HostId,
        epoch: u64,
        reason: Reason,
        after: Option<HostId>,
    },
    /// `heir`: the host that is prepared to take it over.
    Release {
        address: IpAddr,
        to: HostId,
        epoch: u64,
        reason: Reason,
        heir: Option<HostId>,
    },
    CannotAssign(IpAddr),
}

impl Decision {
    pub fn address(&self) -> IpAddr {
        match *self {
            Self::Acquire { address, .. }
            | Self::Release { address, .. }
            | Self::CannotAssign(address) => address,
        }
    }
}

/// Everything a decision depends on.
#[derive(Debug)]
pub(super) struct Situation<'a> {
    pub now: Time,
    pub me: HostId,
    /// Ascending by id; the lists of each are ascending, too.
    pub members: Vec<Member<'a>>,
    pub others: &'a Membership,
    pub database: &'a Database,
    pub failback: Failback,
    pub placement: Placement,
    pub balance: Option<Balance>,
    pub spread: bool,
    pub heartbeat: Duration,
    /// After what time acquiring or releasing counts as failed.
    pub stuck_after: Duration,
    /// After what time an order that waits somewhere is not obeyed any more.
    pub timeout: Duration,
}

impl<'a> Situation<'a> {
    /// A host in sight, or this one.
    pub fn member(&self, host: HostId) -> Option<&Member<'a>> {
        let found = self.members.binary_search_by_key(&host, |member| member.host).ok();
        found.and_then(|n| self.members.get(n))
    }
}

/// An order that has been given and not yet been acknowledged.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct Pending {
    pub to: HostId,
    pub to_boot: u64,
    /// Boot and sequence of the message it went in.
    pub message: (u64, u64),
    pub given: Time,
    pub acquire: bool,
}

/// What the leader had in mind when it took an address from its holder.
#[derive(Clone, Copy, Debug, Hash)]
struct Taken {
    reason: Reason,
    /// The host that is to have it, if it still can when the time comes.
    to: Option<HostId>,
    /// The epoch it was held under.
    epoch: u64,
    /// How often that was tried.
    tries: u8,
}

/// Most acquisitions decided in one turn: more would keep the heartbeat waiting.
const ACQUIRE_AT_ONCE: usize = 1_024;

/// Most addresses gone through in one turn.
pub(super) const LOOKED_AT: usize = 2_048;

/// How often it is tried to have an address go elsewhere.
const TRIES: u8 = 5;

impl Taken {
    /// Where an address that is held under this epoch is still meant to go: where the order was
    /// lost, it is given again.
    fn again(self, situation: &Situation<'_>, address: IpAddr, epoch: u64) -> Option<HostId> {
        let target = situation.member(self.to?)?;
        let lost = self.epoch == epoch && self.tries < TRIES && can_take(target, address);
        lost.then_some(target.host)
    }
}

/// What the leader remembers between two turns.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Control {
    pending: BTreeMap<IpAddr, Pending>,
    waiting: Waiting,
    taken: BTreeMap<IpAddr, Taken>,
    unassignable: BTreeSet<IpAddr>,
    /// For how long nobody has had an address, which is told with the order about it.
    pub unserved: Unserved,
    balancer: Balancer,
    spreader: Spreader,
    sweep: Sweep,
}

impl Control {
    /// Another host leads, or this one again: starts from nothing but the orders that may still be
    /// on their way. A host that led for an instant only in between has not stopped them.
    pub fn clear(&mut self) {
        *self = Self { pending: std::mem::take(&mut self.pending), ..Self::default() };
    }

    /// Addresses that no host can take.
    pub fn unassignable(&self) -> impl Iterator<Item = IpAddr> {
        self.unassignable.iter().copied()
    }

    /// Notes that an order left for another host.
    pub fn sent(&mut self, address: IpAddr, pending: Pending) {
        self.pending.insert(address, pending);
    }

    /// Whether this host has been given an order that may still be on its way.
    pub fn awaits(&self, host: HostId) -> bool {
        self.pending.values().any(|pending| pending.to == host)
    }

    /// There was more to decide than is decided in one turn, or something has changed behind it.
    pub const fn unfinished(&self) -> bool {
        self.sweep.is_unfinished()
    }

    /// Not all addresses were looked at yet.
    pub const fn is_amid(&self) -> bool {
        self.sweep.next().is_some()
    }

    /// The next turn begins with the first address.
    pub fn begin_anew(&mut self) {
        self.sweep = Sweep::default();
    }

    /// What has changed cannot wait: see [`Sweep::hurry`].
    pub fn hurry(&mut self) {
        self.sweep.hurry();
    }

    /// The next turn is to come without a pause, and to begin anew.
    pub const fn hurries(&self) -> bool {
        self.sweep.hurries()
    }

    /// One decision at most for each address; of very many addresses, for some. `anew`: something
    /// has changed since the last turn, so that all are to be looked at.
    pub fn decide(
        &mut self,
        situation: &Situation<'_>,
        anew: bool,
        random: &mut Random,
    ) -> Vec<Decision> {
        self.sweep.begin(anew);
        let table = Table::some(situation, self.sweep.next(), LOOKED_AT);
        self.take_note(situation, &table);
        let mut tally = Tally::new(situation, self.promised(situation));
        let mut decisions = Vec::new();
        let mut next = table.end();
        for (address, row) in table.iter() {
            if tally.given() >= ACQUIRE_AT_ONCE {
                next = Some(address);
                break;
            }
            if !self.pending.contains_key(&address) {
                self.decide_address(situation, address, &row, &mut tally, random, &mut decisions);
            }
        }
        if self.sweep.end(next, !decisions.is_empty()) {
            let shift = self.shift(situation, &table, &tally, random);
            let decision = |(shift, reason)| self.hand_over(situation, shift, reason, None);
            decisions.extend(shift.map(decision));
        }
        decisions
    }

    /// What has become of the addresses of the table since they were last looked at.
    fn take_note(&mut self, situation: &Situation<'_>, table: &Table) {
        let span = table.span();
        self.waiting.update(situation, table);
        let unserved = table.iter().filter(|(_, row)| row.valid && row.holders.is_empty());
        self.unserved.update(situation.now, span, unserved.map(|(address, _)| address));
        self.pending.extract_if(span, |&address, p| !is_open(address, p, situation)).for_each(drop);
        let gone = |&address: &IpAddr| table.get(address).is_none();
        self.unassignable.extract_if(span, gone).for_each(drop);
    }

    /// Some address is on its way, or may be.
    fn is_under_way(&self) -> bool {
        !(self.pending.is_empty() && self.waiting.is_empty())
    }

    /// The one address that changes its host although nothing is wrong with it.
    fn shift(
        &mut self,
        situation: &Situation<'_>,
        table: &Table,
        tally: &Tally,
        random: &mut Random,
    ) -> Option<(Shift, Reason)> {
        let mut moving = self.sweep.has_decided() || self.is_under_way();
        // Where something is under way nothing is looked for, else in all there are.
        let all = (!moving && table.span() != ALL).then(|| Table::new(situation));
        if let Some(all) = &all {
            self.waiting.update(situation, all);
            moving = self.is_under_way();
        }
        let table = all.as_ref().unwrap_or(table);
        let balancer = &mut self.balancer;
        let relief = balancer.decide(situation, table, moving, tally, random);
        let moving = moving || relief.is_some();
        let even = self.spreader.decide(situation, table, moving, balancer, tally, random);
        let relief = relief.map(|shift| (shift, Reason::Balance));
        relief.or(even.map(|shift| (shift, Reason::Spread)))
    }

    /// What becomes of an operator's request, after everything else was decided in `decisions`.
    /// None where the leader is at it already.
    pub fn operator(
        &mut self,
        situation: &Situation<'_>,
        request: &MoveRequest,
        decisions: &[Decision],
    ) -> Result<Option<Decision>, MoveRefusal> {
        let MoveRequest { address, to, .. } = *request;
        let table = Table::new(situation);
        let row = table.get(address).filter(|row| row.valid);
        let row = &row.ok_or(MoveRefusal::UnknownAddress)?;
        let target = situation.member(to).ok_or(MoveRefusal::UnknownHost)?;
        let meant = self.taken.get(&address).is_some_and(|t| t.to == Some(to));
        let given = self.pending.get(&address).is_some_and(|p| p.acquire && p.to == to);
        if meant || given {
            return Ok(None);
        }
        let &[(holder, AddressState::Online, epoch)] = row.holders else {
            return Err(MoveRefusal::Moving);
        };
        if holder == to {
            return Err(MoveRefusal::HasIt);
        }
        refuses(target, address).map_or(Ok(()), Err)?;
        let claimant = home(situation, address, row).filter(|m| m.host != to);
        let returns = claimant.is_some_and(|m| can_take(m, address));
        if returns && situation.failback != Failback::Never {
            return Err(MoveRefusal::FailsBack);
        }
        let ordered = decisions.iter().any(|decision| decision.address() == address);
        let obeys = situation.member(holder).is_some_and(|m| m.follows);
        if ordered || !obeys || self.pending.contains_key(&address) {
            return Err(MoveRefusal::Moving);
        }
        let shift = Shift { address, from: holder, to, epoch };
        Ok(Some(self.hand_over(situation, shift, Reason::Operator, None)))
    }

    fn decide_address(
        &mut self,
        situation: &Situation<'_>,
        address: IpAddr,
        row: &Row<'_>,
        tally: &mut Tally,
        random: &mut Random,
        out: &mut Vec<Decision>,
    ) {
        let release = |(to, _, epoch): (HostId, AddressState, u64), reason| Decision::Release {
            address,
            to,
            epoch,
            reason,
            heir: None,
        };
        if !row.valid {
            let holders = row.holders.iter().filter(|h| h.1 != AddressState::Releasing);
            out.extend(holders.map(|&h| release(h, Reason::Expired)));
            return;
        }
        if row.holders.iter().any(|h| h.1.waits()) {
            return self.finish(situation, address, row, out);
        }
        let moving = |h: &&(HostId, AddressState, u64)| h.1 != AddressState::Online;
        if row.holders.iter().any(|h| moving(&h)) {
            // One that is releasing cannot be told more than that; its own limit ends it.
            let acquiring = row.holders.iter().filter(|h| h.1 == AddressState::Acquiring);
            let overdue = acquiring.filter(|h| self.is_overdue(situation, address, h.0));
            out.extend(overdue.map(|&h| release(h, Reason::Stuck)));
            return;
        }
        match row.holders {
            [] => out.extend(self.assign(situation, address, row, tally, random)),
            &[only] => {
                self.unassignable.remove(&address);
                let meant = self.taken.remove(&address);
                let again = meant.and_then(|t| t.again(situation, address, only.2));
                let (to, reason) = if fails_back(situation, address, row, only.0) {
                    (row.preferred, Reason::Failback)
                } else if let (Some(to), Some(meant)) = (again, meant) {
                    (Some(to), meant.reason)
                } else if situation.member(only.0).is_some_and(leaves) {
                    (place(situation, address, row, tally, random, |_| true), Reason::Shutdown)
                } else {
                    return;
                };
                let Some(to) = to else { return };
                tally.add(to);
                let shift = Shift { address, from: only.0, to, epoch: only.2 };
                out.push(self.hand_over(situation, shift, reason, meant));
            }
            holders => {
                let keep = keeper(address, &rank(situation, row));
                let others = holders.iter().filter(|h| Some(h.0) != keep);
                out.extend(others.map(|&h| release(h, Reason::Duplicate)));
            }
        }
    }

    /// Finds a host for an address that nobody holds.
    fn assign(
        &mut self,
        situation: &Situation<'_>,
        address: IpAddr,
        row: &Row<'_>,
        tally: &mut Tally,
        random: &mut Random,
    ) -> Option<Decision> {
        if awaits_preferred(situation, address, row) {
            return None;
        }
        let meant = self
            .taken
            .get(&address)
            .and_then(|taken| taken.to)
            .filter(|&to| situation.member(to).is_some_and(|m| can_take(m, address)));
        let to = meant.or_else(|| place(situation, address, row, tally, random, |_| true));
        let Some(to) = to else {
            return self.unassignable.insert(address).then_some(Decision::CannotAssign(address));
        };
        self.unassignable.remove(&address);
        tally.add(to);
        let entry = situation.database.get(address);
        let from = entry.and_then(|e| e.last_holder);
        let epoch = situation.database.epoch(address).saturating_add(1);
        // Kept until the address is served: the order may be lost, and the next has the same reason.
        let reason = self
            .taken
            .get(&address)
            .map_or_else(|| why_unserved(situation, address, from), |taken| taken.reason);
        Some(Decision::Acquire { address, from, to, epoch, reason, after: None })
    }

    /// What hosts have been told to acquire and do not list yet.
    fn promised(&self, situation: &Situation<'_>) -> impl Iterator<Item = (IpAddr, HostId)> {
        let listed = |address: IpAddr, host: HostId| {
            let served = situation.member(host).map(|member| &member.info.served);
            served.is_some_and(|s| s.binary_search_by_key(&address, |s| s.address).is_ok())
        };
        let acquire = self.pending.iter().filter(|(_, pending)| pending.acquire);
        let promised = acquire.map(|(&address, pending)| (address, pending.to));
        promised.filter(move |&(address, host)| !listed(address, host))
    }
}

/// Its agent is ending.
fn leaves(member: &Member<'_>) -> bool {
    member.info.phase == Phase::Leaving
}

/// Whether a pending order may still be taken, so that its address has to wait.
fn is_open(address: IpAddr, pending: &Pending, situation: &Situation<'_>) -> bool {
    let Some(peer) = situation.others.get(pending.to) else { return false };
    if peer.boot != pending.to_boot {
        return false;
    }
    let listed = peer.info.served.binary_search_by_key(&address, |s| s.address).ok();
    let state = listed.and_then(|n| peer.info.served.get(n)).map(|s| s.state);
    let taken = if pending.acquire {
        state.is_some()
    } else {
        state.is_none_or(|s| s == AddressState::Releasing)
    };
    if taken {
        return false;
    }
    // It has handled a later message of ours, or does not hear us at all. That it follows another
    // leader is not enough: it may follow us again when the order arrives.
    let handled = peer.acknowledged >= Some(pending.message);
    let follows = peer.info.leader == Some(situation.me);
    let deaf = !follows && situation.now.since(pending.given) >= situation.timeout;
    !handled && !deaf
}

/// Where an address goes that nobody holds: home, else to a spare, else to another host, among
/// those that can take it and fit.
pub(super) fn place(
    situation: &Situation<'_>,
    address: IpAddr,
    row: &Row<'_>,
    tally: &Tally,
    random: &mut Random,
    fits: impl Fn(&Member<'_>) -> bool,
) -> Option<HostId> {
    let able = |m: &&Member<'_>| can_take(m, address) && fits(m);
    if let Some(home) = home(situation, address, row).filter(able) {
        return Some(home.host);
    }
    let (spares, eligible): (Vec<_>, Vec<_>) =
        situation.members.iter().filter(able).partition(|m| m.info.preferred.is_empty());
    let pool = if spares.is_empty() { eligible } else { spares };
    let candidates: Vec<Candidate> = pool
        .into_iter()
        .map(|m| {
            let addresses = tally.of(m.host);
            let unseen = addresses.saturating_sub(m.info.served.len());
            let shown = utilisation(m.info.load, m.info.capacity, THOUSANDTHS);
            let to_come = tally.share().saturating_mul(u64::try_from(unseen).unwrap_or(u64::MAX));
            Candidate { host: m.host, utilisation: shown.saturating_add(to_come), addresses }
        })
        .collect();
    choose(address, &candidates, situation.placement, random)
}

/// Whether a host can be assigned this address now.
fn can_take(member: &Member<'_>, address: IpAddr) -> bool {
    available(member.info) && member.follows && !member.info.refused.contains(&address)
}

/// Why a host cannot be assigned this address now: [`can_take`] in words.
fn refuses(member: &Member<'_>, address: IpAddr) -> Option<MoveRefusal> {
    let info = member.info;
    if info.phase != Phase::Member || !member.follows {
        Some(MoveRefusal::NotMember)
    } else if !info.ok {
        Some(MoveRefusal::NotOk)
    } else if info.quiesced {
        Some(MoveRefusal::Quiesced)
    } else if info.refused.contains(&address) {
        Some(MoveRefusal::Refuses)
    } else {
        None
    }
}

/// Nobody has had the address yet and its preferred host is about to take part: hosts that start
/// together do not end their joining together, and the first of them is not to take everything.
/// Whether its tests pass may not be known yet.
fn awaits_preferred(situation: &Situation<'_>, address: IpAddr, row: &Row<'_>) -> bool {
    situation.database.epoch(address) == 0
        && home(situation, address, row)
            .is_some_and(|m| m.info.phase == Phase::Joining && !m.info.quiesced)
}

/// The preferred host, if it is in sight and still calls the address its own. One that was started
/// anew with another configuration leaves it orphaned.
pub(super) fn home<'a>(
    situation: &'a Situation<'a>,
    address: IpAddr,
    row: &Row<'_>,
) -> Option<&'a Member<'a>> {
    let member = situation.member(row.preferred?)?;
    member.info.preferred.binary_search(&address).is_ok().then_some(member)
}

fn fails_back(situation: &Situation<'_>, address: IpAddr, row: &Row<'_>, holder: HostId) -> bool {
    if row.preferred == Some(holder) {
        return false;
    }
    let able = |m: &&Member<'_>| m.host != holder && can_take(m, address);
    let Some(preferred) = home(situation, address, row).filter(able) else { return false };
    match situation.failback {
        Failback::Immediate => true,
        Failback::After(pause) => {
            preferred.available_since.is_some_and(|since| situation.now.since(since) >= pause)
        }
        Failback::Never => false,
    }
}

/// The holders of an address, with what decides among them.
fn rank(situation: &Situation<'_>, row: &Row<'_>) -> Vec<Holder> {
    row.holders
        .iter()
        .filter_map(|&(host, _, epoch)| {
            let member = situation.member(host)?;
            Some(holder(host, epoch, member.info, row.preferred))
        })
        .collect()
}

/// A holder as [`keeper`] compares it.
pub(super) fn holder(
    host: HostId,
    epoch: u64,
    info: &HostInfo,
    preferred: Option<HostId>,
) -> Holder {
    Holder {
        host,
        epoch,
        preferred: preferred == Some(host) && available(info),
        spare: info.preferred.is_empty() && available(info),
    }
}

/// Why nobody serves an address, as far as its last holder shows.
fn why_unserved(situation: &Situation<'_>, address: IpAddr, from: Option<HostId>) -> Reason {
    let Some(from) = from else { return Reason::Unserved };
    match situation.member(from) {
        None => Reason::HostDown,
        Some(m) if m.info.phase == Phase::Leaving => Reason::Shutdown,
        Some(m) if m.info.phase == Phase::Joining => Reason::LeaseLapsed,
        Some(m) if !m.info.ok => Reason::TestFailed,
        Some(m) if m.info.refused.contains(&address) => Reason::AcquireFailed,
        Some(_) => Reason::Unserved,
    }
}

#[cfg(test)]
pub(super) mod tests;
