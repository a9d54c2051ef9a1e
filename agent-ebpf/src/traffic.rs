//! Traffic to the addresses this host holds: counted while the lease lives, dropped after; sent on
//! where another host has the address, or is about to.

use rais_common::handover::{self, Way};
use rais_common::maps::{ServiceKey, mapped};
use rais_common::neighbour::{ADVERTISEMENT, ICMPV6, SOLICITATION};

use crate::maps::Owned;
use crate::packet::{Extension, Ipv4, Ipv6, Message, PAYLOAD, Packet, Tcp, copied};
use crate::{Fate, maps, responder};

/// IP protocol number of TCP.
const TCP: u8 = 6;
/// Extension header with hop-by-hop options (RFC 8200, 4.3).
const HOP_BY_HOP: u8 = 0;
/// Extension header with a route (RFC 8200, 4.4).
const ROUTING: u8 = 43;
/// Extension header with destination options (RFC 8200, 4.6).
const DESTINATION_OPTIONS: u8 = 60;
/// Where the payload of an IPv6 packet begins.
const BODY: usize = PAYLOAD + size_of::<Ipv6>();
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

/// An IPv6 packet. Of extension headers one is looked behind, and only for solicitations that the
/// kernel would answer; connections behind them are not counted as such.
pub fn ipv6(packet: &mut Packet) -> Fate {
    let Some(header) = packet.at::<Ipv6>(PAYLOAD) else {
        return Fate::Pass;
    };
    let (next_header, address) = (header.next_header, copied(&header.destination));
    let ifindex = packet.interface();
    // Solicitations come to a multicast address made from the target, or to the target itself.
    let fate = match next_header {
        ICMPV6 => icmpv6(packet, ifindex),
        HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => hidden(packet, ifindex),
        _ => None,
    };
    if let Some(fate) = fate {
        return fate;
    }
    let is_tcp = next_header == TCP;
    let key = ServiceKey { address, ifindex };
    settle(packet, &key, || is_tcp.then(|| packet.at::<Tcp>(BODY)).flatten())
}

/// An `ICMPv6` message. None: to be treated like other traffic.
#[inline(always)]
#[allow(clippy::inline_always, reason = "packet pointers do not survive a BPF function call")]
fn icmpv6(packet: &mut Packet, ifindex: u32) -> Option<Fate> {
    let message = packet.at::<Message>(BODY)?;
    let solicits = match message.icmp_type {
        SOLICITATION => true,
        ADVERTISEMENT => false,
        _ => return None,
    };
    let key = ServiceKey { address: copied(&message.target), ifindex };
    responder::neighbour(packet, &key, solicits)
}

/// A packet with an extension header, as [`icmpv6`].
#[inline(always)]
#[allow(clippy::inline_always, reason = "packet pointers do not survive a BPF function call")]
fn hidden(packet: &Packet, ifindex: u32) -> Option<Fate> {
    const LONGEST: u8 = 6;
    let header = packet.at::<Extension>(BODY)?;
    if header.next_header != ICMPV6 || header.length > LONGEST {
        return None;
    }
    let message = packet.at_words::<Message>(BODY, 2 * (header.length + 1))?;
    if message.icmp_type != SOLICITATION {
        return None;
    }
    responder::hidden_solicitation(&ServiceKey { address: copied(&message.target), ifindex })
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
    let way = if owned.live { Way::Accept } else { way(packet, &owned) };
    match way {
        Way::Accept => {
            maps::add_traffic(key, packet.length(), segment().is_some_and(begins_connection));
            Fate::Pass
        }
        Way::Forward => {
            maps::count(|c| c.forwarded += 1);
            Fate::Forward { to: owned.entry.peer, from: owned.entry.mac }
        }
        Way::Drop => {
            maps::count(|c| c.fenced += 1);
            Fate::Drop
        }
    }
}

/// What becomes of a packet to an address that is not live.
#[inline(always)]
#[allow(clippy::inline_always, reason = "packet pointers do not survive a BPF function call")]
fn way(packet: &Packet, owned: &Owned) -> Way {
    let Some(link) = packet.link() else { return Way::Drop };
    handover::way(&owned.entry, owned.forwards, link.destination, link.source)
}

/// SYN without ACK (RFC 9293, 3.5).
fn begins_connection(segment: &Tcp) -> bool {
    const SYN: u8 = 0x02;
    const ACK: u8 = 0x10;
    segment.flags & (SYN | ACK) == SYN
}
