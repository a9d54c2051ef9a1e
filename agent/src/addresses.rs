//! Service addresses on an interface, through rtnetlink.
//!
//! What is added here carries a mark ([`MARK`]), so that it can be told from what the operator put
//! there and be taken away after an agent that died.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::TryStreamExt;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressHeaderFlags, AddressMessage, AddressProtocol, CacheInfo,
};
use tokio::runtime::Handle;

/// `IFA_PROTO` of the addresses added here. Linux keeps it since 5.18; older kernels ignore
/// it, and then [`Addresses::ours`] finds nothing.
pub const MARK: u8 = rais_common::ADDRESS_MARK;

/// The kernel answers within microseconds to milliseconds. An answer that takes longer than this
/// was lost (the socket's receive buffer overran) and will not come.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// `IFA_CACHEINFO`: for ever (`INFINITY_LIFE_TIME` of the kernel).
const FOREVER: u32 = u32::MAX;

/// An address could not be added, removed or listed.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// There is no netlink socket to be had; nothing was changed.
    #[error("netlink socket: {0}")]
    Connect(#[source] io::Error),
    /// The address may not be in place.
    #[error("add {address} to interface {ifindex}: {source}")]
    Add {
        /// The address.
        address: IpAddr,
        /// Index of the interface.
        ifindex: u32,
        /// What the kernel said.
        source: io::Error,
    },
    /// The address may still be in place.
    #[error("remove {address} from interface {ifindex}: {source}")]
    Remove {
        /// The address.
        address: IpAddr,
        /// Index of the interface.
        ifindex: u32,
        /// What the kernel said.
        source: io::Error,
    },
    /// The addresses of an interface are not known.
    #[error("list the addresses of interface {ifindex}: {source}")]
    List {
        /// Index of the interface.
        ifindex: u32,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A netlink socket in the network namespace of the thread that opened it. Clones share it.
#[derive(Clone, Debug)]
pub struct Addresses {
    netlink: rtnetlink::Handle,
}

impl Addresses {
    /// Opens the socket and serves it on `runtime` for as long as a clone of this lives.
    ///
    /// # Errors
    /// [`AddressError::Connect`]
    pub fn connect(runtime: &Handle) -> Result<Self, AddressError> {
        let _context = runtime.enter();
        // Nothing is subscribed to, so no unsolicited messages arrive.
        let (connection, netlink, _) =
            rtnetlink::new_connection().map_err(AddressError::Connect)?;
        runtime.spawn(connection);
        Ok(Self { netlink })
    }

    /// Puts `address` on the interface as a host address (/32, /128), with one request. That it
    /// is there already is success; it keeps the mark it had or had not, and
    /// [`remove`](Self::remove) takes it away all the same.
    ///
    /// An IPv6 address is usable at once: duplicates are our own protocol's concern (`nodad`). It
    /// is also deprecated from the start (RFC 4862, 5.5.4): it serves, but this host does not
    /// choose it as the source of traffic of its own.
    ///
    /// # Errors
    /// [`AddressError::Add`]
    pub async fn add(&self, ifindex: u32, address: IpAddr) -> Result<(), AddressError> {
        let mut request = self.netlink.address().add(ifindex, address, host_prefix(address));
        decorate(request.message_mut(), address);
        match answer(request.execute()).await {
            Err(e) if e.raw_os_error() != Some(libc::EEXIST) => {
                Err(AddressError::Add { address, ifindex, source: e })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Takes the host address `address` off the interface. That it is not there is success; the
    /// same address with another prefix length is the operator's and stays.
    ///
    /// # Errors
    /// [`AddressError::Remove`]
    pub async fn remove(&self, ifindex: u32, address: IpAddr) -> Result<(), AddressError> {
        // The request to delete names an address just as the request to add it does.
        let message = self
            .netlink
            .address()
            .add(ifindex, address, host_prefix(address))
            .message_mut()
            .clone();
        match answer(self.netlink.address().del(message).execute()).await {
            Err(e) if !matches!(e.raw_os_error(), Some(libc::ENOENT | libc::EADDRNOTAVAIL)) => {
                Err(AddressError::Remove { address, ifindex, source: e })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The addresses on the interface that carry our mark, in the kernel's order.
    ///
    /// # Errors
    /// [`AddressError::List`]
    pub async fn ours(&self, ifindex: u32) -> Result<Vec<IpAddr>, AddressError> {
        let all = self.netlink.address().get().set_link_index_filter(ifindex).execute();
        let all: Vec<AddressMessage> = answer(all.try_collect())
            .await
            .map_err(|source| AddressError::List { ifindex, source })?;
        Ok(all.iter().filter_map(marked).collect())
    }
}

/// The prefix length of an address that stands for itself alone.
const fn host_prefix(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// Adds our mark, and for IPv6 what [`Addresses::add`] promises.
fn decorate(message: &mut AddressMessage, address: IpAddr) {
    message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(MARK)));
    if address.is_ipv6() {
        message.header.flags |= AddressHeaderFlags::Nodad;
        let mut lifetime = CacheInfo::default();
        lifetime.ifa_valid = FOREVER;
        lifetime.ifa_preferred = 0;
        message.attributes.push(AddressAttribute::CacheInfo(lifetime));
    }
}

/// The address in `message`, if it carries our mark.
fn marked(message: &AddressMessage) -> Option<IpAddr> {
    let mark = AddressAttribute::Protocol(AddressProtocol::Other(MARK));
    if !message.attributes.contains(&mark) {
        return None;
    }
    message.attributes.iter().find_map(|attribute| {
        if let AddressAttribute::Address(address) = attribute { Some(*address) } else { None }
    })
}

/// What came of a request, its error as the kernel's errno where it gave one.
async fn answer<T>(
    request: impl Future<Output = Result<T, rtnetlink::Error>>,
) -> Result<T, io::Error> {
    match tokio::time::timeout(ANSWER_LIMIT, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(rtnetlink::Error::NetlinkError(e))) => Err(e.to_io()),
        Ok(Err(other)) => Err(io::Error::other(other)),
        Err(late) => Err(io::Error::new(io::ErrorKind::TimedOut, late)),
    }
}
