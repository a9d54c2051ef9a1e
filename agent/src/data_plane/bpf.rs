//! The XDP data plane: loads and attaches the program, and writes the maps it acts by.
//!
//! Everything is pinned below `<bpf_dir>/v<schema>/` and goes on without the agent: an agent that
//! dies leaves a lease that runs out. The next one finds the maps, revokes and fences what is in
//! them ([`BpfPlane::take_over`]), and once the addresses are off the interfaces removes the
//! entries ([`BpfPlane::remove`]).

mod attach;
mod batch;
mod conflicts;
mod error;
mod filter;
mod interface;
mod mount;
mod packet_log;
mod plane;
mod proof;

use std::collections::HashSet;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use aya::maps::{Map, MapData, MapError};
use aya::{Ebpf, EbpfLoader};
use rais_common::maps::{
    Lease, MAX_GROUPS, SCHEMA, STATE_FENCED, STATE_LEFT, ServiceEntry, ServiceKey,
};

pub use attach::Attachment;
pub use conflicts::{Conflict, Conflicts};
pub use error::BpfError;
pub use interface::Mode;
pub use mount::Place;
pub use packet_log::PacketLog;
pub use plane::{GroupPlane, Reader};
pub use proof::{Proof, of as prove};

use crate::clock;
use crate::config::checked::Interface;
use filter::{Filter, Users};
use plane::{Leases, ServiceAddrs, TrafficMap};

/// The compiled XDP program, an ELF object.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("XDP_OBJECT"));

/// The maps, by name.
const MAPS: [&str; 6] = ["SERVICE_ADDRS", "FILTER", "LEASES", "TRAFFIC", "COUNTERS", "EVENTS"];

/// An address that an agent before this one had in the maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stale {
    /// The address.
    pub address: IpAddr,
    /// Index of its interface, which may be gone.
    pub ifindex: u32,
}

/// The pinned maps and links of this machine. At most one agent may use a directory at a time.
#[derive(Clone, Debug)]
pub struct BpfPlane {
    dir: PathBuf,
    users: Users,
    /// Counters that were made beforehand.
    spares: Arc<AtomicU32>,
    log_packets: bool,
}

impl BpfPlane {
    /// Makes `bpf_dir` a place on a bpffs, mounting one if it is not, and the maps in it. Maps
    /// that are there already are used as they are. Attaches nothing.
    ///
    /// # Errors
    /// No permission, no BPF or no bpffs in this kernel, or maps of another making in the place.
    /// What was not there before is not there after.
    pub fn open(bpf_dir: &Path) -> Result<Self, BpfError> {
        let (plane, mut made) = Self::open_for_now(bpf_dir)?;
        made.keep();
        Ok(plane)
    }

    /// As [`open`](Self::open), with what had to be made for it: a mount and directories that go
    /// when that is dropped, unless it is [kept](Place::keep).
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_for_now(bpf_dir: &Path) -> Result<(Self, Place), BpfError> {
        let fresh = !exists(bpf_dir);
        let made = Place::make(bpf_dir)?;
        let plane = Self::at(bpf_dir);
        let opened = fs::create_dir_all(&plane.dir)
            .map_err(|error| BpfError::new(format!("creating {}", plane.dir.display()), error))
            .and_then(|()| plane.load().map(drop));
        if let Err(error) = opened {
            if fresh && let Err(stays) = clean(bpf_dir) {
                tracing::debug!("{stays}");
            }
            return Err(error);
        }
        Ok((plane, made))
    }

    /// The place for this version of the layouts.
    fn at(bpf_dir: &Path) -> Self {
        Self {
            dir: schema_dir(bpf_dir),
            users: Users::default(),
            spares: Arc::default(),
            log_packets: false,
        }
    }

    /// Has the program log what is rare, where that is asked for: on every interface that it is
    /// [attached](Self::attach) to from now on.
    #[must_use]
    pub fn logging_packets(self, asked_for: bool) -> Self {
        Self { log_packets: asked_for, ..self }
    }

    /// Refuses an interface that runs an XDP program of somebody else's. Changes nothing.
    ///
    /// # Errors
    /// [`BpfError::Foreign`]; the interface or the pins cannot be looked at.
    pub fn refuse_foreign(bpf_dir: &Path, interface: &Interface) -> Result<(), BpfError> {
        Self::at(bpf_dir).refuse_foreign_on(interface)
    }

