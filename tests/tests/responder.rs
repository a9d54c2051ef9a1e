//! The XDP program itself, run by the kernel on bytes (`BPF_PROG_TEST_RUN`): what it lets through,
//! drops and sends back, and what it counts. Needs root; says so where it cannot run, and fails
//! where `CI=true`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use rais_common::maps::{
    Counters, STATE_FENCED, STATE_FORWARDED, STATE_LEFT, STATE_OPEN, STATE_STAGED, ServiceEntry,
    ServiceKey, mapped,
};
use rais_common::time::Time;
use rais_tests::xdp::frames::{
    Arp, CLIENT, OTHERS, OURS, REQUEST, SERVICE, SERVICE6, THEIRS, ipv6, reply, solicitation, tcp,
    tcp4,
};
use rais_tests::xdp::{DROP, LOOPBACK, PASS, Rig, SEND_BACK, SLOT, v4_key, v6_key};

// Input: requests by the rules. Output: sent back as the reply, to the byte, padding untouched.
#[test]
fn a_good_request_is_answered() {
    let Some(mut rig) = Rig::new() else { return };
    let cases = [
        ("broadcast", REQUEST),
        ("unicast to us", Arp { destination: OURS, ..REQUEST }),
        ("probe", Arp { sender: (THEIRS, [0; 4]), ..REQUEST }),
        ("target hardware address set", Arp { target: ([7; 6], SERVICE), ..REQUEST }),
    ];
    for (name, arp) in cases {
        assert_eq!(rig.run(&arp.bytes()), (SEND_BACK, reply(arp.sender)), "{name}");
    }
    let expected = Counters { arp_asked: 4, arp_answered: 4, ..Counters::default() };
    assert_eq!(rig.counters(), expected);
}

// Input: a good request cut off after every byte. Output: untouched and passed; from 42 answered.
#[test]
fn a_truncated_request_passes() {
    let Some(mut rig) = Rig::new() else { return };
    let frame = REQUEST.bytes();
    for length in 14..42 {
        assert_eq!(rig.fate(&frame[..length]), PASS, "{length} bytes");
    }
    assert_eq!(rig.run(&frame[..42]).0, SEND_BACK);
    let expected =
        Counters { arp_malformed: 28, arp_asked: 1, arp_answered: 1, ..Counters::default() };
    assert_eq!(rig.counters(), expected);
}

// Input: one thing wrong with a request. Output: untouched and passed, open or fenced; counted as
// malformed where it is ARP at all.
#[test]
fn what_is_not_for_us_passes_untouched() {
    let Some(mut rig) = Rig::new() else { return };
    let mut tagged = REQUEST.bytes();
    tagged.splice(12..12, [0x81, 0, 0, 9]);
    let mut rarp = REQUEST.bytes();
    rarp[13] = 0x35;
    let cases = [
        ("hardware type 0", Arp { hardware_type: 0, ..REQUEST }.bytes(), 1),
        ("hardware type 256", Arp { hardware_type: 256, ..REQUEST }.bytes(), 1),
        ("protocol type IPv6", Arp { protocol_type: 0x86dd, ..REQUEST }.bytes(), 1),
        ("hardware length 8", Arp { lengths: [8, 4], ..REQUEST }.bytes(), 1),
        ("protocol length 16", Arp { lengths: [6, 16], ..REQUEST }.bytes(), 1),
        ("operation 3", Arp { operation: 3, ..REQUEST }.bytes(), 1),
        ("other address", Arp { target: ([0; 6], [10, 77, 0, 102]), ..REQUEST }.bytes(), 0),
        ("VLAN-tagged", tagged, 0),
        ("RARP", rarp, 0),
    ];
    for state in [STATE_OPEN, STATE_FENCED] {
        rig.entry(v4_key(), state);
        for (name, frame, malformed) in &cases {
            let before = rig.counters();
            assert_eq!(rig.fate(frame), PASS, "{name}, state {state}");
            let expected = Counters { arp_malformed: before.arp_malformed + malformed, ..before };
            assert_eq!(rig.counters(), expected, "{name}, state {state}");
        }
    }
}

// Input: packets for an address that is open on another interface. Output: passed, not counted.
#[test]
fn an_address_of_another_interface_is_not_answered() {
    let Some(mut rig) = Rig::new() else { return };
    rig.addresses().remove(&v4_key()).unwrap();
    rig.entry(ServiceKey { ifindex: LOOPBACK + 1, ..v4_key() }, STATE_OPEN);
    assert_eq!(rig.fate(&REQUEST.bytes()), PASS);
    assert_eq!(rig.fate(&tcp4(&[], 0, 0x02)), PASS);
    assert_eq!(rig.counters(), Counters::default());
    assert_eq!(rig.traffic(v4_key()), (0, 0, 0));
}

