//! The other hosts: who is in sight, what they last said, and when silence makes one dead.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use rais_common::time::Time;

use super::parts::fill;
use super::phases::Fall;
use super::staging::Staging;
use super::{HostId, HostInfo, Known, Phase, Served, Sum};

/// Most other hosts a group keeps track of; more are not heard.
const LIMIT: usize = 4_096;

/// Another host, as far as this one has heard of it.
#[derive(Clone, Debug, Hash)]
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
    /// How long it may answer after its last message.
    pub lease: Duration,
    /// Its list was compared with this host's own, and neither has changed since.
    pub compared: bool,
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

/// What a heartbeat brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct News {
    pub arrival: Arrival,
    /// Its lists of addresses are not those of its last heartbeat.
    pub lists: bool,
    /// Something else that a decision may hang on is not: anything but its load.
    pub standing: bool,
    /// It has handled a later message of ours.
    pub acknowledged: bool,
}

/// A host that is no longer in sight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Departure {
    pub host: HostId,
    /// How it fell silent; none where it said goodbye first.
    pub fall: Option<Fall>,
}

#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Membership {
    peers: BTreeMap<HostId, Peer>,
    /// Those of them that take part: who leads is asked at every message.
    members: BTreeSet<HostId>,
    /// Hosts that are no longer in sight.
    lost: BTreeMap<HostId, Lost>,
    hidden: BTreeMap<HostId, Hidden>,
    pub staging: Staging,
    /// How many hosts in sight list an address, in whatever state.
    listed: BTreeMap<IpAddr, usize>,
    /// No host in sight was last heard before, those aside that are given longer than the timeout;
    /// as of the last [`expire`](Self::expire).
    earliest: Option<Time>,
    /// No host in sight may answer longer; as of the last [`expire`](Self::expire), or longer.
    longest_lease: Duration,
}

/// What is remembered of a host that is no longer in sight.
#[derive(Clone, Copy, Debug, Hash)]
struct Lost {
    /// Boot and sequence, so that neither can be replayed.
    last: (u64, u64),
    fall: Option<Fall>,
}

