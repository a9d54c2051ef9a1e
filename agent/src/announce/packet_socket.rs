//! One `AF_PACKET` socket on one interface.

use std::io::{self, IoSlice, Read, Write};
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, MultiHeaders, sendmmsg};
use socket2::{Domain, SockAddr, SockAddrStorage, Socket, Type};

/// Sends and receives whole Ethernet frames on one interface, past the network stack. What
/// another socket of this host sends is not received.
#[derive(Debug)]
pub struct PacketSocket {
    socket: Socket,
}

impl PacketSocket {
    /// A socket for frames of one type (`0x0806` ARP, `0x86dd` IPv6, …) on the interface with
    /// this index, in the network namespace of this thread. Frames of any type can be sent.
    ///
    /// # Errors
    /// Not permitted (`CAP_NET_RAW`), or no such interface.
    pub fn open(ifindex: u32, ethertype: u16) -> io::Result<Self> {
        let protocol = ethertype.to_be();
        // Opened without a protocol, so that nothing is received before the socket is bound to
        // its interface.
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.bind(&link_address(ifindex, protocol)?)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket })
    }

    /// A socket that only sends; the kernel need not copy anything for it. It waits for room in
    /// the interface's queue.
    pub(super) fn open_to_send(ifindex: u32) -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.bind(&link_address(ifindex, 0)?)?;
        Ok(Self { socket })
    }

    /// Sends one frame, Ethernet header included, without frame check sequence.
    ///
    /// # Errors
    /// `ENETDOWN`, `ENXIO` where the interface is down or gone; `WouldBlock`, `ENOBUFS` where its
    /// queue is full; `EMSGSIZE` where the frame is longer than the interface takes.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        (&self.socket).write(frame).map(|_| ())
    }

    /// Sends frames, as [`send`](Self::send) does one, with one system call; how many of them left.
    ///
    /// # Errors
    /// As [`send`](Self::send), where the first did not leave.
    pub(super) fn send_all(&self, frames: &[Vec<u8>]) -> io::Result<usize> {
        let count = frames.len();
        let mut headers = MultiHeaders::<()>::preallocate(count, None);
        let parts: Vec<[IoSlice<'_>; 1]> = frames.iter().map(|f| [IoSlice::new(f)]).collect();
        let fd = self.socket.as_raw_fd();
        let sent = sendmmsg(fd, &mut headers, &parts, vec![None; count], [], MsgFlags::empty())?;
        Ok(sent.count())
    }

    /// The interface with this index takes in the frames of all multicast groups for as long as
    /// this is open.
    pub(super) fn take_all_multicast(&self, ifindex: u32) -> io::Result<()> {
        let index =
            i32::try_from(ifindex).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        let kind = u16::try_from(libc::PACKET_MR_ALLMULTI).map_err(io::Error::other)?;
        let wanted =
            libc::packet_mreq { mr_ifindex: index, mr_type: kind, mr_alen: 0, mr_address: [0; 8] };
        let length =
            libc::socklen_t::try_from(size_of::<libc::packet_mreq>()).map_err(io::Error::other)?;
        #[allow(unsafe_code, reason = "neither socket2 nor nix has a name for this option")]
        // SAFETY: the kernel reads a `packet_mreq` of this length, which lives until it returns.
        let result = unsafe {
            libc::setsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_ADD_MEMBERSHIP,
                (&raw const wanted).cast(),
                length,
            )
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits at most `limit` for a frame and puts it into `buffer`; what does not fit is cut off.
    /// Returns its length in the buffer, or nothing where none came. A signal may end the wait
    /// early; `limit` counts in whole milliseconds.
    ///
    /// # Errors
    /// What the system says, for instance `ENETDOWN`.
    pub fn recv(&self, buffer: &mut [u8], limit: Duration) -> io::Result<Option<usize>> {
        let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, limit) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => return Ok(None),
            Ok(_) => {}
            Err(e) => return Err(e.into()),
        }
        match (&self.socket).read(buffer) {
            Ok(length) => Ok(Some(length)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(e) => Err(e),
        }
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The address to bind to: an interface and a protocol (in network byte order; 0 for none).
#[allow(unsafe_code, reason = "socket2 has no safe way to make a link-layer address")]
fn link_address(ifindex: u32, protocol: u16) -> io::Result<SockAddr> {
    let index =
        i32::try_from(ifindex).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
    let family = u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?;
    let length =
        libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).map_err(io::Error::other)?;
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: `sockaddr_ll` is one of the types a `sockaddr_storage` is made to hold: it is
    // smaller, no more strictly aligned, and every bit pattern of it is valid.
    let link = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    link.sll_family = family;
    link.sll_protocol = protocol;
    link.sll_ifindex = index;
    // SAFETY: the storage holds a `sockaddr_ll` of this length, with its family set.
    Ok(unsafe { SockAddr::new(storage, length) })
}
