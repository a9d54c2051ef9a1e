//! What hosts say to each other, before it is encoded (`crate::wire`).

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{AddressState, HostId, HostInfo, MoveRefusal, Reason};

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
    /// What did not fit the heartbeat.
    Part(Part),
    /// To somebody whose parts were missed.
    Ask(Ask),
}

/// The heartbeat: everything the sender wants known.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Info {
    /// The sender itself.
    pub host: HostInfo,
    /// Where its lists of addresses do not fit and `host` has none: their sum. They are said in
    /// [`Part`]s.
    pub lists: Option<Sum>,
    /// What it has heard of other hosts, ascending by id. Where not all fit: its leader, and some
    /// in turn.
    pub known: Vec<Known>,
    /// It has heard of more hosts than `known` has room for.
    pub knows_more: bool,
    /// The service-address database, ascending by address.
    pub database: Vec<Record>,
    /// Where the database does not fit, and is not there at all: its sum.
    pub records: Option<Sum>,
    /// How long at most the sender may answer after this heartbeat, and after those that follow
    /// until one says otherwise; whole microseconds on the wire.
    pub lease: Duration,
}

/// A set of addresses with something known of each, put into a number. The order plays no part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sum {
    /// The set is cut into 2^bits slices; at most 16.
    pub bits: u8,
    /// The same for the same set, and hardly for another.
    pub digest: u64,
}

/// Which addresses: those whose hash begins with the `bits` bits of `index`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Slice {
    /// How many bits; at most 16.
    pub bits: u8,
    /// Their value.
    pub index: u16,
}

/// Some of what the sender has to say: everything it has in a slice of its lists, or some of what
/// it has in a slice of its database.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Of its lists: all of the slice.
    Lists(Slice, Vec<Listed>),
    /// Of its database.
    Records(Vec<Record>),
}

/// An address in a host's lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Listed {
    /// The address.
    pub address: IpAddr,
    /// It belongs to the host.
    pub preferred: bool,
    /// The host tried lately to take it, and could not.
    pub refused: bool,
    /// The host has it: how far along it is, and the number of the assignment.
    pub served: Option<(AddressState, u64)>,
}

/// A host has missed parts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ask {
    /// Who is to send them.
    pub to: HostId,
    /// Of which set.
    pub of: PartOf,
    /// The set is cut into 2^bits slices; at most 16.
    pub bits: u8,
    /// The first of the slices.
    pub first: u16,
    /// The lower half of the sum of what the asker has in this and the following slices, at most
    /// [`ASK_LIMIT`]: it wants those that differ.
    pub sums: Vec<u32>,
}

/// A set that is said in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartOf {
    /// The lists of a host.
    Lists,
    /// The database.
    Database,
}

/// Most sums in one [`Ask`].
pub const ASK_LIMIT: usize = 256;

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
    /// The last host that was configured with it is so no more, for as long as `age`.
    pub withdrawn: bool,
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
pub const ORDER_LIMIT: usize = 28;

/// One address of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OrderEntry {
    /// The service address.
    pub address: IpAddr,
    /// For an Acquire the number of this assignment; for a Release that of the one to end.
    pub epoch: u64,
    /// Why the leader wants it.
    pub reason: Reason,
    /// The other host of a hand-over. For an Acquire the one that serves the address and will let
    /// go once this one is prepared; for a Release the one that is prepared. None: there is none.
    pub other: Option<HostId>,
}
