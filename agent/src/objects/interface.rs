//! Test object: a network interface has carrier and an address.

use std::future::{Future, pending};
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use futures_util::TryStreamExt;
use rais_common::ADDRESS_MARK;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage, AddressProtocol};
use rtnetlink::packet_route::link::LinkFlags;
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};

use super::{Verdict, WatchObject};

/// Multicast groups of rtnetlink (`RTNLGRP_*` of linux/rtnetlink.h).
const LINK: u32 = 1;
const IPV4_ADDRESS: u32 = 5;
const IPV6_ADDRESS: u32 = 9;

/// The kernel answers within milliseconds. What takes longer than this is lost.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Passes while the interface is up with carrier and has an address. The kernel says when
/// something changes; it is then asked how things are. So no change is applied twice, and one that
/// found the event queue full is not missed.
///
/// A physical link that goes up and down more than once a second is reported by the kernel once a
/// second (its link watch).
pub struct Interface {
    name: String,
    address: Option<IpAddr>,
    kernel: Option<Kernel>,
    /// What was said last.
    said: Option<Verdict>,
}

impl Interface {
    /// Watches the interface of this name in the network namespace of the thread that watches. It
    /// may come and go. `address` is the one it has to have; with none, any will do that is
    /// neither a service address nor link-local IPv6.
    #[must_use]
    pub const fn new(name: String, address: Option<IpAddr>) -> Self {
        Self { name, address, kernel: None, said: None }
    }

    /// How things are after the next change.
    async fn look(&mut self) -> io::Result<Verdict> {
        let kernel = match &mut self.kernel {
            Some(kernel) => kernel,
            empty => empty.insert(Kernel::connect()?),
        };
        kernel.wait().await?;
        let verdict = tokio::time::timeout(ANSWER_LIMIT, kernel.verdict(&self.name, self.address));
        let verdict =
            verdict.await.map_err(|late| io::Error::new(io::ErrorKind::TimedOut, late))??;
        kernel.changed = false;
        Ok(verdict)
    }
}

impl WatchObject for Interface {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Verdict> + Send + '_>> {
        Box::pin(async {
            loop {
                let verdict = self.look().await.unwrap_or_else(|e| {
                    self.kernel = None;
                    Err(format!("netlink: {e}"))
                });
                if self.said.as_ref() != Some(&verdict) {
                    self.said = Some(verdict.clone());
                    return verdict;
                }
                if self.kernel.is_none() {
                    // Tried again when we are asked again.
                    pending::<()>().await;
                }
            }
        })
    }
}

/// Two netlink sockets: one is told of changes, the other is asked.
struct Kernel {
    changes: TokioSocket,
    netlink: rtnetlink::Handle,
    /// Something changed since we last knew how things are.
    changed: bool,
}

impl Kernel {
    fn connect() -> io::Result<Self> {
        let mut changes = TokioSocket::new(NETLINK_ROUTE)?;
        changes.socket_mut().bind(&SocketAddr::new(0, 0))?;
        for group in [LINK, IPV4_ADDRESS, IPV6_ADDRESS] {
            changes.socket_mut().add_membership(group)?;
        }
        let (connection, netlink, _) = rtnetlink::new_connection()?;
        // Ends with the last handle.
        tokio::spawn(connection);
        Ok(Self { changes, netlink, changed: true })
    }

    /// Waits until something changed, and takes all that is in the queue. What comes after that is
    /// another change. May be dropped at any time.
    async fn wait(&mut self) -> io::Result<()> {
        // What it was does not matter: the kernel cuts off what does not fit.
        let mut message = Vec::with_capacity(64);
        if !self.changed {
            unless_full(self.changes.recv(&mut message).await)?;
            self.changed = true;
        }
        loop {
            message.clear();
            match unless_full(self.changes.socket_ref().recv(&mut message, 0).map(drop)) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                received => received?,
            }
        }
    }

    async fn verdict(&self, name: &str, wanted: Option<IpAddr>) -> io::Result<Verdict> {
        let mut links = self.netlink.link().get().match_name(name.to_owned()).execute();
        let link = match links.try_next().await {
            Ok(Some(link)) => link,
            Ok(None) => return Ok(Err(format!("there is no interface {name}"))),
            Err(e) => {
                let e = system_error(e);
                return match e.raw_os_error() {
                    Some(libc::ENODEV) => Ok(Err(format!("there is no interface {name}"))),
                    _ => Err(e),
                };
            }
        };
        if !link.header.flags.contains(LinkFlags::Running) {
            let up = link.header.flags.contains(LinkFlags::Up);
            let state = if up { "has no carrier" } else { "is down" };
            return Ok(Err(format!("{name} {state}")));
        }
        let index = link.header.index;
        let all = self.netlink.address().get().set_link_index_filter(index).execute();
        let all: Vec<AddressMessage> = all.try_collect().await.map_err(system_error)?;
        let found = all.iter().filter_map(own).find(|own| match wanted {
            Some(wanted) => *own == wanted,
            None => !matches!(own, IpAddr::V6(v6) if v6.is_unicast_link_local()),
        });
        Ok(match (found, wanted) {
            (Some(address), _) => Ok(format!("{name} has carrier and {address}")),
            (None, Some(wanted)) => Err(format!("{name} does not have {wanted}")),
            (None, None) => Err(format!("{name} has no address")),
        })
    }
}

/// That the queue was full is a change too.
fn unless_full(received: io::Result<()>) -> io::Result<()> {
    received.or_else(|e| if e.raw_os_error() == Some(libc::ENOBUFS) { Ok(()) } else { Err(e) })
}

/// What the kernel answered, as its errno where it gave one.
fn system_error(error: rtnetlink::Error) -> io::Error {
    if let rtnetlink::Error::NetlinkError(e) = error { e.to_io() } else { io::Error::other(error) }
}

/// The address of a message, unless an agent put it there as a service address.
fn own(message: &AddressMessage) -> Option<IpAddr> {
    let service = AddressAttribute::Protocol(AddressProtocol::Other(ADDRESS_MARK));
    if message.attributes.contains(&service) {
        return None;
    }
    let mut found = None;
    for attribute in &message.attributes {
        if let AddressAttribute::Local(address) = attribute {
            // Where there is a local address, the other one is the peer's.
            return Some(*address);
        }
        if let AddressAttribute::Address(address) = attribute {
            found = Some(*address);
        }
    }
    found
}