// Input: a request that a switch flooded to us. Output: passed while live, dropped when not.
#[test]
fn a_request_to_another_machine_passes() {
    let Some(mut rig) = Rig::new() else { return };
    let frame = Arp { destination: OTHERS, ..REQUEST }.bytes();
    assert_eq!(rig.fate(&frame), PASS);
    rig.entry(v4_key(), STATE_FENCED);
    assert_eq!(rig.fate(&frame), DROP);
}

// Input: all that the kernel could answer, with the address lapsed, revoked or fenced. Output:
// dropped and counted. Then the lease is renewed: answered.
#[test]
fn nothing_is_answered_without_a_lease() {
    let Some(mut rig) = Rig::new() else { return };
    let now = rais::clock::now();
    let far = now + Duration::from_hours(1);
    let asked = [
        REQUEST,
        Arp { destination: OURS, ..REQUEST },
        Arp { sender: (THEIRS, [0; 4]), ..REQUEST },
        Arp { hardware_type: 6, ..REQUEST },
        Arp { sender: (THEIRS, SERVICE), ..REQUEST },
    ];
    let mut refused = 0;
    for (lease, state) in [
        (Time::ZERO, STATE_OPEN),
        (now, STATE_OPEN),
        (far, STATE_FENCED),
        (far, 7),
        (Time::END, STATE_FENCED),
    ] {
        rig.lease(lease);
        rig.entry(v4_key(), state);
        for arp in &asked {
            assert_eq!(rig.fate(&arp.bytes()), DROP, "{lease:?}, state {state}");
            refused += 1;
        }
    }
    let counters = rig.counters();
    assert_eq!((counters.arp_asked, counters.arp_refused), (refused, refused));
    assert_eq!((counters.arp_answered, counters.conflicts), (0, 0));
    rig.lease(far);
    rig.entry(v4_key(), STATE_OPEN);
    assert_eq!(rig.run(&REQUEST.bytes()).0, SEND_BACK);
}

// Input: a machine says it has our address. Output: passed, and an event with its hardware
// address; none for our own, for addresses we do not have, and while we do not hold it ourselves.
#[test]
fn a_claim_raises_an_event() {
    let Some(mut rig) = Rig::new() else { return };
    let announcement = Arp { sender: (THEIRS, SERVICE), ..REQUEST };
    let said = Arp { operation: 2, destination: OTHERS, target: (OTHERS, CLIENT), ..announcement };
    let mut event = mapped(SERVICE).to_vec();
    event.extend(LOOPBACK.to_ne_bytes());
    event.extend(THEIRS);
    event.extend([0; 2]);
    for (name, arp, events) in [
        ("announcement", announcement, vec![event.clone()]),
        ("reply", said, vec![event.clone()]),
        ("our own announcement", Arp { sender: (OURS, SERVICE), ..announcement }, vec![]),
        ("our own reply", Arp { sender: (OURS, SERVICE), ..said }, vec![]),
        ("reply about another address", Arp { sender: (THEIRS, CLIENT), ..said }, vec![]),
    ] {
        assert_eq!(rig.fate(&arp.bytes()), PASS, "{name}");
        assert_eq!(rig.events(), events, "{name}");
    }
    assert_eq!(rig.counters().conflicts, 2);
    rig.entry(v4_key(), STATE_FENCED);
    assert_eq!(rig.fate(&said.bytes()), PASS);
    assert!(rig.events().is_empty());
    assert_eq!(rig.counters().conflicts, 2);
}

// Input: more claims than the ring buffer holds. Output: the rest is counted as lost.
#[test]
fn claims_beyond_the_ring_buffer_are_counted() {
    let Some(mut rig) = Rig::new() else { return };
    let frame = Arp { sender: (THEIRS, SERVICE), ..REQUEST }.bytes();
    for _ in 0..2500 {
        assert_eq!(rig.fate(&frame), PASS);
    }
    let counters = rig.counters();
    assert_eq!(counters.conflicts, 2500);
    let kept = u64::try_from(rig.events().len()).unwrap();
    assert!((1000..2500).contains(&kept), "{kept} kept");
    assert_eq!(kept + counters.events_lost, 2500);
}

