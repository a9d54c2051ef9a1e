//! Who has an address? As raw frames: ARP requests and neighbour solicitations out, what answers
//! them in.
//!
//! Questions carry a hardware address of the probe's own ([`PROBE_MAC`]) and a sender address that
//! tells one question from the next. Replies to that hardware address are seen by this socket while
//! the interface is promiscuous, but never by the kernel's neighbour table: watching must not teach
//! the client where an address went.

mod arp;
mod neighbour;

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use anyhow::{Context, Result};
use nix::sys::socket::{LinkAddr, MsgFlags, SockaddrLike, sendto};
use socket2::{Domain, Protocol, Socket, Type};

use crate::family::Family;

/// Hardware address questions are sent from: locally administered, nobody's.
pub const PROBE_MAC: [u8; 6] = [0x02, 0x72, 0x61, 0x69, 0x73, 0x00];

/// A reply to one of our questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The address that was asked for.
    pub address: IpAddr,
    /// Who says to have it.
    pub mac: [u8; 6],
    /// The sender address of the question it answers.
    pub asker: IpAddr,
}

/// A socket for the questions of one family on one interface. Reads do not block.
#[derive(Debug)]
pub struct AskSocket {
    socket: Socket,
    interface: LinkAddr,
    family: Family,
}

impl AskSocket {
    /// Opens it. Frames of every interface of the network namespace are read, so the namespace
    /// should have but one.
    ///
    /// # Errors
    /// There is no such interface, or `CAP_NET_RAW` is missing.
    pub fn open(interface: &str, family: Family) -> Result<Self> {
        let interface = link_address(interface)?;
        let ethertype: u16 = match family {
            Family::V4 => 0x0806,
            Family::V6 => 0x86dd,
        };
        let protocol = Protocol::from(i32::from(ethertype.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), Some(protocol))
            .context("opening a packet socket (needs CAP_NET_RAW)")?;
        if family == Family::V6 {
            socket.attach_filter(&neighbour::FILTER).context("attaching a filter")?;
        }
        Ok(Self { socket, interface, family })
    }

    /// Sends "who has `address`, tell `asker`" to all who may have it. Both are of this socket's
    /// family.
    ///
    /// # Errors
    /// The interface does not take it, for instance because it is down, or an address is of the
    /// other family.
    pub fn ask(&self, address: IpAddr, asker: IpAddr) -> io::Result<()> {
        let frame = match (address, asker) {
            (IpAddr::V4(address), IpAddr::V4(asker)) => arp::request(address, asker),
            (IpAddr::V6(address), IpAddr::V6(asker)) => neighbour::solicit(address, asker),
            _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "two families")),
        };
        sendto(self.socket.as_raw_fd(), &frame, &self.interface, MsgFlags::empty())?;
        Ok(())
    }

    /// The next frame that is a reply to the probe; `None` when nothing is waiting. Other frames
    /// are passed over.
    ///
    /// # Errors
    /// The socket failed.
    pub fn next_reply(&self) -> io::Result<Option<Reply>> {
        let parse = match self.family {
            Family::V4 => arp::parse_reply,
            Family::V6 => neighbour::parse_advertisement,
        };
        loop {
            let mut frame = [0_u8; 128];
            match io::Read::read(&mut &self.socket, &mut frame) {
                Ok(n) => {
                    if let Some(reply) = frame.get(..n).and_then(parse) {
                        return Ok(Some(reply));
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

impl AsFd for AskSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The link-layer address of an interface, as the kernel wants it in `sendto`.
fn link_address(interface: &str) -> Result<LinkAddr> {
    nix::ifaddrs::getifaddrs()
        .context("listing interfaces")?
        .filter(|i| i.interface_name == interface)
        .find_map(|i| i.address?.as_link_addr().copied())
        .filter(|link| link.len() > 0)
        .with_context(|| format!("no interface {interface} here"))
}
