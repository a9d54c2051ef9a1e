//! Service addresses in the kernel, through rtnetlink: on an interface, or as local routes.
//!
//! What is added here carries a mark ([`MARK`]), so that it can be told from what the operator put
//! there and be taken away after an agent that died.

mod local;
mod messages;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;

use crate::netlink::Exchange;

/// `IFA_PROTO` of the addresses added here, and the protocol of the routes. Linux keeps the former
/// since 5.18; older kernels ignore it, and then [`Addresses::ours`] finds no addresses.
pub const MARK: u8 = rais_common::ADDRESS_MARK;

/// Where an address is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// On the interface of this index, as a host address (/32, /128). An IPv6 address is usable at
    /// once: duplicates are our own protocol's concern (`nodad`). It is also deprecated from the
    /// start (RFC 4862, 5.5.4): it serves, but this host does not choose it as the source of
    /// traffic of its own.
    Interface(u32),
    /// As a local route on `lo`: traffic for it is accepted, and no interface has it. Cheap where
    /// there are thousands. The kernel answers no neighbour solicitations for it, and no ARP where
    /// `arp_ignore` is set.
    Route,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interface(ifindex) => write!(f, "interface {ifindex}"),
            Self::Route => f.write_str("the local routes"),
        }
    }
}

/// Something to be done to one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Put it in place, with success where it is there already: it keeps the mark it had or had
    /// not, and is taken away all the same. False: take it away, with success where it is not
    /// there; the same address with another prefix length is the operator's and stays.
    pub add: bool,
    /// Where.
    pub place: Place,
    /// Which.
    pub address: IpAddr,
}

