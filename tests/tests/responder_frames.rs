//! A table of hand-made frames, each cut off after every byte, and random ones, through the XDP
//! program: the verdict, the bytes that come out, and that the same rules in user space agree.
//! Needs root.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use rais_common::arp;
use rais_common::maps::{STATE_FENCED, STATE_OPEN, ServiceEntry};
use rais_common::neighbour::{self, Options};
use rais_tests::cluster::random::Random;
use rais_tests::xdp::frames::{
    Arp, CLIENT6, Message, OTHERS, OURS, REQUEST, SERVICE, SERVICE6, THEIRS, advertisement, ipv6,
    reply, solicitation, tcp, tcp4,
};
use rais_tests::xdp::{DROP, PASS, Rig, SEND_BACK, v4_key, v6_key};

/// A frame, and what becomes of it and of its beginnings.
struct Row {
    name: String,
    frame: Vec<u8>,
    /// Sent back from this length on while live, as what; passed below.
    answered: Option<(usize, Vec<u8>)>,
    /// Dropped from this length on while fenced; passed below. None: never.
    dropped: Option<usize>,
}

fn row(name: &str, frame: Vec<u8>, dropped: Option<usize>) -> Row {
    Row { name: name.into(), frame, answered: None, dropped }
}

/// Ethernet header and ARP packet.
const ARP: usize = 42;
/// Ethernet and IPv4 header without options.
const V4: usize = 34;
/// Ethernet and IPv6 header.
const V6: usize = 54;
/// They, and a neighbour message without options.
const ND: usize = 78;

fn arp_rows() -> Vec<Row> {
    let answered = |name: &str, arp: Arp| Row {
        answered: Some((ARP, reply(arp.sender))),
        ..row(name, arp.bytes(), Some(ARP))
    };
    let said = Arp { operation: 2, destination: OURS, target: (OURS, SERVICE), ..REQUEST };
    let to = |target| Arp { target: ([0; 6], target), ..REQUEST }.bytes();
    vec![
        answered("ARP request", REQUEST),
        answered("ARP request, unicast", Arp { destination: OURS, ..REQUEST }),
        answered("ARP probe", Arp { sender: (THEIRS, [0; 4]), ..REQUEST }),
        answered("ARP request with target", Arp { target: (OTHERS, SERVICE), ..REQUEST }),
        answered("ARP request of another network", Arp { sender: (OTHERS, [9; 4]), ..REQUEST }),
        row("ARP flooded", Arp { destination: OTHERS, ..REQUEST }.bytes(), Some(ARP)),
        row("ARP announcement", Arp { sender: (THEIRS, SERVICE), ..REQUEST }.bytes(), Some(ARP)),
        row("ARP of IEEE 802", Arp { hardware_type: 6, ..REQUEST }.bytes(), Some(ARP)),
        row("ARP reply to us", said.bytes(), None),
        row("ARP reply that claims", Arp { sender: (THEIRS, SERVICE), ..said }.bytes(), None),
        row("ARP for the address before", to([10, 77, 0, 100]), None),
        row("ARP for the address after", to([10, 77, 0, 102]), None),
        row("ARP for nobody", to([0; 4]), None),
        row("ARP for all", to([255; 4]), None),
        row("ARP of type 0", Arp { hardware_type: 0, ..REQUEST }.bytes(), None),
        row("ARP for IPv6", Arp { protocol_type: 0x86dd, ..REQUEST }.bytes(), None),
        row("ARP with long addresses", Arp { lengths: [8, 4], ..REQUEST }.bytes(), None),
        row("ARP with short addresses", Arp { lengths: [6, 3], ..REQUEST }.bytes(), None),
        row("RARP request", Arp { operation: 3, ..REQUEST }.bytes(), None),
        row("ARP operation 0", Arp { operation: 0, ..REQUEST }.bytes(), None),
    ]
}

