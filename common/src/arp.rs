//! ARP requests and replies on bounded bytes (RFC 826, RFC 5227): one set of rules, run by the XDP
//! program on packets and by ordinary tests on values.
//!
//! A packet is [`read`] to learn which address it is about; with that address' map entry
//! [`judge`] decides; [`answer`] turns a request into its reply where it stands.

use crate::maps::ServiceEntry;

/// `EtherType` of ARP.
pub const ETHERTYPE: u16 = 0x0806;

/// An Ethernet header and an ARP packet for Ethernet and IPv4, as they are in memory: 42 bytes
/// without alignment, numbers in network byte order. What follows (padding) is not looked at.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Ethernet destination.
    pub destination: [u8; 6],
    /// Ethernet source.
    pub source: [u8; 6],
    /// [`ETHERTYPE`]
    pub ethertype: [u8; 2],
    /// Kind of hardware address (`ar$hrd`).
    pub hardware_type: [u8; 2],
    /// Kind of protocol address (`ar$pro`).
    pub protocol_type: [u8; 2],
    /// Length of a hardware address (`ar$hln`).
    pub hardware_len: u8,
    /// Length of a protocol address (`ar$pln`).
    pub protocol_len: u8,
    /// Request or reply (`ar$op`).
    pub operation: [u8; 2],
    /// Sender's hardware address.
    pub sender_mac: [u8; 6],
    /// Sender's protocol address.
    pub sender_ip: [u8; 4],
    /// Target's hardware address; without meaning in a request.
    pub target_mac: [u8; 6],
    /// Target's protocol address.
    pub target_ip: [u8; 4],
}

const _: () = assert!(size_of::<Frame>() == 42 && align_of::<Frame>() == 1);

/// Hardware type Ethernet.
const HARDWARE_ETHERNET: u16 = 1;
/// Hardware type IEEE 802. Linux answers it on Ethernet too (`arp_process`), so a fenced address
/// has to be guarded against it.
const HARDWARE_IEEE802: u16 = 6;
/// Protocol type IPv4.
const PROTOCOL_IPV4: u16 = 0x0800;
/// `ar$op` of a request.
const REQUEST: u16 = 1;
/// `ar$op` of a reply.
const REPLY: u16 = 2;

/// The Ethernet broadcast address.
const BROADCAST: [u8; 6] = [0xff; 6];

/// What kind of ARP packet this is, and which address it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Somebody asks who has the address. A probe (RFC 5227, 1.1) is one with sender 0.
    Request([u8; 4]),
    /// The sender announces that it has the address, by a request for its own address (RFC 5227,
    /// "ARP Announcement").
    Announcement([u8; 4]),
    /// The sender says that it has the address, asked or unasked.
    Reply([u8; 4]),
    /// A request of hardware type IEEE 802. Never answered here, though Linux would.
    OtherRequest([u8; 4]),
    /// Not Ethernet and IPv4, or neither request nor reply. No host answers it.
    Malformed,
}

/// Classifies a frame whose Ethernet type is ARP.
#[inline]
#[must_use]
pub fn read(frame: &Frame) -> Kind {
    let hardware = u16::from_be_bytes(frame.hardware_type);
    if u16::from_be_bytes(frame.protocol_type) != PROTOCOL_IPV4
        || frame.hardware_len != 6
        || frame.protocol_len != 4
    {
        return Kind::Malformed;
    }
    match (hardware, u16::from_be_bytes(frame.operation)) {
        (HARDWARE_ETHERNET, REQUEST) if frame.sender_ip == frame.target_ip => {
            Kind::Announcement(frame.target_ip)
        }
        (HARDWARE_ETHERNET, REQUEST) => Kind::Request(frame.target_ip),
        (HARDWARE_ETHERNET, REPLY) => Kind::Reply(frame.sender_ip),
        (HARDWARE_IEEE802, REQUEST) => Kind::OtherRequest(frame.target_ip),
        _ => Kind::Malformed,
    }
}

/// What is to be done with an ARP packet about an address that has an entry on this interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Turn it into its [`answer`] and send it back.
    Answer,
    /// Drop it, so that the kernel does not answer in our stead.
    Refuse,
    /// Raise an event: another machine claims what we hold. Then let it pass.
    Claim,
    /// None of our business.
    Pass,
}

/// Decides about a packet of this `kind` for the address `entry` belongs to. `live`: the address
/// is open and its lease has not ended ([`ServiceEntry::is_live`]).
///
/// What the kernel could answer is refused without a look at the Ethernet destination while the
/// address is not live: silence must not depend on our idea of the interface's current address.
#[inline]
#[must_use]
pub fn judge(kind: Kind, frame: &Frame, entry: &ServiceEntry, live: bool) -> Verdict {
    let foreign = frame.sender_mac != entry.mac;
    match kind {
        Kind::Request(_) | Kind::Announcement(_) | Kind::OtherRequest(_) if !live => {
            Verdict::Refuse
        }
        Kind::Announcement(_) | Kind::Reply(_) if live && foreign => Verdict::Claim,
        Kind::Request(_) if frame.destination == BROADCAST || frame.destination == entry.mac => {
            Verdict::Answer
        }
        Kind::Request(_)
        | Kind::Announcement(_)
        | Kind::Reply(_)
        | Kind::OtherRequest(_)
        | Kind::Malformed => Verdict::Pass,
    }
}

