//! What the sockets of the transmit and the receive room have in common.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};

use crate::config::checked::Interface;

/// The control sockets of a group could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("control interface {interface}: {what}: {source}{}", remedy(source))]
pub struct SetUpError {
    /// The interface.
    pub interface: String,
    /// What was tried.
    pub what: &'static str,
    /// What the system said.
    pub source: io::Error,
}

/// What to do about it, where that is known.
fn remedy(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        // ip_mc_join_group() counts what the socket has joined.
        Some(libc::ENOBUFS | libc::ENOMEM) => {
            "; the system allows no more multicast groups: raise net.ipv4.igmp_max_memberships"
        }
        Some(libc::EADDRINUSE) => {
            "; another program keeps the UDP port to itself: `ss -ulnp` shows which, or choose \
             another port in `address`"
        }
        Some(libc::ENODEV | libc::EADDRNOTAVAIL) => {
            "; the interface or its address went away: bring it back, or correct \
             `control_interfaces`"
        }
        Some(libc::EPERM | libc::EACCES) => "; run as root, or with CAP_NET_RAW",
        _ => "",
    }
}

/// What makes a [`SetUpError`] of the error that `what` met.
pub(super) fn failed(
    interface: &Interface,
    what: &'static str,
) -> impl FnOnce(io::Error) -> SetUpError {
    let interface = interface.name.clone();
    move |source| SetUpError { interface, what, source }
}

/// A UDP socket of the group's family that never waits and uses this interface only.
pub(super) fn open(group: SocketAddr, interface: &Interface) -> Result<Socket, SetUpError> {
    let socket = Socket::new(Domain::for_address(group), Type::DGRAM, Some(Protocol::UDP))
        .map_err(failed(interface, "open a socket"))?;
    socket.set_nonblocking(true).map_err(failed(interface, "non-blocking"))?;
    let device = Some(interface.name.as_bytes());
    socket.bind_device(device).map_err(failed(interface, "bind to the interface"))?;
    Ok(socket)
}
