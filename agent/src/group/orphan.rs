//! The service-address database: which addresses there are, whom they belong to, and for how long
//! an orphaned one stays valid.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::ops::Bound;
use std::time::Duration;

use rais_common::time::Time;

use super::parts::{database_bits, record_sum, sums};
use super::{HostId, Record, Sum};

/// Most addresses of a group.
const LIMIT: usize = 65_536;

/// How long it is remembered that an address was taken out of the group: longer than any host that
/// has not heard of it is cut off, as a rule. One that was for longer brings it back.
const REMEMBERED: Duration = Duration::from_hours(24);

/// One address of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Entry {
    /// The host it belongs to; none for a floating address.
    pub preferred: Option<HostId>,
    /// When that host (for a floating one: any host configured with it) was last seen.
    pub seen: Time,
    /// Highest epoch of any assignment heard of.
    pub epoch: u64,
    /// The host that was last seen to serve it.
    pub last_holder: Option<HostId>,
    /// The last host that was configured with it is so no more, since [`seen`](Self::seen).
    pub withdrawn: bool,
}

impl Entry {
    const fn new(seen: Time) -> Self {
        Self { preferred: None, seen, epoch: 0, last_holder: None, withdrawn: false }
    }

    /// Whether it is an address of the group. Until one that was taken out of it is none, others
    /// that are configured with it have twice the timeout to say so.
    pub fn stands(&self, now: Time, timeout: Duration) -> bool {
        !self.withdrawn || now.since(self.seen) < timeout.saturating_mul(2)
    }

    /// How long it is kept after it was last seen.
    fn limit(withdrawn: bool, timeout: Duration) -> Duration {
        if withdrawn { timeout.min(REMEMBERED) } else { timeout }
    }

    /// What of it has to be the same everywhere.
    fn known(&self) -> (Option<HostId>, u64, bool) {
        (self.preferred, self.epoch, self.withdrawn)
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Database {
    entries: BTreeMap<IpAddr, Entry>,
    /// Over all entries: see [`record_sum`].
    digest: u64,
    /// With this timeout none of them expires before; none: that is not known.
    kept: Option<(Duration, Time)>,
}

impl Hash for Database {
    /// The rest follows from the entries.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.entries.hash(state);
    }
}

impl Database {
    pub fn get(&self, address: IpAddr) -> Option<&Entry> {
        self.entries.get(&address)
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// All addresses, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (IpAddr, &Entry)> {
        self.entries.iter().map(|(&address, entry)| (address, entry))
    }

    /// Those of a span, ascending.
    pub fn range(
        &self,
        span: (Bound<IpAddr>, Bound<IpAddr>),
    ) -> impl Iterator<Item = (IpAddr, &Entry)> {
        self.entries.range(span).map(|(&address, entry)| (address, entry))
    }

    /// Highest epoch of any assignment of the address heard of; 0 where there was none.
    pub fn epoch(&self, address: IpAddr) -> u64 {
        self.get(address).map_or(0, |entry| entry.epoch)
    }

    /// A host that is in sight calls the address its own, or (`preferred` none) is configured
    /// with it as a floating one. Where two live hosts claim it, the lower id's claim stands:
    /// returns both, that one first.
    pub fn claim(
        &mut self,
        address: IpAddr,
        preferred: Option<HostId>,
        seen: Time,
        other_claims: impl Fn(HostId) -> bool,
    ) -> Option<[HostId; 2]> {
        let known = self.change(address, |entry| {
            entry.seen = entry.seen.max(seen);
            entry.withdrawn = false;
            match (entry.preferred, preferred) {
                (Some(old), Some(new)) if old < new && other_claims(old) => {
                    return Some([old, new]);
                }
                (Some(old), Some(new)) if new < old && other_claims(old) => {
                    entry.preferred = Some(new);
                    return Some([new, old]);
                }
                (_, Some(new)) => entry.preferred = Some(new),
                // Floating, until nobody in sight calls it its own.
                (Some(old), None) if !other_claims(old) => entry.preferred = None,
                (Some(_) | None, None) => {}
            }
            None
        });
        if known.is_none() {
            self.insert(address, Entry { preferred, ..Entry::new(seen) });
        }
        known.flatten()
    }