/// Turns a request into the reply that `mac` has the address asked for (RFC 826, "Packet
/// Reception": swap the fields, fill in our own, send to the new target hardware address).
#[inline]
pub fn answer(frame: &mut Frame, mac: [u8; 6]) {
    let asked = frame.target_ip;
    frame.target_mac = frame.sender_mac;
    frame.target_ip = frame.sender_ip;
    frame.sender_mac = mac;
    frame.sender_ip = asked;
    frame.operation = REPLY.to_be_bytes();
    frame.destination = frame.target_mac;
    frame.source = mac;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maps::{STATE_OPEN, ServiceEntry};

    const OURS: [u8; 6] = [2, 0, 0, 0, 0, 0xaa];
    const THEIRS: [u8; 6] = [2, 0, 0, 0, 0, 0xbb];
    const SERVICE: [u8; 4] = [10, 77, 0, 101];
    const CLIENT: [u8; 4] = [10, 77, 0, 9];
    const ENTRY: ServiceEntry = ServiceEntry::new(0, STATE_OPEN, OURS);

    /// A broadcast request of the client for the service address.
    const GOOD: Frame = Frame {
        destination: BROADCAST,
        source: THEIRS,
        ethertype: ETHERTYPE.to_be_bytes(),
        hardware_type: [0, 1],
        protocol_type: [8, 0],
        hardware_len: 6,
        protocol_len: 4,
        operation: [0, 1],
        sender_mac: THEIRS,
        sender_ip: CLIENT,
        target_mac: [0; 6],
        target_ip: SERVICE,
    };

    // Input: one field changed from a good request. Output: what kind of packet it is.
    #[test]
    fn a_packet_is_classified_by_every_field() {
        let cases = [
            ("good request", GOOD, Kind::Request(SERVICE)),
            ("probe", Frame { sender_ip: [0; 4], ..GOOD }, Kind::Request(SERVICE)),
            ("announcement", Frame { sender_ip: SERVICE, ..GOOD }, Kind::Announcement(SERVICE)),
            ("reply", Frame { operation: [0, 2], ..GOOD }, Kind::Reply(CLIENT)),
            ("IEEE 802", Frame { hardware_type: [0, 6], ..GOOD }, Kind::OtherRequest(SERVICE)),
            (
                "IEEE 802 reply",
                Frame { hardware_type: [0, 6], operation: [0, 2], ..GOOD },
                Kind::Malformed,
            ),
            ("hardware 0", Frame { hardware_type: [0, 0], ..GOOD }, Kind::Malformed),
            ("hardware 257", Frame { hardware_type: [1, 1], ..GOOD }, Kind::Malformed),
            ("protocol IPv6", Frame { protocol_type: [0x86, 0xdd], ..GOOD }, Kind::Malformed),
            ("protocol 8", Frame { protocol_type: [0, 8], ..GOOD }, Kind::Malformed),
            ("hardware length 5", Frame { hardware_len: 5, ..GOOD }, Kind::Malformed),
            ("hardware length 0", Frame { hardware_len: 0, ..GOOD }, Kind::Malformed),
            ("protocol length 16", Frame { protocol_len: 16, ..GOOD }, Kind::Malformed),
            ("RARP request", Frame { operation: [0, 3], ..GOOD }, Kind::Malformed),
            ("operation 0", Frame { operation: [0, 0], ..GOOD }, Kind::Malformed),
            ("operation 256", Frame { operation: [1, 0], ..GOOD }, Kind::Malformed),
        ];
        for (name, frame, expected) in cases {
            assert_eq!(read(&frame), expected, "{name}");
        }
    }

    // Input: a packet about our address. Output: verdict while live, verdict while not.
    #[test]
    fn the_verdict_depends_on_kind_sender_destination_and_lease() {
        use Verdict::{Answer, Claim, Pass, Refuse};
        let announced = Frame { sender_ip: SERVICE, ..GOOD };
        let replied = Frame { operation: [0, 2], sender_ip: SERVICE, ..GOOD };
        let cases = [
            ("broadcast request", GOOD, Answer, Refuse),
            ("unicast request", Frame { destination: OURS, ..GOOD }, Answer, Refuse),
            ("request to another", Frame { destination: THEIRS, ..GOOD }, Pass, Refuse),
            ("multicast request", Frame { destination: [1, 0, 0, 0, 0, 1], ..GOOD }, Pass, Refuse),
            ("probe", Frame { sender_ip: [0; 4], ..GOOD }, Answer, Refuse),
            ("IEEE 802 request", Frame { hardware_type: [0, 6], ..GOOD }, Pass, Refuse),
            ("foreign announcement", announced, Claim, Refuse),
            ("our announcement", Frame { sender_mac: OURS, ..announced }, Pass, Refuse),
            ("foreign reply", replied, Claim, Pass),
            ("foreign reply to us", Frame { destination: OURS, ..replied }, Claim, Pass),
            ("our reply", Frame { sender_mac: OURS, ..replied }, Pass, Pass),
        ];
        for (name, frame, live, lapsed) in cases {
            let kind = read(&frame);
            assert_eq!(judge(kind, &frame, &ENTRY, true), live, "{name}, live");
            assert_eq!(judge(kind, &frame, &ENTRY, false), lapsed, "{name}, not live");
        }
    }

    // Input: a request. Output: the reply, to the ARP sender, from our address.
    #[test]
    fn the_answer_names_our_address_to_the_one_who_asked() {
        let relay = [2, 0, 0, 0, 0, 0xcc];
        for sender_ip in [CLIENT, [0; 4]] {
            // A proxy's frame: the Ethernet source is not who asks.
            let mut frame = Frame { source: relay, sender_ip, target_mac: [9; 6], ..GOOD };
            answer(&mut frame, OURS);
            let expected = Frame {
                destination: THEIRS,
                source: OURS,
                operation: [0, 2],
                sender_mac: OURS,
                sender_ip: SERVICE,
                target_mac: THEIRS,
                target_ip: sender_ip,
                ..GOOD
            };
            assert_eq!(frame, expected);
            assert_eq!(read(&frame), Kind::Reply(SERVICE));
        }
    }
}
