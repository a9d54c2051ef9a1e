//! Setting up a control socket.

use std::io;
use std::net::SocketAddr;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{InterfaceIndexOrAddress, Socket};

use super::Link;
use crate::config::checked::Interface;
use crate::monitor::socket::{self, SetUpError, failed};

/// Room for what arrives while nobody reads. The kernel charges a small datagram with about a
/// kilobyte, so this is some thousands of heartbeats.
const BUFFER: usize = 4 << 20;

/// A socket that receives what is sent to `group` on this interface, and nothing else.
pub(super) fn open(group: SocketAddr, interface: &Interface) -> Result<Link, SetUpError> {
    let socket = socket::open(group, interface)?;
    // Several groups may share a port.
    socket.set_reuse_address(true).map_err(failed(interface, "share the port"))?;
    receive_buffer(&socket).map_err(failed(interface, "receive buffer"))?;
    notices(&socket).map_err(failed(interface, "timestamps and losses"))?;
    // Bound to the group's address, the socket gets no unicast.
    socket.bind(&group.into()).map_err(failed(interface, "bind to the group's address"))?;
    join(&socket, group, interface).map_err(failed(interface, "join the group"))?;
    Ok(Link { interface: interface.name.clone(), socket })
}

/// Beyond `net.core.rmem_max` where permitted (`CAP_NET_ADMIN`), else up to it.
fn receive_buffer(socket: &Socket) -> io::Result<()> {
    match setsockopt(socket, sockopt::RcvBufForce, &BUFFER) {
        Ok(()) => Ok(()),
        Err(_) => socket.set_recv_buffer_size(BUFFER),
    }
}

/// With each datagram the kernel is to say when it arrived, and how many found no room.
fn notices(socket: &Socket) -> io::Result<()> {
    setsockopt(socket, sockopt::ReceiveTimestampns, &true)?;
    setsockopt(socket, sockopt::RxqOvfl, &1)?;
    Ok(())
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
