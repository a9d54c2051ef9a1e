//! What `rais status` shows: plain data, the same for programs (JSON) and people.

mod render;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use rais_common::maps::Counters;
use serde::{Deserialize, Serialize};

pub use render::{Style, render};

/// The agent and all its groups.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the agent.
    pub version: String,
    /// This host.
    pub host: Identity,
    /// The groups, in the order of the configuration.
    pub groups: Vec<Group>,
}

/// Who this host is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its id.
    pub id: IpAddr,
    /// Addresses of its control interfaces, in all groups.
    pub control_addresses: Vec<IpAddr>,
}

impl Default for Identity {
    /// Nobody yet.
    fn default() -> Self {
        Self { id: IpAddr::from([0; 4]), control_addresses: Vec::new() }
    }
}

/// One group, as this host sees it.
#[allow(clippy::struct_excessive_bools, reason = "the form is a contract with scripts")]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Who leads; none while joining.
    pub leader: Option<IpAddr>,
    /// What this host is to the group.
    pub role: Role,
    /// This host can provide the service.
    pub ok: bool,
    /// The operator forbids this host new addresses.
    pub quiesced: bool,
    /// As many hosts are in sight as the quorum asks for.
    pub quorum_met: bool,
    /// Messages are sealed with a key.
    pub secure: bool,
    /// What answers for the addresses here.
    pub data_plane: DataPlane,
    /// The live hosts, this one included, ascending by id.
    pub hosts: Vec<Host>,
    /// The service addresses of the group, ascending.
    pub addresses: Vec<Address>,
    /// The test objects of this host.
    pub tests: Vec<Test>,
    /// What the group's zone advertises; none where no zone is kept.
    pub dns: Option<Dns>,
    /// What this host sent and received.
    #[serde(default)]
    pub messages: Messages,
    /// The control interfaces, in the order of the configuration.
    #[serde(default)]
    pub control_interfaces: Vec<ControlInterface>,
    /// How long the end of a move may take.
    #[serde(default)]
    pub move_limit_ms: u64,
}

/// What this host is to the group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May be assigned addresses.
    #[default]
    Member,
    /// Listens only.
    Observer,
}

/// What answers for the addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataPlane {
    /// `xdp` or `kernel`.
    pub kind: String,
    /// The mode in force of the XDP program: `native` or `generic`. Without BPF empty.
    pub mode: String,
    /// What is to be known about it, for people. Empty: nothing.
    #[serde(default)]
    pub note: String,
    /// The service interface.
    pub interface: String,
    /// How long this host may still answer without another heartbeat; 0: lapsed.
    pub lease_ms_left: u64,
    /// What the XDP program counted, if there is one, by the names of the map's fields; see [`counters`].
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
}

/// One host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its id.
    pub id: IpAddr,
    /// Its tests pass.
    pub ok: bool,
    /// It takes no new addresses.
    pub quiesced: bool,
    /// Its load, in the unit of `capacity`.
    pub load: u32,
    /// What it can bear; 0 counts as full.
    pub capacity: u32,
    /// How long ago it was last heard.
    pub age_ms: u64,
    /// Where it stands in the group's life.
    #[serde(default)]
    pub phase: Phase,
    /// Addresses that belong to it.
    pub preferred: Vec<IpAddr>,
    /// Addresses it has.
    pub addresses: Vec<Served>,
}

/// Where a host stands in the group's life. Only a member leads or is assigned addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It listens, for the group's timeout after its start or after its lease ran out.
    Joining,
    /// It takes part.
    #[default]
    Member,
    /// It gives up what it has and goes.
    Leaving,
}

/// An address on the host that has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// The address.
    pub address: IpAddr,
    /// How far along it is.
    pub state: ServedState,
    /// Number of the assignment.
    pub epoch: u64,
}

/// State of an address on the host that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServedState {
    /// Being put in place.
    Acquiring,
    /// Answered for.
    Online,
    /// Being given up.
    Releasing,
}

impl ServedState {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Acquiring => "acquiring",
            Self::Online => "online",
            Self::Releasing => "releasing",
        }
    }
}

