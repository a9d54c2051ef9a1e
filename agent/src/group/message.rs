//! What hosts say to each other, before it is encoded (`crate::wire`).

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{HostId, HostInfo, MoveRefusal, Reason};

/// One message of one host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    /// Who sent it.
    pub source: HostId,
    /// The sender's boot epoch. A later start of the same host has a higher one.
    pub boot: u64,
    /// Ascends for ever within a boot, starting at 1.
    pub sequence: u64,
    /// What it says.
    pub body: Body,
}

/// The types of message.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Body {
    /// The heartbeat.
    Info(Box<Info>),
    /// From the leader: serve these addresses.
    Acquire(Order),
    /// From the leader: stop serving these addresses.
    Release(Order),
    /// To the leader: an operator wants an address moved.
    Move(MoveRequest),
    /// From the leader: it will not be.
    MoveRefused(MoveAnswer),
}

/// The heartbeat: everything the sender wants known.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Info {
    /// The sender itself.
    pub host: HostInfo,
    /// What it has heard of other hosts, ascending by id.
    pub known: Vec<Known>,
    /// The service-address database, ascending by address.
    pub database: Vec<Record>,
}

/// What one host has heard of another. Also an acknowledgement: the sender has handled every
/// message of that boot up to `sequence` that it will ever handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Known {
    /// The other host.
    pub id: HostId,
    /// Its boot epoch.
    pub boot: u64,
    /// The highest sequence number heard of that boot.
    pub sequence: u64,
    /// How long ago that was; whole milliseconds on the wire.
    pub age: Duration,
}

/// An entry of the service-address database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    /// The service address.
    pub address: IpAddr,
    /// The host it belongs to; none for a floating address.
    pub preferred: Option<HostId>,
    /// How long ago its preferred host (for a floating one: a host configured with it) was last
    /// seen; whole milliseconds on the wire.
    pub age: Duration,
    /// Highest epoch of any assignment heard of; 0 where there was none.
    pub epoch: u64,
}

/// An Acquire or a Release.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Order {
    /// The host that is to act.
    pub to: HostId,
    /// What about, at most [`ORDER_LIMIT`].
    pub entries: Vec<OrderEntry>,
}

/// What an operator wants of the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MoveRequest {
    /// The leader that is asked.
    pub leader: HostId,
    /// The service address.
    pub address: IpAddr,
    /// The host that is to have it.
    pub to: HostId,
}

/// Why the leader does not do what an operator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MoveAnswer {
    /// The host that asked.
    pub to: HostId,
    /// The service address.
    pub address: IpAddr,
    /// Why not.
    pub refusal: MoveRefusal,
}

/// Most addresses in one order: fits a datagram of 1,400 bytes.
pub const ORDER_LIMIT: usize = 32;

/// One address of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OrderEntry {
    /// The service address.
    pub address: IpAddr,
    /// For an Acquire the number of this assignment; for a Release that of the one to end.
    pub epoch: u64,
    /// Why the leader wants it.
    pub reason: Reason,
}
