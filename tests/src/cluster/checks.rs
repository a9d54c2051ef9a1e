//! What must hold, checked as the run goes on. The numbers are those of the design: I1 one host
//! answers, I2 addresses come online again, I3 who must not acquire, I4 nothing moves without
//! cause, I6 nobody answers past its lease.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rais::data_plane::memory::Arrival;
use rais::group::{Action, AddressState, Body, Failback, ListedState, Reason, Role};

use super::{Cluster, Move, Nanos, is_policy};

impl Cluster {
    /// I1 and I6, when a host has opened an address, sends its traffic elsewhere or renewed its
    /// lease. At every other moment the set of hosts that answer or accept only shrinks.
    pub(super) fn check_answers(&mut self, index: usize) {
        let host = &self.hosts[index];
        let local = host.clock.at(self.now);
        let longest = local + std::time::Duration::from_nanos(self.timing.lease);
        if host.plane.lease_deadline() > longest {
            self.fail(format_args!("I6: host {index} has a lease that is too long"));
        }
        for address in host.plane.addresses() {
            let accepting: Vec<usize> = self.accepting(address).into_iter().collect();
            for (n, &a) in accepting.iter().enumerate() {
                let mut others = accepting.iter().skip(n + 1);
                let other = others.find(|&&b| self.network.hear_one_another(self.now, a, b));
                if let Some(&b) = other {
                    self.fail(format_args!("I1: hosts {:?} answer for {address}", [a, b]));
                }
            }
        }
    }

    /// The hosts that a packet to the address may end up on, whichever it is sent to.
    fn accepting(&self, address: IpAddr) -> BTreeSet<usize> {
        (0..self.hosts.len()).filter_map(|first| self.ends_up(address, first)).collect()
    }

    /// Where a packet ends up that a client sends to a host.
    fn ends_up(&self, address: IpAddr, first: usize) -> Option<usize> {
        let (mut at, mut source) = (first, [0; 6]);
        for _ in 0..2 * self.hosts.len() {
            let host = &self.hosts[at];
            match host.plane.arrives(address, host.clock.at(self.now), source)? {
                Arrival::Accepted => return Some(at),
                Arrival::SentOn(to) => {
                    source = host.settings.mac;
                    at = self.hosts.iter().position(|host| host.settings.mac == to)?;
                }
            }
        }
        self.fail(format_args!("packets for {address} go round and round from host {first}"));
    }

    /// Rules for a single action.
    pub(super) fn check_step(&self, index: usize, action: &Action) {
        let host = &self.hosts[index];
        match action {
            Action::Configure { address, .. } => {
                let able = host.told_ok && !host.told_quiesced && !host.told_to_end;
                if !able || host.settings.role != Role::Member {
                    self.fail(format_args!("I3: host {index} acquires {address}"));
                }
            }
            Action::Heartbeat { message, .. } => {
                let Body::Info(info) = &message.body else {
                    self.fail(format_args!("host {index}: a heartbeat without information"));
                };
                let listed: BTreeSet<IpAddr> = info.host.served.iter().map(|s| s.address).collect();
                let open = host.plane.open_addresses();
                let conceded = open.iter().find(|address| !listed.contains(*address));
                if let Some(address) = conceded {
                    self.fail(format_args!("I1: host {index} concedes {address} while open"));
                }
                self.check_yields(index);
            }
            Action::Stopped if !host.plane.open_addresses().is_empty() => {
                self.fail(format_args!("I6: host {index} ends with open addresses"));
            }
            _ => {}
        }
    }

    /// I1, where a cut heals: once a host has heard that another one has an address under a higher
    /// epoch, it has it no more.
    fn check_yields(&self, index: usize) {
        let Some(view) = self.view(index) else { return };
        let id = self.hosts[index].id;
        let (own, others): (Vec<_>, Vec<_>) = view.hosts.iter().partition(|host| host.id == id);
        for served in own.iter().flat_map(|host| &host.info.served) {
            let mut theirs = others.iter().flat_map(|host| &host.info.served);
            let higher = theirs.any(|t| {
                let waits = t.state.waits() && !served.state.waits();
                t.address == served.address
                    && t.epoch > served.epoch
                    && t.state != AddressState::Releasing
                    && !waits
            });
            if higher {
                let address = served.address;
                self.fail(format_args!("I1: host {index} does not yield {address}"));
            }
        }
    }

    /// I4: the host that had the address before must have had a reason to lose it.
    pub(super) fn check_move(&mut self, to: usize, address: IpAddr) {
        let at = self.now;
        let calm = self.quiet_since();
        self.slowest = self.slowest.max(at.saturating_sub(calm));
        let before = self.openers.insert(address, (to, at));
        let from = before.map(|(from, _)| from);
        if from == Some(to) {
            return;
        }
        self.moves.push(Move { at, address, from, to });
        let Some((from, since)) = before else { return };
        let holder = &self.hosts[from];
        // A host that was paused may say what was true before the others started anew.
        let touched = holder.changed.max(self.thawed) >= since || self.anything_failed;
        let unheard = self.network.host_disturbed_until(from) >= since;
        // With a quorum a holder also depends on everybody else, and on what is only noticed later.
        let noticed = self.quiet_since() + self.timing.settles_within();
        let inquorate = holder.settings.quorum > 1 && noticed >= since;
        let ordered = self.policy_releases.get(&address).is_some_and(|&at| at >= since);
        if !touched && !unheard && !inquorate && !ordered {
            self.fail(format_args!("I4: {address} moved from host {from} to {to} for no reason"));
        }
    }

