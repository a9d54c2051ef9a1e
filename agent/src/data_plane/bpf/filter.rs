//! `FILTER`, and who needs each of its bits: one for all groups of an agent, since addresses of
//! several groups may share a bit.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use aya::maps::{Array, Map, MapData, MapError};
use rais_common::maps::{FILTER_WORDS, FilterWord, ServiceKey, filter_bit};

use super::batch;
use super::error::BpfError;
use super::plane;

/// Addresses by their bits.
type ByBit = BTreeSet<(u32, ServiceKey)>;

/// What is known of the map. None: there may be addresses in it of an agent before this one.
#[derive(Clone, Debug, Default)]
pub(super) struct Users(Arc<Mutex<Option<Known>>>);

/// What is in the map, and why.
#[derive(Debug)]
struct Known {
    /// Addresses that have an entry, or are about to get one.
    users: ByBit,
    words: Vec<FilterWord>,
}

/// A handle on the map. The lock is held for a few map accesses, never for a wait.
pub(super) struct Filter {
    map: Array<MapData, FilterWord>,
    /// The same map, to write many words at once.
    many: MapData,
    users: Users,
}

impl Filter {
    /// Opens the pinned map.
    pub(super) fn open(dir: &Path, users: &Users) -> Result<Self, BpfError> {
        let map = plane::open_map(dir, "FILTER", Map::Array)?;
        let many = plane::open_data(dir, "FILTER")?;
        Ok(Self { map, many, users: users.clone() })
    }

    /// To be called before the entries of these keys are written.
    pub(super) fn add(&mut self, keys: &[ServiceKey]) -> Result<(), MapError> {
        let mut known = self.users.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Known { users, words }) = known.as_mut() else {
            return keys.iter().try_for_each(|key| set(&mut self.map, filter_bit(&key.address)));
        };
        let mut changed = BTreeSet::new();
        for &key in keys {
            let bit = filter_bit(&key.address);
            users.insert((bit, key));
            let index = bit / u64::BITS;
            let Some(word) = word(words, index) else { continue };
            let mask = 1 << (bit % u64::BITS);
            if word.bits & mask == 0 {
                word.bits |= mask;
                changed.insert(index);
            }
        }
        let indices: Vec<u32> = changed.into_iter().collect();
        let values: Vec<FilterWord> =
            indices.iter().filter_map(|&index| word(words, index).copied()).collect();
        let written = batch::update(&self.many, &indices, &values);
        written.map_err(|stopped| {
            // What is in the map is not known any more: it is read and written one by one.
            *known = None;
            MapError::IoError(stopped.error)
        })
    }

    /// To be called after the entry of `key` was removed.
    pub(super) fn remove(&mut self, key: ServiceKey) -> Result<(), MapError> {
        let mut known = self.users.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Known { users, words }) = known.as_mut() else { return Ok(()) };
        let bit = filter_bit(&key.address);
        if !users.remove(&(bit, key)) || needed(users, bit) {
            return Ok(());
        }
        let index = bit / u64::BITS;
        let Some(word) = word(words, index) else { return Ok(()) };
        let without = FilterWord { bits: word.bits & !(1 << (bit % u64::BITS)) };
        self.map.set(index, without, 0)?;
        *word = without;
        Ok(())
    }

    /// Takes over what an agent before this one left: sets the bits of these keys, all that have an
    /// entry, and clears all others.
    pub(super) fn take_over(&mut self, keys: &[ServiceKey]) -> Result<(), MapError> {
        let mut known = self.users.0.lock().unwrap_or_else(PoisonError::into_inner);
        let users: ByBit = keys.iter().map(|&key| (filter_bit(&key.address), key)).collect();
        let mut bits = users.iter().map(|&(bit, _)| bit).peekable();
        let mut words = Vec::new();
        for word in 0..FILTER_WORDS {
            let mut wanted = FilterWord::default();
            while let Some(bit) = bits.next_if(|bit| bit / u64::BITS == word) {
                wanted.bits |= 1 << (bit % u64::BITS);
            }
            if self.map.get(&word, 0)? != wanted {
                self.map.set(word, wanted, 0)?;
            }
            words.push(wanted);
        }
        *known = Some(Known { users, words });
        Ok(())
    }
}

fn word(words: &mut [FilterWord], index: u32) -> Option<&mut FilterWord> {
    words.get_mut(usize::try_from(index).ok()?)
}

/// Whether an address needs the bit.
fn needed(users: &ByBit, bit: u32) -> bool {
    let lowest = ServiceKey { address: [0; 16], ifindex: 0 };
    users.range((bit, lowest)..).next().is_some_and(|&(next, _)| next == bit)
}

/// Sets a bit where it is not known what else is in the map.
fn set(map: &mut Array<MapData, FilterWord>, bit: u32) -> Result<(), MapError> {
    let index = bit / u64::BITS;
    let FilterWord { bits } = map.get(&index, 0)?;
    map.set(index, FilterWord { bits: bits | 1 << (bit % u64::BITS) }, 0)
}