/// An address could not be added, removed or listed.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// There is no netlink socket to be had; nothing was changed.
    #[error("netlink socket: {0}")]
    Connect(#[source] io::Error),
    /// The address may not be in place.
    #[error("add {address} to {place}: {source}")]
    Add {
        /// The address.
        address: IpAddr,
        /// Where.
        place: Place,
        /// What the kernel said.
        source: io::Error,
    },
    /// The address may still be in place.
    #[error("remove {address} from {place}: {source}")]
    Remove {
        /// The address.
        address: IpAddr,
        /// From where.
        place: Place,
        /// What the kernel said.
        source: io::Error,
    },
    /// The addresses in a place are not known.
    #[error("list the addresses of {place}: {source}")]
    List {
        /// Where.
        place: Place,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A netlink socket in the network namespace of the thread that opened it. Clones share it.
///
/// The kernel carries requests out within the system call that brings them, one by one: that takes
/// up a thread that may wait, not one of the runtime's own.
#[derive(Clone, Debug)]
pub struct Addresses {
    runtime: Handle,
    netlink: Arc<Mutex<Exchange>>,
}

impl Addresses {
    /// Opens the socket. Requests are carried out on threads of `runtime`.
    ///
    /// # Errors
    /// [`AddressError::Connect`]
    pub fn connect(runtime: &Handle) -> Result<Self, AddressError> {
        let netlink = Exchange::open().map_err(AddressError::Connect)?;
        Ok(Self { runtime: runtime.clone(), netlink: Arc::new(Mutex::new(netlink)) })
    }

    /// Makes the changes, in this order; what came of each. They go to the kernel many at a time.
    /// An address that is in place takes packets in: see [`local`].
    pub async fn apply(&self, changes: Vec<Change>) -> Vec<Result<(), AddressError>> {
        let lost: Vec<Change> = changes.clone();
        let netlink = Arc::clone(&self.netlink);
        let done = self.runtime.spawn_blocking(move || {
            let requests: Vec<_> = changes.iter().map(messages::request).collect();
            let answers = locked(&netlink).carry_out(&requests);
            let judged = changes.iter().zip(answers).map(|(change, answer)| judge(change, answer));
            let judged: Vec<_> = judged.collect();
            let done = changes.iter().zip(&judged).filter(|(_, result)| result.is_ok());
            local::wait(&netlink, done.map(|(change, _)| change));
            judged
        });
        // The runtime ends, or a defect of ours.
        done.await.unwrap_or_else(|e| {
            let failed = |change: &Change| judge(change, Err(io::Error::other(e.to_string())));
            lost.iter().map(failed).collect()
        })
    }

    /// Puts one address in place.
    ///
    /// # Errors
    /// [`AddressError::Add`]
    pub async fn add(&self, place: Place, address: IpAddr) -> Result<(), AddressError> {
        self.one(Change { add: true, place, address }).await
    }

    /// Takes one address away.
    ///
    /// # Errors
    /// [`AddressError::Remove`]
    pub async fn remove(&self, place: Place, address: IpAddr) -> Result<(), AddressError> {
        self.one(Change { add: false, place, address }).await
    }

    async fn one(&self, change: Change) -> Result<(), AddressError> {
        self.apply(vec![change]).await.into_iter().collect()
    }

    /// The addresses in the place that carry our mark, in the kernel's order.
    ///
    /// # Errors
    /// [`AddressError::List`]
    pub async fn ours(&self, place: Place) -> Result<Vec<IpAddr>, AddressError> {
        let netlink = Arc::clone(&self.netlink);
        let listed = self.runtime.spawn_blocking(move || list(&mut locked(&netlink), place));
        let listed = listed.await.unwrap_or_else(|e| Err(io::Error::other(e.to_string())));
        listed.map_err(|source| AddressError::List { place, source })
    }
}

/// The addresses on the interface of this index that carry our mark, whichever process put them
/// there, in the kernel's order. The thread that asks waits, and asks in its network namespace.
///
/// # Errors
/// No socket, or what the kernel says.
pub fn ours_on(ifindex: u32) -> io::Result<Vec<IpAddr>> {
    list(&mut Exchange::open()?, Place::Interface(ifindex))
}

fn list(netlink: &mut Exchange, place: Place) -> io::Result<Vec<IpAddr>> {
    let mut found = Vec::new();
    for question in messages::questions(place) {
        let all = netlink.dump(question)?;
        found.extend(all.iter().filter_map(|message| messages::marked(place, message)));
    }
    Ok(found)
}

/// Addresses on one interface that go by themselves, changed by the thread that asks for it.
#[derive(Debug)]
pub struct Leased {
    netlink: Exchange,
    ifindex: u32,
}

impl Leased {
    /// Opens a socket for the interface of this index, in the network namespace of this thread.
    ///
    /// # Errors
    /// [`AddressError::Connect`]
    pub fn connect(ifindex: u32) -> Result<Self, AddressError> {
        let netlink = Exchange::open().map_err(AddressError::Connect)?;
        Ok(Self { netlink, ifindex })
    }

    /// Puts these on the interface, or renews those that are there: the kernel takes each away
    /// after so many seconds. An answer to each.
    pub fn put(&mut self, addresses: &[IpAddr], seconds: u32) -> Vec<io::Result<()>> {
        let request = |&address: &IpAddr| messages::leased(self.ifindex, address, seconds);
        let requests: Vec<_> = addresses.iter().map(request).collect();
        self.netlink.carry_out(&requests)
    }

    /// Takes these off the interface; success where one is not there, or the interface is gone. An
    /// answer to each.
    pub fn take(&mut self, addresses: &[IpAddr]) -> Vec<io::Result<()>> {
        let place = Place::Interface(self.ifindex);
        let request = |&address: &IpAddr| messages::request(&Change { add: false, place, address });
        let requests: Vec<_> = addresses.iter().map(request).collect();
        let gone = |e: &io::Error| is_gone(e) || e.raw_os_error() == Some(libc::ENODEV);
        let answers = self.netlink.carry_out(&requests).into_iter();
        answers.map(|answer| answer.or_else(|e| if gone(&e) { Ok(()) } else { Err(e) })).collect()
    }
}

/// There was nothing to take away.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EADDRNOTAVAIL | libc::ESRCH))
}

/// Each exchange leaves the socket as it found it, even if it panics.
fn locked(netlink: &Mutex<Exchange>) -> std::sync::MutexGuard<'_, Exchange> {
    netlink.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the kernel's answer means.
fn judge(change: &Change, answer: io::Result<()>) -> Result<(), AddressError> {
    let Change { add, place, address } = *change;
    let Err(source) = answer else { return Ok(()) };
    match source.raw_os_error() {
        Some(libc::EEXIST) if add => Ok(()),
        _ if !add && is_gone(&source) => Ok(()),
        _ if add => Err(AddressError::Add { address, place, source }),
        _ => Err(AddressError::Remove { address, place, source }),
    }
}
