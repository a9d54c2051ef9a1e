//! ARP as raw frames: requests out, replies in (RFC 826).
//!
//! Requests carry a hardware address of the probe's own ([`PROBE_MAC`]) and a sender address that
//! tells one request from the next. Replies to that hardware address are seen by this socket while
//! the interface is promiscuous, but never by the kernel's neighbour table: watching must not teach
//! the client where an address went.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use anyhow::{Context, Result};
use nix::sys::socket::{LinkAddr, MsgFlags, SockaddrLike, sendto};
use socket2::{Domain, Protocol, Socket, Type};

/// Hardware address requests are sent from: locally administered, nobody's.
pub const PROBE_MAC: [u8; 6] = [0x02, 0x72, 0x61, 0x69, 0x73, 0x00];

/// `ETH_P_ARP`
const ETHERTYPE: u16 = 0x0806;
/// Ethernet header and ARP body.
const FRAME: usize = 42;
/// What both directions share: hardware type 1, protocol 0x0800, lengths 6 and 4.
const HEAD: [u8; 8] = [0x08, 0x06, 0x00, 0x01, 0x08, 0x00, 6, 4];

/// A reply to one of our requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The address that was asked for.
    pub address: Ipv4Addr,
    /// Who says to have it.
    pub mac: [u8; 6],
    /// The sender address of the request it answers.
    pub asker: Ipv4Addr,
}

/// A socket for ARP frames on one interface. Reads do not block.
#[derive(Debug)]
pub struct ArpSocket {
    socket: Socket,
    interface: LinkAddr,
}

impl ArpSocket {
    /// Opens it. Frames of every interface of the network namespace are read, so the namespace
    /// should have but one.
    ///
    /// # Errors
    /// There is no such interface, or `CAP_NET_RAW` is missing.
    pub fn open(interface: &str) -> Result<Self> {
        let interface = link_address(interface)?;
        let protocol = Protocol::from(i32::from(ETHERTYPE.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), Some(protocol))
            .context("opening a packet socket (needs CAP_NET_RAW)")?;
        Ok(Self { socket, interface })
    }

    /// Broadcasts "who has `address`, tell `asker`".
    ///
    /// # Errors
    /// The interface does not take it, for instance because it is down.
    pub fn ask(&self, address: Ipv4Addr, asker: Ipv4Addr) -> io::Result<()> {
        let frame = request(address, asker);
        let fd = self.socket.as_raw_fd();
        sendto(fd, &frame, &self.interface, MsgFlags::empty())?;
        Ok(())
    }

    /// The next frame that is a reply to the probe; `None` when nothing is waiting. Other frames
    /// are passed over.
    ///
    /// # Errors
    /// The socket failed.
    pub fn next_reply(&self) -> io::Result<Option<Reply>> {
        loop {
            let mut frame = [0_u8; 64];
            match io::Read::read(&mut &self.socket, &mut frame) {
                Ok(n) => {
                    if let Some(reply) = frame.get(..n).and_then(parse_reply) {
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

impl AsFd for ArpSocket {
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

/// The frame of a request.
fn request(address: Ipv4Addr, asker: Ipv4Addr) -> Vec<u8> {
    let mut frame = Vec::with_capacity(FRAME);
    frame.extend([0xff; 6]);
    frame.extend(PROBE_MAC);
    frame.extend(HEAD);
    frame.extend([0, 1]);
    frame.extend(PROBE_MAC);
    frame.extend(asker.octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame
}

/// The reply in a frame, where it is one and is for the probe.
fn parse_reply(frame: &[u8]) -> Option<Reply> {
    let (head, rest) = frame.get(12..)?.split_first_chunk::<8>()?;
    let (operation, rest) = rest.split_first_chunk::<2>()?;
    let (mac, rest) = rest.split_first_chunk::<6>()?;
    let (address, rest) = rest.split_first_chunk::<4>()?;
    let (target, rest) = rest.split_first_chunk::<6>()?;
    let (asker, _) = rest.split_first_chunk::<4>()?;
    let ours = *head == HEAD && *operation == [0, 2] && *target == PROBE_MAC;
    ours.then(|| Reply {
        address: Ipv4Addr::from(*address),
        mac: *mac,
        asker: Ipv4Addr::from(*asker),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a host with `mac` would answer to `request`.
    fn reply_to(request: &[u8], mac: [u8; 6]) -> Vec<u8> {
        let mut frame = request.to_vec();
        frame[0..6].copy_from_slice(&request[6..12]);
        frame[6..12].copy_from_slice(&mac);
        frame[21] = 2;
        frame[22..28].copy_from_slice(&mac);
        frame[28..32].copy_from_slice(&request[38..42]);
        frame[32..42].copy_from_slice(&request[22..32]);
        frame
    }

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
    const ASKER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 200);

    #[test]
    fn a_request_has_the_length_and_the_fields_of_rfc_826() {
        let frame = request(ADDRESS, ASKER);
        assert_eq!(frame.len(), FRAME);
        assert_eq!(frame[20..22], [0, 1], "operation: request");
        assert_eq!(frame[28..32], ASKER.octets());
        assert_eq!(frame[38..42], ADDRESS.octets());
    }

    #[test]
    fn a_reply_names_who_answered_which_request() {
        let mac = [2, 0, 0, 0, 0, 9];
        let frame = reply_to(&request(ADDRESS, ASKER), mac);
        assert_eq!(parse_reply(&frame), Some(Reply { address: ADDRESS, mac, asker: ASKER }));
    }

    #[test]
    fn requests_short_frames_and_replies_to_others_are_passed_over() {
        let request = request(ADDRESS, ASKER);
        assert_eq!(parse_reply(&request), None);
        let reply = reply_to(&request, [2, 0, 0, 0, 0, 9]);
        for length in 0..FRAME {
            assert_eq!(parse_reply(&reply[..length]), None, "{length} bytes");
        }
        let mut others = reply;
        others[32] ^= 1;
        assert_eq!(parse_reply(&others), None);
    }
}