// Input: frames with a tag that names no VLAN, which Linux takes as untagged ones. Output: their
// traffic is counted; requests are left to the kernel while live; everything is dropped when not.
#[test]
fn a_priority_tag_is_no_way_around_the_lease() {
    let Some(mut rig) = Rig::new() else { return };
    let tag = |tag: [u8; 4], mut frame: Vec<u8>| {
        frame.splice(12..12, tag);
        frame
    };
    for kind in [[0x81, 0, 0xe0, 0], [0x88, 0xa8, 0, 0]] {
        rig.entry(v4_key(), STATE_OPEN);
        rig.entry(v6_key(), STATE_OPEN);
        let frames = [
            tag(kind, REQUEST.bytes()),
            tag(kind, tcp4(&[1; 4], 0, 0x02)),
            tag(kind, ipv6(SERVICE6, 6, &tcp(0x02))),
            tag(kind, solicitation().bytes()),
        ];
        let before = (rig.traffic(v4_key()), rig.traffic(v6_key()));
        assert_eq!(frames.each_ref().map(|frame| rig.fate(frame)), [PASS; 4]);
        assert_eq!(rig.traffic(v4_key()).2, before.0.2 + 1);
        assert_eq!(rig.traffic(v6_key()).2, before.1.2 + 1);
        rig.entry(v4_key(), STATE_FENCED);
        rig.entry(v6_key(), STATE_FENCED);
        assert_eq!(frames.each_ref().map(|frame| rig.fate(frame)), [DROP; 4]);
        // Cut off within the tag, and within the ARP packet.
        assert_eq!([rig.fate(&frames[0][..17]), rig.fate(&frames[0][..45])], [PASS; 2]);
    }
    for vlan in [[0x81, 0, 0, 1], [0x81, 0, 0x0f, 0xff], [0x88, 0xa8, 0, 9]] {
        let frames = [tag(vlan, REQUEST.bytes()), tag(vlan, tcp4(&[], 0, 0x02))];
        assert_eq!(frames.map(|frame| rig.fate(&frame)), [PASS; 2]);
    }
}

// Input: packets to our IPv4 address. Output: each counted with all its bytes; a connection only
// for SYN without ACK in a first fragment, wherever IP options put it.
#[test]
fn ipv4_traffic_is_counted_to_the_byte() {
    let Some(mut rig) = Rig::new() else { return };
    let syn = tcp4(&[], 0, 0x02);
    let mut udp = syn.clone();
    udp[23] = 17;
    rig.assert_counted(
        v4_key(),
        &[
            ("SYN", syn.clone(), 1),
            ("SYN, ECN, CWR", tcp4(&[], 0, 0xc2), 1),
            ("SYN, don't fragment", tcp4(&[], 0x4000, 0x02), 1),
            ("SYN after options", tcp4(&[1; 12], 0, 0x02), 1),
            ("SYN after the most options", tcp4(&[1; 40], 0, 0x02), 1),
            ("first fragment with SYN", tcp4(&[], 0x2000, 0x02), 1),
            ("later fragment", tcp4(&[], 0x2001, 0x02), 0),
            ("last fragment", tcp4(&[], 0x0001, 0x02), 0),
            ("SYN, ACK", tcp4(&[], 0, 0x12), 0),
            ("ACK", tcp4(&[], 0, 0x10), 0),
            ("UDP", udp, 0),
            ("SYN cut off before its flags", syn[..14 + 20 + 13].to_vec(), 0),
        ],
    );
    assert_eq!(rig.traffic(v6_key()), (0, 0, 0));
}

// Input: packets to our IPv6 address. Output: as for IPv4.
#[test]
fn ipv6_traffic_is_counted_to_the_byte() {
    let Some(mut rig) = Rig::new() else { return };
    rig.assert_counted(
        v6_key(),
        &[
            ("SYN", ipv6(SERVICE6, 6, &tcp(0x02)), 1),
            ("SYN, ACK", ipv6(SERVICE6, 6, &tcp(0x12)), 0),
            ("UDP", ipv6(SERVICE6, 17, &[0; 100]), 0),
            ("fragment", ipv6(SERVICE6, 44, &[0; 100]), 0),
            ("no payload", ipv6(SERVICE6, 6, &[]), 0),
        ],
    );
    assert_eq!(rig.traffic(v4_key()), (0, 0, 0));
}

// Input: traffic to addresses that are fenced, or whose lease lapsed. Output: dropped, counted as
// fenced and not as traffic. Cut-off headers and other addresses pass.
#[test]
fn traffic_without_a_lease_is_dropped() {
    let Some(mut rig) = Rig::new() else { return };
    let v4 = tcp4(&[], 0, 0x02);
    let v6 = ipv6(SERVICE6, 6, &tcp(0x02));
    let mut other = v4.clone();
    other[33] = 102;
    rig.lease(rais::clock::now());
    let lapsed = [rig.fate(&v4), rig.fate(&v6), rig.fate(&other), rig.fate(&v4[..33])];
    assert_eq!(lapsed, [DROP, DROP, PASS, PASS]);
    rig.lease(Time::END);
    rig.entry(v4_key(), STATE_FENCED);
    assert_eq!([rig.fate(&v4), rig.fate(&v6)], [DROP, PASS]);
    assert_eq!(rig.counters(), Counters { fenced: 3, ..Counters::default() });
    assert_eq!(rig.traffic(v4_key()), (0, 0, 0));
    assert_eq!(rig.traffic(v6_key()).0, 1);
}

