//! `[group.dns]`

use std::net::{IpAddr, SocketAddr};

use domain::base::Name;

/// `[group.dns]`: the zone that advertises the group's addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameService {
    /// The zone.
    pub zone: Name<Vec<u8>>,
    /// The name in it that has the addresses; may be the zone's own.
    pub name: Name<Vec<u8>>,
    /// How long others may remember them, in seconds. At least 1.
    pub ttl: u32,
    /// Fewest addresses that are advertised however busy their hosts are.
    pub minimum: usize,
    /// Who tells the world.
    pub backend: NameBackend,
}

/// `backend`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameBackend {
    /// The agent answers itself.
    Server(NameServer),
}

impl NameBackend {
    /// The word for it.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Server(_) => "server",
        }
    }
}

/// `backend = "server"`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameServer {
    /// Where questions come in, over UDP and TCP. At least one, none unspecified.
    pub listen: Vec<SocketAddr>,
    /// The servers of the zone, the primary first. At least one.
    pub nameservers: Vec<Delegate>,
    /// Secondaries that are told of changes.
    pub notify: Vec<SocketAddr>,
    /// Who may have the whole zone.
    pub transfer: Vec<IpAddr>,
}

/// A server of the zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegate {
    /// Its name.
    pub name: Name<Vec<u8>>,
    /// Its addresses, where its name is in the zone.
    pub addresses: Vec<IpAddr>,
}
