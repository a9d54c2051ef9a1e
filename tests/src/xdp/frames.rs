//! Frames to and from a service address, as bytes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test fails by panicking"
)]

/// Hardware address of this host.
pub const OURS: [u8; 6] = [2, 0, 0, 0, 0, 0xaa];
/// Hardware address of the client.
pub const THEIRS: [u8; 6] = [2, 0, 0, 0, 0, 0xbb];
/// Hardware address of a third machine.
pub const OTHERS: [u8; 6] = [2, 0, 0, 0, 0, 0xcc];
/// Everybody.
pub const BROADCAST: [u8; 6] = [0xff; 6];
/// The service address.
pub const SERVICE: [u8; 4] = [10, 77, 0, 101];
/// The client's address.
pub const CLIENT: [u8; 4] = [10, 77, 0, 9];
/// The IPv6 service address.
pub const SERVICE6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12, 0x34, 0x56];

/// An ARP packet as it is on the wire, with the padding to 60 bytes that real ones have.
#[derive(Clone, Copy)]
pub struct Arp {
    /// Ethernet destination.
    pub destination: [u8; 6],
    /// `ar$hrd`
    pub hardware_type: u16,
    /// `ar$pro`
    pub protocol_type: u16,
    /// `ar$hln` and `ar$pln`
    pub lengths: [u8; 2],
    /// `ar$op`
    pub operation: u16,
    /// Hardware and protocol address of who asks or says.
    pub sender: ([u8; 6], [u8; 4]),
    /// Those asked for.
    pub target: ([u8; 6], [u8; 4]),
}

/// Who has the service address? Tell the client.
pub const REQUEST: Arp = Arp {
    destination: BROADCAST,
    hardware_type: 1,
    protocol_type: 0x0800,
    lengths: [6, 4],
    operation: 1,
    sender: (THEIRS, CLIENT),
    target: ([0; 6], SERVICE),
};

impl Arp {
    /// The frame.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut frame = [self.destination, self.sender.0].concat();
        frame.extend([0x08, 0x06]);
        frame.extend(self.hardware_type.to_be_bytes());
        frame.extend(self.protocol_type.to_be_bytes());
        frame.extend(self.lengths);
        frame.extend(self.operation.to_be_bytes());
        frame.extend(self.sender.0);
        frame.extend(self.sender.1);
        frame.extend(self.target.0);
        frame.extend(self.target.1);
        assert_eq!(frame.len(), 42);
        frame.extend(*b"padding: eighteen.");
        frame
    }
}

/// The reply that `to` is to get, byte for byte.
#[must_use]
pub fn reply(to: ([u8; 6], [u8; 4])) -> Vec<u8> {
    let mut frame = [to.0, OURS].concat();
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 2]);
    frame.extend(OURS);
    frame.extend(SERVICE);
    frame.extend(to.0);
    frame.extend(to.1);
    frame.extend(*b"padding: eighteen.");
    frame
}

/// A TCP segment to the service address.
#[must_use]
pub fn tcp4(options: &[u8], fragment: u16, flags: u8) -> Vec<u8> {
    let mut frame = [OURS, THEIRS].concat();
    frame.extend([0x08, 0x00]);
    let words = 5 + u8::try_from(options.len() / 4).unwrap();
    frame.extend([0x40 | words, 0, 0, 60, 0, 1]);
    frame.extend(fragment.to_be_bytes());
    frame.extend([64, 6, 0, 0]);
    frame.extend(CLIENT);
    frame.extend(SERVICE);
    frame.extend(options);
    frame.extend(tcp(flags));
    frame
}

/// A TCP header without options.
#[must_use]
pub fn tcp(flags: u8) -> [u8; 20] {
    let mut header = [0; 20];
    header[..4].copy_from_slice(&[0x9c, 0x40, 0, 80]);
    header[12] = 0x50;
    header[13] = flags;
    header
}

