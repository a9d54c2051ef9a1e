//! `[group.dns]`

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

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
    /// Another's server is updated by the group's leader, or by an observer.
    Update(UpdatedServer),
    /// A file on this host is written.
    ZoneFile(ZoneFile),
}

impl NameBackend {
    /// The word for it.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Server(_) => "server",
            Self::Update(_) => "update",
            Self::ZoneFile(_) => "zone-file",
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

/// `backend = "update"`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdatedServer {
    /// The zone's primary server.
    pub server: SocketAddr,
    /// What messages are signed with.
    pub key: TsigKey,
}

/// A key for signing messages to name servers. Its secret never appears in a log.
#[derive(Clone, PartialEq, Eq)]
pub struct TsigKey {
    /// Its name, the same on both sides.
    pub name: Name<Vec<u8>>,
    /// How it signs.
    pub algorithm: TsigAlgorithm,
    /// What only both sides know.
    pub secret: Vec<u8>,
}

impl fmt::Debug for TsigKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TsigKey({}, {:?}, …)", self.name, self.algorithm)
    }
}

/// How a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TsigAlgorithm {
    /// `hmac-sha256`
    HmacSha256,
    /// `hmac-sha512`
    HmacSha512,
}

/// `backend = "zone-file"`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneFile {
    /// Where it is written.
    pub file: PathBuf,
    /// The servers of the zone, the primary first. At least one.
    pub nameservers: Vec<Delegate>,
    /// The program that makes the name server read it, and its arguments.
    pub reload: Option<Vec<String>>,
    /// Its deadline; past it the process group is killed.
    pub reload_timeout: Duration,
    /// The name server, to be asked whether it has read it.
    pub server: Option<SocketAddr>,
}
