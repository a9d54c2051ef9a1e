//! The host information entry: what a host says about itself.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A host's identity in its groups: its first control address. The lowest live one leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HostId(pub IpAddr);

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a host stands in the group's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Listens, after its start or after its lease lapsed: neither leads nor is assigned.
    Joining,
    /// Takes part.
    Member,
    /// Releases what it has and goes: neither leads nor is assigned.
    Leaving,
}

/// State of a service address on the host that lists it. Absent is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddressState {
    /// Assigned; being put in place.
    Acquiring,
    /// Answered for.
    Online,
    /// Being given up; may still be answered for.
    Releasing,
    /// To be taken over from a host that serves it still; being put in place.
    Preparing,
    /// As `Preparing`, and in place: the host that serves it may let go.
    Prepared,
}

impl AddressState {
    /// Not served yet, while another host serves the address.
    #[must_use]
    pub const fn waits(self) -> bool {
        matches!(self, Self::Preparing | Self::Prepared)
    }
}

/// A service address on the host that lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Served {
    /// The address.
    pub address: IpAddr,
    /// How far along it is.
    pub state: AddressState,
    /// Number of the assignment it is held under.
    pub epoch: u64,
}

impl HostInfo {
    /// Whether addresses can be handed over to it, and by it.
    pub(super) fn hands_over(&self) -> bool {
        self.mac != super::NO_HAND_OVER
    }

    /// Whether it calls an address its own.
    pub(super) fn prefers(&self, address: IpAddr) -> bool {
        self.preferred.binary_search(&address).is_ok()
    }
}

/// What a host says about itself. Its id is the source of the message.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HostInfo {
    /// Addresses of its control interfaces.
    pub control_addresses: Vec<IpAddr>,
    /// Hardware address of its service interface: where addresses are handed over to;
    /// [`NO_HAND_OVER`](super::NO_HAND_OVER) where none can be.
    pub mac: [u8; 6],
    /// Its tests pass. Always false for an observer.
    pub ok: bool,
    /// The operator forbids it new addresses.
    pub quiesced: bool,
    /// Where it stands in the group's life.
    pub phase: Phase,
    /// Whose orders it follows.
    pub leader: Option<HostId>,
    /// Current load, in the unit of `capacity`.
    pub load: u32,
    /// Current capacity; 0 counts as full.
    pub capacity: u32,
    /// Addresses that belong to it, ascending.
    pub preferred: Vec<IpAddr>,
    /// Addresses it has, ascending.
    pub served: Vec<Served>,
    /// Addresses it tried and could not take lately, ascending: not to be assigned to it now.
    pub refused: Vec<IpAddr>,
}