fn neighbour_rows() -> Vec<Row> {
    let answer = |to: [u8; 6], to_ip, flags| {
        let option = [&[2, 1][..], &OURS].concat();
        let said = Message { destination: to, source: OURS, to: to_ip, flags, ..advertisement() };
        Message { options: option, ..said }.bytes()
    };
    let answered = |name: &str, message: Message, dropped| {
        let frame = message.bytes();
        let sent = answer(THEIRS, CLIENT6, 0x60);
        Row { answered: Some((frame.len(), sent)), ..row(name, frame, Some(dropped)) }
    };
    let bare = Message { options: vec![], ..solicitation() };
    let unicast = Message { destination: OURS, to: SERVICE6, ..solicitation() };
    let nonce = [&solicitation().options[..], &[14, 1, 1, 2, 3, 4, 5, 6]].concat();
    let mut stranger = SERVICE6;
    stranger[8] = 1;
    let of = |change: fn(&mut Message)| {
        let mut message = solicitation();
        change(&mut message);
        message.bytes()
    };
    vec![
        answered("solicitation", solicitation(), ND),
        answered("solicitation without option", bare, ND),
        answered("solicitation to the address", unicast.clone(), V6),
        answered("bare one to the address", Message { options: vec![], ..unicast }, V6),
        answered("solicitation with nonce", Message { options: nonce, ..solicitation() }, ND),
        row("solicitation, hop limit 64", of(|m| m.hop_limit = 64), Some(ND)),
        row("solicitation, code 255", of(|m| m.kind[1] = 255), Some(ND)),
        row("solicitation, checksum", of(|m| m.wrong = 0x0100), Some(ND)),
        row("solicitation, no length", of(|m| m.options[1] = 0), Some(ND)),
        row("solicitation, long option", of(|m| m.options[1] = 2), Some(ND)),
        row("solicitation, too long", of(|m| m.too_long = 8), Some(ND)),
        row("solicitation, 40 bytes of options", of(|m| m.options.resize(40, 1)), Some(ND)),
        row("solicitation, flooded", of(|m| m.destination = OTHERS), Some(ND)),
        row("solicitation, to all nodes", of(|m| m.to = [0xff; 16]), Some(ND)),
        row("solicitation from the address", of(|m| m.from = SERVICE6), Some(ND)),
        row(
            "solicitation for another",
            Message { target: stranger, ..solicitation() }.bytes(),
            None,
        ),
        row("router advertisement", of(|m| m.kind = [134, 0]), None),
        row("redirect", of(|m| m.kind = [137, 0]), None),
        row("advertisement", advertisement().bytes(), None),
    ]
}

fn traffic_rows() -> Vec<Row> {
    let syn = tcp4(&[], 0, 2);
    let changed = |at: usize, byte: u8| {
        let mut frame = syn.clone();
        frame[at] = byte;
        frame
    };
    let v6 = |next, payload: &[u8]| ipv6(SERVICE6, next, payload);
    vec![
        row("IPv4 SYN", syn.clone(), Some(V4)),
        row("IPv4 SYN with options", tcp4(&[1; 40], 0, 2), Some(V4)),
        row("IPv4 fragment", tcp4(&[], 0x2001, 2), Some(V4)),
        row("IPv4 UDP", changed(23, 17), Some(V4)),
        row("IPv4 ICMP", changed(23, 1), Some(V4)),
        row("IPv4 header too short", changed(14, 0x44), Some(V4)),
        row("IPv4 header of no length", changed(14, 0x40), Some(V4)),
        row("IPv4 to the address after", changed(33, 102), None),
        row("IPv4 to another network", changed(30, 11), None),
        row("IPv6 SYN", v6(6, &tcp(2)), Some(V6)),
        row("IPv6 UDP", v6(17, &[0; 24]), Some(V6)),
        row("IPv6 echo", v6(58, &[128, 0, 0, 0, 0, 1, 0, 1]), Some(V6)),
        row("IPv6 fragment", v6(44, &[6, 0, 0, 1, 0, 0, 0, 1]), Some(V6)),
        row("IPv6 hop by hop", v6(0, &[58, 0, 5, 2, 0, 0, 1, 0, 143, 0, 0, 0]), Some(V6)),
        row("IPv6 without payload", v6(59, &[]), Some(V6)),
        row("IPv6 to another", ipv6(CLIENT6, 6, &tcp(2)), None),
        row("IPv6 to all", ipv6([0xff; 16], 17, &[0; 24]), None),
        row("no type", vec![0; 64], None),
        row("all ones", vec![0xff; 64], None),
        row("length in place of a type", changed(12, 0), None),
    ]
}

/// Rows with a tag before what they carry.
fn tagged(rows: Vec<Row>, tag: [u8; 4], priority: bool) -> Vec<Row> {
    let put = |Row { name, mut frame, dropped, .. }: Row| {
        frame.splice(12..12, tag);
        let dropped = dropped.filter(|_| priority).map(|length| length + 4);
        row(&format!("{name}, tag {tag:02x?}"), frame, dropped)
    };
    rows.into_iter().map(put).collect()
}