    /// The operator has taken an address out of this host's configuration, and no host in sight
    /// calls it its own.
    pub fn withdraw(&mut self, address: IpAddr, now: Time) {
        self.change(address, |entry| {
            entry.seen = now;
            entry.withdrawn = true;
        });
    }

    /// What another host knows of an address. `timeout`: see [`expire`](Self::expire). `claims`:
    /// whether a host in sight calls it its own; where none does, the latest news of whether it
    /// floats is believed.
    pub fn merge(
        &mut self,
        record: &Record,
        at: Time,
        timeout: Duration,
        claims: impl Fn(HostId) -> bool,
    ) {
        if record.age >= Entry::limit(record.withdrawn, timeout) {
            return;
        }
        let seen = at.minus(record.age);
        let known = self.change(record.address, |entry| {
            entry.epoch = entry.epoch.max(record.epoch);
            if seen > entry.seen {
                entry.seen = seen;
                entry.withdrawn = record.withdrawn;
                entry.preferred = record.preferred.or(entry.preferred.filter(|&old| claims(old)));
            }
        });
        if known.is_none() {
            let Record { address, preferred, epoch, withdrawn, .. } = *record;
            self.insert(address, Entry { preferred, epoch, withdrawn, ..Entry::new(seen) });
        }
    }

    /// A host was seen to serve the address under this epoch.
    pub fn served(&mut self, address: IpAddr, holder: HostId, epoch: u64) {
        self.change(address, |entry| {
            entry.last_holder = Some(holder);
            entry.epoch = entry.epoch.max(epoch);
        });
    }

    /// An assignment was made or heard of.
    pub fn assigned(&mut self, address: IpAddr, epoch: u64) {
        self.change(address, |entry| entry.epoch = entry.epoch.max(epoch));
    }

    /// Removes every address whose preferred host has not been seen for `timeout`: it is no longer
    /// valid, and whoever serves it will be told to release it.
    pub fn expire(&mut self, now: Time, timeout: Duration) {
        if self.kept.is_some_and(|(with, until)| with == timeout && now < until) {
            return;
        }
        let (entries, digest) = (&mut self.entries, &mut self.digest);
        let mut first = Time::END;
        entries.retain(|&address, entry| {
            let limit = Entry::limit(entry.withdrawn, timeout);
            let valid = now.since(entry.seen) < limit;
            if valid {
                first = first.min(entry.seen + limit);
            } else {
                *digest = digest.wrapping_sub(sum_of(address, entry));
            }
            valid
        });
        self.kept = Some((timeout, first));
    }

    /// What the heartbeat says of the addresses.
    pub fn records(&self, now: Time) -> Vec<Record> {
        self.iter()
            .map(|(address, entry)| Record {
                address,
                preferred: entry.preferred,
                age: now.since(entry.seen),
                epoch: entry.epoch,
                withdrawn: entry.withdrawn,
            })
            .collect()
    }

    /// The sum over all entries: what is known of each address but when its host was last seen.
    pub fn sum(&self) -> Sum {
        Sum { bits: database_bits(self.entries.len()), digest: self.digest }
    }

    /// The sums of its 2^bits slices.
    pub fn sums(&self, bits: u8) -> Vec<u64> {
        sums(self.iter().map(|(address, entry)| (address, sum_of(address, entry))), bits)
    }

    /// Adds an address that is not there yet.
    fn insert(&mut self, address: IpAddr, entry: Entry) {
        if self.entries.len() < LIMIT {
            self.digest = self.digest.wrapping_add(sum_of(address, &entry));
            self.kept = None;
            self.entries.insert(address, entry);
        }
    }

    /// Changes an entry, if there is one.
    fn change<R>(&mut self, address: IpAddr, change: impl FnOnce(&mut Entry) -> R) -> Option<R> {
        let entry = self.entries.get_mut(&address)?;
        let before = *entry;
        let result = change(entry);
        if entry.seen < before.seen || entry.withdrawn != before.withdrawn {
            self.kept = None;
        }
        if entry.known() != before.known() {
            let old = sum_of(address, &before);
            let new = sum_of(address, entry);
            self.digest = self.digest.wrapping_sub(old).wrapping_add(new);
        }
        Some(result)
    }
}

fn sum_of(address: IpAddr, entry: &Entry) -> u64 {
    let sum = record_sum(address, entry.preferred, entry.epoch);
    if entry.withdrawn { !sum } else { sum }
}

#[cfg(test)]
mod tests;
