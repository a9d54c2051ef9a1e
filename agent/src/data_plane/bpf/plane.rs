//! One group's handles on the maps: the driver's to write, anybody's to read.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, PerCpuHashMap};
use rais_common::maps::{
    Counters, Lease, MAX_ADDRESSES, STATE_FENCED, STATE_FORWARDED, STATE_LEFT, STATE_OPEN,
    STATE_STAGED, ServiceEntry, ServiceKey, Traffic, mapped,
};
use rais_common::time::Time;

use super::batch::{self, Stopped};
use super::error::BpfError;
use super::filter::Filter;
use crate::config::checked::Interface;
use crate::data_plane::{DataPlane, DataPlaneError};

/// `SERVICE_ADDRS`
pub(super) type ServiceAddrs = HashMap<MapData, ServiceKey, ServiceEntry>;
/// `LEASES`
pub(super) type Leases = Array<MapData, Lease>;
/// `TRAFFIC`
pub(super) type TrafficMap = PerCpuHashMap<MapData, ServiceKey, Traffic>;

/// Opens a pinned map as the type `wrap` and `T` say.
pub(super) fn open_map<T: TryFrom<Map, Error = MapError>>(
    dir: &Path,
    name: &str,
    wrap: fn(MapData) -> Map,
) -> Result<T, BpfError> {
    MapData::from_pin(dir.join(name)).and_then(|data| T::try_from(wrap(data))).map_err(|error| {
        BpfError::new(format!("opening the map {}", dir.join(name).display()), error)
    })
}

/// Opens a pinned map to write many entries at once.
pub(super) fn open_data(dir: &Path, name: &str) -> Result<MapData, BpfError> {
    MapData::from_pin(dir.join(name)).map_err(|error| {
        BpfError::new(format!("opening the map {}", dir.join(name).display()), error)
    })
}

/// The key of an address on an interface.
pub(super) fn key(address: IpAddr, ifindex: u32) -> ServiceKey {
    let address = match address {
        IpAddr::V4(v4) => mapped(v4.octets()),
        IpAddr::V6(v6) => v6.octets(),
    };
    ServiceKey { address, ifindex }
}

/// The address in a key.
pub(super) fn address(key: &ServiceKey) -> IpAddr {
    let v6 = std::net::Ipv6Addr::from(key.address);
    v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
}

/// The data plane of one group on its service interface. Owns its handles; what it shares with
/// other groups is the bits of the filter.
pub struct GroupPlane {
    slot: u32,
    ifindex: u32,
    mac: [u8; 6],
    filter: Filter,
    addresses: ServiceAddrs,
    leases: Leases,
    traffic: TrafficMap,
    /// The same maps, to write many entries at once.
    many_addresses: MapData,
    many_traffic: MapData,
    cpus: usize,
    /// What has an entry in `TRAFFIC`.
    counted: HashSet<ServiceKey>,
    /// What is open or about to be, and has none for want of memory.
    uncounted: BTreeSet<ServiceKey>,
    /// What keeps its entry, whoever has the address.
    spare: HashSet<ServiceKey>,
    /// How many do, of all groups.
    spares: Arc<AtomicU32>,
}

/// Most entries written with one system call: with many CPUs, those of `TRAFFIC` are long.
const AT_ONCE: usize = 1_024;

/// So many entries of `TRAFFIC` that there was no memory for are tried again with each lease.
const COUNTED_LATER: usize = 32;

impl GroupPlane {
    /// The group in `slot` of `LEASES`, on `interface`.
    pub(super) fn new(
        dir: &Path,
        slot: u32,
        interface: &Interface,
        filter: Filter,
        spares: Arc<AtomicU32>,
    ) -> Result<Self, BpfError> {
        Ok(Self {
            slot,
            ifindex: interface.index,
            mac: interface.mac,
            filter,
            addresses: open_map(dir, "SERVICE_ADDRS", Map::HashMap)?,
            leases: open_map(dir, "LEASES", Map::Array)?,
            traffic: open_map(dir, "TRAFFIC", Map::PerCpuHashMap)?,
            many_addresses: open_data(dir, "SERVICE_ADDRS")?,
            many_traffic: open_data(dir, "TRAFFIC")?,
            cpus: aya::util::nr_cpus()
                .map_err(|(_, error)| BpfError::new("counting the CPUs".to_owned(), error))?,
            counted: HashSet::new(),
            uncounted: BTreeSet::new(),
            spare: HashSet::new(),
            spares,
        })
    }

