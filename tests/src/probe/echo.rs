//! The echo service, and the datagrams it and its client exchange.
//!
//! A request is a sequence number (u64, big endian). The answer is the same number and the name of
//! the host, sent from the address that was asked.

use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

use anyhow::{Context, Result};
use nix::cmsg_space;
use nix::libc::{in_addr, in_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt,
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

/// Answers echoes to every IPv4 address of this host, for ever. Prints a line once it does.
///
/// # Errors
/// The name does not fit an answer, the port is taken, or the socket failed.
pub fn serve(port: u16, name: &str) -> Result<()> {
    anyhow::ensure!(
        name.len() <= ANSWER_LIMIT - 8,
        "a name has at most {} bytes",
        ANSWER_LIMIT - 8
    );
    let socket = UdpSocket::bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))
        .with_context(|| format!("listening on UDP port {port}"))?;
    setsockopt(&socket, sockopt::Ipv4PacketInfo, &true).context("asking for IP_PKTINFO")?;
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
fn receive(socket: &UdpSocket, sequence: &mut [u8; 8]) -> Result<Option<(SockaddrIn, in_addr)>> {
    let mut space = cmsg_space!(in_pktinfo);
    let mut parts = [IoSliceMut::new(sequence)];
    let flags = MsgFlags::empty();
    let message =
        match recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags) {
            Ok(message) => message,
            // An ICMP error about an earlier answer, or a signal: nothing was received.
            Err(nix::Error::ECONNREFUSED | nix::Error::EHOSTUNREACH | nix::Error::EINTR) => {
                return Ok(None);
            }
            Err(e) => return Err(e).context("receiving"),
        };
    let mut asked = None;
    for control in message.cmsgs().context("reading IP_PKTINFO")? {
        if let ControlMessageOwned::Ipv4PacketInfo(info) = control {
            asked = Some(info.ipi_spec_dst);
        }
    }
    let whole = message.bytes == 8;
    Ok(message.address.zip(asked).filter(|_| whole))
}

/// Answers from the address that was asked.
fn send(socket: &UdpSocket, answer: &[u8], to: SockaddrIn, from: in_addr) -> nix::Result<usize> {
    let info = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: from, ipi_addr: in_addr { s_addr: 0 } };
    let control = [ControlMessage::Ipv4PacketInfo(&info)];
    sendmsg(socket.as_raw_fd(), &[IoSlice::new(answer)], &control, MsgFlags::empty(), Some(&to))
}