    /// An order to release that needs nothing to have happened to the holder. A failback that was
    /// put off, and a move, are changes of their own.
    pub(super) fn note_release(&mut self, leader: usize, address: IpAddr, reason: Reason) {
        if !is_policy(reason) {
            return;
        }
        let settings = &self.hosts[leader].settings;
        if reason == Reason::Failback && settings.failback == Failback::Never {
            self.fail(format_args!("I4: host {leader} fails {address} back, and is not to"));
        }
        self.policy_releases.insert(address, self.now);
        let moved =
            matches!(reason, Reason::Balance | Reason::Spread | Reason::Operator | Reason::Expired);
        if moved || matches!(settings.failback, Failback::After(_)) {
            self.changed = self.now;
        }
    }

    /// The last moment at which anything happened that may move addresses.
    fn quiet_since(&self) -> Nanos {
        self.changed.max(self.network.disturbed_until())
    }

    /// I2 (and the second half of I3), once nothing has changed for long enough.
    pub(super) fn check_settled(&mut self) {
        self.note_refusals();
        let paused = self.hosts.iter().any(|host| host.paused);
        let quiet = self.now.saturating_sub(self.quiet_since());
        if paused || self.network.is_cut() || quiet < self.timing.settles_within() {
            return;
        }
        let live = self.hosts.iter().filter(|host| host.lives()).count();
        let quorum = self.hosts[0].settings.quorum;
        let quorate = u32::try_from(live).unwrap() >= quorum;
        for address in self.valid_addresses() {
            let answering = self.answering(address);
            let able = (0..self.hosts.len()).any(|host| self.could_take(host, address));
            if self.has_expired(address) && !answering.is_empty() {
                self.fail(format_args!("I2: {answering:?} answer for {address}, which expired"));
            }
            match answering.as_slice() {
                [] if quorate && able => {
                    self.fail(format_args!("I2: nobody answers for {address}"));
                }
                [] => {}
                &[only] => self.check_holder(only, address, quorate),
                _ => self.fail(format_args!("I2: {answering:?} answer for {address}")),
            }
        }
    }

    /// Whether an address has outlived its preferred host for so long that nobody may have it.
    fn has_expired(&self, address: IpAddr) -> bool {
        let home = self.hosts.iter().find(|host| host.settings.preferred.contains(&address));
        home.is_some_and(|host| {
            let timeout = u64::try_from(host.settings.orphan_timeout.as_nanos()).unwrap();
            // Heartbeats that were held back make it younger, on their way or by a host that was
            // paused while it sent them.
            let late = self.network.clogged_until().max(self.thawed);
            let gone = self.now.saturating_sub(host.gone.max(late));
            host.group.is_none() && gone > timeout + self.timing.settles_within()
        })
    }

    /// While every host refuses an address, the moment when one can take it is still to come, and
    /// will be a change.
    fn note_refusals(&mut self) {
        let refused = |address: &IpAddr| {
            self.answering(*address).is_empty()
                && !(0..self.hosts.len()).any(|host| self.could_take(host, *address))
        };
        if self.anything_failed && self.valid_addresses().iter().any(refused) {
            self.changed = self.now;
        }
    }

    fn check_holder(&self, holder: usize, address: IpAddr, quorate: bool) {
        let host = &self.hosts[holder];
        let Some(view) = self.view(holder).filter(|_| host.lives()) else {
            self.fail(format_args!("I6: host {holder} answers for {address} without an agent"));
        };
        if !quorate || !host.told_ok || host.settings.role != Role::Member {
            self.fail(format_args!("I3: host {holder} still answers for {address}"));
        }
        let listed = view.addresses.iter().find(|listed| listed.address == address);
        if listed.is_none_or(|listed| listed.state != ListedState::Online) {
            self.fail(format_args!("I2: {address} is not online on host {holder} alone"));
        }
    }

    /// Whether this host could be assigned the address now.
    fn could_take(&self, host: usize, address: IpAddr) -> bool {
        let refuses = || {
            let view = self.view(host)?;
            let own = view.hosts.iter().find(|h| h.id == self.hosts[host].id)?;
            Some(own.info.refused.contains(&address))
        };
        self.hosts[host].can_serve() && refuses() == Some(false)
    }

    /// Addresses that some live host knows.
    fn valid_addresses(&self) -> BTreeSet<IpAddr> {
        (0..self.hosts.len())
            .filter(|&host| self.hosts[host].lives())
            .filter_map(|host| self.view(host))
            .flat_map(|view| view.addresses)
            .map(|listed| listed.address)
            .collect()
    }
}