    /// Sets the entry of an address: one write, seen whole by the XDP program.
    fn put(&mut self, address: IpAddr, state: u16) -> Result<(), MapError> {
        self.put_entry(address, self.entry(state))
    }

    fn put_entry(&mut self, address: IpAddr, entry: ServiceEntry) -> Result<(), MapError> {
        let key = key(address, self.ifindex);
        self.filter.add(&[key])?;
        self.addresses.insert(key, entry, 0)
    }

    /// An entry of this group that has nothing to do with another host.
    const fn entry(&self, state: u16) -> ServiceEntry {
        ServiceEntry::new(self.slot, state, self.mac)
    }

    /// Sets the entries of many addresses; the place of the first that failed.
    fn put_all(&mut self, addresses: &[IpAddr], state: u16) -> Result<(), Stopped> {
        let keys: Vec<ServiceKey> = addresses.iter().map(|&a| key(a, self.ifindex)).collect();
        self.filter
            .add(&keys)
            .map_err(|error| Stopped { at: 0, error: std::io::Error::other(error) })?;
        let entries = vec![self.entry(state); keys.len().min(AT_ONCE)];
        in_parts(&keys, |keys| batch::update(&self.many_addresses, keys, &entries))
    }

    /// Makes sure that the traffic of these is counted; keeps what was counted. The place of the
    /// first of which that failed.
    fn count_from_now(&mut self, addresses: &[IpAddr]) -> Result<(), Stopped> {
        let keys = addresses.iter().map(|&a| key(a, self.ifindex)).enumerate();
        let (places, keys): (Vec<usize>, Vec<ServiceKey>) =
            keys.filter(|(_, key)| !self.counted.contains(key)).unzip();
        let zero = vec![Traffic::default(); keys.len().min(AT_ONCE) * self.cpus];
        let (map, cpus) = (&self.many_traffic, self.cpus);
        let written = in_parts(&keys, |keys| batch::update_per_cpu(map, keys, &zero, cpus));
        let done = written.as_ref().err().map_or(keys.len(), |stopped| stopped.at);
        self.counted.extend(keys.into_iter().take(done));
        written.map_err(|stopped| {
            let at = places.get(stopped.at).copied().unwrap_or(0);
            Stopped { at, ..stopped }
        })
    }

    /// As [`count_from_now`](Self::count_from_now). What cannot be counted now is tried again with
    /// each lease: the kernel has memory for some of these entries at once, and makes more ready in
    /// the background.
    fn count_or_later(&mut self, addresses: &[IpAddr]) {
        let Err(stopped) = self.count_from_now(addresses) else { return };
        if self.uncounted.is_empty() {
            tracing::warn!("some traffic is not counted for now: {}", stopped.error);
        }
        let keys = addresses.iter().map(|&a| key(a, self.ifindex));
        self.uncounted.extend(keys.filter(|key| !self.counted.contains(key)));
    }

    /// Counts some of what could not be counted before.
    fn count_some(&mut self) {
        if self.uncounted.is_empty() {
            return;
        }
        let some: Vec<IpAddr> = self.uncounted.iter().take(COUNTED_LATER).map(address).collect();
        // Tried again with the next lease.
        drop(self.count_from_now(&some));
        for key in some.into_iter().map(|address| key(address, self.ifindex)) {
            if self.counted.contains(&key) {
                self.uncounted.remove(&key);
            }
        }
    }

    /// Counts anew what keeps its entry.
    fn zero(&mut self, key: ServiceKey) -> Result<(), MapError> {
        let zero = vec![Traffic::default(); self.cpus];
        let written = batch::update_per_cpu(&self.many_traffic, &[key], &zero, self.cpus);
        written.map_err(|stopped| MapError::IoError(stopped.error))
    }
}

impl Drop for GroupPlane {
    /// What nobody has is counted no more. An agent that does not come to this leaves it to the
    /// next one ([`BpfPlane::take_over`](super::BpfPlane::take_over)).
    fn drop(&mut self) {
        for key in &self.spare {
            if let Err(error) = gone(self.traffic.remove(key)) {
                tracing::debug!("removing the counters of {}: {error}", address(key));
            }
        }
        let count = u32::try_from(self.spare.len()).unwrap_or(u32::MAX);
        self.spares.fetch_sub(count, Ordering::Relaxed);
    }
}