/// An entry that is about another host, under this host's lease.
fn underway(state: u16, until: Time) -> ServiceEntry {
    ServiceEntry { peer: PEER, until: until.as_nanos(), ..ServiceEntry::new(SLOT, state, OURS) }
}

/// The host that an address comes from, or went to.
const PEER: [u8; 6] = [2, 0, 0, 0, 0, 0xdd];

/// The frame from and to others.
fn readdressed(frame: &[u8], to: [u8; 6], from: [u8; 6]) -> Vec<u8> {
    [&to[..], &from[..], &frame[12..]].concat()
}

/// Traffic of both families and with options, tagged and not.
fn traffic() -> Vec<Vec<u8>> {
    let plain = [
        tcp4(&[], 0, 2),
        tcp4(&[1; 40], 0, 16),
        tcp4(&[], 0x2001, 16),
        ipv6(SERVICE6, 6, &tcp(2)),
        ipv6(SERVICE6, 17, &[0; 24]),
        ipv6(SERVICE6, 58, &[128, 0, 0, 0, 0, 1, 0, 1]),
    ];
    let tagged = plain.clone().map(|mut frame| {
        frame.splice(12..12, [0x81, 0, 0xa0, 0]);
        frame
    });
    [plain, tagged].concat()
}

// Input: traffic to an address that was handed over, while it is sent on. Output: out again to the
// other host, from this one, and otherwise as it came; after that dropped. Requests are refused.
#[test]
fn what_comes_after_a_hand_over_is_sent_on() {
    let Some(mut rig) = Rig::new() else { return };
    let later = rais::clock::now() + Duration::from_mins(1);
    let set = |rig: &mut Rig, entry: ServiceEntry| {
        for key in [v4_key(), v6_key()] {
            rig.addresses().insert(key, entry, 0).unwrap();
        }
    };
    for state in [STATE_FORWARDED, STATE_LEFT] {
        set(&mut rig, underway(state, later));
        for frame in traffic() {
            let expected = readdressed(&frame, PEER, OURS);
            assert_eq!(rig.run(&frame), (SEND_BACK, expected), "{state} {frame:02x?}");
            let back = readdressed(&frame, OURS, PEER);
            assert_eq!(rig.run(&back).0, SEND_BACK, "what the other sends on before it is open");
            let flooded = readdressed(&frame, PEER, THEIRS);
            assert_eq!(rig.fate(&flooded), DROP, "to another machine");
        }
        assert_eq!(rig.fate(&REQUEST.bytes()), DROP);
        assert_eq!(rig.fate(&solicitation().bytes()), DROP);
        set(&mut rig, underway(state, rais::clock::now()));
        let over = if state == STATE_LEFT { PASS } else { DROP };
        for frame in traffic() {
            assert_eq!(rig.fate(&frame), over, "{state}");
        }
        assert_eq!(rig.fate(&REQUEST.bytes()), over);
    }
    // Only what an agent left needs no lease.
    rig.lease(Time::ZERO);
    for (state, expected) in [(STATE_FORWARDED, DROP), (STATE_LEFT, SEND_BACK)] {
        set(&mut rig, underway(state, later));
        for frame in traffic() {
            assert_eq!(rig.run(&frame).0, expected, "{state}");
        }
    }
    let packets = u64::try_from(5 * traffic().len()).unwrap();
    assert_eq!(rig.counters().forwarded, packets);
}

// Input: traffic to an address that is about to be taken over. Output: what its holder sends on
// passes and is counted; what comes from others goes to the holder; without a lease all is dropped.
#[test]
fn what_the_holder_sends_on_is_accepted() {
    let Some(mut rig) = Rig::new() else { return };
    for key in [v4_key(), v6_key()] {
        rig.addresses().insert(key, underway(STATE_STAGED, Time::ZERO), 0).unwrap();
    }
    for frame in traffic() {
        let sent_on = readdressed(&frame, OURS, PEER);
        assert_eq!(rig.fate(&sent_on), PASS, "{frame:02x?}");
        let expected = readdressed(&frame, PEER, OURS);
        assert_eq!(rig.run(&frame), (SEND_BACK, expected), "{frame:02x?}");
    }
    let packets = u64::try_from(traffic().len()).unwrap();
    assert_eq!(rig.traffic(v4_key()).0 + rig.traffic(v6_key()).0, packets);
    assert_eq!(rig.counters(), Counters { forwarded: packets, ..Counters::default() });
    assert_eq!(rig.fate(&REQUEST.bytes()), DROP);
    assert_eq!(rig.fate(&solicitation().bytes()), DROP);
    rig.lease(Time::ZERO);
    for frame in traffic() {
        assert_eq!(rig.fate(&readdressed(&frame, OURS, PEER)), DROP);
        assert_eq!(rig.fate(&frame), DROP);
    }
}