/// One service address of the group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// The host it belongs to; none for a floating address.
    pub preferred: Option<IpAddr>,
    /// The hosts that have it.
    pub holders: Vec<IpAddr>,
    /// How the group stands with it.
    pub state: AddressState,
    /// For how many seconds its preferred host has not served it; none where it does.
    pub orphaned_s: Option<u64>,
    /// Packets to it let through on this host.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of them, new TCP connections.
    pub connections: u64,
}

/// State of a service address in the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AddressState {
    /// Nobody has it.
    Unserved,
    /// Its holder puts it in place.
    Acquiring,
    /// Its holder answers for it.
    Online,
    /// Its holder gives it up.
    Releasing,
    /// Several hosts have it.
    Duplicate,
}

impl AddressState {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unserved => "unserved",
            Self::Acquiring => "acquiring",
            Self::Online => "online",
            Self::Releasing => "releasing",
            Self::Duplicate => "duplicate",
        }
    }
}

/// One test object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Test {
    /// Its name.
    pub name: String,
    /// What it says.
    pub passing: bool,
    /// For how many seconds it has said so.
    pub since_s: u64,
    /// Its last result, in words.
    pub detail: String,
}

/// What the group's zone advertises.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// Addresses in the zone.
    pub advertised: Vec<IpAddr>,
    /// The group's other addresses.
    pub withheld: Vec<IpAddr>,
    /// Why each of them is left out: `busy`, `quiesced`, `failing`, `orphaned` or `not-online`.
    #[serde(default)]
    pub reasons: BTreeMap<IpAddr, String>,
    /// The zone.
    #[serde(default)]
    pub zone: String,
    /// The name that has the addresses.
    #[serde(default)]
    pub name: String,
    /// Who tells the world: `server`, `update` or `zone-file`.
    #[serde(default)]
    pub backend: String,
    /// This host does so, not another of the group.
    #[serde(default)]
    pub publishes: bool,
    /// The zone's serial number, where it is known.
    #[serde(default)]
    pub serial: Option<u32>,
    /// Why the zone does not say so yet.
    #[serde(default)]
    pub trouble: Option<String>,
}

/// Datagrams of one group on this host since the agent's start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Messages {
    /// Sent, once for each control interface.
    pub sent: u64,
    /// Could not be sent.
    pub send_failed: u64,
    /// Received and handled.
    pub received: u64,
    /// Received over a second control interface.
    pub duplicates: u64,
    /// Refused, by reason.
    pub refused: BTreeMap<String, u64>,
}

/// One control interface of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlInterface {
    /// Its name.
    pub name: String,
    /// It is up and has carrier.
    pub up: bool,
    /// How many of the other hosts in sight were heard on it within the group's timeout.
    pub hosts_heard: usize,
    /// How long ago any of them was; none where none ever was.
    pub last_heard_ms: Option<u64>,
    /// Messages sent over it.
    pub sent: u64,
    /// Messages that could not be sent over it.
    pub send_failed: u64,
    /// The other hosts in sight, ascending by id.
    pub hosts: Vec<HeardHost>,
}

/// Another host on one control interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeardHost {
    /// Its id.
    pub id: IpAddr,
    /// It was heard within the group's timeout.
    pub heard: bool,
    /// How long ago it was last heard here; none where it never was.
    pub age_ms: Option<u64>,
}

/// A span in whole milliseconds.
#[must_use]
pub fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The counters of the XDP program by name.
#[must_use]
pub fn counters(counters: &Counters) -> BTreeMap<String, u64> {
    [
        ("arp_asked", counters.arp_asked),
        ("arp_answered", counters.arp_answered),
        ("arp_malformed", counters.arp_malformed),
        ("arp_refused", counters.arp_refused),
        ("nd_asked", counters.nd_asked),
        ("nd_answered", counters.nd_answered),
        ("nd_malformed", counters.nd_malformed),
        ("nd_refused", counters.nd_refused),
        ("fenced", counters.fenced),
        ("forwarded", counters.forwarded),
        ("conflicts", counters.conflicts),
        ("events_lost", counters.events_lost),
    ]
    .into_iter()
    .map(|(name, count)| (name.to_owned(), count))
    .collect()
}

/// `text` on one line and without control characters: it may come from a script and goes to a
/// terminal.
#[must_use]
pub fn one_line(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests;
