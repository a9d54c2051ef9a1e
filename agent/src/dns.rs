//! Name service: how a group's zone gets to say which addresses clients are to use.
//!
//! What it is to say is decided elsewhere (`group::Advertising`). A backend is told so, again and
//! again until it succeeds, and from time to time after that.

mod answer;
mod notify;
mod server;
mod soa;
mod update;
mod zone;
mod zone_file;

use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;

use domain::base::Name;
use domain::base::iana::Rcode;
use domain::tsig::ValidationError;

use crate::config::checked::{NameBackend, NameService};
use crate::process::ProcessError;

pub use answer::{Rotation, Transport, answer};
pub use server::Server;
pub use update::Update;
pub use zone::{Prepared, Zone};
pub use zone_file::ZoneFile;

/// What a zone is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// This host does not know: it is joining, or cut off from too many of the others.
    Unknown,
    /// These addresses. None: nobody serves anything.
    Addresses(BTreeSet<IpAddr>),
}

/// Something that tells the world.
pub trait Backend: Send {
    /// Sees to it that the zone says what is wanted; where it does already, changes nothing. The
    /// zone's serial number, where it is known. The caller gives it a deadline: it may be dropped
    /// at any time, and called again.
    fn publish<'a>(&'a mut self, wanted: &'a Wanted) -> Publishing<'a>;
}

/// A publication under way.
pub type Publishing<'a> = Pin<Box<dyn Future<Output = Result<Option<u32>, DnsError>> + Send + 'a>>;

/// The zone does not say what it is to say.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// The agent cannot listen for questions there.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// There is no address to advertise. A zone without any helps nobody, so it stays as it is.
    #[error("no address is there to be advertised; the zone stays as it is")]
    NoAddress,
    /// The name server does not answer.
    #[error("name server {server}: {source}")]
    Unreachable {
        /// The server.
        server: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The name server refuses.
    #[error("name server {server} refused {what} about zone {zone}: {rcode}")]
    Refused {
        /// The server.
        server: SocketAddr,
        /// The zone.
        zone: Name<Vec<u8>>,
        /// What it refused.
        what: &'static str,
        /// What it said.
        rcode: Rcode,
    },
    /// The name server does not accept the key, or its answer is not signed with it.
    #[error("name server {server} does not agree about the key: {source}")]
    Signature {
        /// The server.
        server: SocketAddr,
        /// In which way.
        source: ValidationError,
    },
    /// The name server answers for the zone, but not with authority.
    #[error("name server {server} has no authority over zone {zone}: name its primary server")]
    NotTheirs {
        /// The server.
        server: SocketAddr,
        /// The zone.
        zone: Name<Vec<u8>>,
    },
    /// The name server took an update and did nothing.
    #[error(
        "name server {server} took an update of {name}, which yet has other addresses: has it \
             a CNAME, or does somebody else change it?"
    )]
    Ignored {
        /// The server.
        server: SocketAddr,
        /// The name.
        name: Name<Vec<u8>>,
    },
    /// The name server said something that makes no sense.
    #[error("name server {server}: a message could not be made or understood")]
    Malformed {
        /// The server.
        server: SocketAddr,
    },
    /// The zone file could not be written.
    #[error("zone file {path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The command after it failed.
    #[error("reload: {0}")]
    Reload(#[from] ProcessError),
    /// The name server does not have the new zone.
    #[error("name server {server} did not load zone {zone} with serial {serial}; its log says why")]
    NotTaken {
        /// The server.
        server: SocketAddr,
        /// The zone.
        zone: Name<Vec<u8>>,
        /// Its serial number.
        serial: u32,
    },
}

/// The backend of a configuration.
#[must_use]
pub fn backend(service: &NameService) -> Box<dyn Backend> {
    match &service.backend {
        NameBackend::Server(server) => Box::new(Server::new(service, server.clone())),
        NameBackend::Update(server) => Box::new(Update::new(service, server)),
        NameBackend::ZoneFile(file) => Box::new(ZoneFile::new(service, file.clone())),
    }
}
