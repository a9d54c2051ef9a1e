//! The fixed header of every datagram. It is in clear, and all of it is authenticated by the seal.
//!
//! ```text
//!  0  magic "RAIS"          4
//!  4  wire version          1
//!  5  type                  1   see `Kind`
//!  6  protection            1   0 plain, 1 sealed
//!  7  reserved, zero        1
//!  8  group tag             8
//! 16  source                16  IPv6, or IPv4 as ::ffff:a.b.c.d
//! 32  boot epoch            8
//! 40  salt                  8   random at each start of the sender
//! 48  sequence              8   from 1
//! 56  payload; after it, where sealed, the tag of 16 bytes
//! ```
//! Numbers are big-endian.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ring::digest;

use super::Refusal;
use crate::group::{Body, HostId, Part};

/// Bytes of the header.
pub(super) const HEADER_LEN: usize = 56;

const MAGIC: [u8; 4] = *b"RAIS";
/// Raised by any change of the header, the payload or the seal.
const VERSION: u8 = 1;
const PLAIN: u8 = 0;
const SEALED: u8 = 1;

/// Tells the groups that share a multicast address from each other: the first 8 bytes of a
/// SHA-256 over the group's name, address and port.
///
/// It is no protection, only a name of fixed length; a group is protected by its key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct GroupTag(pub(super) [u8; 8]);

impl GroupTag {
    /// The tag of the group `name` at `address`.
    #[must_use]
    pub fn new(name: &str, address: SocketAddr) -> Self {
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(b"rais group\0");
        hash.update(&mapped(address.ip()));
        hash.update(&address.port().to_be_bytes());
        hash.update(name.as_bytes());
        let mut tag = [0; 8];
        // A SHA-256 has 32 bytes.
        if let Some(first) = hash.finish().as_ref().first_chunk() {
            tag = *first;
        }
        Self(tag)
    }
}

impl fmt::Debug for GroupTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupTag({:016x})", u64::from_be_bytes(self.0))
    }
}

/// Type of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Info,
    Acquire,
    Release,
    Move,
    MoveRefused,
    Lists,
    Records,
    Ask,
}

impl Kind {
    pub(super) const fn of(body: &Body) -> Self {
        match body {
            Body::Info(_) => Self::Info,
            Body::Acquire(_) => Self::Acquire,
            Body::Release(_) => Self::Release,
            Body::Move(_) => Self::Move,
            Body::MoveRefused(_) => Self::MoveRefused,
            Body::Part(Part::Lists(..)) => Self::Lists,
            Body::Part(Part::Records(_)) => Self::Records,
            Body::Ask(_) => Self::Ask,
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Info => 1,
            Self::Acquire => 2,
            Self::Release => 3,
            Self::Move => 4,
            Self::MoveRefused => 5,
            Self::Lists => 6,
            Self::Records => 7,
            Self::Ask => 8,
        }
    }

    const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Info),
            2 => Some(Self::Acquire),
            3 => Some(Self::Release),
            4 => Some(Self::Move),
            5 => Some(Self::MoveRefused),
            6 => Some(Self::Lists),
            7 => Some(Self::Records),
            8 => Some(Self::Ask),
            _ => None,
        }
    }
}

/// The header's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) sealed: bool,
    pub(super) tag: GroupTag,
    pub(super) source: HostId,
    pub(super) boot: u64,
    pub(super) salt: u64,
    pub(super) sequence: u64,
}

impl Header {
    /// Appends the header's bytes.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&MAGIC);
        let protection = if self.sealed { SEALED } else { PLAIN };
        out.extend_from_slice(&[VERSION, self.kind.number(), protection, 0]);
        out.extend_from_slice(&self.tag.0);
        out.extend_from_slice(&mapped(self.source.0));
        for number in [self.boot, self.salt, self.sequence] {
            out.extend_from_slice(&number.to_be_bytes());
        }
    }

    /// Reads the header of a datagram; the rest is the payload.
    pub(super) fn parse(datagram: &[u8]) -> Result<(Self, &[u8; HEADER_LEN], &[u8]), Refusal> {
        let (bytes, payload) = datagram.split_first_chunk().ok_or(Refusal::Truncated)?;
        let header = Self::fields(bytes)?;
        Ok((header, bytes, payload))
    }

    fn fields(bytes: &[u8; HEADER_LEN]) -> Result<Self, Refusal> {
        let mut rest = bytes.as_slice();
        if take(&mut rest)? != MAGIC {
            return Err(Refusal::Magic);
        }
        let [version, kind, protection, reserved] = take(&mut rest)?;
        if version != VERSION {
            return Err(Refusal::Version);
        }
        let sealed = match protection {
            PLAIN => false,
            SEALED => true,
            _ => return Err(Refusal::Malformed),
        };
        let header = Self {
            kind: Kind::from_number(kind).ok_or(Refusal::Malformed)?,
            sealed,
            tag: GroupTag(take(&mut rest)?),
            source: HostId(unmapped(take(&mut rest)?)),
            boot: u64::from_be_bytes(take(&mut rest)?),
            salt: u64::from_be_bytes(take(&mut rest)?),
            sequence: u64::from_be_bytes(take(&mut rest)?),
        };
        let host = header.source.0;
        let unicast = !host.is_unspecified() && !host.is_multicast();
        if reserved != 0 || header.sequence == 0 || !unicast {
            return Err(Refusal::Malformed);
        }
        Ok(header)
    }
}

/// Takes the next `N` bytes off `rest`.
fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Refusal> {
    let (first, others) = rest.split_first_chunk().ok_or(Refusal::Truncated)?;
    *rest = others;
    Ok(*first)
}

/// An address in 16 bytes, IPv4 as `::ffff:a.b.c.d` (RFC 4291, 2.5.5.2).
pub(super) fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// The reverse of [`mapped`].
fn unmapped(bytes: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(bytes).to_canonical()
}
