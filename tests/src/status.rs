//! What the tests read of `rais status --json`. Fields they do not need are left out.

use std::net::IpAddr;

use serde::Deserialize;

/// The whole answer.
#[derive(Clone, Debug, Deserialize)]
pub struct Status {
    /// One entry a group.
    pub groups: Vec<Group>,
}

/// One group as a host sees it.
#[derive(Clone, Debug, Deserialize)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Id of the host that leads.
    pub leader: Option<IpAddr>,
    /// The hosts in sight.
    pub hosts: Vec<Member>,
    /// The group's service addresses.
    pub addresses: Vec<Address>,
}

/// A host in sight.
#[derive(Clone, Debug, Deserialize)]
pub struct Member {
    /// Its id.
    pub id: IpAddr,
    /// Its tests pass.
    pub ok: bool,
}

/// A service address.
#[derive(Clone, Debug, Deserialize)]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// Id of the host it belongs to.
    pub preferred: Option<IpAddr>,
    /// Ids of the hosts that have it.
    pub holders: Vec<IpAddr>,
    /// `unserved`, `acquiring`, `online`, `releasing` or `duplicate`.
    pub state: String,
}

impl Status {
    /// The one host that has `address` online, as far as this host knows.
    #[must_use]
    pub fn holder(&self, address: IpAddr) -> Option<IpAddr> {
        let found = self.groups.iter().flat_map(|g| &g.addresses).find(|a| a.address == address)?;
        match found.holders.as_slice() {
            [one] if found.state == "online" => Some(*one),
            _ => None,
        }
    }

    /// How many hosts are in sight, in the group where they are most.
    #[must_use]
    pub fn hosts(&self) -> usize {
        self.groups.iter().map(|g| g.hosts.len()).max().unwrap_or(0)
    }
}