    /// Parses the object, and creates or opens the pinned maps.
    fn load(&self) -> Result<Ebpf, BpfError> {
        let mut loader = EbpfLoader::new();
        for name in MAPS {
            loader.map_pin_path(name, self.dir.join(name));
        }
        packet_log::choose(&mut loader, self.log_packets);
        loader.load(OBJECT).map_err(|error| BpfError::new("preparing the BPF maps", error))
    }

    /// Revokes every lease and fences every address that an agent before this one left: from here
    /// on nothing is answered or accepted for them, nor by the kernel in our stead. To be called
    /// once, before any group starts.
    ///
    /// What an agent that ended in order has handed over is still sent on to the host that took it,
    /// for as long as that agent said, and left alone.
    ///
    /// Says which the others are, ascending. They may still be on their interfaces: take them off, then
    /// [`remove`](Self::remove) their entries.
    ///
    /// # Errors
    /// The kernel refused; some may still be answered for until their lease runs out.
    pub fn take_over(&self) -> Result<Vec<Stale>, BpfError> {
        let mut leases: Leases = plane::open_map(&self.dir, "LEASES", Map::Array)?;
        let mut addresses = self.addresses()?;
        let fail = |error: MapError| BpfError::new("fencing what an earlier agent left", error);
        for slot in 0..MAX_GROUPS {
            leases.set(slot, Lease::default(), 0).map_err(fail)?;
        }
        let entries: Vec<_> = addresses.iter().collect::<Result<_, _>>().map_err(fail)?;
        let keys: Vec<_> = entries.iter().map(|(key, _)| *key).collect();
        self.filter()?.take_over(&keys).map_err(fail)?;
        self.uncount_others(&keys).map_err(fail)?;
        let mut stale = Vec::with_capacity(entries.len());
        let now = clock::now().as_nanos();
        for (key, entry) in entries {
            if entry.state == STATE_LEFT && !entry.is_over(now) {
                continue;
            }
            let fenced = ServiceEntry { state: STATE_FENCED, ..entry };
            addresses.insert(key, fenced, 0).map_err(fail)?;
            stale.push(Stale { address: plane::address(&key), ifindex: key.ifindex });
        }
        stale.sort_unstable();
        Ok(stale)
    }

    /// Removes the counters that an agent before this one had made beforehand.
    fn uncount_others(&self, keys: &[ServiceKey]) -> Result<(), MapError> {
        let map = MapData::from_pin(self.dir.join("TRAFFIC"))?;
        let mut traffic = TrafficMap::try_from(Map::PerCpuHashMap(map))?;
        let kept: HashSet<&ServiceKey> = keys.iter().collect();
        let counted: Vec<ServiceKey> = traffic.keys().collect::<Result<_, _>>()?;
        let mut others = counted.into_iter().filter(|key| !kept.contains(key));
        others.try_for_each(|key| plane::gone(traffic.remove(&key)))
    }

    /// Removes the entries of addresses that are off their interfaces. What has no entry is fine.
    ///
    /// # Errors
    /// The kernel refused; those that follow in `stale` stay fenced.
    pub fn remove(&self, stale: &[Stale]) -> Result<(), BpfError> {
        let mut addresses = self.addresses()?;
        let mut traffic: TrafficMap = plane::open_map(&self.dir, "TRAFFIC", Map::PerCpuHashMap)?;
        let mut filter = self.filter()?;
        for &Stale { address, ifindex } in stale {
            let key = plane::key(address, ifindex);
            plane::gone(addresses.remove(&key))
                .and_then(|()| plane::gone(traffic.remove(&key)))
                .and_then(|()| filter.remove(key))
                .map_err(|error| BpfError::new(format!("removing {address}"), error))?;
        }
        Ok(())
    }

    /// `FILTER`
    fn filter(&self) -> Result<Filter, BpfError> {
        Filter::open(&self.dir, &self.users)
    }

    /// `SERVICE_ADDRS`
    fn addresses(&self) -> Result<ServiceAddrs, BpfError> {
        plane::open_map(&self.dir, "SERVICE_ADDRS", Map::HashMap)
    }

