//! One group's handles on the maps: the driver's to write, anybody's to read.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, PerCpuHashMap, PerCpuValues};
use rais_common::maps::{
    Counters, Lease, STATE_FENCED, STATE_OPEN, ServiceEntry, ServiceKey, Traffic, mapped,
};
use rais_common::time::Time;

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
}

impl GroupPlane {
    /// The group in `slot` of `LEASES`, on `interface`.
    pub(super) fn new(
        dir: &Path,
        slot: u32,
        interface: &Interface,
        filter: Filter,
    ) -> Result<Self, BpfError> {
        Ok(Self {
            slot,
            ifindex: interface.index,
            mac: interface.mac,
            filter,
            addresses: open_map(dir, "SERVICE_ADDRS", Map::HashMap)?,
            leases: open_map(dir, "LEASES", Map::Array)?,
            traffic: open_map(dir, "TRAFFIC", Map::PerCpuHashMap)?,
        })
    }

    /// Sets the entry of an address: one write, seen whole by the XDP program.
    fn put(&mut self, address: IpAddr, state: u16) -> Result<(), MapError> {
        let entry = ServiceEntry { group_slot: self.slot, state, mac: self.mac };
        let key = key(address, self.ifindex);
        self.filter.add(key)?;
        self.addresses.insert(key, entry, 0)
    }

    /// Makes sure that the traffic of an address is counted; keeps what was counted.
    fn count_from_now(&mut self, address: IpAddr) -> Result<(), MapError> {
        let key = key(address, self.ifindex);
        if self.traffic.get(&key, 0).is_ok() {
            return Ok(());
        }
        let cpus = aya::util::nr_cpus().map_err(|(_, error)| MapError::IoError(error))?;
        let zero = PerCpuValues::try_from(vec![Traffic::default(); cpus])?;
        self.traffic.insert(key, zero, 0)
    }
}

impl DataPlane for GroupPlane {
    fn fence(&mut self, address: IpAddr) -> Result<(), DataPlaneError> {
        self.put(address, STATE_FENCED).map_err(|error| failed("fence", address, error))
    }

    fn open(&mut self, address: IpAddr) -> Result<(), DataPlaneError> {
        self.count_from_now(address).map_err(|error| failed("count traffic of", address, error))?;
        self.put(address, STATE_OPEN).map_err(|error| failed("open", address, error))
    }

    fn forget(&mut self, address: IpAddr) -> Result<(), DataPlaneError> {
        let key = key(address, self.ifindex);
        gone(self.addresses.remove(&key)).map_err(|error| failed("forget", address, error))?;
        gone(self.traffic.remove(&key))
            .and_then(|()| self.filter.remove(key))
            .map_err(|error| failed("forget", address, error))
    }

    fn lease(&mut self, until: Time) -> Result<(), DataPlaneError> {
        self.leases.set(self.slot, Lease { until: until.as_nanos() }, 0).map_err(|error| {
            DataPlaneError {
                what: format!("set the lease of slot {}", self.slot),
                source: Box::new(error),
            }
        })
    }
}

/// Names what failed.
fn failed(what: &str, address: IpAddr, error: MapError) -> DataPlaneError {
    DataPlaneError { what: format!("{what} {address}"), source: Box::new(error) }
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
