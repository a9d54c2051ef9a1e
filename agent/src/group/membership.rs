//! The other hosts: who is in sight, what they last said, and when silence makes one dead.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use rais_common::time::Time;

use super::phases::Fall;
use super::{HostId, HostInfo, Known, Phase};

/// Most other hosts a group keeps track of; more are not heard.
const LIMIT: usize = 4_096;

/// Another host, as far as this one has heard of it.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub boot: u64,
    pub sequence: u64,
    /// When its last message was received.
    pub heard: Time,
    pub info: HostInfo,
    /// The newest message of ours that it has handled: boot and sequence.
    pub acknowledged: Option<(u64, u64)>,
    /// Since when it could be assigned addresses without a break.
    pub available_since: Option<Time>,
}

/// What accepting a heartbeat meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It was in sight already.
    Known,
    /// It is heard for the first time.
    New,
    /// It is heard again after it had fallen silent.
    Returned,
}

/// A host that is no longer in sight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Departure {
    pub host: HostId,
    /// How it fell silent; none where it said goodbye first.
    pub fall: Option<Fall>,
}

#[derive(Debug, Default)]
pub(super) struct Membership {
    peers: BTreeMap<HostId, Peer>,
    /// Hosts that are no longer in sight.
    lost: BTreeMap<HostId, Lost>,
    hidden: BTreeMap<HostId, Hidden>,
}

/// What is remembered of a host that is no longer in sight.
#[derive(Clone, Copy, Debug)]
struct Lost {
    /// Boot and sequence, so that neither can be replayed.
    last: (u64, u64),
    fall: Option<Fall>,
}

/// A host that another one in sight hears, and this one does not.
#[derive(Clone, Copy, Debug)]
struct Hidden {
    /// When this host was first told.
    since: Time,
    /// When it will have been silent for the timeout to those who told.
    until: Time,
}

impl Membership {
    pub fn get(&self, id: HostId) -> Option<&Peer> {
        self.peers.get(&id)
    }

    /// All hosts in sight, ascending by id.
    pub fn iter(&self) -> impl Iterator<Item = (HostId, &Peer)> {
        self.peers.iter().map(|(&id, peer)| (id, peer))
    }

    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether any host in sight lists the address, in whatever state.
    pub fn lists(&self, address: IpAddr) -> bool {
        self.peers
            .values()
            .any(|peer| peer.info.served.binary_search_by_key(&address, |s| s.address).is_ok())
    }

    /// Whether a message is newer than everything heard from its source.
    pub fn is_fresh(&self, id: HostId, boot: u64, sequence: u64) -> bool {
        let last = match self.peers.get(&id) {
            Some(peer) => Some((peer.boot, peer.sequence)),
            None => self.lost.get(&id).map(|lost| lost.last),
        };
        last.is_none_or(|last| (boot, sequence) > last)
    }

    /// Takes note of a fresh order: it acknowledges nothing, but proves the host alive.
    pub fn heard(&mut self, id: HostId, boot: u64, sequence: u64, at: Time) {
        if let Some(peer) = self.peers.get_mut(&id)
            && peer.boot == boot
        {
            peer.sequence = sequence;
            peer.heard = peer.heard.max(at);
        }
    }

    /// Takes up a fresh heartbeat. `None` where there is no room for another host.
    pub fn update(
        &mut self,
        id: HostId,
        boot: u64,
        sequence: u64,
        at: Time,
        mut info: HostInfo,
        acknowledged: Option<(u64, u64)>,
    ) -> Option<Arrival> {
        // As promised by the sender, but searched on that promise: see `lists`.
        info.served.sort_unstable_by_key(|served| served.address);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.available_since =
                peer.available_since.filter(|_| peer.boot == boot).filter(|_| available(&info));
            peer.available_since = peer.available_since.or(available(&info).then_some(at));
            peer.boot = boot;
            peer.sequence = sequence;
            peer.heard = peer.heard.max(at);
            peer.info = info;
            peer.acknowledged = acknowledged;
            return Some(Arrival::Known);
        }
        if self.peers.len() >= LIMIT {
            return None;
        }
        self.hidden.remove(&id);
        let arrival =
            if self.lost.remove(&id).is_some() { Arrival::Returned } else { Arrival::New };
        let available_since = available(&info).then_some(at);
        self.peers
            .insert(id, Peer { boot, sequence, heard: at, info, acknowledged, available_since });
        Some(arrival)
    }

    /// Takes note of what a host in sight has heard: of others that it heard since this host did.
    pub fn told(&mut self, now: Time, at: Time, known: &[Known], timeout: Duration, me: HostId) {
        for other in known {
            let news = self.is_fresh(other.id, other.boot, other.sequence);
            let in_sight = other.id == me || self.peers.contains_key(&other.id);
            if in_sight || !news || other.age >= timeout || self.hidden.len() >= LIMIT {
                continue;
            }
            let until = at.minus(other.age) + timeout;
            let hidden = self.hidden.entry(other.id).or_insert(Hidden { since: now, until });
            hidden.until = hidden.until.max(until);
        }
    }

    /// Whether others hear a host that this one does not, and may yet: it is given the timeout.
    pub fn awaits_hidden(&self, now: Time, timeout: Duration) -> bool {
        self.hidden.values().any(|hidden| now < hidden.until && now < hidden.since + timeout)
    }

    /// Removes every host that has been silent for `timeout`.
    pub fn expire(&mut self, now: Time, timeout: Duration) -> Vec<Departure> {
        self.hidden.retain(|_, hidden| now < hidden.until);
        let silent: Vec<HostId> = self
            .iter()
            .filter(|(_, peer)| now.since(peer.heard) >= timeout)
            .map(|(id, _)| id)
            .collect();
        let mut departed = Vec::with_capacity(silent.len());
        for host in silent {
            if let Some(peer) = self.peers.remove(&host) {
                let orderly = peer.info.phase == Phase::Leaving;
                let fall = Fall { judged: now, silence: now.since(peer.heard) };
                let fall = (!orderly).then_some(fall);
                departed.push(Departure { host, fall });
                if self.lost.len() < LIMIT {
                    self.lost.insert(host, Lost { last: (peer.boot, peer.sequence), fall });
                }
            }
        }
        departed
    }

    /// How a host that is no longer in sight fell silent.
    pub fn fall(&self, id: HostId) -> Option<Fall> {
        self.lost.get(&id)?.fall
    }

    /// When the next host will have been silent for `timeout`.
    pub fn next_expiry(&self, timeout: Duration) -> Option<Time> {
        self.peers.values().map(|peer| peer.heard + timeout).min()
    }

    /// When the `n`-th most recently heard host was heard (`n` from 1).
    pub fn heard_by_rank(&self, n: usize) -> Option<Time> {
        let mut heard: Vec<Time> = self.peers.values().map(|peer| peer.heard).collect();
        heard.sort_unstable_by(|a, b| b.cmp(a));
        heard.get(n.checked_sub(1)?).copied()
    }

    /// What the heartbeat says of the others.
    pub fn known(&self, now: Time) -> Vec<Known> {
        self.iter()
            .map(|(id, peer)| Known {
                id,
                boot: peer.boot,
                sequence: peer.sequence,
                age: now.since(peer.heard),
            })
            .collect()
    }
}

/// Whether a host may be assigned addresses at all.
pub(super) fn available(info: &HostInfo) -> bool {
    info.ok && !info.quiesced && info.phase == Phase::Member
}
