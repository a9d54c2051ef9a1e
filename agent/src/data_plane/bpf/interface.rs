//! What XDP programs an interface runs, and what kind of interface it is.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "netlink's enumerations are open: what was not asked for is skipped"
)]

use std::io;

use rtnetlink::packet_route::link::{
    InfoKind, LinkAttribute, LinkInfo, LinkMessage, LinkXdp, XdpAttached,
};

use crate::links;

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

/// Kinds of interfaces whose native mode cannot be judged by trying it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One end of a veth pair.
    Veth,
    /// A bond.
    Bond,
    /// Any other.
    Other,
}

/// What matters here of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// The XDP programs it runs; more than one where several modes are in use.
    pub(super) running: Vec<Running>,
    /// What it is.
    pub(super) kind: Kind,
}

/// Asks the kernel about the interface of this index in the caller's network namespace.
///
/// # Errors
/// There is no such interface, or netlink failed.
pub(super) fn state(index: u32) -> io::Result<State> {
    links::one(index).map(|link| read(&link))
}

/// Picks what matters from a link message.
fn read(link: &LinkMessage) -> State {
    let mut state = State { running: Vec::new(), kind: Kind::Other };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::Xdp(parts) => state.running = running(parts),
            LinkAttribute::LinkInfo(parts) => {
                state.kind = parts.iter().find_map(kind).unwrap_or(Kind::Other);
            }
            _ => {}
        }
    }
    state
}

fn kind(part: &LinkInfo) -> Option<Kind> {
    match part {
        LinkInfo::Kind(InfoKind::Veth) => Some(Kind::Veth),
        LinkInfo::Kind(InfoKind::Bond) => Some(Kind::Bond),
        _ => None,
    }
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
