//! This host's part in hand-overs (see `holding::handover`).
//!
//! A taker opens on positive knowledge only: it has seen the holder list the address when it was
//! told to take over, and sees it not list it any more. Silence is none: a holder that is not heard
//! may be cut off from this host alone.

use std::net::IpAddr;

use rais_common::time::Time;

use super::holding::{Partner, Release};
use super::membership::available;
use super::{Action, AddressState, Group, HostId, OrderEntry, Phase, Reason};

impl Group {
    /// A host in sight as the other side of a hand-over.
    pub(super) fn partner(&self, host: HostId) -> Option<Partner> {
        self.members.get(host).map(|peer| Partner { host, mac: peer.info.mac })
    }

    /// Whether an order to acquire can be obeyed as far as the holder goes: there is none, or it is
    /// seen to serve the address, and nobody else is. Somebody the holder does not hear may.
    pub(super) fn sees_holder(&self, entry: &OrderEntry) -> bool {
        let Some(holder) = entry.other else { return true };
        let mut serving = self.members.iter().filter_map(|(host, peer)| {
            let served = &peer.info.served;
            let place = served.binary_search_by_key(&entry.address, |served| served.address);
            let listed = place.ok().and_then(|n| served.get(n)).filter(|s| !s.state.waits());
            listed.map(|served| (host, served.epoch))
        });
        let only =
            serving.next().is_some_and(|(host, epoch)| host == holder && epoch < entry.epoch);
        only && serving.next().is_none()
    }

    /// Gives an address up as the leader `by` orders.
    pub(super) fn release(
        &mut self,
        now: Time,
        by: HostId,
        entry: &OrderEntry,
        out: &mut Vec<Action>,
    ) {
        let heir = entry.other.and_then(|taker| self.partner(taker));
        let release = Release { reason: entry.reason, by: Some(by), heir };
        self.holdings.release(now, entry.address, release, out);
    }

    /// Whether a prepared host may open an address that no host in sight lists. One whose holder is
    /// out of sight gives it up: who has it is for the leader to find out.
    pub(super) fn may_open(&mut self, now: Time, address: IpAddr, out: &mut Vec<Action>) -> bool {
        let Some(holder) = self.holdings.awaited(address) else { return true };
        let seen = self.members.get(holder).is_some();
        if !seen {
            self.holdings.withdraw(now, vec![address], Reason::HostDown, out);
        }
        seen
    }

    /// The agent is to end. What is online waits for others to be prepared.
    pub(super) fn begin_leaving(&mut self, now: Time, out: &mut Vec<Action>) {
        if self.phase != Phase::Leaving {
            self.phase = Phase::Leaving;
            self.leaving_since = now;
            self.changed = true;
        }
        self.holdings.release_others(now, Reason::Shutdown, out);
    }

    /// Releases what nobody is going to take over. The others have two timeouts to begin: for a
    /// leader to be found and its orders to be repeated.
    pub(super) fn watch_leaving(&mut self, now: Time, out: &mut Vec<Action>) {
        if self.phase != Phase::Leaving {
            return;
        }
        let able = self.ok() && self.members.iter().any(|(_, peer)| available(&peer.info));
        let began = self.leaving_since + self.settings.timeout * 2;
        let end = began + self.settings.action_limit * 3;
        for address in self.holdings.online_addresses() {
            let awaited = now < began || self.is_wanted(address);
            if !(able && awaited && now < end) {
                let release = Release::by_itself(Reason::Shutdown);
                self.holdings.release(now, address, release, out);
            }
        }
    }

    /// Whether another host is about to take over the address.
    fn is_wanted(&self, address: IpAddr) -> bool {
        self.members.iter().any(|(_, peer)| {
            let mut served = peer.info.served.iter();
            served.any(|served| served.address == address && served.state.waits())
        })
    }

    /// What this host sends on goes to whoever serves it now.
    pub(super) fn follow_forwards(&mut self, source: HostId, out: &mut Vec<Action>) {
        let Some(to) = self.partner(source) else { return };
        let Some(peer) = self.members.get(source) else { return };
        for served in peer.info.served.iter().filter(|s| s.state == AddressState::Online) {
            self.holdings.follow(served.address, to, out);
        }
    }
}
