//! What this host makes of the others' messages: who they are, what they hold, what its leader
//! orders.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rais_common::time::Time;

use super::holding::Assignment;
use super::membership::Arrival;
use super::placement::keeper;
use super::{
    Action, AddressState, Body, Group, HostId, Info, Listed, Message, Order, OrderEntry, Part,
    Phase, Reason, Record, Report, claims, control,
};

impl Group {
    pub(super) fn received(
        &mut self,
        now: Time,
        at: Time,
        message: Message,
        out: &mut Vec<Action>,
    ) {
        let Message { source, boot, sequence, body } = message;
        if source == self.settings.host || !self.members.is_fresh(source, boot, sequence) {
            return;
        }
        match body {
            Body::Info(info) => self.info(now, at, (source, boot, sequence), *info, out),
            Body::Acquire(order) => {
                self.members.heard(source, boot, sequence, at);
                self.ordered(now, at, source, true, &order, out);
            }
            Body::Release(order) => {
                self.members.heard(source, boot, sequence, at);
                self.ordered(now, at, source, false, &order, out);
            }
            Body::Move(request) => {
                self.members.heard(source, boot, sequence, at);
                if now.since(at) < self.settings.timeout {
                    self.move_requested(now, source, request);
                }
            }
            Body::MoveRefused(answer) => {
                self.members.heard(source, boot, sequence, at);
                self.move_answered(source, &answer, out);
            }
            Body::Part(part) => {
                self.members.heard(source, boot, sequence, at);
                self.part(now, at, (source, boot), &part, out);
            }
            Body::Ask(ask) => {
                self.members.heard(source, boot, sequence, at);
                self.answer(now, &ask, out);
            }
        }
    }

    fn info(
        &mut self,
        now: Time,
        at: Time,
        (source, boot, sequence): (HostId, u64, u64),
        mut info: Info,
        out: &mut Vec<Action>,
    ) {
        let own = info.known.iter().find(|k| k.id == self.settings.host);
        let acknowledged = own.map(|k| (k.boot, k.sequence));
        self.note_heard(source, boot, &info, at);
        if let Some(remembered) = own.map(|k| k.boot).filter(|&b| b > self.boot) {
            self.boot = remembered.saturating_add(1);
            self.sequence = 0;
            self.changed = true;
            out.push(Action::Report(Report::BootRaised));
        }
        self.members.told(now, at, &info.known, self.settings.timeout, self.settings.host);
        self.merge(&info.database, at);
        self.members.note_lease(source, info.lease);
        match info.lists {
            Some(sum) if !self.members.complete(source, boot, sum, &mut info.host, now) => {
                // It is alive; what it has is not known, and nothing is decided meanwhile.
                self.members.heard(source, boot, sequence, at);
                self.ask_lists(now, source, sum, out);
                return;
            }
            Some(_) => {}
            None => self.members.staging.forget(source),
        }
        let Some(news) = self.members.update(source, boot, sequence, at, info.host, acknowledged)
        else {
            return;
        };
        if news.arrival != Arrival::Known {
            self.members.note_lease(source, info.lease);
            self.changed = true;
            out.push(Action::Report(Report::HostUp(source)));
        }
        if news.arrival == Arrival::Returned {
            // A partition may have healed: neighbours may have learned the other side's answer.
            self.holdings.announce_again(now, |_| true);
        }
        let awaited = news.acknowledged && self.control.awaits(source);
        self.stirred |= news.lists || news.standing || awaited;
        if news.lists {
            self.note_lists(source);
            self.follow_forwards(source, out);
        }
        if self.members.compare(source) || news.lists {
            self.yield_to(now, source, out);
        }
        self.compare_database(now, source, info.records, out);
    }

    /// Some of what a host has to say beside its heartbeat.
    fn part(
        &mut self,
        now: Time,
        at: Time,
        (source, boot): (HostId, u64),
        part: &Part,
        out: &mut Vec<Action>,
    ) {
        match part {
            Part::Lists(slice, entries) => {
                self.members.staging.part(source, boot, *slice, entries);
                self.yield_at_once(now, entries, out);
            }
            Part::Records(records) => {
                self.merge(records, at);
                self.stirred = true;
            }
        }
    }

    /// Takes what another host knows of the addresses into the database.
    fn merge(&mut self, records: &[Record], at: Time) {
        let (own, members) = (&self.settings, &self.members);
        for record in records {
            let claimed = |by: HostId| claims(own, members, by, record.address);
            self.database.merge(record, at, own.orphan_timeout, claimed);
        }
    }

    /// Takes the addresses that `source` calls its own or serves into the database.
    fn note_lists(&mut self, source: HostId) {
        let Some(peer) = self.members.get(source) else { return };
        let (own, members) = (&self.settings, &self.members);
        let claimed = |by: HostId, address: IpAddr| claims(own, members, by, address);
        for &address in &peer.info.preferred {
            self.database.claim(address, Some(source), peer.heard, |by| claimed(by, address));
        }
        for served in peer.info.served.iter().filter(|s| s.state == AddressState::Online) {
            self.database.served(served.address, source, served.epoch);
        }
    }

