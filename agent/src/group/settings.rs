//! What the operator decided about one group, already checked (see `config::checked`).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::HostId;

/// Said instead of a hardware address by a host that takes part in no hand-over: addresses go from
/// it, and come to it, with a short gap.
pub const NO_HAND_OVER: [u8; 6] = [0; 6];

/// What this host is to the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Provides the service; may be assigned addresses.
    Member,
    /// Listens only: declares itself not OK and is never assigned anything.
    Observer,
}

/// When an address returns to its preferred host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failback {
    /// As soon as the preferred host is available.
    Immediate,
    /// Once the preferred host has been available for this long without a break.
    After(Duration),
    /// Never by itself; the holder keeps it until it fails or the operator moves it.
    Never,
}

/// How the leader chooses among several candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    /// Lowest utilisation, then fewest addresses, then a hash of address and host.
    LeastUtilised,
    /// The source's random pick, from the group's seeded generator.
    Random,
}

/// When a host has too much to do, and when it has room: in parts of its capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Balance {
    /// Above it a host gives addresses away. Greater than `low`.
    pub high: u32,
    /// At or below it a host has room for them.
    pub low: u32,
    /// The utilisation, load · scale / capacity, of a host that is just full. At least 1.
    pub scale: u32,
}

/// Everything a [`Group`](super::Group) needs to know. Durations are positive and
/// `lease < timeout`, which the configuration checks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Settings {
    /// Name of the group, for people.
    pub name: String,
    /// This host.
    pub host: HostId,
    /// Addresses of the control interfaces, at least one.
    pub control_addresses: Vec<IpAddr>,
    /// Hardware address of the service interface; [`NO_HAND_OVER`] where the data plane can send
    /// nothing on.
    pub mac: [u8; 6],
    /// Member or observer.
    pub role: Role,
    /// Interval h between heartbeats, at least 1 ms.
    pub heartbeat: Duration,
    /// Silence T after which a host is dead to others.
    pub timeout: Duration,
    /// How long this host may answer after its last heartbeat was sent. Less than `timeout`.
    pub lease: Duration,
    /// Addresses that belong to this host unless it fails. None: a hot spare.
    pub preferred: BTreeSet<IpAddr>,
    /// Addresses that belong to the group and prefer nobody.
    pub floating: BTreeSet<IpAddr>,
    /// Fewest live hosts, this one included, among which addresses may be held. 1: no limit.
    pub quorum: u32,
    /// When an address returns to its preferred host.
    pub failback: Failback,
    /// How the leader chooses among candidates.
    pub placement: Placement,
    /// Whether a leader moves addresses from hosts that have too much to do to hosts that have
    /// room. None: it does not.
    pub balance: Option<Balance>,
    /// Whether a leader moves addresses from hosts that have many to hosts that have few and are no
    /// busier. Not with random placement.
    pub spread: bool,
    /// How long an address outlives its preferred host.
    pub orphan_timeout: Duration,
    /// Longest an acquisition or release may take before it counts as failed: the script's
    /// deadline and something for the address itself.
    pub action_limit: Duration,
    /// Whether an acquire script is to be run before an address counts as online.
    pub acquire_script: bool,
    /// Whether a release script is to be run before an address is withdrawn.
    pub release_script: bool,
    /// Seed of the group's random generator.
    pub seed: u64,
}

impl Settings {
    /// Longest a move that an operator asked for may take: a release, an acquisition, and the time
    /// in which a leader that died is followed by another.
    #[must_use]
    pub fn move_limit(&self) -> Duration {
        (self.action_limit + self.timeout) * 2
    }
}
