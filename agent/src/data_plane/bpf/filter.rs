//! `FILTER`, and who needs each of its bits: one for all groups of an agent, since addresses of
//! several groups may share a bit.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use aya::maps::{Array, Map, MapData, MapError};
use rais_common::maps::{FILTER_WORDS, FilterWord, ServiceKey, filter_bit};

use super::error::BpfError;
use super::plane;

/// Addresses by their bits.
type ByBit = BTreeSet<(u32, ServiceKey)>;

/// Addresses that have an entry, or are about to get one, by their bits. None: there may be others
/// in the maps, of an agent before this one.
#[derive(Clone, Debug, Default)]
pub(super) struct Users(Arc<Mutex<Option<ByBit>>>);

/// A handle on the map. The lock is held for a few map accesses, never for a wait.
pub(super) struct Filter {
    map: Array<MapData, FilterWord>,
    users: Users,
}

impl Filter {
    /// Opens the pinned map.
    pub(super) fn open(dir: &Path, users: &Users) -> Result<Self, BpfError> {
        let map = plane::open_map(dir, "FILTER", Map::Array)?;
        Ok(Self { map, users: users.clone() })
    }

    /// To be called before the entry of `key` is written.
    pub(super) fn add(&mut self, key: ServiceKey) -> Result<(), MapError> {
        let mut users = self.users.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bit = filter_bit(&key.address);
        if users.as_mut().is_none_or(|users| users.insert((bit, key))) {
            change(&mut self.map, bit, true)?;
        }
        Ok(())
    }

    /// To be called after the entry of `key` was removed.
    pub(super) fn remove(&mut self, key: ServiceKey) -> Result<(), MapError> {
        let mut users = self.users.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bit = filter_bit(&key.address);
        let Some(users) = users.as_mut() else { return Ok(()) };
        if users.remove(&(bit, key)) && !needed(users, bit) {
            change(&mut self.map, bit, false)?;
        }
        Ok(())
    }

    /// Takes over what an agent before this one left: sets the bits of these keys, all that have an
    /// entry, and clears all others.
    pub(super) fn take_over(&mut self, keys: &[ServiceKey]) -> Result<(), MapError> {
        let mut users = self.users.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found: ByBit = keys.iter().map(|&key| (filter_bit(&key.address), key)).collect();
        let mut bits = found.iter().map(|&(bit, _)| bit).peekable();
        for word in 0..FILTER_WORDS {
            let mut wanted = FilterWord::default();
            while let Some(bit) = bits.next_if(|bit| bit / u64::BITS == word) {
                wanted.bits |= 1 << (bit % u64::BITS);
            }
            if self.map.get(&word, 0)? != wanted {
                self.map.set(word, wanted, 0)?;
            }
        }
        *users = Some(found);
        Ok(())
    }
}

/// Whether an address needs the bit.
fn needed(users: &ByBit, bit: u32) -> bool {
    let lowest = ServiceKey { address: [0; 16], ifindex: 0 };
    users.range((bit, lowest)..).next().is_some_and(|&(next, _)| next == bit)
}

/// Sets or clears a bit: reads its word and writes it, under the lock.
fn change(map: &mut Array<MapData, FilterWord>, bit: u32, set: bool) -> Result<(), MapError> {
    let index = bit / u64::BITS;
    let mask = 1 << (bit % u64::BITS);
    let FilterWord { bits } = map.get(&index, 0)?;
    let changed = if set { bits | mask } else { bits & !mask };
    map.set(index, FilterWord { bits: changed }, 0)
}
