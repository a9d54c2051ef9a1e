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

use aya::maps::{Array, HashMap, MapData, PerCpuArray, PerCpuHashMap, PerCpuValues, RingBuf};
use aya::programs::{TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use rais_common::maps::{
    Counters, Lease, STATE_FENCED, STATE_OPEN, ServiceEntry, ServiceKey, Traffic, mapped,
};
use rais_common::time::Time;

const DROP: u32 = 1;
const PASS: u32 = 2;
const SEND_BACK: u32 = 3;

/// The kernel lets a test packet come in by the loopback interface.
const LOOPBACK: u32 = 1;
const SLOT: u32 = 5;
const OURS: [u8; 6] = [2, 0, 0, 0, 0, 0xaa];
const THEIRS: [u8; 6] = [2, 0, 0, 0, 0, 0xbb];
const OTHERS: [u8; 6] = [2, 0, 0, 0, 0, 0xcc];
const BROADCAST: [u8; 6] = [0xff; 6];
const SERVICE: [u8; 4] = [10, 77, 0, 101];
const CLIENT: [u8; 4] = [10, 77, 0, 9];
const SERVICE6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12, 0x34, 0x56];

/// The program and its maps, unpinned and apart from every other instance.
struct Rig {
    object: Ebpf,
}

impl Rig {
    /// One with both service addresses open here under a live lease. None: cannot run here.
    fn new() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "CI must run as root");
            eprintln!("SKIPPED, NOT TESTED: loading the XDP program needs root");
            return None;
        }
        let mut object = EbpfLoader::new().load(rais::data_plane::bpf::OBJECT).unwrap();
        let program: &mut Xdp = object.program_mut("rais_xdp").unwrap().try_into().unwrap();
        program.load().unwrap();
        let mut rig = Self { object };
        rig.lease(rais::clock::now() + Duration::from_hours(1));
        for key in [v4_key(), v6_key()] {
            rig.entry(key, STATE_OPEN);
            let cpus = aya::util::nr_cpus().unwrap();
            let zero = PerCpuValues::try_from(vec![Traffic::default(); cpus]).unwrap();
            let mut map: PerCpuHashMap<&mut MapData, ServiceKey, Traffic> =
                rig.object.map_mut("TRAFFIC").unwrap().try_into().unwrap();
            map.insert(key, zero, 0).unwrap();
        }
        Some(rig)
    }

    fn addresses(&mut self) -> HashMap<&mut MapData, ServiceKey, ServiceEntry> {
        self.object.map_mut("SERVICE_ADDRS").unwrap().try_into().unwrap()
    }

    fn entry(&mut self, key: ServiceKey, state: u16) {
        let entry = ServiceEntry { group_slot: SLOT, state, mac: OURS };
        self.addresses().insert(key, entry, 0).unwrap();
    }

    fn lease(&mut self, until: Time) {
        let mut map: Array<&mut MapData, Lease> =
            self.object.map_mut("LEASES").unwrap().try_into().unwrap();
        map.set(SLOT, Lease { until: until.as_nanos() }, 0).unwrap();
    }

    /// What becomes of a frame, and its bytes afterwards.
    fn run(&mut self, frame: &[u8]) -> (u32, Vec<u8>) {
        let program: &mut Xdp = self.object.program_mut("rais_xdp").unwrap().try_into().unwrap();
        let mut out = vec![0; frame.len() + 64];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ..TestRunOptions::new()
        };
        let result = program.test_run(options).unwrap();
        out.truncate(usize::try_from(result.data_size_out).unwrap());
        (result.return_value, out)
    }

    /// As `run`, for a frame that must come out as it went in.
    fn fate(&mut self, frame: &[u8]) -> u32 {
        let (verdict, out) = self.run(frame);
        assert_eq!(out, frame, "the frame was changed");
        verdict
    }

    fn counters(&mut self) -> Counters {
        let map: PerCpuArray<&MapData, Counters> =
            self.object.map("COUNTERS").unwrap().try_into().unwrap();
        map.get(&0, 0).unwrap().iter().fold(Counters::default(), Counters::plus)
    }

    /// Packets, bytes and connections.
    fn traffic(&mut self, key: ServiceKey) -> (u64, u64, u64) {
        let map: PerCpuHashMap<&MapData, ServiceKey, Traffic> =
            self.object.map("TRAFFIC").unwrap().try_into().unwrap();
        map.get(&key, 0).unwrap().iter().fold((0, 0, 0), |sum, cpu| {
            (sum.0 + cpu.packets, sum.1 + cpu.bytes, sum.2 + cpu.connections)
        })
    }

    fn events(&mut self) -> Vec<Vec<u8>> {
        let mut ring = RingBuf::try_from(self.object.map_mut("EVENTS").unwrap()).unwrap();
        std::iter::from_fn(|| ring.next().map(|record| record.to_vec())).collect()
    }

    /// Each frame passes and is counted for `key`, with all its bytes and so many connections.
    fn assert_counted(&mut self, key: ServiceKey, cases: &[(&str, Vec<u8>, u64)]) {
        for (name, frame, connections) in cases {
            let before = self.traffic(key);
            assert_eq!(self.fate(frame), PASS, "{name}");
            let bytes = u64::try_from(frame.len()).unwrap();
            let expected = (before.0 + 1, before.1 + bytes, before.2 + connections);
            assert_eq!(self.traffic(key), expected, "{name}");
        }
        assert_eq!(self.counters(), Counters::default());
    }
}

