//! Which of several hosts: for an address nobody serves, and for one that several serve.

use std::net::IpAddr;

use super::{HostId, Placement};

/// A host that could take an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub host: HostId,
    /// Thousandths of its capacity in use, or soon to be: with what it was given and does not show
    /// yet.
    pub utilisation: u64,
    /// Addresses it has or is about to have.
    pub addresses: usize,
}

/// One of several holders of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pub host: HostId,
    pub epoch: u64,
    /// The address belongs to it, and it is available.
    pub preferred: bool,
    /// It prefers no address at all.
    pub spare: bool,
}

/// The scale in which placement compares hosts.
pub(super) const THOUSANDTHS: u32 = 1_000;

/// Hosts are equally busy where their utilisation differs by less: no measured load stands still,
/// and a twentieth of a host's capacity is no reason to give one more addresses than another.
pub(super) const ALIKE: u64 = 50;

/// Load in so many parts of capacity; a capacity of 0 counts as full beyond measure.
pub(super) fn utilisation(load: u32, capacity: u32, scale: u32) -> u64 {
    match capacity {
        0 => u64::MAX,
        _ => u64::from(load) * u64::from(scale) / u64::from(capacity),
    }
}

/// The candidate that is to take the address, none where there is no candidate. The order of the
/// candidates plays no part.
pub(super) fn choose(
    address: IpAddr,
    candidates: &[Candidate],
    placement: Placement,
    random: &mut Random,
) -> Option<HostId> {
    match placement {
        Placement::LeastUtilised => {
            let least = candidates.iter().map(|c| c.utilisation).min()?;
            candidates
                .iter()
                .filter(|c| c.utilisation - least < ALIKE)
                .min_by_key(|c| (c.addresses, affinity(address, c.host)))
                .map(|c| c.host)
        }
        Placement::Random => {
            let mut hosts: Vec<HostId> = candidates.iter().map(|c| c.host).collect();
            hosts.sort_unstable();
            hosts.get(random.below(hosts.len())).copied()
        }
    }
}

/// The one of several holders that keeps the address. Every host that knows the holders comes to
/// the same answer, so that they need not wait for a leader to agree: the highest epoch, then the
/// preferred host, then a spare, then a hash of address and host.
pub(super) fn keeper(address: IpAddr, holders: &[Holder]) -> Option<HostId> {
    holders
        .iter()
        .max_by_key(|h| (h.epoch, h.preferred, h.spare, affinity(address, h.host)))
        .map(|h| h.host)
}

/// A number that depends on both alike (FNV-1a, then mixed): the tie-break that is the same on
/// every host and spreads addresses over hosts.
pub(super) fn affinity(address: IpAddr, host: HostId) -> u64 {
    mix(fold(octets(address).into_iter().chain(octets(host.0))))
}

/// A number that depends on the address and spreads evenly.
pub(super) fn hash(address: IpAddr) -> u64 {
    mix(fold(octets(address).into_iter()))
}

fn fold(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// The finaliser of `SplitMix64`.
pub(super) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// `SplitMix64`: small, seeded, the same everywhere. Nothing secret hangs on it.
#[derive(Clone, Debug, Hash)]
pub(super) struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `n`; 0 where `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let n = u64::try_from(n).unwrap_or(u64::MAX).max(1);
        usize::try_from(mix(self.0) % n).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