/// A host that another one in sight has heard since this one did.
#[derive(Clone, Copy, Debug, Hash)]
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

    /// The host in sight with the lowest id that takes part.
    pub fn first_member(&self) -> Option<HostId> {
        self.members.first().copied()
    }

    fn note_phase(&mut self, id: HostId, phase: Phase) {
        if phase == Phase::Member {
            self.members.insert(id);
        } else {
            self.members.remove(&id);
        }
    }

    /// Whether any host in sight lists the address, in whatever state.
    pub fn lists(&self, address: IpAddr) -> bool {
        self.listed.contains_key(&address)
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
            self.hidden.remove(&id);
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
    ) -> Option<News> {
        sort_lists(&mut info);
        self.hidden.remove(&id);
        if let Some(peer) = self.peers.get_mut(&id) {
            let lists = !same_lists(&peer.info, &info);
            let anew = peer.boot != boot;
            let standing = anew || !same_standing(&peer.info, &info);
            // A heartbeat that has no room to say so has not forgotten it.
            let before = peer.acknowledged.filter(|_| !anew);
            let acknowledged = acknowledged.max(before);
            let news = News {
                arrival: Arrival::Known,
                lists,
                standing,
                acknowledged: acknowledged != before,
            };
            peer.available_since =
                peer.available_since.filter(|_| peer.boot == boot).filter(|_| available(&info));
            peer.available_since = peer.available_since.or(available(&info).then_some(at));
            peer.boot = boot;
            peer.sequence = sequence;
            peer.heard = peer.heard.max(at);
            peer.acknowledged = acknowledged;
            let before = std::mem::replace(&mut peer.info, info);
            let phase = peer.info.phase;
            if lists {
                recount(&mut self.listed, &before.served, &peer.info.served);
            }
            if phase != before.phase {
                self.note_phase(id, phase);
            }
            return Some(news);
        }
        if self.peers.len() >= LIMIT {
            return None;
        }
        let arrival =
            if self.lost.remove(&id).is_some() { Arrival::Returned } else { Arrival::New };
        let available_since = available(&info).then_some(at);
        recount(&mut self.listed, &[], &info.served);
        self.note_phase(id, info.phase);
        self.earliest = Some(self.earliest.map_or(at, |earliest| earliest.min(at)));
        let peer = Peer {
            boot,
            sequence,
            heard: at,
            info,
            acknowledged,
            available_since,
            lease: Duration::ZERO,
            compared: false,
        };
        self.peers.insert(id, peer);
        Some(News { arrival, lists: true, standing: true, acknowledged: true })
    }

    /// A host in sight says how long it may answer after each of its messages.
    pub fn note_lease(&mut self, id: HostId, lease: Duration) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.lease = lease;
            self.longest_lease = self.longest_lease.max(lease);
        }
    }

    /// No host in sight may answer longer after its last message.
    pub const fn longest_lease(&self) -> Duration {
        self.longest_lease
    }

    /// Whether the list of a host is still to be compared with this host's own; it is, now.
    pub fn compare(&mut self, id: HostId) -> bool {
        self.peers.get_mut(&id).is_some_and(|peer| !std::mem::replace(&mut peer.compared, true))
    }

    /// This host's own list has changed.
    pub fn compare_anew(&mut self) {
        self.peers.values_mut().for_each(|peer| peer.compared = false);
    }

    /// Takes note of what a host in sight has heard: of others that it heard since this host did.
    /// Also of those in sight: what they sent last may have been lost on its way here only, and
    /// then they are not dead yet when they have been silent for the timeout.
    pub fn told(&mut self, now: Time, at: Time, known: &[Known], timeout: Duration, me: HostId) {
        for other in known {
            let news = self.is_fresh(other.id, other.boot, other.sequence);
            if other.id == me || !news || other.age >= timeout || self.hidden.len() >= LIMIT {
                continue;
            }
            let until = at.minus(other.age) + timeout;
            let in_sight = self.peers.contains_key(&other.id);
            let hidden = self.hidden.entry(other.id).or_insert(Hidden { since: now, until });
            hidden.until = hidden.until.max(until);
            if in_sight {
                hidden.since = now;
            }
        }
    }

    /// Takes the lists of a host from the parts it has said. False where they are not whole.
    pub fn complete(
        &mut self,
        id: HostId,
        boot: u64,
        sum: Sum,
        info: &mut HostInfo,
        now: Time,
    ) -> bool {
        let Some((set, same)) = self.staging.whole(id, boot, sum, now) else { return false };
        match self.peers.get(&id).filter(|peer| same && peer.boot == boot) {
            // Copied in less time than they are put together.
            Some(Peer { info: HostInfo { preferred, served, refused, .. }, .. }) => {
                (info.preferred, info.served) = (preferred.clone(), served.clone());
                info.refused.clone_from(refused);
            }
            None => fill(info, set),
        }
        true
    }

    /// Whether others hear a host that this one does not, or the lists of one in sight are not
    /// whole, and may be yet: it is given the timeout.
    pub fn awaits_hidden(&self, now: Time, timeout: Duration) -> bool {
        self.staging.awaits(now, timeout) || self.hidden_until(timeout).any(|until| now < until)
    }

    /// Until when each host that others hear and this one does not is waited for.
    pub fn hidden_until(&self, timeout: Duration) -> impl Iterator<Item = Time> {
        let hidden = self.hidden.iter().filter(|(id, _)| !self.peers.contains_key(id));
        hidden.map(move |(_, hidden)| hidden.until.min(hidden.since + timeout))
    }

    /// Removes every host that has been silent for `timeout`, and for a heartbeat longer than it may
    /// answer.
    pub fn expire(&mut self, now: Time, timeout: Duration, heartbeat: Duration) -> Vec<Departure> {
        // What a host is given beyond the timeout, where it has settings of its own.
        let more = |peer: &Peer| peer.lease.saturating_add(heartbeat).saturating_sub(timeout);
        self.hidden.retain(|_, hidden| now < hidden.until);
        let silent: Vec<HostId> = self
            .iter()
            .filter(|(_, peer)| now.since(peer.heard) >= timeout.saturating_add(more(peer)))
            .map(|(id, _)| id)
            .collect();
        let mut departed = Vec::with_capacity(silent.len());
        for host in silent {
            if let Some(peer) = self.peers.remove(&host) {
                self.members.remove(&host);
                recount(&mut self.listed, &peer.info.served, &[]);
                self.staging.forget(host);
                let orderly = peer.info.phase == Phase::Leaving;
                let fall = Fall { judged: now, silence: now.since(peer.heard) };
                let fall = (!orderly).then_some(fall);
                departed.push(Departure { host, fall });
                if self.lost.len() < LIMIT {
                    self.lost.insert(host, Lost { last: (peer.boot, peer.sequence), fall });
                }
            }
        }
        self.earliest = self.peers.values().map(|peer| peer.heard + more(peer)).min();
        self.longest_lease = self.peers.values().map(|peer| peer.lease).max().unwrap_or_default();
        departed
    }

    /// How a host that is no longer in sight fell silent.
    pub fn fall(&self, id: HostId) -> Option<Fall> {
        self.lost.get(&id)?.fall
    }

    /// Before this, no host will have been silent for `timeout`. The hosts are gone through once a
    /// tick, not at every message.
    pub fn next_expiry(&self, timeout: Duration) -> Option<Time> {
        self.earliest.map(|earliest| earliest + timeout)
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

/// As promised by the sender, but searched on that promise.
fn sort_lists(info: &mut HostInfo) {
    info.preferred.sort_unstable();
    info.served.sort_unstable_by_key(|served| (served.address, Reverse(served.epoch)));
    // An address said twice is there once, under the later epoch.
    info.served.dedup_by_key(|served| served.address);
    info.refused.sort_unstable();
}

/// Notes that a host has listed some addresses and lists others now, both ascending.
fn recount(listed: &mut BTreeMap<IpAddr, usize>, before: &[Served], now: &[Served]) {
    let lists = |served: &[Served], address| {
        served.binary_search_by_key(&address, |served| served.address).is_ok()
    };
    for Served { address, .. } in before.iter().filter(|s| !lists(now, s.address)) {
        if let Some(count) = listed.get_mut(address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                listed.remove(address);
            }
        }
    }
    for Served { address, .. } in now.iter().filter(|s| !lists(before, s.address)) {
        *listed.entry(*address).or_default() += 1;
    }
}

fn same_lists(a: &HostInfo, b: &HostInfo) -> bool {
    a.served == b.served && a.preferred == b.preferred && a.refused == b.refused
}

fn same_standing(a: &HostInfo, b: &HostInfo) -> bool {
    (a.ok, a.quiesced, a.phase, a.leader) == (b.ok, b.quiesced, b.phase, b.leader)
}

/// Whether a host may be assigned addresses at all.
pub(super) fn available(info: &HostInfo) -> bool {
    info.ok && !info.quiesced && info.phase == Phase::Member
}

#[cfg(test)]
mod tests;