impl DataPlane for GroupPlane {
    fn fence(&mut self, address: IpAddr) -> Result<(), DataPlaneError> {
        self.put(address, STATE_FENCED).map_err(|error| failed("fence", address, error))
    }

    fn open(&mut self, address: IpAddr) -> Result<(), DataPlaneError> {
        self.open_all(&[address]).map_err(|(_, error)| error)
    }

    fn fence_all(&mut self, addresses: &[IpAddr]) -> Result<(), DataPlaneError> {
        self.put_all(addresses, STATE_FENCED)
            .map_err(|stopped| stopped_at("fence", addresses, stopped).1)
    }

    /// A new entry of `TRAFFIC` takes the kernel 18 us, one that is there a quarter of one.
    fn prepare(&mut self, addresses: &[IpAddr]) -> Result<(), DataPlaneError> {
        self.fence_all(addresses)?;
        self.count_or_later(addresses);
        Ok(())
    }

    /// The entries of `TRAFFIC`, for so many addresses of all groups that there is room for as many
    /// others.
    fn count_beforehand(&mut self, addresses: &[IpAddr]) -> Result<(), DataPlaneError> {
        let keys = addresses.iter().map(|&a| (a, key(a, self.ifindex)));
        let new: Vec<_> = keys.filter(|(_, key)| !self.spare.contains(key)).collect();
        let count = u32::try_from(new.len()).unwrap_or(u32::MAX);
        let room =
            |spares: u32| spares.checked_add(count).filter(|&spares| spares <= MAX_ADDRESSES);
        let took = self.spares.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room);
        if took.is_err() {
            return Ok(());
        }
        let (addresses, mut keys): (Vec<IpAddr>, Vec<ServiceKey>) = new.into_iter().unzip();
        let counted = self.count_from_now(&addresses);
        keys.retain(|key| self.counted.contains(key));
        let made = u32::try_from(keys.len()).unwrap_or(count);
        self.spares.fetch_sub(count - made, Ordering::Relaxed);
        self.spare.extend(keys);
        counted.map_err(|stopped| stopped_at("count traffic of", &addresses, stopped).1)
    }

    fn is_prepared(&self, address: IpAddr) -> bool {
        self.counted.contains(&key(address, self.ifindex))
    }

    fn open_all(&mut self, addresses: &[IpAddr]) -> Result<(), (usize, DataPlaneError)> {
        self.count_or_later(addresses);
        self.put_all(addresses, STATE_OPEN)
            .map_err(|stopped| stopped_at("open", addresses, stopped))
    }

    fn stage(&mut self, address: IpAddr, from: [u8; 6]) -> Result<(), DataPlaneError> {
        self.count_or_later(&[address]);
        let entry = ServiceEntry { peer: from, ..self.entry(STATE_STAGED) };
        self.put_entry(address, entry).map_err(|error| failed("stage", address, error))
    }

    fn forward(
        &mut self,
        address: IpAddr,
        to: [u8; 6],
        until: Time,
        leased: bool,
    ) -> Result<(), DataPlaneError> {
        let state = if leased { STATE_FORWARDED } else { STATE_LEFT };
        let entry = ServiceEntry { peer: to, until: until.as_nanos(), ..self.entry(state) };
        self.put_entry(address, entry).map_err(|error| failed("forward", address, error))
    }

    fn forget(&mut self, address: IpAddr) -> Result<(), DataPlaneError> {
        let key = key(address, self.ifindex);
        gone(self.addresses.remove(&key)).map_err(|error| failed("forget", address, error))?;
        self.uncounted.remove(&key);
        let uncounted = if self.spare.contains(&key) {
            self.zero(key)
        } else {
            self.counted.remove(&key);
            gone(self.traffic.remove(&key))
        };
        uncounted
            .and_then(|()| self.filter.remove(key))
            .map_err(|error| failed("forget", address, error))
    }

    fn lease(&mut self, until: Time) -> Result<(), DataPlaneError> {
        self.leases.set(self.slot, Lease { until: until.as_nanos() }, 0).map_err(|error| {
            DataPlaneError {
                what: format!("set the lease of slot {}", self.slot),
                source: Box::new(error),
            }
        })?;
        self.count_some();
        Ok(())
    }
}

/// Names what failed.
fn failed(what: &str, address: IpAddr, error: MapError) -> DataPlaneError {
    DataPlaneError { what: format!("{what} {address}"), source: Box::new(error) }
}

