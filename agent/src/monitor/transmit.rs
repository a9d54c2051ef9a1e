//! Sends datagrams to the group over every control interface. Never waits: a heartbeat that does
//! not fit the socket's buffer now is lost, and counted.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{SockAddr, Socket};

use super::socket::{self, SetUpError, failed};
use crate::config::checked::Interface;

/// Class selector 6, network control (RFC 2474, 4.2.2.2), as routing protocols mark their packets.
const TRAFFIC_CLASS: u32 = 0xc0;

/// What became of one datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Over how many interfaces it left.
    pub interfaces_ok: usize,
    /// Over how many it did not.
    pub errors: usize,
}

/// What became of all datagrams on one interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendCounters {
    /// Handed to the interface.
    pub sent: u64,
    /// Lost, because the socket's buffer was full.
    pub would_block: u64,
    /// Refused by the system for any other reason: the interface is down, say.
    pub failed: u64,
}

/// Sends to one group.
#[derive(Debug)]
pub struct Transmitter {
    group: SockAddr,
    links: Vec<Link>,
}

#[derive(Debug)]
struct Link {
    interface: String,
    socket: Socket,
    counters: SendCounters,
}

impl Transmitter {
    /// Sends to `group`, a multicast address, over each of these interfaces.
    ///
    /// # Errors
    /// An interface is not there or has no address of the group's family, or the agent lacks
    /// `CAP_NET_RAW`.
    pub fn open(group: SocketAddr, interfaces: &[Interface]) -> Result<Self, SetUpError> {
        let link = |interface| Link::open(group, interface);
        let links = interfaces.iter().map(link).collect::<Result<_, _>>()?;
        Ok(Self { group: group.into(), links })
    }

    /// Sends over every interface, without waiting.
    pub fn send(&mut self, datagram: &[u8]) -> Sent {
        let mut sent = Sent::default();
        for link in &mut self.links {
            match link.socket.send_to(datagram, &self.group) {
                Ok(_whole) => {
                    sent.interfaces_ok += 1;
                    link.counters.sent += 1;
                }
                Err(error) => {
                    sent.errors += 1;
                    if error.kind() == io::ErrorKind::WouldBlock {
                        link.counters.would_block += 1;
                    } else {
                        link.counters.failed += 1;
                    }
                }
            }
        }
        sent
    }

    /// The interfaces' names and counters, in the order of the configuration.
    pub fn counters(&self) -> impl Iterator<Item = (&str, SendCounters)> + '_ {
        self.links.iter().map(|link| (link.interface.as_str(), link.counters))
    }
}

impl Link {
    fn open(group: SocketAddr, interface: &Interface) -> Result<Self, SetUpError> {
        let socket = socket::open(group, interface)?;
        let source = match group {
            SocketAddr::V4(_) => v4_options(&socket, interface),
            SocketAddr::V6(_) => v6_options(&socket, interface),
        };
        let source = source.map_err(failed(interface, "multicast options"))?;
        let source = SocketAddr::new(source, 0);
        socket
            .bind(&source.into())
            .map_err(failed(interface, "bind to the interface's address"))?;
        let counters = SendCounters::default();
        Ok(Self { interface: interface.name.clone(), socket, counters })
    }
}

/// Sets what keeps the message on the link and off this host, and lets the kernel say when the
/// interface's queue drops it, which it does only with `IP_RECVERR` (ip(7)). Returns the source address: the
/// interface's first, whatever service addresses it carries besides.
fn v4_options(socket: &Socket, interface: &Interface) -> io::Result<IpAddr> {
    let first = |address: &IpAddr| match address {
        IpAddr::V4(v4) => Some(*v4),
        IpAddr::V6(_) => None,
    };
    let none = || io::Error::new(io::ErrorKind::AddrNotAvailable, "it has no IPv4 address");
    let source: Ipv4Addr = interface.addresses.iter().find_map(first).ok_or_else(none)?;
    socket.set_multicast_if_v4(&source)?;
    socket.set_multicast_ttl_v4(1)?;
    socket.set_multicast_loop_v4(false)?;
    socket.set_tos_v4(TRAFFIC_CLASS)?;
    setsockopt(socket, sockopt::Ipv4RecvErr, &true)?;
    Ok(source.into())
}

/// As [`v4_options`]. The source address is left to the kernel, which picks one of the group's
/// scope on this interface (RFC 6724, 5).
fn v6_options(socket: &Socket, interface: &Interface) -> io::Result<IpAddr> {
    socket.set_only_v6(true)?;
    socket.set_multicast_if_v6(interface.index)?;
    socket.set_multicast_hops_v6(1)?;
    socket.set_multicast_loop_v6(false)?;
    socket.set_tclass_v6(TRAFFIC_CLASS)?;
    setsockopt(socket, sockopt::Ipv6RecvErr, &true)?;
    Ok(Ipv6Addr::UNSPECIFIED.into())
}
