//! The leader's turn: what `control` decides becomes orders, to others by message, to this host
//! itself directly.

use std::collections::BTreeMap;
use std::net::IpAddr;

use rais_common::time::Time;

use super::control::{Decision, Member, Pending, Situation};
use super::table::ALL;
use super::{
    Action, Body, Group, HostId, MoveRefusal, ORDER_LIMIT, Order, OrderEntry, Phases, Placement,
    Report, election,
};

impl Group {
    /// The leader's turn. `anew`: something has changed since the last one.
    pub(super) fn give_orders(&mut self, now: Time, anew: bool, out: &mut Vec<Action>) {
        let me = self.settings.host;
        let timeout = self.patience();
        let agreed = election::may_order(me, self.leading_since, now, timeout, &self.members);
        let requested = self.requested.take();
        if let Some((asker, request)) = requested.filter(|_| !self.quorum_met) {
            self.refuse_move(asker, request.address, MoveRefusal::NoQuorum, out);
        }
        if !agreed || !self.may_hold(now) {
            let served = |a: &IpAddr| self.holdings.epoch(*a).is_some() || self.members.lists(*a);
            let unserved = self.database.iter().map(|(a, _)| a).filter(|a| !served(a));
            self.control.unserved.update(now, ALL, unserved);
            self.pause_to_be_leader(now);
            return;
        }
        let own = self.own_info(now);
        let mut members: Vec<Member<'_>> = self
            .members
            .iter()
            .map(|(host, peer)| Member {
                host,
                info: &peer.info,
                follows: peer.info.leader == Some(me),
                available_since: peer.available_since,
            })
            .collect();
        // This host's own availability began, at the latest, when it began to lead.
        let since = Some(self.leading_since);
        members.push(Member { host: me, info: &own, follows: true, available_since: since });
        members.sort_unstable_by_key(|member| member.host);
        let situation = Situation {
            now,
            me,
            members,
            others: &self.members,
            database: &self.database,
            failback: self.settings.failback,
            placement: self.settings.placement,
            balance: self.settings.balance,
            spread: self.settings.spread && self.settings.placement == Placement::LeastUtilised,
            heartbeat: self.settings.heartbeat,
            stuck_after: (self.settings.action_limit * 2).saturating_add(timeout),
            timeout,
        };
        let mut decisions = self.control.decide(&situation, anew, &mut self.random);
        let refused = requested.and_then(|(asker, request)| {
            match self.control.operator(&situation, &request, &decisions) {
                Ok(decision) => {
                    decisions.extend(decision);
                    None
                }
                Err(refusal) => Some((asker, request.address, refusal)),
            }
        });
        self.pause_to_decide(now, !decisions.is_empty());
        self.carry_out(now, &decisions, out);
        if let Some((asker, address, refusal)) = refused {
            self.refuse_move(asker, address, refusal, out);
        }
    }

    /// Gives the orders, to this host itself directly, to others by message.
    fn carry_out(&mut self, now: Time, decisions: &[Decision], out: &mut Vec<Action>) {
        let mut orders: BTreeMap<(HostId, bool), Vec<OrderEntry>> = BTreeMap::new();
        for decision in decisions {
            let (acquire, address, from, to, epoch, reason, other) = match *decision {
                Decision::Acquire { address, from, to, epoch, reason, after } => {
                    (true, address, from, to, epoch, reason, after)
                }
                Decision::Release { address, to, epoch, reason, heir } => {
                    (false, address, Some(to), to, epoch, reason, heir)
                }
                Decision::CannotAssign(address) => {
                    out.push(Action::Report(Report::CannotAssign(address)));
                    continue;
                }
            };
            let phases = if acquire {
                let fall = from.and_then(|from| self.members.fall(from));
                self.control.unserved.phases(now, address, fall)
            } else {
                Phases::default()
            };
            let report = Report::Ordered { acquire, address, from, to, epoch, reason, phases };
            out.push(Action::Report(report));
            let entry = OrderEntry { address, epoch, reason, other };
            if to != self.settings.host {
                orders.entry((to, acquire)).or_default().push(entry);
            } else if acquire {
                self.acquire(now, to, &entry, out);
            } else {
                self.release(now, to, &entry, out);
            }
        }
        for ((to, acquire), entries) in orders {
            for entries in entries.chunks(ORDER_LIMIT) {
                self.send_order(now, to, acquire, entries, out);
            }
        }
    }

    fn send_order(
        &mut self,
        now: Time,
        to: HostId,
        acquire: bool,
        entries: &[OrderEntry],
        out: &mut Vec<Action>,
    ) {
        let Some(to_boot) = self.members.get(to).map(|peer| peer.boot) else { return };
        let order = Order { to, entries: entries.to_vec() };
        let body = if acquire { Body::Acquire(order) } else { Body::Release(order) };
        let message = self.message(body);
        let number = (message.boot, message.sequence);
        for entry in entries {
            let pending = Pending { to, to_boot, message: number, given: now, acquire };
            self.control.sent(entry.address, pending);
            if acquire {
                self.database.assigned(entry.address, entry.epoch);
            }
        }
        out.push(Action::Send(message));
    }
}
