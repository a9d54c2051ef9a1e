//! What must hold in every state. The numbers are those of the design: I1 one host answers, I2
//! addresses come online again, I3 who must not acquire.

use std::net::IpAddr;

use rais::data_plane::memory::Arrival;
use rais::group::{Body, Message};

use super::host::Host;
use super::setup::{SETTLED, Setup};
use super::world::World;
use crate::cluster::hardware;

impl World {
    /// I1, when a host has opened an address, sends its traffic elsewhere or renewed its lease. At
    /// every other moment the set of hosts that answer or accept only shrinks.
    pub(super) fn check_answers(&mut self, setup: &Setup, index: usize) {
        for address in setup.addresses() {
            let mut accepting: Vec<usize> =
                (0..self.hosts.len()).filter_map(|first| self.ends_up(address, first)).collect();
            accepting.sort_unstable();
            accepting.dedup();
            for (n, &a) in accepting.iter().enumerate() {
                let other = accepting.iter().skip(n + 1).find(|&&b| self.hear(a, b));
                if let Some(&b) = other {
                    let what = format!("I1: hosts {:?} answer for {address}", [a, b]);
                    self.break_rule(index, what);
                }
            }
        }
    }

    /// The host on which a packet to the address ends up that a client sends to another.
    fn ends_up(&mut self, address: IpAddr, first: usize) -> Option<usize> {
        let (now, hosts) = (self.time(), self.hosts.len());
        let (mut at, mut source) = (first, [0; 6]);
        for _ in 0..2 * hosts {
            match self.hosts[at].arrives(address, now, hardware(at), source)? {
                Arrival::Accepted => return Some(at),
                Arrival::SentOn(to) => {
                    source = hardware(at);
                    at = (0..hosts).find(|&host| hardware(host) == to)?;
                }
            }
        }
        self.break_rule(first, format_args!("packets for {address} go round and round"));
        None
    }

    /// Whether neither has missed so many heartbeats of the other in a row that it had to count
    /// it as dead although it was there.
    fn hear(&self, a: usize, b: usize) -> bool {
        let hosts = self.hosts.len();
        let excused = |from: usize, to: usize| self.paths[from * hosts + to].excused;
        self.now >= excused(a, b).max(excused(b, a))
    }

    /// I3, when a host opens an address.
    pub(super) fn check_able(&mut self, index: usize, does: &str, address: IpAddr) {
        if !self.knows(index, |host| host.ok) {
            self.break_rule(index, format_args!("I3: host {index} fails and {does} {address}"));
        }
    }

    /// I3, when a host takes an address on.
    pub(super) fn check_able_to_take(&mut self, index: usize, address: IpAddr) {
        self.check_able(index, "acquires", address);
        if !self.knows(index, |host| !host.quiesced) {
            let what = format_args!("I3: host {index} is quiesced and acquires {address}");
            self.break_rule(index, what);
        }
    }

    /// Whether something is so of a host, as far as its group has been told.
    fn knows(&self, index: usize, so: impl Fn(&Host) -> bool) -> bool {
        let host = &self.hosts[index];
        so(host) || !host.inbox.is_empty()
    }

    /// I1: an address is closed before a heartbeat says that it is not served.
    pub(super) fn check_heartbeat(&mut self, index: usize, message: &Message) {
        let Body::Info(info) = &message.body else { return };
        let listed = |address: &IpAddr| info.host.served.iter().any(|s| s.address == *address);
        let open = self.hosts[index].open.keys().find(|address| !listed(address)).copied();
        if let Some(address) = open {
            let what = format_args!("I1: host {index} concedes {address} while open");
            self.break_rule(index, what);
        }
    }

    /// Whether a host that lives has heard of the address.
    fn is_known(&self, address: IpAddr) -> bool {
        let groups = self.hosts.iter().filter(|h| h.lives()).filter_map(|h| h.group.as_ref());
        let mut listed = groups.flat_map(|group| group.view(self.time()).addresses);
        listed.any(|listed| listed.address == address)
    }

    /// I2, and that a failed host releases all (I3), once nothing has happened for long enough.
    pub(super) fn check_settled(&mut self, setup: &Setup) {
        let slow = self.hosts.iter().any(|host| !host.jobs.is_empty());
        if self.now - self.quiet < SETTLED || slow {
            return;
        }
        let live = self.hosts.iter().filter(|host| host.lives()).count();
        let quorate = u32::try_from(live).unwrap() >= setup.quorum;
        let able = quorate && self.hosts.iter().any(|host| host.can_serve());
        for address in setup.addresses() {
            match self.answering(address).as_slice() {
                [] if able && self.is_known(address) => {
                    self.break_rule(0, format_args!("I2: nobody answers for {address}"));
                }
                &[only] if !quorate || !self.hosts[only].lives() || !self.hosts[only].ok => {
                    let what = format_args!("I3: host {only} still answers for {address}");
                    self.break_rule(only, what);
                }
                [] | &[_] => {}
                several => {
                    let what = format!("I2: {several:?} answer for {address}");
                    self.break_rule(0, what);
                }
            }
        }
    }
}

impl Setup {
    pub(super) fn is_home(&self, world: &World) -> bool {
        self.homes.iter().enumerate().any(|(n, home)| {
            let answering = world.answering(self.address(n));
            home.map_or(!answering.is_empty(), |home| answering == [home])
        })
    }

    pub(super) fn is_away(&self, world: &World) -> bool {
        self.homes.iter().enumerate().any(|(n, &home)| {
            let answering = world.answering(self.address(n));
            answering.first().is_some_and(|&host| Some(host) != home && self.epoch(world, n) > 1)
        })
    }

    pub(super) fn has_come_back(&self, world: &World) -> bool {
        self.homes.iter().enumerate().any(|(n, &home)| {
            let answering = world.answering(self.address(n));
            let back = home.is_none() || answering.first().copied() == home;
            back && self.epoch(world, n) > 2
        })
    }

    /// The epoch under which an address is open, 0 where it is not.
    fn epoch(&self, world: &World, n: usize) -> u64 {
        let epochs = world.hosts.iter().filter_map(|host| host.open.get(&self.address(n)));
        epochs.copied().max().unwrap_or(0)
    }
}