fn rows() -> Vec<Row> {
    let plain = || arp_rows().into_iter().chain(neighbour_rows()).chain(traffic_rows());
    let mut rows: Vec<Row> = plain().collect();
    rows.extend(tagged(plain().collect(), [0x81, 0, 0xa0, 0], true));
    rows.extend(tagged(plain().collect(), [0x88, 0xa8, 0, 0], true));
    rows.extend(tagged(plain().collect(), [0x81, 0, 0, 9], false));
    rows
}

// Input: each frame of the table, whole and cut off after every byte, open and fenced. Output:
// verdict and bytes as the table says.
#[test]
fn every_frame_and_every_beginning_of_it() {
    let Some(mut rig) = Rig::new() else { return };
    let rows = rows();
    assert!(rows.len() >= 150, "{} frames", rows.len());
    for Row { name, frame, answered, dropped } in rows {
        for length in (14..=frame.len()).rev() {
            let part = &frame[..length];
            set(&mut rig, STATE_OPEN);
            let expected = match &answered {
                // ARP leaves what follows it as it was; a solicitation is answered whole.
                Some((ARP, sent)) if length >= ARP => (SEND_BACK, sent[..length].to_vec()),
                Some((least, sent)) if length >= *least => (SEND_BACK, sent.clone()),
                _ => (PASS, part.to_vec()),
            };
            assert_eq!(rig.run(part), expected, "{name}, {length} bytes, open");
            set(&mut rig, STATE_FENCED);
            let drops = dropped.is_some_and(|least| length >= least);
            let expected = if drops { DROP } else { PASS };
            assert_eq!(rig.fate(part), expected, "{name}, {length} bytes, fenced");
        }
    }
}

fn set(rig: &mut Rig, state: u16) {
    rig.entry(v4_key(), state);
    rig.entry(v6_key(), state);
}

/// So many bytes at an offset.
fn take<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().unwrap()
}

fn arp_frame(bytes: &[u8]) -> arp::Frame {
    arp::Frame {
        destination: take(bytes, 0),
        source: take(bytes, 6),
        ethertype: take(bytes, 12),
        hardware_type: take(bytes, 14),
        protocol_type: take(bytes, 16),
        hardware_len: bytes[18],
        protocol_len: bytes[19],
        operation: take(bytes, 20),
        sender_mac: take(bytes, 22),
        sender_ip: take(bytes, 28),
        target_mac: take(bytes, 32),
        target_ip: take(bytes, 38),
    }
}

fn neighbour_frame(bytes: &[u8]) -> neighbour::Frame {
    neighbour::Frame {
        destination: take(bytes, 0),
        source: take(bytes, 6),
        ethertype: take(bytes, 12),
        version_class_flow: take(bytes, 14),
        payload_length: take(bytes, 18),
        next_header: bytes[20],
        hop_limit: bytes[21],
        source_ip: take(bytes, 22),
        destination_ip: take(bytes, 38),
        icmp_type: bytes[54],
        code: bytes[55],
        checksum: take(bytes, 56),
        flags: take(bytes, 58),
        target: take(bytes, 62),
    }
}

/// What the rules say in user space of an ARP packet while the addresses are live.
fn says_arp(frame: &[u8]) -> bool {
    let frame = arp_frame(frame);
    let entry = ServiceEntry::new(0, STATE_OPEN, OURS);
    let kind = arp::read(&frame);
    kind == arp::Kind::Request(SERVICE)
        && arp::judge(kind, &frame, &entry, true) == arp::Verdict::Answer
}

/// What the rules say in user space of a neighbour message while the addresses are live.
fn says_neighbour(frame: &[u8]) -> bool {
    let head = neighbour_frame(frame);
    let neighbour::Length::Units(count) = neighbour::options_length(&head) else { return false };
    let end = 78 + 8 * usize::from(count);
    if head.target != SERVICE6 || head.icmp_type != 135 || frame.len() < end {
        return false;
    }
    let mut units = [0; neighbour::MAX_UNITS];
    for (place, unit) in units.iter_mut().zip(frame[78..end].chunks(8)) {
        *place = u64::from_ne_bytes(take(unit, 0));
    }
    let entry = ServiceEntry::new(0, STATE_OPEN, OURS);
    let judged = neighbour::judge(&head, &Options { count, units }, &entry);
    matches!(judged.verdict, neighbour::Verdict::Answer | neighbour::Verdict::Defend)
}