    /// The data plane of the group in `slot` (its position in the configuration, below
    /// [`MAX_GROUPS`]) on its service interface.
    ///
    /// # Errors
    /// The maps cannot be opened.
    pub fn group(&self, slot: u32, interface: &Interface) -> Result<GroupPlane, BpfError> {
        GroupPlane::new(&self.dir, slot, interface, self.filter()?, Arc::clone(&self.spares))
    }

    /// Traffic, lease and counters of the group in `slot`, for reading on another thread.
    ///
    /// # Errors
    /// The maps cannot be opened.
    pub fn reader(&self, slot: u32, interface: &Interface) -> Result<Reader, BpfError> {
        Reader::new(&self.dir, slot, interface)
    }

    /// Claims of other machines, of all groups. To be called within a tokio runtime, once.
    ///
    /// # Errors
    /// The map cannot be opened.
    pub fn conflicts(&self) -> Result<Conflicts, BpfError> {
        Conflicts::new(&self.dir)
    }
}

/// Whether there is anything of this program's below `bpf_dir`: an agent runs, or one has died.
#[must_use]
pub fn exists(bpf_dir: &Path) -> bool {
    // What cannot be read is dealt with, and reported, by whoever goes on to use it.
    schema_dirs(bpf_dir).is_ok_and(|dirs| !dirs.is_empty())
}

/// Ids of the programs that run in links below `bpf_dir`, of every schema version.
///
/// # Errors
/// A link or a directory could not be read.
pub fn programs(bpf_dir: &Path) -> Result<Vec<u32>, BpfError> {
    let mut programs = Vec::new();
    for dir in schema_dirs(bpf_dir)? {
        for path in attach::link_pins(&dir)? {
            programs.push(attach::program_of(&path)?);
        }
    }
    Ok(programs)
}

/// Whether the interface runs one of these programs.
///
/// # Errors
/// There is no such interface, or netlink failed.
pub fn runs_any(interface: &Interface, programs: &[u32]) -> Result<bool, BpfError> {
    let state = interface::state(interface.index)
        .map_err(|error| BpfError::new(format!("looking at {}", interface.name), error))?;
    Ok(state.running.iter().any(|running| programs.contains(&running.program)))
}

/// Removes the links and maps below `bpf_dir`, of every schema version, and so takes the program
/// off the interfaces: the kernel does it a moment later, see [`runs_any`]. Says what was removed.
/// Where there is nothing, nothing is done.
///
/// The kernel answers for addresses that are still on an interface from then on: take them off
/// before ([`BpfPlane::take_over`]).
///
/// # Errors
/// Something could not be removed; what comes before it is gone.
pub fn clean(bpf_dir: &Path) -> Result<Vec<PathBuf>, BpfError> {
    let mut removed = Vec::new();
    for dir in schema_dirs(bpf_dir)? {
        let links = attach::link_pins(&dir)?;
        let maps = MAPS.map(|name| dir.join(name));
        // Links first: without them nothing runs, and the maps are of no effect.
        for path in links.into_iter().chain(maps).filter(|path| path.exists()) {
            fs::remove_file(&path)
                .map_err(|error| BpfError::new(format!("removing {}", path.display()), error))?;
            removed.push(path);
        }
        fs::remove_dir(&dir)
            .map_err(|error| BpfError::new(format!("removing {}", dir.display()), error))?;
        removed.push(dir);
    }
    Ok(removed)
}

/// Where this version of the layouts is pinned.
fn schema_dir(bpf_dir: &Path) -> PathBuf {
    bpf_dir.join(format!("v{SCHEMA}"))
}

/// The directories `v1`, `v2`, … below `bpf_dir`, which need not exist.
fn schema_dirs(bpf_dir: &Path) -> Result<Vec<PathBuf>, BpfError> {
    let fail = |error| BpfError::new(format!("reading {}", bpf_dir.display()), error);
    let entries = match fs::read_dir(bpf_dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(fail)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name();
        let version = name.to_str().and_then(|name| name.strip_prefix('v'));
        if version.is_some_and(|digits| digits.parse::<u32>().is_ok()) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}
