//! Traffic to the addresses this host holds: counted while the lease lives, dropped after.

use rais_common::maps::{ServiceKey, mapped};

use crate::packet::{Ipv4, Ipv6, PAYLOAD, Packet, Solicitation, Tcp};
use crate::{Fate, maps, responder};

/// IP protocol number of TCP.
const TCP: u8 = 6;
/// IP protocol number of `ICMPv6`.
const ICMPV6: u8 = 58;
/// `ICMPv6` type of a neighbour solicitation (RFC 4861, 4.3).
const NEIGHBOUR_SOLICITATION: u8 = 135;
/// The offset in the fragment field of an IPv4 header (RFC 791, 3.1).
const FRAGMENT_OFFSET: u16 = 0x1fff;

/// An IPv4 packet.
pub fn ipv4(packet: &Packet) -> Fate {
    let Some(header) = packet.at::<Ipv4>(PAYLOAD) else {
        return Fate::Pass;
    };
    let key = ServiceKey { address: mapped(header.destination), ifindex: packet.interface() };
    // Only the first fragment has the TCP header. Options move it.
    let first = u16::from_be_bytes(header.fragment) & FRAGMENT_OFFSET == 0;
    let words = header.version_ihl & 0x0f;
    let is_tcp = first && header.protocol == TCP;
    settle(packet, &key, || is_tcp.then(|| packet.at_words::<Tcp>(PAYLOAD, words)).flatten())
}

/// An IPv6 packet.
pub fn ipv6(packet: &Packet) -> Fate {
    const BODY: usize = PAYLOAD + size_of::<Ipv6>();
    let Some(header) = packet.at::<Ipv6>(PAYLOAD) else {
        return Fate::Pass;
    };
    let ifindex = packet.interface();
    // Solicitations come to a multicast address made from the target, or to the target itself.
    if header.next_header == ICMPV6
        && let Some(message) = packet.at::<Solicitation>(BODY)
        && message.icmp_type == NEIGHBOUR_SOLICITATION
        && let Some(fate) = responder::solicitation(message.target, ifindex)
    {
        return fate;
    }
    let key = ServiceKey { address: header.destination, ifindex };
    let is_tcp = header.next_header == TCP;
    settle(packet, &key, || is_tcp.then(|| packet.at::<Tcp>(BODY)).flatten())
}

/// Counts and passes, or drops, where `key` is an address of ours. `segment` finds the TCP header.
#[inline(always)]
#[allow(clippy::inline_always, reason = "packet pointers do not survive a BPF function call")]
fn settle<'a>(
    packet: &'a Packet,
    key: &ServiceKey,
    segment: impl FnOnce() -> Option<&'a Tcp>,
) -> Fate {
    let Some(owned) = maps::owned(key) else {
        return Fate::Pass;
    };
    if !owned.live {
        maps::count(|c| c.fenced += 1);
        return Fate::Drop;
    }
    maps::add_traffic(key, packet.length(), segment().is_some_and(begins_connection));
    Fate::Pass
}

/// SYN without ACK (RFC 9293, 3.5).
fn begins_connection(segment: &Tcp) -> bool {
    const SYN: u8 = 0x02;
    const ACK: u8 = 0x10;
    segment.flags & (SYN | ACK) == SYN
}
