//! What a client sees: an echo service that names its host, and a watch that asks it all the time.
//!
//! `watch` sends an echo every millisecond and an ARP request every two, for each address, and
//! reports in windows: how long the address did not answer, how much was lost, who answered, and
//! whether two hosts ever answered the same ARP request. For IPv6 addresses it sends neighbour
//! solicitations instead, and reports of them where it would of ARP.

pub mod confined;
pub mod echo;
pub mod tally;
pub mod watch;
pub mod without_bpf;

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// One window of a watch, one line of JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Length of the window in milliseconds.
    pub window_ms: f64,
    /// The longest the watch itself was late, in milliseconds: a longer gap than this is not of its
    /// own making.
    pub longest_stall_ms: f64,
    /// Echoes of all addresses that were not sent because the watch was late.
    pub skipped: u64,
    /// One entry an address, in the order of the command line.
    pub addresses: Vec<AddressReport>,
}

/// What was seen of one address. For an IPv6 address `arp` stands for neighbour discovery.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AddressReport {
    /// The address; unset only in a default value.
    pub address: Option<IpAddr>,
    /// Echoes sent.
    pub sent: u64,
    /// Of them, not answered within [`tally::GRACE`].
    pub lost: u64,
    /// The longest time without an answer, in milliseconds: between the arrivals of two answers, or
    /// from an answer to the end of the window.
    pub outage_ms: f64,
    /// Whether the last echo of the window was answered.
    pub answering: bool,
    /// The host that answered last in this window.
    pub last_host: Option<String>,
    /// Answers by host.
    pub hosts: BTreeMap<String, u64>,
    /// Echoes that were answered more than once.
    pub answered_twice: u64,
    /// ARP requests sent.
    pub arp_asked: u64,
    /// Of them, not answered.
    pub arp_unanswered: u64,
    /// ARP answers by hardware address.
    pub arp_hosts: BTreeMap<String, u64>,
    /// ARP requests that two or more hosts answered.
    pub arp_doubled: u64,
    /// For how long two or more hosts answered, in milliseconds: each request so answered stands for
    /// the time until the next one.
    pub arp_doubled_ms: f64,
    /// How often another host than before answered ARP. One move, one handover.
    pub arp_handovers: u64,
}

impl Report {
    /// What was seen of `address`, if it was watched.
    #[must_use]
    pub fn of(&self, address: IpAddr) -> Option<&AddressReport> {
        self.addresses.iter().find(|a| a.address == Some(address))
    }
}