/// Names where it stopped.
fn stopped_at(what: &str, addresses: &[IpAddr], stopped: Stopped) -> (usize, DataPlaneError) {
    let address = addresses.get(stopped.at).map_or_else(String::new, IpAddr::to_string);
    let source = Box::new(stopped.error);
    (stopped.at, DataPlaneError { what: format!("{what} {address}"), source })
}

/// Writes [`AT_ONCE`] entries at a time.
fn in_parts(
    keys: &[ServiceKey],
    mut write: impl FnMut(&[ServiceKey]) -> Result<(), Stopped>,
) -> Result<(), Stopped> {
    let mut parts = keys.chunks(AT_ONCE).enumerate();
    parts.try_for_each(|(n, part)| {
        write(part).map_err(|stopped| Stopped { at: n * AT_ONCE + stopped.at, ..stopped })
    })
}

/// Removing what is not there is success.
pub(super) fn gone(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error))
            if error.io_error.kind() == std::io::ErrorKind::NotFound =>
        {
            Ok(())
        }
        other => other,
    }
}

/// The sum of both.
fn plus(sum: Traffic, other: &Traffic) -> Traffic {
    Traffic {
        packets: sum.packets.wrapping_add(other.packets),
        bytes: sum.bytes.wrapping_add(other.bytes),
        connections: sum.connections.wrapping_add(other.connections),
    }
}

/// Reads what the XDP program does for one group. For status and load, on any thread.
pub struct Reader {
    slot: u32,
    ifindex: u32,
    addresses: ServiceAddrs,
    leases: Leases,
    traffic: TrafficMap,
    counters: PerCpuArray<MapData, Counters>,
}

impl Reader {
    /// The group in `slot` of `LEASES`, on `interface`.
    pub(super) fn new(dir: &Path, slot: u32, interface: &Interface) -> Result<Self, BpfError> {
        Ok(Self {
            slot,
            ifindex: interface.index,
            addresses: open_map(dir, "SERVICE_ADDRS", Map::HashMap)?,
            leases: open_map(dir, "LEASES", Map::Array)?,
            traffic: open_map(dir, "TRAFFIC", Map::PerCpuHashMap)?,
            counters: open_map(dir, "COUNTERS", Map::PerCpuArray)?,
        })
    }

    /// Traffic to the address since it was opened, over all CPUs; zero for one that has no entry.
    ///
    /// # Errors
    /// The kernel refused to read the map.
    pub fn traffic(&self, address: IpAddr) -> Result<Traffic, BpfError> {
        match self.traffic.get(&key(address, self.ifindex), 0) {
            Ok(values) => Ok(values.iter().fold(Traffic::default(), plus)),
            Err(MapError::KeyNotFound) => Ok(Traffic::default()),
            Err(error) => Err(BpfError::new(format!("reading the traffic of {address}"), error)),
        }
    }

    /// Traffic to each address the group has here now.
    ///
    /// # Errors
    /// The kernel refused to read a map.
    pub fn group_traffic(&self) -> Result<BTreeMap<IpAddr, Traffic>, BpfError> {
        let mut counted = BTreeMap::new();
        for entry in &self.addresses {
            let (key, entry) =
                entry.map_err(|error| BpfError::new("reading the service addresses", error))?;
            if entry.group_slot == self.slot && key.ifindex == self.ifindex {
                let address = address(&key);
                counted.insert(address, self.traffic(address)?);
            }
        }
        Ok(counted)
    }

    /// When the lease ends, as the XDP program sees it.
    ///
    /// # Errors
    /// The kernel refused to read the map.
    pub fn lease_deadline(&self) -> Result<Time, BpfError> {
        self.leases.get(&self.slot, 0).map(|lease| Time::from_nanos(lease.until)).map_err(|error| {
            BpfError::new(format!("reading the lease of slot {}", self.slot), error)
        })
    }

    /// The counters of this machine, all groups and interfaces, over all CPUs. They are never
    /// reset while the maps are pinned.
    ///
    /// # Errors
    /// The kernel refused to read the map.
    pub fn counters(&self) -> Result<Counters, BpfError> {
        let values = self
            .counters
            .get(&0, 0)
            .map_err(|error| BpfError::new("reading the counters", error))?;
        Ok(values.iter().fold(Counters::default(), Counters::plus))
    }
}
