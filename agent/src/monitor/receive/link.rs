//! Setting up a control socket.

use std::io;
use std::net::SocketAddr;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use super::Link;
use crate::config::checked::Interface;
use crate::monitor::transmit::SetUpError;

/// Room for what arrives while nobody reads. The kernel charges a small datagram with about a
/// kilobyte, so this is some thousands of heartbeats.
const BUFFER: usize = 4 << 20;

/// A socket that receives what is sent to `group` on this interface, and nothing else.
pub(super) fn open(group: SocketAddr, interface: &Interface) -> Result<Link, SetUpError> {
    let failed = |what| {
        let name = interface.name.clone();
        move |source| SetUpError { interface: name, what, source }
    };
    let socket = Socket::new(Domain::for_address(group), Type::DGRAM, Some(Protocol::UDP))
        .map_err(failed("open a socket"))?;
    socket.set_nonblocking(true).map_err(failed("non-blocking"))?;
    // Several groups may share a port.
    socket.set_reuse_address(true).map_err(failed("share the port"))?;
    let device = Some(interface.name.as_bytes());
    socket.bind_device(device).map_err(failed("bind to the interface"))?;
    receive_buffer(&socket).map_err(failed("receive buffer"))?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)
        .map_err(io::Error::from)
        .map_err(failed("receive timestamps"))?;
    // Bound to the group's address, the socket gets no unicast.
    socket.bind(&group.into()).map_err(failed("bind to the group's address"))?;
    join(&socket, group, interface).map_err(failed("join the group"))?;
    Ok(Link { interface: interface.name.clone(), socket })
}

/// Beyond `net.core.rmem_max` where permitted (`CAP_NET_ADMIN`), else up to it.
fn receive_buffer(socket: &Socket) -> io::Result<()> {
    match setsockopt(socket, sockopt::RcvBufForce, &BUFFER) {
        Ok(()) => Ok(()),
        Err(_) => socket.set_recv_buffer_size(BUFFER),
    }
}

/// Joins on this interface, and turns off what other sockets of this machine have joined.
fn join(socket: &Socket, group: SocketAddr, interface: &Interface) -> io::Result<()> {
    match group {
        SocketAddr::V4(group) => {
            socket.set_multicast_all_v4(false)?;
            let index = InterfaceIndexOrAddress::Index(interface.index);
            socket.join_multicast_v4_n(group.ip(), &index)
        }
        SocketAddr::V6(group) => {
            socket.set_multicast_all_v6(false)?;
            socket.join_multicast_v6(group.ip(), interface.index)
        }
    }
}
