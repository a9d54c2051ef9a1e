//! Addresses that go from one host to another without a gap.
//!
//! The taker puts the address in place while its holder serves it (`Configuring` and `Ready` with a
//! partner). The holder then lets go: from one instant on it accepts nothing, and sends what still
//! comes to the taker, which accepts that at once, and opens for everybody when it hears that the
//! address is no longer listed. The holder keeps the address on its interface for a while
//! (`Draining`), and sends on for longer: until the neighbours must have noticed.

use std::net::IpAddr;
use std::time::Duration;

use rais_common::time::Time;

use super::{Holdings, Release, Stage};
use crate::group::{Action, HostId, Reason};

/// How long a holder sends on what still comes. A neighbour that heeds no announcement believes what
/// it knows for 45 s at most, uses it for five more, asks the old host three times, a second apart,
/// and then everybody (RFC 4861, 10, whose times Linux keeps to for ARP as well).
const GRACE: Duration = Duration::from_mins(1);

/// How long an address stays on the interface after it was handed over: services answer what they
/// were asked before, and need it as the source.
const DRAIN: Duration = Duration::from_millis(250);

/// The other host of a hand-over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::group) struct Partner {
    pub host: HostId,
    /// The hardware address of its service interface.
    pub mac: [u8; 6],
}

/// What still comes for an address is sent on.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct Forward {
    to: Partner,
    until: Time,
}

impl Holdings {
    /// The host that an address is to be taken over from, while that has not let go.
    pub fn awaited(&self, address: IpAddr) -> Option<HostId> {
        let waiting = |stage| matches!(stage, Stage::Configuring | Stage::Ready);
        let holding = self.held.get(&address).filter(|holding| waiting(holding.stage))?;
        holding.partner.map(|partner| partner.host)
    }

    /// Gives up what is not online, in order; the others are to be handed over. Says which.
    pub fn release_others(&mut self, now: Time, reason: Reason, out: &mut Vec<Action>) {
        for address in self.listed() {
            if self.held.get(&address).is_some_and(|holding| holding.stage != Stage::Online) {
                self.release(now, address, Release::by_itself(reason), out);
            }
        }
    }

    /// What is online, ascending.
    pub fn online_addresses(&self) -> Vec<IpAddr> {
        let online = self.held.iter().filter(|(_, holding)| holding.stage == Stage::Online);
        online.map(|(&address, _)| address).collect()
    }

    /// Stops answering and accepting: hands the address over, where there is a host for it.
    pub(super) fn let_go(&mut self, now: Time, address: IpAddr, out: &mut Vec<Action>) {
        let Some(holding) = self.held.get_mut(&address) else { return };
        let Some(to) = holding.partner.take() else {
            return self.clear(now, vec![address], None, out);
        };
        let epoch = holding.epoch;
        holding.stage = Stage::Draining;
        holding.deadline = now + DRAIN;
        let until = now + GRACE;
        self.changed.insert(address);
        self.forwards.insert(address, Forward { to, until });
        out.push(Action::Forward { address, to: to.mac, until, leased: true });
        out.push(Action::Measure { address, epoch });
    }

    /// What was under way is out: the address goes off the interface.
    pub(super) fn drained(&mut self, now: Time, address: IpAddr, out: &mut Vec<Action>) {
        let limit = self.limits.action;
        let Some(holding) = self.held.get_mut(&address) else { return };
        holding.stage = Stage::Clearing;
        holding.deadline = now + limit;
        out.push(Action::Deconfigure { address, epoch: holding.epoch });
    }

    /// Ends what has been sent on for long enough.
    pub(super) fn end_forwards(&mut self, now: Time, out: &mut Vec<Action>) {
        let over = self.forwards.iter().filter(|(_, forward)| now >= forward.until);
        let over: Vec<IpAddr> = over.map(|(&address, _)| address).collect();
        self.forwards.retain(|_, forward| now < forward.until);
        for address in over {
            self.end_forward(address, out);
        }
    }

    /// Nothing is sent on any more.
    pub fn end_all_forwards(&mut self, out: &mut Vec<Action>) {
        for address in std::mem::take(&mut self.forwards).into_keys() {
            self.end_forward(address, out);
        }
    }

    fn end_forward(&self, address: IpAddr, out: &mut Vec<Action>) {
        // One that could not be taken off the interface yet is still fenced.
        out.push(if self.held.contains_key(&address) {
            Action::Fence(vec![address])
        } else {
            Action::Forget(address)
        });
    }

    /// Another host serves an address: what still comes for it here goes there.
    pub fn follow(&mut self, address: IpAddr, to: Partner, out: &mut Vec<Action>) {
        let Some(forward) = self.forwards.get_mut(&address) else { return };
        if forward.to != to {
            forward.to = to;
            let until = forward.until;
            out.push(Action::Forward { address, to: to.mac, until, leased: true });
        }
    }

    /// The agent is about to end: what is sent on goes on without it.
    pub fn leave_forwards(&mut self, out: &mut Vec<Action>) {
        for (address, Forward { to, until }) in std::mem::take(&mut self.forwards) {
            out.push(Action::Forward { address, to: to.mac, until, leased: false });
        }
    }
}
