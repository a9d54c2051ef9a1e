//! Neighbour discovery in the XDP program, run by the kernel on bytes: which solicitations are
//! answered, with which bytes, and what counts as a claim. Needs root.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use rais_common::maps::{Counters, STATE_FENCED, STATE_OPEN};
use rais_tests::xdp::frames::{
    ALL_NODES, ALL_NODES_MAC, CLIENT6, GROUP, GROUP_MAC, Message, NOBODY, OTHERS, OURS, SERVICE6,
    THEIRS, advertisement, ipv6, link_option, solicitation, tcp,
};
use rais_tests::xdp::{DROP, LOOPBACK, PASS, Rig, SEND_BACK, v6_key};

/// The advertisement that answers, byte for byte.
fn answer(mac: [u8; 6], to: [u8; 16], flags: u8) -> Vec<u8> {
    let said = Message {
        destination: mac,
        source: OURS,
        to,
        flags,
        options: link_option(2, OURS),
        ..advertisement()
    };
    said.bytes()
}

/// Options of several units.
fn options(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// An option of so many units of zeros.
fn filler(kind: u8, units: u8) -> Vec<u8> {
    let mut option = vec![0; 8 * usize::from(units)];
    option[0] = kind;
    option[1] = units;
    option
}

/// A probe of a machine that is about to take the address (RFC 4862, 5.4.2).
fn probe() -> Message {
    Message { from: NOBODY, options: vec![], ..solicitation() }
}

/// Solicitations by the rules, to be answered to the client.
fn good() -> Vec<(&'static str, Message)> {
    let link = link_option(1, THEIRS);
    let of = |parts: &[&[u8]]| Message { options: options(parts), ..solicitation() };
    let to_us = Message { destination: OURS, to: SERVICE6, ..solicitation() };
    vec![
        ("multicast", solicitation()),
        ("multicast in a unicast frame", Message { destination: OURS, ..solicitation() }),
        ("multicast in a broadcast frame", Message { destination: [0xff; 6], ..solicitation() }),
        ("unicast", to_us.clone()),
        ("unicast without option", Message { options: vec![], ..to_us }),
        ("multicast without option", Message { options: vec![], ..solicitation() }),
        ("nonce first", of(&[&filler(14, 1), &link])),
        ("nonce last", of(&[&link, &filler(14, 1)])),
        ("unknown option", of(&[&filler(200, 2), &link])),
        ("long option last", of(&[&link, &filler(200, 3)])),
        ("four options", of(&[&link, &filler(14, 1), &filler(15, 1), &filler(16, 1)])),
        ("option 0", of(&[&filler(0, 1), &link])),
        ("two addresses", of(&[&link, &link_option(1, OTHERS)])),
        ("target option ignored", of(&[&link_option(2, OTHERS), &link])),
        ("traffic class", Message { version: 0x6e, ..solicitation() }),
        ("reserved bits", Message { flags: 0xff, ..solicitation() }),
    ]
}

#[test]
fn a_good_solicitation_is_answered() {
    let Some(mut rig) = Rig::new() else { return };
    let mut asked = 0;
    for (name, message) in good() {
        let expected = answer(THEIRS, CLIENT6, 0x60);
        assert_eq!(rig.run(&message.bytes()), (SEND_BACK, expected), "{name}");
        asked += 1;
    }
    let expected = Counters { nd_asked: asked, nd_answered: asked, ..Counters::default() };
    assert_eq!(rig.counters(), expected);
    assert!(rig.events().is_empty());
    assert_eq!(rig.traffic(v6_key()), (0, 0, 0));
}

// Input: the link-layer option names another machine than the frame. Output: the option counts.
#[test]
fn the_answer_goes_to_the_address_in_the_option() {
    let Some(mut rig) = Rig::new() else { return };
    let message = Message { options: link_option(1, OTHERS), ..solicitation() };
    let expected = answer(OTHERS, CLIENT6, 0x60);
    assert_eq!(rig.run(&message.bytes()), (SEND_BACK, expected));
    // A checksum that carries twice, and padding behind the message.
    let from = [[0xfd; 1].as_slice(), &[0xff; 15]].concat().try_into().unwrap();
    let message = Message { from, options: link_option(1, [0xfe; 6]), ..solicitation() };
    let mut frame = message.bytes();
    frame.extend([7; 9]);
    assert_eq!(rig.run(&frame), (SEND_BACK, answer([0xfe; 6], from, 0x60)));
}

// Input: probes. Output: all nodes are told whose the address is, and an event says who probed.
#[test]
fn a_probe_is_answered_to_all_and_raises_an_event() {
    let Some(mut rig) = Rig::new() else { return };
    let mut event = SERVICE6.to_vec();
    event.extend(LOOPBACK.to_ne_bytes());
    event.extend(THEIRS);
    event.extend([0; 2]);
    for message in [probe(), Message { options: filler(14, 1), ..probe() }] {
        let expected = answer(ALL_NODES_MAC, ALL_NODES, 0x20);
        assert_eq!(rig.run(&message.bytes()), (SEND_BACK, expected), "{message:?}");
        assert_eq!(rig.events(), [event.clone()]);
    }
    let ours = Message { source: OURS, ..probe() };
    assert_eq!(rig.fate(&ours.bytes()), PASS);
    assert!(rig.events().is_empty());
    let expected = Counters { nd_asked: 3, nd_answered: 2, conflicts: 2, ..Counters::default() };
    assert_eq!(rig.counters(), expected);
}

/// One thing wrong with a solicitation: rules of RFC 4861, 7.1.1, and of RFC 8200.
fn bad() -> Vec<(&'static str, Message)> {
    let link = link_option(1, THEIRS);
    let of = |parts: &[&[u8]]| Message { options: options(parts), ..solicitation() };
    vec![
        ("hop limit 254", Message { hop_limit: 254, ..solicitation() }),
        ("hop limit 1", Message { hop_limit: 1, ..solicitation() }),
        ("hop limit 0", Message { hop_limit: 0, ..solicitation() }),
        ("code 1", Message { kind: [135, 1], ..solicitation() }),
        ("checksum, lowest bit", Message { wrong: 1, ..solicitation() }),
        ("checksum, highest bit", Message { wrong: 0x8000, ..solicitation() }),
        ("version 4", Message { version: 0x40, ..solicitation() }),
        ("multicast source", Message { from: ALL_NODES, ..solicitation() }),
        ("longer than the frame", Message { too_long: 8, ..solicitation() }),
        ("length no units", Message { too_long: 1, ..solicitation() }),
        ("option without length", of(&[&[1, 0, 0, 0, 0, 0, 0, 0]])),
        ("second option without length", of(&[&link, &[14, 0, 0, 0, 0, 0, 0, 0]])),
        ("option beyond the end", of(&[&[14, 2, 0, 0, 0, 0, 0, 0]])),
        ("last option beyond the end", of(&[&link, &[14, 255, 0, 0, 0, 0, 0, 0]])),
        ("address of two units", of(&[&filler(1, 2)])),
        ("half an option", Message { options: vec![1, 1, 2, 0], ..solicitation() }),
        ("probe with address", Message { options: link, ..probe() }),
        ("probe to all nodes", Message { to: ALL_NODES, ..probe() }),
        ("probe to the address", Message { to: SERVICE6, ..probe() }),
    ]
}

// Input: what breaks a rule. Output: untouched and passed, counted as malformed; dropped where the
// address is fenced.
#[test]
fn a_bad_solicitation_passes_while_live_and_not_else() {
    let Some(mut rig) = Rig::new() else { return };
    for (name, message) in bad() {
        rig.entry(v6_key(), STATE_OPEN);
        let before = rig.counters();
        assert_eq!(rig.fate(&message.bytes()), PASS, "{name}");
        let expected = Counters {
            nd_asked: before.nd_asked + 1,
            nd_malformed: before.nd_malformed + 1,
            ..before
        };
        assert_eq!(rig.counters(), expected, "{name}");
        rig.entry(v6_key(), STATE_FENCED);
        assert_eq!(rig.fate(&message.bytes()), DROP, "{name}");
    }
    assert!(rig.events().is_empty());
}

/// Well-formed messages that are not for us, or that the kernel is to see.
fn others() -> Vec<(&'static str, Message)> {
    let mut stranger = SERVICE6;
    stranger[7] = 1;
    let long = options(&[&link_option(1, THEIRS), &filler(14, 4)]);
    vec![
        ("another target of the same group", Message { target: stranger, ..solicitation() }),
        ("to another machine", Message { destination: OTHERS, ..solicitation() }),
        ("to all nodes", Message { to: ALL_NODES, ..solicitation() }),
        ("to another address", Message { destination: OURS, to: CLIENT6, ..solicitation() }),
        ("more options than are looked at", Message { options: long, ..solicitation() }),
        ("router solicitation", Message { kind: [133, 0], ..solicitation() }),
        ("redirect", Message { kind: [137, 0], ..solicitation() }),
    ]
}

#[test]
fn what_is_not_for_us_passes_untouched() {
    let Some(mut rig) = Rig::new() else { return };
    for (name, message) in others() {
        assert_eq!(rig.fate(&message.bytes()), PASS, "{name}");
    }
    let counters = rig.counters();
    assert_eq!((counters.nd_asked, counters.nd_answered, counters.nd_malformed), (4, 0, 0));
    rig.entry(v6_key(), STATE_FENCED);
    let fates: Vec<u32> = others().iter().map(|(_, message)| rig.fate(&message.bytes())).collect();
    assert_eq!(fates, [PASS, DROP, DROP, DROP, DROP, PASS, PASS]);
    assert_eq!(rig.counters().nd_refused, 4);
}

// Input: a good solicitation cut off after every byte. Output: never answered, never changed;
// dropped from where the target can be read if the address is fenced.
#[test]
fn a_truncated_solicitation_passes() {
    let Some(mut rig) = Rig::new() else { return };
    let frame = solicitation().bytes();
    for length in 14..frame.len() {
        rig.entry(v6_key(), STATE_OPEN);
        assert_eq!(rig.fate(&frame[..length]), PASS, "{length} bytes");
        rig.entry(v6_key(), STATE_FENCED);
        let expected = if length < 78 { PASS } else { DROP };
        assert_eq!(rig.fate(&frame[..length]), expected, "{length} bytes, fenced");
    }
    let expected = Counters { nd_asked: 16, nd_malformed: 8, nd_refused: 8, ..Counters::default() };
    assert_eq!(rig.counters(), expected);
}

// Input: advertisements. Output: passed, open or fenced; an event where it is somebody else's, for
// an address we hold, and by the rules.
#[test]
fn a_claim_raises_an_event() {
    let Some(mut rig) = Rig::new() else { return };
    let said = advertisement;
    let mut stranger = SERVICE6;
    stranger[7] = 1;
    let to_client = Message { destination: THEIRS, to: CLIENT6, flags: 0x60, ..said() };
    let from_us = Message { source: OURS, options: vec![], ..said() };
    let cases = [
        ("unsolicited", said(), true),
        ("without option", Message { options: vec![], ..said() }, true),
        ("solicited", to_client.clone(), true),
        ("a solicitation from our address", Message { from: SERVICE6, ..solicitation() }, true),
        ("our own", Message { options: link_option(2, OURS), ..said() }, false),
        ("our own without option", from_us, false),
        ("about another", Message { target: stranger, ..said() }, false),
        ("hop limit 254", Message { hop_limit: 254, ..said() }, false),
        ("code 1", Message { kind: [136, 1], ..said() }, false),
        ("wrong checksum", Message { wrong: 1, ..said() }, false),
        ("solicited to all", Message { flags: 0x60, ..said() }, false),
        (
            "option without length",
            Message { options: vec![2, 0, 0, 0, 0, 0, 0, 0], ..said() },
            false,
        ),
        ("longer than the frame", Message { too_long: 8, ..said() }, false),
    ];
    let mut event = SERVICE6.to_vec();
    event.extend(LOOPBACK.to_ne_bytes());
    event.extend(THEIRS);
    event.extend([0; 2]);
    for (name, message, claims) in &cases {
        assert_eq!(rig.fate(&message.bytes()), PASS, "{name}");
        let expected = if *claims { vec![event.clone()] } else { vec![] };
        assert_eq!(rig.events(), expected, "{name}");
    }
    assert_eq!(rig.counters().conflicts, 4);
    rig.entry(v6_key(), STATE_FENCED);
    for (name, message, _) in &cases {
        let expected = if message.kind[0] == 135 { DROP } else { PASS };
        assert_eq!(rig.fate(&message.bytes()), expected, "{name}, fenced");
    }
    assert!(rig.events().is_empty());
}

/// An extension header of so many units, and what follows it.
fn extended(kind: u8, units: u8, message: &Message) -> Vec<u8> {
    let mut frame = message.bytes();
    frame[20] = kind;
    let mut header = filler(58, units);
    header[1] = units - 1;
    frame.splice(54..54, header);
    let length = u16::try_from(frame.len() - 54).unwrap();
    frame[18..20].copy_from_slice(&length.to_be_bytes());
    frame
}

// Input: solicitations behind an extension header, which Linux would answer. Output: passed while
// live, dropped when not; with more than 56 bytes, or two headers, passed.
#[test]
fn an_extension_header_is_no_way_around_the_lease() {
    let Some(mut rig) = Rig::new() else { return };
    for kind in [0, 43, 60] {
        for units in 1..=7 {
            rig.entry(v6_key(), STATE_OPEN);
            assert_eq!(rig.fate(&extended(kind, units, &solicitation())), PASS);
            rig.entry(v6_key(), STATE_FENCED);
            assert_eq!(rig.fate(&extended(kind, units, &solicitation())), DROP);
        }
        assert_eq!(rig.fate(&extended(kind, 8, &solicitation())), PASS);
        let advertised = extended(kind, 1, &advertisement());
        assert_eq!(rig.fate(&advertised), PASS);
    }
    let mut two = extended(60, 1, &solicitation());
    two[54] = 60;
    assert_eq!(rig.fate(&two), PASS);
    let mut fragment = extended(44, 1, &solicitation());
    fragment[55] = 0;
    assert_eq!(rig.fate(&fragment), PASS);
    let counters = rig.counters();
    assert_eq!((counters.nd_asked, counters.nd_refused, counters.nd_answered), (42, 21, 0));
}

// Input: `ICMPv6` to our address that is no neighbour discovery, or about others. Output: traffic.
#[test]
fn other_messages_to_our_address_are_traffic() {
    let Some(mut rig) = Rig::new() else { return };
    let mut stranger = SERVICE6;
    stranger[7] = 1;
    let about = Message { destination: OURS, to: SERVICE6, target: stranger, ..solicitation() };
    let claim = Message { destination: OURS, to: SERVICE6, flags: 0x60, ..advertisement() };
    rig.assert_traffic(&[
        ("echo request", ipv6(SERVICE6, 58, &[128, 0, 0, 0, 0, 1, 0, 1])),
        ("empty", ipv6(SERVICE6, 58, &[])),
        ("solicitation for another", about.bytes()),
        ("claim", claim.bytes()),
        ("destination options", ipv6(SERVICE6, 60, &[6, 0, 1, 4, 0, 0, 0, 0])),
        (
            "TCP behind destination options",
            ipv6(SERVICE6, 60, &[&filler(6, 1), &tcp(2)[..]].concat()),
        ),
    ]);
    assert_eq!(GROUP_MAC[2..], GROUP[12..]);
}
