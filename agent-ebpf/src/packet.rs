//! The one way to a packet's bytes: every access is checked against the packet's end, as the
//! verifier demands, and all pointers of this program to packet memory are in here.

#![allow(unsafe_code, reason = "packet memory is reached by pointer; see each SAFETY")]

use aya_ebpf::programs::XdpContext;
use rais_common::arp;

/// `EtherType` of IPv4.
pub const IPV4: u16 = 0x0800;
/// `EtherType` of IPv6.
pub const IPV6: u16 = 0x86dd;

/// `EtherType` of a VLAN tag (IEEE 802.1Q, 9.5).
const VLAN_TAG: u16 = 0x8100;
/// `EtherType` of a service VLAN tag. Linux handles both alike.
const SERVICE_TAG: u16 = 0x88a8;
/// The VLAN in a tag's first two bytes; the rest is the priority.
const VLAN_ID: u16 = 0x0fff;
/// Length of an Ethernet header without a tag.
pub const ETHERNET: usize = size_of::<Ethernet>();

/// Headers that may be read straight from a packet.
///
/// # Safety
/// The type is `repr(C)`, has alignment 1 and is valid for every bit pattern.
pub unsafe trait Header {}

/// An Ethernet header.
#[repr(C)]
struct Ethernet {
    addresses: [u8; 12],
    ethertype: [u8; 2],
}

/// What comes between an Ethernet header that announces a tag, and the payload.
#[repr(C)]
struct Tag {
    priority_vlan: [u8; 2],
    ethertype: [u8; 2],
}

/// An IPv4 header without options (RFC 791, 3.1).
#[repr(C)]
pub struct Ipv4 {
    /// Version, and the header's length in words of four bytes.
    pub version_ihl: u8,
    tos_length_id: [u8; 5],
    /// Flags, and the offset of the fragment.
    pub fragment: [u8; 2],
    ttl: u8,
    /// What follows.
    pub protocol: u8,
    checksum_source: [u8; 6],
    /// Where to.
    pub destination: [u8; 4],
}

/// An IPv6 header (RFC 8200, 3).
#[repr(C)]
pub struct Ipv6 {
    version_class_flow_length: [u8; 6],
    /// What follows.
    pub next_header: u8,
    hop_limit: u8,
    source: [u8; 16],
    /// Where to.
    pub destination: [u8; 16],
}

/// The beginning of a TCP header, up to its flags (RFC 9293, 3.1).
#[repr(C)]
pub struct Tcp {
    ports_numbers_offset: [u8; 13],
    /// SYN, ACK and the others.
    pub flags: u8,
}

/// A neighbour solicitation without options (RFC 4861, 4.3).
#[repr(C)]
pub struct Solicitation {
    /// The `ICMPv6` type.
    pub icmp_type: u8,
    code_checksum_reserved: [u8; 7],
    /// Who is asked for.
    pub target: [u8; 16],
}

/// Asserts the sizes the protocols prescribe, and that no header needs alignment.
macro_rules! headers {
    ($($header:ty: $size:literal),+ $(,)?) => { $(
        const _: () = assert!(size_of::<$header>() == $size && align_of::<$header>() == 1);
        // SAFETY: `repr(C)` and of bytes only; the alignment is asserted above.
        unsafe impl Header for $header {}
    )+ };
}

headers!(Ethernet: 14, Tag: 4, Ipv4: 20, Ipv6: 40, Tcp: 14, Solicitation: 24, arp::Frame: 42);

/// The packet being looked at.
pub struct Packet {
    context: XdpContext,
}

impl Packet {
    /// The packet of this run.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "packet pointers do not survive a BPF function call")]
    pub fn new(context: XdpContext) -> Self {
        Self { context }
    }

    /// What the frame carries on no VLAN, and the offset where that begins. None: nothing of that
    /// kind, or cut off.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "packet pointers do not survive a BPF function call")]
    pub fn ethertype(&self) -> Option<(u16, usize)> {
        let outer = u16::from_be_bytes(self.at::<Ethernet>(0)?.ethertype);
        if outer != VLAN_TAG && outer != SERVICE_TAG {
            return Some((outer, ETHERNET));
        }
        let tag = self.at::<Tag>(ETHERNET)?;
        let vlan = u16::from_be_bytes(tag.priority_vlan) & VLAN_ID;
        let inner = u16::from_be_bytes(tag.ethertype);
        (vlan == 0).then_some((inner, ETHERNET + size_of::<Tag>()))
    }

    /// The header `offset` bytes from the packet's start, where it lies wholly within.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "packet pointers do not survive a BPF function call")]
    pub fn at<T: Header>(&self, offset: usize) -> Option<&T> {
        // SAFETY: `bounded` vouches for the bytes, `Header` for their reading; nobody writes to
        // them while `self` is borrowed.
        self.bounded::<T>(offset).map(|header| unsafe { &*header })
    }

    /// As [`at`](Self::at), to be changed.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "packet pointers do not survive a BPF function call")]
    pub fn at_mut<T: Header>(&mut self, offset: usize) -> Option<&mut T> {
        // SAFETY: as in `at`; `self` is borrowed for writing, so this is the only reference.
        self.bounded::<T>(offset).map(|header| unsafe { &mut *header })
    }

    /// A pointer to `T` all of whose bytes are in the packet.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "packet pointers do not survive a BPF function call")]
    fn bounded<T: Header>(&self, offset: usize) -> Option<*mut T> {
        let start = self.context.data();
        if start + offset + size_of::<T>() > self.context.data_end() {
            return None;
        }
        Some((start + offset) as *mut T)
    }

    /// Length of the frame in bytes, without the frame check sequence.
    pub fn length(&self) -> u64 {
        (self.context.data_end() - self.context.data()) as u64
    }

    /// Index of the interface it came in.
    pub fn interface(&self) -> u32 {
        // SAFETY: the kernel hands the program a valid context for the whole run.
        unsafe { (*self.context.ctx).ingress_ifindex }
    }
}
