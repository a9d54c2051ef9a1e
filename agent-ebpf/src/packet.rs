//! The one way to a packet's bytes: every access is checked against the packet's end, as the
//! verifier demands, and all pointers of this program to packet memory are in here.
//!
//! Only constants are ever added to such a pointer. A number out of a register would do for root,
//! but the verifier demands `CAP_PERFMON` for it, and the agent shall get by with `CAP_BPF` and
//! `CAP_NET_ADMIN`. Hence `moved`.

#![allow(unsafe_code, reason = "packet memory is reached by pointer; see each SAFETY")]

use core::arch::asm;

use aya_ebpf::helpers::generated::{bpf_xdp_adjust_tail, bpf_xdp_get_buff_len};
use aya_ebpf::programs::XdpContext;
use rais_common::{arp, neighbour};

/// `EtherType` of IPv4.
pub const IPV4: u16 = 0x0800;

/// `EtherType` of a VLAN tag (IEEE 802.1Q, 9.5).
const VLAN_TAG: u16 = 0x8100;
/// `EtherType` of a service VLAN tag. Linux handles both alike.
const SERVICE_TAG: u16 = 0x88a8;
/// The VLAN in a tag's first two bytes; the rest is the priority.
const VLAN_ID: u16 = 0x0fff;
/// Length of a tag.
const TAG: usize = 4;

/// Headers that may be read straight from a packet.
///
/// # Safety
/// The type is `repr(C)`, has alignment 1 and is valid for every bit pattern.
pub unsafe trait Header {}

/// An Ethernet header.
#[repr(C)]
struct Ethernet {
    destination: [u8; 6],
    source: [u8; 6],
    ethertype: [u8; 2],
}

/// Who an Ethernet frame is for, and who sent it.
#[repr(C)]
pub struct Link {
    /// The hardware address it is for.
    pub destination: [u8; 6],
    /// The hardware address of whoever sent it.
    pub source: [u8; 6],
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

/// The beginning of an extension header (RFC 8200, 4).
#[repr(C)]
pub struct Extension {
    /// What follows.
    pub next_header: u8,
    /// Its length in units of eight bytes, without the first.
    pub length: u8,
}

/// A neighbour message without options (RFC 4861, 4.3).
#[repr(C)]
pub struct Message {
    /// The `ICMPv6` type.
    pub icmp_type: u8,
    code_checksum_flags: [u8; 7],
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

headers!(
    Ethernet: 14,
    Link: 12,
    Ipv4: 20,
    Ipv6: 40,
    Extension: 2,
    Tcp: 14,
    Message: 24,
    arp::Frame: 42,
    neighbour::Frame: 78,
    neighbour::Answer: 86,
    neighbour::Unit: 8,
);

/// A packet's address so many bytes on. The compiler cannot see what happens here, so it keeps the
/// branch it stands in and does not make one addition out of several branches, by a number in a
/// register. (`black_box` would put the pointer on the stack, in a place that is used again for
/// something else, which also takes `CAP_PERFMON`.)
#[inline(always)]
#[allow(clippy::inline_always, reason = "packet pointers do not survive a BPF function call")]
fn moved<const BYTES: usize>(mut address: usize) -> usize {
    // SAFETY: adds a constant to a register, and nothing else.
    unsafe {
        asm!("{0} += {1}", inout(reg) address, const BYTES, options(nomem, nostack));
    }
    address
}

/// Where the payload of an Ethernet frame begins.
pub const PAYLOAD: usize = size_of::<Ethernet>();

/// The packet being looked at.
///
/// A priority tag is skipped by moving the start over it: the fields before it then read as
/// nonsense, the type and all that follows it are where they are in an untagged frame.
pub struct Packet {
    context: XdpContext,
    /// Address of the first byte, or of the first but four.
    start: usize,
    tagged: bool,
}

#[allow(clippy::inline_always, reason = "packet pointers do not survive a BPF function call")]
impl Packet {
    /// The packet of this run.
    #[inline(always)]
    pub fn new(context: XdpContext) -> Self {
        let start = context.data();
        let mut packet = Self { context, start, tagged: false };
        if packet.has_priority_tag() {
            packet.start = moved::<TAG>(start);
            packet.tagged = true;
        }
        packet
    }

    /// Whether there is a tag that names no VLAN.
    #[inline(always)]
    fn has_priority_tag(&self) -> bool {
        let tagged = matches!(self.ethertype(), Some(VLAN_TAG | SERVICE_TAG));
        // Laid over the tag, the last two bytes of the source are the tag's own.
        tagged
            && self.at::<Ethernet>(TAG).is_some_and(|shifted| {
                let [.., high, low] = shifted.source;
                u16::from_be_bytes([high, low]) & VLAN_ID == 0
            })
    }

    /// Whether a priority tag was skipped.
    #[inline(always)]
    pub fn is_tagged(&self) -> bool {
        self.tagged
    }

    /// What the frame carries. None: cut off.
    #[inline(always)]
    pub fn ethertype(&self) -> Option<u16> {
        self.at::<Ethernet>(0).map(|header| u16::from_be_bytes(header.ethertype))
    }

