//! What a control interface is good for: what was sent over it, and who is heard on it.

use std::collections::BTreeMap;
use std::time::Duration;

use rais_common::time::Time;

use super::receive::Receiver;
use super::transmit::SendCounters;
use crate::group::HostId;

/// A control interface of a group at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Name of the interface.
    pub interface: String,
    /// What was sent over it.
    pub sent: SendCounters,
    /// How long ago each other host was last heard on it. Copies of messages that arrived over
    /// another interface before count as well. A host never heard on it is not there.
    pub heard: BTreeMap<HostId, Duration>,
}

impl Link {
    /// The interface called `interface` at `now`.
    pub(super) fn new(now: Time, interface: &str, sent: SendCounters, sockets: &Receiver) -> Self {
        let mut heard = BTreeMap::new();
        for (host, times) in sockets.heard() {
            let here = times.filter(|(name, _)| *name == interface).find_map(|(_, time)| time);
            if let Some(time) = here {
                heard.insert(host, now.since(time));
            }
        }
        Self { interface: interface.to_owned(), sent, heard }
    }
}
