//! Name service: how a group's zone gets to say which addresses clients are to use.
//!
//! What it is to say is decided elsewhere (`group::Advertising`). A backend is told so, again and
//! again until it succeeds, and from time to time after that.

mod answer;
mod exchange;
mod notify;
mod server;
mod zone;

use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;

use crate::config::checked::{NameBackend, NameService};

pub use answer::{Rotation, Transport, answer};
pub use server::Server;
pub use zone::Zone;

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
}

/// The backend of a configuration.
#[must_use]
pub fn backend(service: &NameService) -> Box<dyn Backend> {
    match &service.backend {
        NameBackend::Server(server) => Box::new(Server::new(service, server.clone())),
    }
}
