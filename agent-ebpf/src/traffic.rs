//! Traffic to the addresses this host holds: counted while the lease lives, dropped after.

use rais_common::maps::{ServiceKey, mapped};

use crate::packet::{Ipv4, Ipv6, Packet, Solicitation, Tcp};
use crate::{Fate, maps, responder};

/// IP protocol number of TCP.
const TCP: u8 = 6;
/// IP protocol number of `ICMPv6`.
const ICMPV6: u8 = 58;
/// `ICMPv6` type of a neighbour solicitation (RFC 4861, 4.3).
const NEIGHBOUR_SOLICITATION: u8 = 135;
/// The offset in the fragment field of an IPv4 header (RFC 791, 3.1).
const FRAGMENT_OFFSET: u16 = 0x1fff;

/// An IPv4 packet, whose header begins at `ip`.
pub fn ipv4(packet: &Packet, ip: usize) -> Fate {
    let Some(header) = packet.at::<Ipv4>(ip) else {
        return Fate::Pass;
    };
    let key = ServiceKey { address: mapped(header.destination), ifindex: packet.interface() };
    // Only the first fragment has the TCP header. Options move it.
    let first = u16::from_be_bytes(header.fragment) & FRAGMENT_OFFSET == 0;
    let segment = ip + usize::from(header.version_ihl & 0x0f) * 4;
    let tcp = (first && header.protocol == TCP).then_some(segment);
    settle(packet, &key, tcp)
}

/// An IPv6 packet, whose header begins at `ip`.
pub fn ipv6(packet: &Packet, ip: usize) -> Fate {
    let Some(header) = packet.at::<Ipv6>(ip) else {
        return Fate::Pass;
    };
    let ifindex = packet.interface();
    let payload = ip + size_of::<Ipv6>();
    // Solicitations come to a multicast address made from the target, or to the target itself.
    if header.next_header == ICMPV6
        && let Some(message) = packet.at::<Solicitation>(payload)
        && message.icmp_type == NEIGHBOUR_SOLICITATION
        && let Some(fate) = responder::solicitation(message.target, ifindex)
    {
        return fate;
    }
    let key = ServiceKey { address: header.destination, ifindex };
    settle(packet, &key, (header.next_header == TCP).then_some(payload))
}

/// Counts and passes, or drops, where `key` is an address of ours. `tcp`: where a TCP header is.
#[inline(always)]
#[allow(clippy::inline_always, reason = "packet pointers do not survive a BPF function call")]
fn settle(packet: &Packet, key: &ServiceKey, tcp: Option<usize>) -> Fate {
    let Some(owned) = maps::owned(key) else {
        return Fate::Pass;
    };
    if !owned.live {
        maps::count(|c| c.fenced += 1);
        return Fate::Drop;
    }
    let begun = tcp.and_then(|at| packet.at::<Tcp>(at)).is_some_and(begins_connection);
    maps::add_traffic(key, packet.length(), begun);
    Fate::Pass
}

/// SYN without ACK (RFC 9293, 3.5).
fn begins_connection(segment: &Tcp) -> bool {
    const SYN: u8 = 0x02;
    const ACK: u8 = 0x10;
    segment.flags & (SYN | ACK) == SYN
}
