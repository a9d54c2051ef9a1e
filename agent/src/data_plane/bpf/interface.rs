//! What XDP programs an interface runs, by netlink. Blocking: for start-up, not for the heartbeat
//! path.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "netlink's enumerations are open: what was not asked for is skipped"
)]

use std::io;

use rtnetlink::packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{
    InfoKind, LinkAttribute, LinkInfo, LinkMessage, LinkXdp, XdpAttached,
};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the driver.
    Native,
    /// In the kernel's common path.
    Generic,
    /// In the hardware. The agent never asks for it.
    Offloaded,
}

impl Mode {
    /// The word for it in the status.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Offloaded => "offloaded",
        }
    }
}

/// A program that an interface runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Running {
    /// Its id.
    pub(super) program: u32,
    /// Where.
    pub(super) mode: Mode,
}

/// What matters here of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// The XDP programs it runs; more than one where several modes are in use.
    pub(super) running: Vec<Running>,
    /// Whether it is one end of a veth pair.
    pub(super) veth: bool,
}

/// Asks the kernel about the interface of this index in the caller's network namespace.
///
/// # Errors
/// There is no such interface, or netlink failed.
pub(super) fn state(index: u32) -> io::Result<State> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;

    let mut question = LinkMessage::default();
    question.header.index = index;
    let mut message = NetlinkMessage::new(
        NetlinkHeader::default(),
        NetlinkPayload::from(RouteNetlinkMessage::GetLink(question)),
    );
    message.header.flags = NLM_F_REQUEST;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;

    // Without the dump flag the kernel answers with one message: the link, or an error.
    let (answer, _) = socket.recv_from_full()?;
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    match answer.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => Ok(read(&link)),
        NetlinkPayload::Error(error) => Err(error.to_io()),
        other => Err(io::Error::new(io::ErrorKind::InvalidData, format!("netlink: {other:?}"))),
    }
}

/// Picks what matters from a link message.
fn read(link: &LinkMessage) -> State {
    let mut state = State { running: Vec::new(), veth: false };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::Xdp(parts) => state.running = running(parts),
            LinkAttribute::LinkInfo(parts) => {
                state.veth = parts.contains(&LinkInfo::Kind(InfoKind::Veth));
            }
            _ => {}
        }
    }
    state
}

/// The programs named in `IFLA_XDP`: by mode where the kernel says so (since Linux 4.19), which it
/// must where there are several.
fn running(parts: &[LinkXdp]) -> Vec<Running> {
    let attached = |wanted| parts.contains(&LinkXdp::Attached(wanted));
    let mut found = Vec::new();
    for part in parts {
        let (program, mode) = match *part {
            LinkXdp::DrvProgId(id) => (id, Mode::Native),
            LinkXdp::SkbProgId(id) => (id, Mode::Generic),
            LinkXdp::HwProgId(id) => (id, Mode::Offloaded),
            LinkXdp::ProgId(id) if attached(XdpAttached::Driver) => (id, Mode::Native),
            LinkXdp::ProgId(id) if attached(XdpAttached::SocketBuffer) => (id, Mode::Generic),
            LinkXdp::ProgId(id) if attached(XdpAttached::Hardware) => (id, Mode::Offloaded),
            _ => continue,
        };
        let running = Running { program, mode };
        if !found.contains(&running) {
            found.push(running);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    // Input: the parts of IFLA_XDP as kernels send them. Output: the programs in force.
    #[test]
    fn programs_are_listed_once_with_their_mode() {
        let native = Running { program: 7, mode: Mode::Native };
        let generic = Running { program: 8, mode: Mode::Generic };
        let cases: [(&[LinkXdp], &[Running]); 4] = [
            (&[LinkXdp::Attached(XdpAttached::None)], &[]),
            (
                &[
                    LinkXdp::Attached(XdpAttached::Driver),
                    LinkXdp::ProgId(7),
                    LinkXdp::DrvProgId(7),
                ],
                &[native],
            ),
            (&[LinkXdp::Attached(XdpAttached::SocketBuffer), LinkXdp::ProgId(8)], &[generic]),
            (
                &[
                    LinkXdp::Attached(XdpAttached::Multiple),
                    LinkXdp::SkbProgId(8),
                    LinkXdp::DrvProgId(7),
                ],
                &[generic, native],
            ),
        ];
        for (parts, expected) in cases {
            assert_eq!(running(parts), expected, "{parts:?}");
        }
    }
}
