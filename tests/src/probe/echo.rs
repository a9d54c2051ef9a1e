//! The echo service, and the datagrams it and its client exchange.
//!
//! A request is a sequence number (u64, big endian). The answer is the same number and the name of
//! the host, sent from the address that was asked.

use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv6Addr, UdpSocket};
use std::os::fd::AsRawFd;

use anyhow::{Context, Result};
use nix::cmsg_space;
use nix::libc::{in6_addr, in6_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, sendmsg, setsockopt,
    sockopt,
};

/// Longest answer.
pub const ANSWER_LIMIT: usize = 8 + 64;

/// A request.
#[must_use]
pub fn request(sequence: u64) -> [u8; 8] {
    sequence.to_be_bytes()
}

/// Sequence number and host of an answer, if it is one.
#[must_use]
pub fn parse_answer(datagram: &[u8]) -> Option<(u64, &str)> {
    let (sequence, host) = datagram.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*sequence), std::str::from_utf8(host).ok()?))
}

/// Answers echoes to every address of this host, for ever. Prints a line once it does.
///
/// # Errors
/// The name does not fit an answer, the port is taken, or the socket failed.
pub fn serve(port: u16, name: &str) -> Result<()> {
    anyhow::ensure!(
        name.len() <= ANSWER_LIMIT - 8,
        "a name has at most {} bytes",
        ANSWER_LIMIT - 8
    );
    // One socket for both families: to it, IPv4 addresses are mapped ones (RFC 3493, 3.7).
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port))
        .with_context(|| format!("listening on UDP port {port}"))?;
    setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true).context("asking for IPV6_PKTINFO")?;
    println!("{name} serves on port {port}");
    let mut answer = Vec::with_capacity(ANSWER_LIMIT);
    loop {
        let mut sequence = [0_u8; 8];
        let Some((client, asked)) = receive(&socket, &mut sequence)? else { continue };
        answer.clear();
        answer.extend(sequence);
        answer.extend(name.as_bytes());
        // An address that left meanwhile cannot be answered from: the client sees a loss.
        send(&socket, &answer, client, asked).ok();
    }
}

/// One request: who asked, and which of our addresses. `None` for what is no request.
fn receive(socket: &UdpSocket, sequence: &mut [u8; 8]) -> Result<Option<(SockaddrIn6, in6_addr)>> {
    let mut space = cmsg_space!(in6_pktinfo);
    let mut parts = [IoSliceMut::new(sequence)];
    let flags = MsgFlags::empty();
    let message =
        match recvmsg::<SockaddrIn6>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags) {
            Ok(message) => message,
            // An ICMP error about an earlier answer, or a signal: nothing was received.
            Err(nix::Error::ECONNREFUSED | nix::Error::EHOSTUNREACH | nix::Error::EINTR) => {
                return Ok(None);
            }
            Err(e) => return Err(e).context("receiving"),
        };
    let mut asked = None;
    for control in message.cmsgs().context("reading IPV6_PKTINFO")? {
        if let ControlMessageOwned::Ipv6PacketInfo(info) = control {
            asked = Some(info.ipi6_addr);
        }
    }
    let whole = message.bytes == 8;
    Ok(message.address.zip(asked).filter(|_| whole))
}

/// Answers from the address that was asked.
fn send(socket: &UdpSocket, answer: &[u8], to: SockaddrIn6, from: in6_addr) -> nix::Result<usize> {
    let info = in6_pktinfo { ipi6_addr: from, ipi6_ifindex: 0 };
    let control = [ControlMessage::Ipv6PacketInfo(&info)];
    sendmsg(socket.as_raw_fd(), &[IoSlice::new(answer)], &control, MsgFlags::empty(), Some(&to))
}