fn v4_key() -> ServiceKey {
    ServiceKey { address: mapped(SERVICE), ifindex: LOOPBACK }
}

fn v6_key() -> ServiceKey {
    ServiceKey { address: SERVICE6, ifindex: LOOPBACK }
}

/// An ARP packet as it is on the wire, with the padding to 60 bytes that real ones have.
#[derive(Clone, Copy)]
struct Arp {
    destination: [u8; 6],
    hardware_type: u16,
    protocol_type: u16,
    lengths: [u8; 2],
    operation: u16,
    sender: ([u8; 6], [u8; 4]),
    target: ([u8; 6], [u8; 4]),
}

/// Who has the service address? Tell the client.
const REQUEST: Arp = Arp {
    destination: BROADCAST,
    hardware_type: 1,
    protocol_type: 0x0800,
    lengths: [6, 4],
    operation: 1,
    sender: (THEIRS, CLIENT),
    target: ([0; 6], SERVICE),
};

impl Arp {
    fn bytes(&self) -> Vec<u8> {
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
fn reply(to: ([u8; 6], [u8; 4])) -> Vec<u8> {
    let mut frame = [to.0, OURS].concat();
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 2]);
    frame.extend(OURS);
    frame.extend(SERVICE);
    frame.extend(to.0);
    frame.extend(to.1);
    frame.extend(*b"padding: eighteen.");
    frame
}

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
    let solicitation = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &SERVICE6].concat();
    for kind in [[0x81, 0, 0xe0, 0], [0x88, 0xa8, 0, 0]] {
        rig.entry(v4_key(), STATE_OPEN);
        rig.entry(v6_key(), STATE_OPEN);
        let frames = [
            tag(kind, REQUEST.bytes()),
            tag(kind, tcp4(&[1; 4], 0, 0x02)),
            tag(kind, ipv6(SERVICE6, 6, &tcp(0x02))),
            tag(kind, ipv6(SERVICE6, 58, &solicitation)),
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

/// A TCP segment to the service address.
fn tcp4(options: &[u8], fragment: u16, flags: u8) -> Vec<u8> {
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
fn tcp(flags: u8) -> [u8; 20] {
    let mut header = [0; 20];
    header[..4].copy_from_slice(&[0x9c, 0x40, 0, 80]);
    header[12] = 0x50;
    header[13] = flags;
    header
}

/// An IPv6 packet to `destination`.
fn ipv6(destination: [u8; 16], next_header: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = [OURS, THEIRS].concat();
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
    frame.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    frame.extend([next_header, 255]);
    frame.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
    frame.extend(destination);
    frame.extend(payload);
    frame
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

// Input: neighbour solicitations, to the solicited-node address and to the target itself. Output:
// left to the kernel while live, dropped when not.
#[test]
fn solicitations_are_refused_without_a_lease() {
    let Some(mut rig) = Rig::new() else { return };
    let solicited_node = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0x12, 0x34, 0x56];
    let message = |icmp_type, target: [u8; 16]| {
        [&[icmp_type, 0, 0, 0, 0, 0, 0, 0][..], &target, &[1, 1, 2, 0, 0, 0, 0, 0xbb]].concat()
    };
    let mut stranger = SERVICE6;
    stranger[7] = 1;
    let multicast = ipv6(solicited_node, 58, &message(135, SERVICE6));
    let unicast = ipv6(SERVICE6, 58, &message(135, SERVICE6));
    let another = ipv6(solicited_node, 58, &message(135, stranger));
    let advertisement = ipv6(solicited_node, 58, &message(136, SERVICE6));
    let short = multicast[..14 + 40 + 23].to_vec();
    let frames = [&multicast, &unicast, &another, &advertisement, &short];
    assert_eq!(frames.map(|frame| rig.fate(frame)), [PASS; 5]);
    assert_eq!(rig.counters(), Counters { nd_asked: 2, ..Counters::default() });
    assert_eq!(rig.traffic(v6_key()), (0, 0, 0));
    rig.entry(v6_key(), STATE_FENCED);
    assert_eq!(frames.map(|frame| rig.fate(frame)), [DROP, DROP, PASS, PASS, PASS]);
    let expected = Counters { nd_asked: 4, nd_refused: 2, ..Counters::default() };
    assert_eq!(rig.counters(), expected);
}