    /// Who it is for and from, whether or not a tag was skipped.
    #[inline(always)]
    pub fn link(&self) -> Option<&Link> {
        self.within(self.context.data())
    }

    /// Sends it to and from others. False: it is cut off.
    #[inline(always)]
    pub fn readdress(&mut self, to: [u8; 6], from: [u8; 6]) -> bool {
        // SAFETY: as in `within`; `self` is borrowed for writing, so this is the only reference.
        let link = self.bounded::<Link>(self.context.data()).map(|link| unsafe { &mut *link });
        let Some(link) = link else { return false };
        (link.destination, link.source) = (to, from);
        true
    }

    /// The header `offset` bytes from the packet's start, where it lies wholly within. `offset` is
    /// a constant.
    #[inline(always)]
    pub fn at<T: Header>(&self, offset: usize) -> Option<&T> {
        self.within(self.start + offset)
    }

    /// The header `offset` bytes and so many words of four bytes, at most 15, from the packet's
    /// start. `offset` is a constant.
    #[inline(always)]
    pub fn at_words<T: Header>(&self, offset: usize, words: u8) -> Option<&T> {
        let mut address = self.start + offset;
        if words & 1 != 0 {
            address = moved::<4>(address);
        }
        if words & 2 != 0 {
            address = moved::<8>(address);
        }
        if words & 4 != 0 {
            address = moved::<16>(address);
        }
        if words & 8 != 0 {
            address = moved::<32>(address);
        }
        self.within(address)
    }

    /// As [`at`](Self::at), to be changed.
    #[inline(always)]
    pub fn at_mut<T: Header>(&mut self, offset: usize) -> Option<&mut T> {
        // SAFETY: as in `within`; `self` is borrowed for writing, so this is the only reference.
        self.bounded::<T>(self.start + offset).map(|header| unsafe { &mut *header })
    }

    /// The header at an address, where it lies wholly within the packet.
    #[inline(always)]
    fn within<T: Header>(&self, address: usize) -> Option<&T> {
        // SAFETY: `bounded` vouches for the bytes, `Header` for their reading; nobody writes to
        // them while `self` is borrowed.
        self.bounded::<T>(address).map(|header| unsafe { &*header })
    }

    /// A pointer to `T` all of whose bytes are in the packet.
    #[inline(always)]
    fn bounded<T: Header>(&self, address: usize) -> Option<*mut T> {
        let header = address as *mut T;
        // SAFETY: packets are not at address zero. Said aloud, because the comparison that an
        // `Option` of a reference would be tested by takes `CAP_PERFMON` as well.
        unsafe { core::hint::assert_unchecked(!header.is_null()) };
        (address + size_of::<T>() <= self.context.data_end()).then_some(header)
    }

    /// Length of the frame in bytes, with its tag, without the frame check sequence. Asked of the
    /// kernel (5.18 or later), since the difference of two pointers takes `CAP_PERFMON`, too.
    pub fn length(&self) -> u64 {
        // SAFETY: the context is that of this run.
        unsafe { bpf_xdp_get_buff_len(self.context.ctx) }
    }

    /// Makes an untagged frame so long, at its end. What is there anew is to be written. False: the
    /// driver has no room, and the frame is as it was.
    #[inline(always)]
    pub fn resize<const LENGTH: u64>(&mut self) -> bool {
        #[allow(clippy::cast_possible_truncation, reason = "frames are shorter than 2^31 bytes")]
        let difference = LENGTH.wrapping_sub(self.length()) as i32;
        if difference == 0 {
            return true;
        }
        // SAFETY: the context is that of this run. Nobody holds a reference into the packet: `self`
        // is borrowed for writing.
        let refused = unsafe { bpf_xdp_adjust_tail(self.context.ctx, difference) } != 0;
        // Every address from before is void, also where nothing was changed.
        self.start = self.context.data();
        !refused
    }

    /// Index of the interface it came in.
    pub fn interface(&self) -> u32 {
        // SAFETY: the kernel hands the program a valid context for the whole run.
        unsafe { (*self.context.ctx).ingress_ifindex }
    }
}

/// An address out of a packet, in two registers: left to itself the compiler may well copy it byte by
/// byte, which costs 11 ns, or have it copied by a call of `memmove`, which the verifier does not
/// take.
#[inline(always)]
#[allow(clippy::inline_always, reason = "packet pointers do not survive a BPF function call")]
#[allow(clippy::cast_possible_truncation, reason = "the two halves of a number")]
pub fn copied(address: &[u8; 16]) -> [u8; 16] {
    let number = u128::from_ne_bytes(*address);
    let (low, high) = (in_register(number as u64), in_register((number >> 64) as u64));
    (u128::from(high) << 64 | u128::from(low)).to_ne_bytes()
}

/// The same number, of which the compiler knows no more than that it is in a register. It has to be
/// an instruction: the kernel refuses two line numbers for one.
#[inline(always)]
#[allow(clippy::inline_always, reason = "a single instruction")]
fn in_register(mut number: u64) -> u64 {
    // SAFETY: moves a register to itself.
    unsafe { asm!("{0} = {0}", inout(reg) number, options(nomem, nostack)) };
    number
}
