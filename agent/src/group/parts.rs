//! What does not fit a heartbeat is said in parts.
//!
//! A host's lists and its database are sets of addresses with something known of each. A set is cut
//! into slices by the first bits of a hash of the address, as many as make each slice fit a
//! datagram. Its sum, which any order of the entries gives alike, is in every heartbeat: who comes
//! to the same sum has the same set. Parts are sent when their slice changes, now and then anyhow,
//! and to who asks, showing the sums of the slices it has.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::placement::{hash, mix};
use super::{HostId, HostInfo, Known, Record, Served};
use super::{Listed, Slice, Sum};

/// Longest payload of a message, so that it goes in one frame everywhere: a datagram of 1,400 bytes
/// without the header of the wire and its seal.
pub(super) const ROOM: usize = 1_328;
/// What of it a host's lists may take: longer ones are said in parts.
pub(super) const LISTS_ROOM: usize = 640;
/// What of it the hosts heard may take: of more, some are said in turn.
pub(super) const KNOWN_ROOM: usize = 360;
/// What the entries of a part may take.
pub(super) const PART_ROOM: usize = ROOM - 32;

/// Most bits of a hash that tell slices apart.
const MOST_BITS: u8 = 16;

/// Bytes of a number on the wire.
const fn number(n: u64) -> usize {
    match n {
        0..=250 => 1,
        251..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}

const fn address(address: IpAddr) -> usize {
    match address {
        IpAddr::V4(_) => 5,
        IpAddr::V6(_) => 17,
    }
}

fn milliseconds(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Bytes of what a host says of itself without its lists.
pub(super) fn standing_len(host: &HostInfo) -> usize {
    let control: usize = host.control_addresses.iter().map(|&a| address(a)).sum();
    let leader = host.leader.map_or(0, |leader| address(leader.0));
    // Flags, phase, the length of each list, that there is a leader, and the hardware address.
    control + leader + number(host.load.into()) + number(host.capacity.into()) + 14
}

/// Bytes of a host's lists in a heartbeat.
pub(super) fn lists_len(host: &HostInfo) -> usize {
    let plain = host.preferred.iter().chain(&host.refused).map(|&a| address(a));
    let served = host.served.iter().map(|s| address(s.address) + 1 + number(s.epoch));
    plain.chain(served).sum::<usize>() + 6
}

/// Bytes of a host heard.
pub(super) fn known_len(known: &Known) -> usize {
    let age = number(milliseconds(known.age));
    address(known.id.0) + number(known.boot) + number(known.sequence) + age
}

/// Bytes of an entry of the database.
pub(super) fn record_len(record: &Record) -> usize {
    let preferred = record.preferred.map_or(0, |host| address(host.0));
    let age = number(milliseconds(record.age));
    address(record.address) + 2 + preferred + age + number(record.epoch)
}

fn listed_len(listed: &Listed) -> usize {
    // The flags, whether it is served, and how.
    address(listed.address) + 2 + listed.served.map_or(0, |(_, epoch)| 1 + number(epoch))
}

/// The slice of an address where there are most of them: those of fewer are ranges of these.
pub(super) fn finest(address: IpAddr) -> u16 {
    index(address, MOST_BITS)
}

impl Slice {
    /// The first of the finest slices that are in it.
    pub(super) fn first(self) -> u16 {
        let first = u32::from(self.index) << (16 - u32::from(self.bits.min(MOST_BITS)));
        u16::try_from(first).unwrap_or(u16::MAX)
    }

    /// Whether the address belongs to it.
    pub(super) fn has(self, address: IpAddr) -> bool {
        self.index == index(address, self.bits)
    }
}

/// The slice of an address, of 2^bits.
pub(super) fn index(address: IpAddr, bits: u8) -> u16 {
    // At most 16 of the first bits; none of them where there is one slice.
    let first = hash(address) >> 48;
    u16::try_from(first >> (16 - u32::from(bits.min(MOST_BITS)))).unwrap_or(u16::MAX)
}

/// What an entry adds to a sum.
pub(super) fn listed_sum(listed: &Listed) -> u64 {
    let flags = u64::from(listed.preferred) | u64::from(listed.refused) << 1;
    let served = listed.served.map_or(0, |(state, epoch)| mix(epoch ^ (1 + state as u64) << 60));
    mix(hash(listed.address) ^ mix(served.wrapping_add(flags)))
}

/// What an entry adds to a sum.
pub(super) fn record_sum(address: IpAddr, preferred: Option<HostId>, epoch: u64) -> u64 {
    let preferred = preferred.map_or(0, |host| hash(host.0));
    mix(hash(address) ^ mix(mix(epoch).wrapping_add(preferred)))
}

/// A host's lists as a set of addresses.
pub(super) fn listed(host: &HostInfo) -> BTreeMap<IpAddr, Listed> {
    let mut set: BTreeMap<IpAddr, Listed> = BTreeMap::new();
    let new = |address| Listed { address, preferred: false, refused: false, served: None };
    for &address in &host.preferred {
        set.entry(address).or_insert_with(|| new(address)).preferred = true;
    }
    for &address in &host.refused {
        set.entry(address).or_insert_with(|| new(address)).refused = true;
    }
    for served in &host.served {
        let listed = set.entry(served.address).or_insert_with(|| new(served.address));
        listed.served = Some((served.state, served.epoch));
    }
    set
}

/// The set of addresses as a host's lists.
pub(super) fn fill(host: &mut HostInfo, set: &BTreeMap<IpAddr, Listed>) {
    let all = || set.values();
    host.preferred = all().filter(|l| l.preferred).map(|l| l.address).collect();
    host.refused = all().filter(|l| l.refused).map(|l| l.address).collect();
    host.served = all()
        .filter_map(|l| l.served.map(|(state, epoch)| Served { address: l.address, state, epoch }))
        .collect();
}

/// A host's own lists as it has told them.
#[derive(Clone, Debug, Hash)]
pub(super) struct Told {
    pub bits: u8,
    /// What is in each slice.
    slices: Vec<BTreeMap<IpAddr, Listed>>,
    /// Of each slice.
    pub sums: Vec<u64>,
}

impl Told {
    /// Cut so that each slice fits a datagram, and into no fewer than before: those who have the
    /// others need only what has changed.
    pub fn new(set: BTreeMap<IpAddr, Listed>, least_bits: u8) -> Self {
        let fits = |&bits: &u8| {
            let mut lengths = vec![0; 1 << bits];
            for listed in set.values() {
                if let Some(length) = lengths.get_mut(usize::from(index(listed.address, bits))) {
                    *length += listed_len(listed);
                }
            }
            lengths.into_iter().all(|length| length <= PART_ROOM)
        };
        let bits = (least_bits..MOST_BITS).find(fits).unwrap_or(MOST_BITS);
        let sums = sums(set.values().map(|l| (l.address, listed_sum(l))), bits);
        let mut slices = vec![BTreeMap::new(); 1 << bits];
        for (address, listed) in set {
            if let Some(slice) = slices.get_mut(usize::from(index(address, bits))) {
                slice.insert(address, listed);
            }
        }
        Self { bits, slices, sums }
    }

    /// How many addresses there are.
    pub fn len(&self) -> usize {
        self.slices.iter().map(BTreeMap::len).sum()
    }

    pub fn sum(&self) -> Sum {
        let digest = self.sums.iter().fold(0_u64, |all, &sum| all.wrapping_add(sum));
        Sum { bits: self.bits, digest }
    }

    /// The slices that are not as they were told before.
    pub fn changed_since(&self, before: Option<&Self>) -> Vec<u16> {
        let before = before.filter(|before| before.bits == self.bits);
        let old = |n: usize| before.and_then(|before| before.sums.get(n));
        let changed = self.sums.iter().enumerate().filter(|&(n, sum)| {
            // An empty slice was told by the sum of all.
            old(n) != Some(sum) && (*sum != 0 || before.is_some())
        });
        changed.filter_map(|(n, _)| u16::try_from(n).ok()).collect()
    }

    /// Takes up what is listed of an address now, if anything. The slice that has changed by that.
    pub fn change(&mut self, address: IpAddr, listed: Option<Listed>) -> Option<u16> {
        let index = index(address, self.bits);
        let slice = self.slices.get_mut(usize::from(index))?;
        let sum = self.sums.get_mut(usize::from(index))?;
        let before = match listed {
            Some(listed) => slice.insert(address, listed),
            None => slice.remove(&address),
        };
        let worth = |listed: Option<Listed>| listed.as_ref().map_or(0, listed_sum);
        *sum = sum.wrapping_sub(worth(before)).wrapping_add(worth(listed));
        (before != listed).then_some(index)
    }

    /// Whether each of these slices fits a datagram, or cannot be cut any smaller.
    pub fn fits(&self, indices: &[u16]) -> bool {
        let length = |index: u16| {
            let slice = self.slices.get(usize::from(index));
            slice.map_or(0, |slice| slice.values().map(listed_len).sum())
        };
        self.bits >= MOST_BITS || indices.iter().all(|&index| length(index) <= PART_ROOM)
    }

    /// All of it.
    #[cfg(test)]
    pub fn set(&self) -> BTreeMap<IpAddr, Listed> {
        self.slices.iter().flatten().map(|(&address, &listed)| (address, listed)).collect()
    }

    /// The entries of these slices.
    pub fn slices(&self, indices: &[u16]) -> Vec<(Slice, Vec<Listed>)> {
        let entries = |index: u16| {
            let slice = self.slices.get(usize::from(index))?;
            Some((Slice { bits: self.bits, index }, slice.values().copied().collect()))
        };
        indices.iter().filter_map(|&index| entries(index)).collect()
    }
}

/// Sums of some slices of a set, as they are asked with: half of each is enough to tell.
pub(super) fn short_sums(sums: &[u64]) -> Vec<u32> {
    // The lower half.
    sums.iter().map(|&sum| u32::try_from(sum & 0xffff_ffff).unwrap_or(0)).collect()
}

/// The sums of a set's slices.
pub(super) fn sums(entries: impl Iterator<Item = (IpAddr, u64)>, bits: u8) -> Vec<u64> {
    let mut sums = vec![0_u64; 1 << bits.min(MOST_BITS)];
    for (address, sum) in entries {
        if let Some(all) = sums.get_mut(usize::from(index(address, bits))) {
            *all = all.wrapping_add(sum);
        }
    }
    sums
}

/// As many entries, from the first, as fit a part.
pub(super) fn packed<T>(entries: Vec<T>, length: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut packs: Vec<Vec<T>> = Vec::new();
    let mut left = 0;
    for entry in entries {
        let length = length(&entry);
        if let Some(pack) = packs.last_mut().filter(|_| length <= left) {
            pack.push(entry);
        } else {
            packs.push(vec![entry]);
            left = PART_ROOM;
        }
        left = left.saturating_sub(length);
    }
    packs
}

/// Slices of a database of so many addresses: some thirty in each.
pub(super) fn database_bits(addresses: usize) -> u8 {
    let slices = (addresses / 32).max(1).next_power_of_two();
    u8::try_from(slices.trailing_zeros()).unwrap_or(MOST_BITS).min(MOST_BITS)
}

#[cfg(test)]
mod tests;
