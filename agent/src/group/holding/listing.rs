//! What the heartbeat says of this host's addresses.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::super::{AddressState, Served};
use super::{Holding, Holdings};

impl Holdings {
    /// Something is listed.
    pub fn any_listed(&self) -> bool {
        self.held.values().any(Holding::is_listed)
    }

    /// What the heartbeat lists, ascending by address.
    pub fn served(&self) -> Vec<Served> {
        self.held
            .iter()
            .filter_map(|(&address, h)| Some(Served { address, state: h.state()?, epoch: h.epoch }))
            .collect()
    }

    /// What the heartbeat lists of an address: its state and its epoch.
    pub fn listed_as(&self, address: IpAddr) -> Option<(AddressState, u64)> {
        let holding = self.held.get(&address)?;
        Some((holding.state()?, holding.epoch))
    }

    /// The epoch an address is listed under.
    pub fn epoch(&self, address: IpAddr) -> Option<u64> {
        self.held.get(&address).filter(|h| h.is_listed()).map(|h| h.epoch)
    }

    /// Addresses of which what is listed may have changed since the last call.
    pub fn take_changed(&mut self) -> BTreeSet<IpAddr> {
        std::mem::take(&mut self.changed)
    }

    /// What has come to be online since the last call, with its epoch.
    pub fn take_online(&mut self) -> Vec<(IpAddr, u64)> {
        let online = std::mem::take(&mut self.online).into_iter();
        online.filter_map(|address| Some((address, self.epoch(address)?))).collect()
    }

    /// Whatever is listed.
    pub(super) fn listed(&self) -> Vec<IpAddr> {
        self.held.iter().filter(|(_, h)| h.is_listed()).map(|(&address, _)| address).collect()
    }
}