    /// Compares what `source` lists with what this host has. The one that does not keep an address
    /// stops answering at once, without waiting for a leader.
    fn yield_to(&mut self, now: Time, source: HostId, out: &mut Vec<Action>) {
        let Some(peer) = self.members.get(source) else { return };
        let (host, own_info) = (self.settings.host, self.own_standing());
        let mut lost = Vec::new();
        let mut contested = BTreeSet::new();
        for theirs in &peer.info.served {
            let Some(epoch) = self.holdings.epoch(theirs.address) else { continue };
            let awaited = self.holdings.awaited(theirs.address);
            let waits = awaited.is_some();
            // A hand-over: one of the two waits for the other to let go. Where a third host serves
            // the address too, nothing comes of it.
            let over = waits && !theirs.state.waits();
            let lets_go = over && theirs.epoch < epoch && awaited == Some(source);
            if !waits && theirs.state.waits() || lets_go {
                continue;
            }
            contested.insert((source, theirs.address));
            let settled = theirs.state == AddressState::Releasing;
            let preferred = self.database.get(theirs.address).and_then(|e| e.preferred);
            let me = control::holder(host, epoch, &own_info, preferred);
            let other = control::holder(source, theirs.epoch, &peer.info, preferred);
            let keeps = keeper(theirs.address, &[me, other]) == Some(host);
            if over || !settled && !keeps {
                lost.push(theirs.address);
            }
        }
        self.holdings.withdraw(now, lost, Reason::Superseded, out);
        self.end_contests(now, source, &contested);
    }

    /// Stops answering for what another host serves under a later assignment. Its lists may not be
    /// whole for a long time, while thousands of addresses change hosts; what it has in a part of
    /// them it has. Hand-overs, and which of two with the same epoch keeps an address, are decided
    /// by whole lists.
    fn yield_at_once(&mut self, now: Time, entries: &[Listed], out: &mut Vec<Action>) {
        let later = |listed: &&Listed| {
            let address = listed.address;
            let Some((state, epoch)) = listed.served else { return false };
            let goes = state.waits() || state == AddressState::Releasing;
            let awaits = self.holdings.awaited(address).is_some();
            !goes && !awaits && self.holdings.epoch(address).is_some_and(|own| own < epoch)
        };
        let superseded = entries.iter().filter(later).map(|listed| listed.address).collect();
        self.holdings.withdraw(now, superseded, Reason::Superseded, out);
    }

    /// Announces again what `source` listed too and does not list any more.
    pub(super) fn end_contests(
        &mut self,
        now: Time,
        source: HostId,
        still: &BTreeSet<(HostId, IpAddr)>,
    ) {
        let ended: BTreeSet<IpAddr> = self
            .contested
            .iter()
            .filter(|c| c.0 == source && !still.contains(c))
            .map(|c| c.1)
            .collect();
        self.contested.retain(|c| c.0 != source);
        self.contested.extend(still.iter().copied());
        self.holdings.announce_again(now, |address| ended.contains(&address));
    }

    /// An order, obeyed only if it is for this host and from its leader. One that waited in a
    /// socket for as long as the timeout is no longer meant.
    fn ordered(
        &mut self,
        now: Time,
        at: Time,
        from: HostId,
        acquire: bool,
        order: &Order,
        out: &mut Vec<Action>,
    ) {
        if Some(from) != self.leader || now.since(at) >= self.settings.timeout {
            return;
        }
        for entry in &order.entries {
            if order.to != self.settings.host {
                if acquire {
                    self.database.assigned(entry.address, entry.epoch);
                }
            } else if acquire {
                self.acquire(now, from, entry, out);
            } else if self.holdings.epoch(entry.address).is_some_and(|held| held <= entry.epoch) {
                self.release(now, from, entry, out);
            }
        }
    }

    /// Takes an address on as the leader `by` orders, if this host can: a member, OK, not quiesced,
    /// within the quorum, not serving it already, and not told before by somebody who knew more.
    pub(super) fn acquire(
        &mut self,
        now: Time,
        by: HostId,
        entry: &OrderEntry,
        out: &mut Vec<Action>,
    ) {
        let able = self.ok() && !self.quiesced && self.phase == Phase::Member && self.may_hold(now);
        let serving = self.holdings.epoch(entry.address).is_some();
        let stale = entry.epoch <= self.database.epoch(entry.address);
        if !able || serving || stale || !self.sees_holder(entry) {
            return;
        }
        self.database.assigned(entry.address, entry.epoch);
        let from = self.database.get(entry.address).and_then(|known| known.last_holder);
        let OrderEntry { address, epoch, reason, other } = *entry;
        let partner = other.and_then(|holder| self.partner(holder));
        let assignment = Assignment { epoch, reason, from, by, partner };
        self.holdings.acquire(now, address, assignment, out);
    }
}
