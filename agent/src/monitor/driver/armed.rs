//! Addresses whose routes are in place on this host whether it has them or not (`prearm`).
//!
//! They are fenced from before their routes are there until after those are gone, so that the
//! kernel neither answers nor takes anything for an address that another host has.

use std::collections::HashSet;
use std::net::IpAddr;

use crate::data_plane::{DataPlane, DataPlaneError};

/// What is prepared. Nothing leaves it while the group runs: an address that is no longer the
/// group's stays fenced.
#[derive(Debug, Default)]
pub(super) struct Armed {
    fenced: HashSet<IpAddr>,
    routed: HashSet<IpAddr>,
}

impl Armed {
    /// Fences those of `addresses` that this host does not have (`held`), which may be given routes
    /// then. Says which they are. The others wait until they were taken away.
    ///
    /// # Errors
    /// Some are not fenced, and none is to be given a route.
    pub(super) fn fence(
        &mut self,
        addresses: &[IpAddr],
        held: impl Fn(IpAddr) -> bool,
        plane: &mut dyn DataPlane,
    ) -> Result<Vec<IpAddr>, DataPlaneError> {
        let free: Vec<IpAddr> = addresses.iter().copied().filter(|&a| !held(a)).collect();
        plane.prepare(&free)?;
        self.fenced.extend(&free);
        Ok(free)
    }

    /// The routes of these are in place.
    pub(super) fn routed(&mut self, addresses: Vec<IpAddr>) {
        self.routed.extend(addresses);
    }

    /// Nothing is to be done to put the address in place.
    pub(super) fn has_route(&self, address: IpAddr) -> bool {
        self.routed.contains(&address)
    }

    /// The address is not to be taken away, nor forgotten by the data plane.
    pub(super) fn keeps(&self, address: IpAddr) -> bool {
        self.fenced.contains(&address)
    }
}