/// A frame of the table with some bytes changed, and perhaps cut off or padded.
fn mutant(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut frame = seeds[random.index(seeds.len())].clone();
    for _ in 0..random.index(4) {
        let at = random.index(frame.len());
        frame[at] = match random.index(3) {
            0 => 0,
            1 => frame[at] ^ 1 << random.index(8),
            _ => u8::try_from(random.index(256)).unwrap(),
        };
    }
    if random.index(4) == 0 {
        frame.resize(14 + random.index(100), 0);
    }
    // A checksum that fits gets past the first hurdle.
    if random.index(2) == 0 && frame.len() >= 78 && frame[12..14] == [0x86, 0xdd] {
        let end = frame.len().min(54 + usize::from(u16::from_be_bytes(take(&frame, 18))));
        if end >= 78 {
            frame[56..58].fill(0);
            let (from, to) = (take(&frame, 22), take(&frame, 38));
            let sum = rais_tests::xdp::frames::checksum(from, to, &frame[54..end]);
            frame[56..58].copy_from_slice(&sum.to_be_bytes());
        }
    }
    frame
}

// Input: random frames. Output: the XDP program answers what the rules in user space answer, and
// nothing else; what it lets through is as it was; what it sends is a good answer.
#[test]
fn random_frames_are_judged_alike_in_the_kernel_and_outside() {
    let Some(mut rig) = Rig::new() else { return };
    let mut random = Random::new(77);
    let seeds: Vec<Vec<u8>> = rows().into_iter().map(|row| row.frame).take(59).collect();
    let mut answered = [0, 0];
    for _ in 0..30_000 {
        let frame = mutant(&mut random, &seeds);
        let (verdict, out) = rig.run(&frame);
        let kind = [frame[12], frame[13]];
        let says = match kind {
            [0x08, 0x06] if frame.len() >= ARP => says_arp(&frame),
            [0x86, 0xdd] if frame.len() >= ND && frame[20] == 58 => says_neighbour(&frame),
            _ => false,
        };
        assert_eq!(verdict, if says { SEND_BACK } else { PASS }, "{frame:02x?}");
        if !says {
            assert_eq!(out, frame, "changed");
            continue;
        }
        answered[usize::from(kind[0] == 0x86)] += 1;
        assert_eq!(out[6..12], OURS, "{frame:02x?}");
        if kind[0] == 0x86 {
            let sum = rais_tests::xdp::frames::checksum(take(&out, 22), take(&out, 38), &out[54..]);
            assert_eq!((out.len(), sum), (86, 0), "{frame:02x?}");
        }
    }
    assert!(answered.iter().all(|&count| count > 500), "{answered:?}");
    // Nor does anything but a drop come of them while the addresses are fenced.
    set(&mut rig, STATE_FENCED);
    for _ in 0..10_000 {
        assert_ne!(rig.fate(&mutant(&mut random, &seeds)), SEND_BACK);
    }
}

// Input: random bytes for the parsers in user space. Output: a verdict; what would be answered
// makes an answer that a host holding the same address takes for a claim.
#[test]
fn random_bytes_do_no_harm_outside_the_kernel() {
    let mut random = Random::new(78);
    let theirs = ServiceEntry::new(0, STATE_OPEN, OTHERS);
    for _ in 0..200_000 {
        let bytes: Vec<u8> = (0..110).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
        let frame = arp_frame(&bytes);
        let kind = arp::read(&frame);
        let _verdict = arp::judge(kind, &frame, &theirs, true);
        let mut whole =
            neighbour::Answer { frame: neighbour_frame(&bytes), option: take(&bytes, 78) };
        let units = std::array::from_fn(|i| u64::from_ne_bytes(take(&bytes, 78 + 8 * i)));
        let count = bytes[109] % 5;
        let judged = neighbour::judge(&whole.frame, &Options { count, units }, &theirs);
        assert_ne!(judged.verdict, neighbour::Verdict::Answer, "a checksum that fits by chance");
        neighbour::answer(&mut whole, THEIRS, OURS);
        let mut units = [0; neighbour::MAX_UNITS];
        units[0] = u64::from_ne_bytes(whole.option);
        let judged = neighbour::judge(&whole.frame, &Options { count: 1, units }, &theirs);
        let from_group = whole.frame.source_ip[0] == 0xff;
        let to_group = whole.frame.destination_ip[0] == 0xff;
        if !from_group && !to_group {
            assert_eq!(judged.verdict, neighbour::Verdict::Claim, "{bytes:02x?}");
        }
    }
}
