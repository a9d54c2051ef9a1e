//! The frames of announcements, as bytes.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Length of an Ethernet header.
const ETHERNET: usize = 14;
/// Length of an ARP packet for Ethernet and IPv4 (RFC 826).
const ARP: usize = 28;
/// Length of an IPv6 header (RFC 8200, 3).
const IPV6: usize = 40;
/// Length of a neighbour advertisement with the target link-layer option (RFC 4861, 4.4, 4.6.1).
const ADVERTISEMENT: usize = 32;

/// Everybody on the link.
const BROADCAST: [u8; 6] = [0xff; 6];
/// Where frames to [`ALL_NODES`] go (RFC 2464, 7).
const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
/// All nodes on the link: `ff02::1`.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// IP protocol number of `ICMPv6`.
const ICMPV6: u8 = 58;

/// The two forms of an ARP announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArpForm {
    /// A request for the sender's own address: the announcement of RFC 5227, 3.
    Request,
    /// A reply nobody asked for, with the sender as its target too (RFC 5944, 4.6).
    Reply,
}

/// An announcement that `address` is at `mac`: an Ethernet frame without padding, which the
/// interface adds.
#[must_use]
pub fn gratuitous_arp(form: ArpForm, mac: [u8; 6], address: Ipv4Addr) -> [u8; ETHERNET + ARP] {
    let (operation, target) = match form {
        ArpForm::Request => (1, [0; 6]),
        ArpForm::Reply => (2, mac),
    };
    let mut frame = Frame::new();
    frame.put(&BROADCAST).put(&mac).put(&[0x08, 0x06]);
    // Hardware type Ethernet, protocol IPv4, their lengths, the operation.
    frame.put(&[0, 1, 0x08, 0x00, 6, 4, 0, operation]);
    frame.put(&mac).put(&address.octets());
    frame.put(&target).put(&address.octets());
    frame.bytes
}

/// An announcement that `address` is at `mac`: an unsolicited neighbour advertisement to all
/// nodes with the Override flag (RFC 4861, 7.2.6), from the address itself.
#[must_use]
pub fn neighbour_advertisement(
    mac: [u8; 6],
    address: Ipv6Addr,
) -> [u8; ETHERNET + IPV6 + ADVERTISEMENT] {
    let body = advertisement(mac, address, [0, 0]);
    let body = advertisement(mac, address, checksum(address, &body).to_be_bytes());
    let mut frame = Frame::new();
    frame.put(&ALL_NODES_MAC).put(&mac).put(&[0x86, 0xdd]);
    // Version 6; payload length; next header; a hop limit of 255 proves the sender is on the link.
    frame.put(&[0x60, 0, 0, 0, 0, 32, ICMPV6, 255]);
    frame.put(&address.octets()).put(&ALL_NODES.octets()).put(&body);
    frame.bytes
}

/// The advertisement from its `ICMPv6` header on.
fn advertisement(mac: [u8; 6], target: Ipv6Addr, checksum: [u8; 2]) -> [u8; ADVERTISEMENT] {
    let mut body = Frame::new();
    body.put(&[136, 0]).put(&checksum);
    // Neither a router nor solicited, but overriding.
    body.put(&[0x20, 0, 0, 0]).put(&target.octets());
    // Option: target link-layer address, one unit of eight bytes.
    body.put(&[2, 1]).put(&mac);
    body.bytes
}

/// The Internet checksum over the pseudo-header (RFC 8200, 8.1) and an advertisement to all nodes
/// whose checksum field is zero.
fn checksum(source: Ipv6Addr, body: &[u8; ADVERTISEMENT]) -> u16 {
    let length = [0, 0, 0, 32, 0, 0, 0, ICMPV6];
    let (source, destination) = (source.octets(), ALL_NODES.octets());
    let (words, _) = body.as_chunks::<2>();
    let sum = [&source, &destination]
        .into_iter()
        .flat_map(|address| address.as_chunks::<2>().0)
        .chain(length.as_chunks::<2>().0)
        .chain(words)
        .map(|word| u32::from(u16::from_be_bytes(*word)))
        .sum::<u32>();
    // Fewer than 2^16 words: folding the carries twice leaves 16 bits.
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !u16::try_from(folded).unwrap_or(u16::MAX)
}

/// `N` bytes, filled from the front. What does not fit is left out, so the parts of a frame must
/// add up to its length; the tests compare every byte.
struct Frame<const N: usize> {
    bytes: [u8; N],
    filled: usize,
}

impl<const N: usize> Frame<N> {
    const fn new() -> Self {
        Self { bytes: [0; N], filled: 0 }
    }

    fn put(&mut self, part: &[u8]) -> &mut Self {
        let end = self.filled.saturating_add(part.len());
        if let Some(room) = self.bytes.get_mut(self.filled..end) {
            room.copy_from_slice(part);
            self.filled = end;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [0x02, 0x00, 0x5e, 0x10, 0x20, 0x30];

    #[test]
    fn arp_request_form() {
        let frame = gratuitous_arp(ArpForm::Request, MAC, Ipv4Addr::new(10, 77, 0, 101));
        let expected = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x00, 0x5e, 0x10, 0x20, 0x30, 0x08, 0x06,
            0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01, // operation 1
            0x02, 0x00, 0x5e, 0x10, 0x20, 0x30, 10, 77, 0, 101, // sender
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 10, 77, 0, 101, // target
        ];
        assert_eq!(frame, expected);
    }

    #[test]
    fn arp_reply_form() {
        let frame = gratuitous_arp(ArpForm::Reply, MAC, Ipv4Addr::new(10, 77, 0, 101));
        let expected = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x00, 0x5e, 0x10, 0x20, 0x30, 0x08, 0x06,
            0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x02, // operation 2
            0x02, 0x00, 0x5e, 0x10, 0x20, 0x30, 10, 77, 0, 101, // sender
            0x02, 0x00, 0x5e, 0x10, 0x20, 0x30, 10, 77, 0, 101, // target
        ];
        assert_eq!(frame, expected);
    }

    #[test]
    fn neighbour_advertisement_bytes() {
        let address = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x65);
        let frame = neighbour_advertisement(MAC, address);
        // The checksum by hand: fd00+0065 (source) + ff02+0001 (destination) + 0020+003a
        // + 8800 + 2000 + fd00+0065 (target) + 0201+0200+5e10+2030 (option)
        // = 42468 (hex); 2468+4 = 246c; its complement is db93.
        let expected = [
            0x33, 0x33, 0x00, 0x00, 0x00, 0x01, 0x02, 0x00, 0x5e, 0x10, 0x20, 0x30, 0x86, 0xdd,
            0x60, 0x00, 0x00, 0x00, 0x00, 0x20, 58, 255, // IPv6
            0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x65, // source
            0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, // destination
            136, 0, 0xdb, 0x93, 0x20, 0, 0, 0, // advertisement, Override
            0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x65, // target
            2, 1, 0x02, 0x00, 0x5e, 0x10, 0x20, 0x30, // option
        ];
        assert_eq!(frame, expected);
    }

    #[test]
    fn the_checksum_carries() {
        // With every bit set in address and option, each fold has a carry to take.
        let address = Ipv6Addr::from([0xff; 16]);
        let body = advertisement([0xff; 6], address, [0, 0]);
        let sum = checksum(address, &body);
        let whole = advertisement([0xff; 6], address, sum.to_be_bytes());
        // A receiver sums up everything including the checksum and must get all ones.
        assert_eq!(checksum(address, &whole), 0);
    }
}