/// An IPv6 packet to `destination`.
#[must_use]
pub fn ipv6(destination: [u8; 16], next_header: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = [OURS, THEIRS].concat();
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
    frame.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    frame.extend([next_header, 255]);
    frame.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
    frame.extend(destination);
    frame.extend(payload);
    frame
}

/// The client's IPv6 address.
pub const CLIENT6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
/// The unspecified address.
pub const NOBODY: [u8; 16] = [0; 16];
/// `ff02::1`
pub const ALL_NODES: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// Where solicitations for [`SERVICE6`] go.
pub const GROUP: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0x12, 0x34, 0x56];
/// Where frames to [`GROUP`] go.
pub const GROUP_MAC: [u8; 6] = [0x33, 0x33, 0xff, 0x12, 0x34, 0x56];
/// Where frames to [`ALL_NODES`] go.
pub const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];

/// A neighbour solicitation or advertisement.
#[derive(Clone, Debug)]
pub struct Message {
    /// Ethernet destination.
    pub destination: [u8; 6],
    /// Ethernet source.
    pub source: [u8; 6],
    /// First byte of the IPv6 header.
    pub version: u8,
    /// Added to the payload length, which is right otherwise.
    pub too_long: u16,
    /// Hop limit.
    pub hop_limit: u8,
    /// IPv6 source.
    pub from: [u8; 16],
    /// IPv6 destination.
    pub to: [u8; 16],
    /// `ICMPv6` type and code.
    pub kind: [u8; 2],
    /// Changed in the checksum, which is right otherwise.
    pub wrong: u16,
    /// Flags.
    pub flags: u8,
    /// The target.
    pub target: [u8; 16],
    /// Options.
    pub options: Vec<u8>,
}

/// Who has the IPv6 service address? Tell the client.
#[must_use]
pub fn solicitation() -> Message {
    Message {
        destination: GROUP_MAC,
        source: THEIRS,
        version: 0x60,
        too_long: 0,
        hop_limit: 255,
        from: CLIENT6,
        to: GROUP,
        kind: [135, 0],
        wrong: 0,
        flags: 0,
        target: SERVICE6,
        options: link_option(1, THEIRS),
    }
}

/// I have the IPv6 service address, says the client to everybody.
#[must_use]
pub fn advertisement() -> Message {
    Message {
        destination: ALL_NODES_MAC,
        from: SERVICE6,
        to: ALL_NODES,
        kind: [136, 0],
        flags: 0x20,
        options: link_option(2, THEIRS),
        ..solicitation()
    }
}

/// An option with a hardware address: of the source (1) or of the target (2).
#[must_use]
pub fn link_option(kind: u8, mac: [u8; 6]) -> Vec<u8> {
    [&[kind, 1][..], &mac].concat()
}

impl Message {
    /// The frame.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut body = vec![self.kind[0], self.kind[1], 0, 0, self.flags, 0, 0, 0];
        body.extend(self.target);
        body.extend(&self.options);
        let checksum = checksum(self.from, self.to, &body) ^ self.wrong;
        body[2..4].copy_from_slice(&checksum.to_be_bytes());
        let mut frame = [self.destination, self.source].concat();
        frame.extend([0x86, 0xdd, self.version, 0, 0, 0]);
        let length = u16::try_from(body.len()).unwrap() + self.too_long;
        frame.extend(length.to_be_bytes());
        frame.extend([58, self.hop_limit]);
        frame.extend(self.from);
        frame.extend(self.to);
        frame.extend(body);
        frame
    }
}

/// The checksum of an `ICMPv6` message whose own field is zero, word by word (RFC 1071).
#[must_use]
pub fn checksum(from: [u8; 16], to: [u8; 16], body: &[u8]) -> u16 {
    let mut bytes = [from, to].concat();
    bytes.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
    bytes.extend([0, 0, 0, 58]);
    bytes.extend(body);
    if bytes.len() % 2 == 1 {
        bytes.push(0);
    }
    let words = bytes.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let sum = words.fold(0_u16, |sum, word| {
        let (sum, carry) = sum.overflowing_add(word);
        sum + u16::from(carry)
    });
    !sum
}
