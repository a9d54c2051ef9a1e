//! Questions → answers.

use std::net::IpAddr;

use domain::base::Serial;
use domain::base::iana::Rtype;
use domain::rdata::AllRecordData;

use super::*;
use crate::config::checked::Delegate;
use crate::dns::zone::by_family;

fn name(text: &str) -> Name<Vec<u8>> {
    text.parse().unwrap()
}

fn zone(owner: &str, addresses: &[&str]) -> Zone {
    let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
    let (v4, v6) = by_family(&addresses);
    Zone {
        apex: name("web.example.net."),
        name: name(owner),
        ttl: 5,
        nameservers: vec![
            Delegate {
                name: name("ns1.web.example.net"),
                addresses: vec![[192, 0, 2, 53].into(), "2001:db8::53".parse().unwrap()],
            },
            Delegate { name: name("ns.example.org"), addresses: Vec::new() },
        ],
        serial: Serial(77),
        v4,
        v6,
    }
}

const BOTH: &[&str] = &["10.77.0.101", "10.77.0.102", "10.77.0.103", "2001:db8::1", "2001:db8::2"];

fn usual() -> Zone {
    zone("www.web.example.net", BOTH)
}

/// A question, with EDNS where a size is given.
fn question(text: &str, rtype: Rtype, size: Option<u16>) -> Vec<u8> {
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(4711);
    builder.header_mut().set_rd(true);
    let mut builder = builder.question();
    builder.push((name(text), rtype)).unwrap();
    let mut builder = builder.additional();
    if let Some(size) = size {
        builder
            .opt(|opt| {
                opt.set_udp_payload_size(size);
                Ok(())
            })
            .unwrap();
    }
    builder.finish()
}

/// What a server says over UDP, or TCP to whom it gives the zone.
fn ask(zone: Option<&Zone>, request: &[u8], over: Transport) -> Option<Message<Vec<u8>>> {
    let apex = name("web.example.net");
    let zone = zone.cloned().map(Prepared::from);
    let bytes =
        answer(&apex, zone.as_ref(), &Rotation::default(), request, over, over == Transport::Tcp);
    bytes.map(|bytes| Message::from_octets(bytes).unwrap())
}

/// The records of the answer in words, without the owner, which is as asked.
fn said(message: &Message<Vec<u8>>) -> Vec<String> {
    let records = message.answer().unwrap().limit_to::<AllRecordData<_, _>>();
    records
        .map(|record| {
            let record = record.unwrap();
            assert_eq!(record.ttl().as_secs(), 5);
            format!("{} {}", record.rtype(), record.data())
        })
        .collect()
}

/// The code, and the records of the answer.
fn udp(zone: &Zone, text: &str, rtype: Rtype) -> (Rcode, Vec<String>) {
    let message = ask(Some(zone), &question(text, rtype, None), Transport::Udp).unwrap();
    assert_eq!(message.header().id(), 4711);
    assert!(message.header().qr() && message.header().rd() && !message.header().ra());
    assert!(!message.header().tc());
    (message.header().rcode(), said(&message))
}

#[test]
fn the_name_has_its_addresses_and_the_zone_its_records() {
    let zone = usual();
    let a = ["A 10.77.0.101", "A 10.77.0.102", "A 10.77.0.103"].map(str::to_owned).to_vec();
    assert_eq!(udp(&zone, "www.web.example.net", Rtype::A), (Rcode::NOERROR, a.clone()));
    assert_eq!(udp(&zone, "WwW.WEB.example.NET", Rtype::A), (Rcode::NOERROR, a.clone()));
    assert_eq!(udp(&zone, "www.web.example.net", Rtype::ANY), (Rcode::NOERROR, a));
    let aaaa = ["AAAA 2001:db8::1", "AAAA 2001:db8::2"].map(str::to_owned).to_vec();
    assert_eq!(udp(&zone, "www.web.example.net", Rtype::AAAA), (Rcode::NOERROR, aaaa));
    let ns = ["NS ns1.web.example.net.", "NS ns.example.org."].map(str::to_owned).to_vec();
    assert_eq!(udp(&zone, "web.example.net", Rtype::NS), (Rcode::NOERROR, ns));
    let glue = vec!["A 192.0.2.53".to_owned()];
    assert_eq!(udp(&zone, "ns1.web.example.net", Rtype::A), (Rcode::NOERROR, glue));
    let soa = "SOA ns1.web.example.net. hostmaster.web.example.net. 77 60 15 86400 5".to_owned();
    assert_eq!(udp(&zone, "web.example.net", Rtype::SOA), (Rcode::NOERROR, vec![soa]));
}

// Question → code, and whether the start of authority says for how long that may be remembered.
#[test]
fn what_is_not_there_is_not_there() {
    let zone = zone("www.a.web.example.net", BOTH);
    for (text, rtype, rcode, authority) in [
        ("nothing.web.example.net", Rtype::A, Rcode::NXDOMAIN, 1),
        ("www.a.web.example.net", Rtype::TXT, Rcode::NOERROR, 1),
        ("web.example.net", Rtype::A, Rcode::NOERROR, 1),
        // Between the zone and a name.
        ("a.web.example.net", Rtype::A, Rcode::NOERROR, 1),
        ("b.web.example.net", Rtype::A, Rcode::NXDOMAIN, 1),
        ("example.net", Rtype::A, Rcode::REFUSED, 0),
        ("xweb.example.net", Rtype::A, Rcode::REFUSED, 0),
        ("ns.example.org", Rtype::A, Rcode::REFUSED, 0),
        (".", Rtype::NS, Rcode::REFUSED, 0),
    ] {
        let message = ask(Some(&zone), &question(text, rtype, None), Transport::Udp).unwrap();
        let header = message.header();
        assert_eq!((header.rcode(), said(&message)), (rcode, vec![]), "{text} {rtype}");
        assert_eq!(message.header_counts().nscount(), authority, "{text} {rtype}");
        assert_eq!(header.aa(), rcode != Rcode::REFUSED);
    }
}

#[test]
fn a_server_that_does_not_know_says_so() {
    let request = question("www.web.example.net", Rtype::A, None);
    let rcode = |zone: Option<&Zone>, request: &[u8]| {
        ask(zone, request, Transport::Udp).unwrap().header().rcode()
    };
    assert_eq!(rcode(None, &request), Rcode::SERVFAIL);
    assert_eq!(rcode(None, &question("example.net", Rtype::A, None)), Rcode::REFUSED);
    let empty = zone("www.a.web.example.net", &[]);
    // That there is no such name would be remembered for all its types.
    for rtype in [Rtype::A, Rtype::AAAA, Rtype::ANY, Rtype::TXT] {
        let request = question("www.a.web.example.net", rtype, None);
        assert_eq!(rcode(Some(&empty), &request), Rcode::SERVFAIL, "{rtype}");
    }
    assert_eq!(rcode(Some(&empty), &question("a.web.example.net", Rtype::A, None)), Rcode::NOERROR);
    let at_apex = zone("web.example.net", &[]);
    let apex = |rtype| rcode(Some(&at_apex), &question("web.example.net", rtype, None));
    assert_eq!((apex(Rtype::A), apex(Rtype::NS)), (Rcode::SERVFAIL, Rcode::NOERROR));
    assert_eq!(rcode(Some(&empty), &question("web.example.net", Rtype::SOA, None)), Rcode::NOERROR);
    let v4 = zone("www.web.example.net", &["10.77.0.101"]);
    let v6 = question("www.web.example.net", Rtype::AAAA, None);
    assert_eq!(rcode(Some(&v4), &v6), Rcode::NOERROR);
}

#[test]
fn answers_begin_with_each_address_in_turn_though_both_types_are_asked_for() {
    let (rotation, apex) = (Rotation::default(), name("web.example.net"));
    let zone = Prepared::from(usual());
    let mut first = Vec::new();
    for rtype in [Rtype::A, Rtype::AAAA].repeat(4) {
        let request = question("www.web.example.net", rtype, None);
        let bytes = answer(&apex, Some(&zone), &rotation, &request, Transport::Udp, false);
        let records = said(&Message::from_octets(bytes.unwrap()).unwrap());
        assert_eq!(records.len(), if rtype == Rtype::A { 3 } else { 2 });
        first.push(records[0].rsplit(['.', ':']).next().unwrap().to_owned());
    }
    assert_eq!(first, ["101", "1", "102", "2", "103", "1", "101", "2"]);
}

// Addresses, size the asker takes → whether all fit.
#[test]
fn long_answers_are_cut_over_udp_and_whole_over_tcp() {
    let texts: Vec<String> = (0..1_024).map(|n| format!("10.1.{}.{}", n / 256, n % 256)).collect();
    for (count, size, fits) in [
        (28, None, true),
        (32, None, false),
        (32, Some(512), false),
        (32, Some(600), true),
        (32, Some(0), false),
        (70, Some(u16::MAX), true),
        (80, Some(u16::MAX), false),
        (1_024, Some(4_096), false),
    ] {
        let addresses: Vec<&str> = texts.iter().take(count).map(String::as_str).collect();
        let zone = zone("www.web.example.net", &addresses);
        let request = question("www.web.example.net", Rtype::A, size);
        let message = ask(Some(&zone), &request, Transport::Udp).unwrap();
        let limit = usize::from(size.unwrap_or(512).clamp(512, 1_232));
        assert!(message.as_slice().len() <= limit, "{count} {size:?}");
        assert_eq!(message.opt().is_some(), size.is_some());
        assert_eq!(!message.header().tc(), fits, "{count} {size:?}");
        assert_eq!(said(&message).len() == count, fits);
        let message = ask(Some(&zone), &request, Transport::Tcp).unwrap();
        assert!(!message.header().tc());
        assert_eq!(said(&message).len(), count);
    }
}

#[test]
fn what_is_no_plain_question_is_refused_or_dropped() {
    let zone = usual();
    let good = question("www.web.example.net", Rtype::A, None);
    let rcode = |request: &[u8]| {
        ask(Some(&zone), request, Transport::Udp).map(|message| message.header().rcode())
    };
    let changed = |at: usize, byte: u8| {
        let mut request = good.clone();
        request[at] = byte;
        request
    };
    assert_eq!(rcode(&good), Some(Rcode::NOERROR));
    assert_eq!(rcode(&[]), None);
    assert_eq!(rcode(&good[..11]), None);
    // An answer, or an answer to an answer would never end.
    assert_eq!(rcode(&changed(2, 0x81)), None);
    // NOTIFY, UPDATE.
    assert_eq!(rcode(&changed(2, 4 << 3)), Some(Rcode::NOTIMP));
    assert_eq!(rcode(&changed(2, 5 << 3)), Some(Rcode::NOTIMP));
    // No question, two, one cut short, a name that points to itself.
    assert_eq!(rcode(&changed(5, 0)), Some(Rcode::FORMERR));
    assert_eq!(rcode(&changed(5, 2)), Some(Rcode::FORMERR));
    assert_eq!(rcode(&good[..good.len() - 1]), Some(Rcode::FORMERR));
    assert_eq!(rcode(&good[..12]), Some(Rcode::FORMERR));
    let mut loops = good.clone();
    loops[12..14].copy_from_slice(&[0xc0, 12]);
    assert_eq!(rcode(&loops), Some(Rcode::FORMERR));
    // Another class.
    assert_eq!(rcode(&changed(good.len() - 1, 3)), Some(Rcode::REFUSED));
    // A version of EDNS that does not exist yet.
    let mut later = question("www.web.example.net", Rtype::A, Some(1_232));
    let version = later.len() - 5;
    later[version] = 1;
    let message = ask(Some(&zone), &later, Transport::Udp).unwrap();
    assert_eq!(message.opt_rcode(), OptRcode::BADVERS);
    assert_eq!(said(&message), [] as [String; 0]);
    let opt_rcode = |request: &[u8]| ask(Some(&zone), request, Transport::Udp).unwrap().opt_rcode();
    // In an UPDATE.
    let mut update = later.clone();
    update[2] = 5 << 3;
    assert_eq!(opt_rcode(&update), OptRcode::BADVERS);
    // And a name whose end is somewhere behind the message.
    let mut malformed = later;
    malformed[28] = 2;
    malformed[31..33].copy_from_slice(&[0xff, 0xff]);
    assert_eq!(opt_rcode(&malformed), OptRcode::FORMERR);
}

#[test]
fn the_whole_zone_goes_to_secondaries_over_tcp_only() {
    let zone = usual();
    for rtype in [Rtype::AXFR, Rtype::IXFR] {
        let request = question("web.example.net", rtype, None);
        let message = ask(Some(&zone), &request, Transport::Tcp).unwrap();
        let records = said(&message);
        assert_eq!(records.len(), 1 + 2 + 2 + 5 + 1);
        assert!(records[0].starts_with("SOA "), "{records:?}");
        assert_eq!(records.first(), records.last());
        let apex = name("web.example.net");
        let prepared = Prepared::from(zone.clone());
        let rotation = Rotation::default();
        let refused = answer(&apex, Some(&prepared), &rotation, &request, Transport::Tcp, false);
        let refused = Message::from_octets(refused.unwrap()).unwrap();
        assert_eq!((refused.header().rcode(), said(&refused).len()), (Rcode::REFUSED, 0));
        let below = question("www.web.example.net", rtype, None);
        let message = ask(Some(&zone), &below, Transport::Tcp).unwrap();
        assert_eq!(message.header().rcode(), Rcode::REFUSED);
        let empty = self::zone("www.web.example.net", &[]);
        for unknown in [None, Some(&empty)] {
            let message = ask(unknown, &request, Transport::Tcp).unwrap();
            assert_eq!(message.header().rcode(), Rcode::SERVFAIL);
        }
    }
    let apex = name("web.example.net");
    let prepared = Prepared::from(zone.clone());
    let over_udp = |rtype, transfers| {
        let request = question("web.example.net", rtype, None);
        let rotation = Rotation::default();
        let bytes = answer(&apex, Some(&prepared), &rotation, &request, Transport::Udp, transfers);
        let message = Message::from_octets(bytes.unwrap()).unwrap();
        (message.header().rcode(), said(&message).len())
    };
    assert_eq!(over_udp(Rtype::AXFR, true), (Rcode::REFUSED, 0));
    assert_eq!(over_udp(Rtype::IXFR, true), (Rcode::NOERROR, 1));
    assert_eq!(over_udp(Rtype::IXFR, false), (Rcode::REFUSED, 0));
}

// The largest zone there can be → one message.
#[test]
fn the_largest_zone_fits() {
    let texts: Vec<String> = (0..1_024).map(|n| format!("2001:db8::{n:x}")).collect();
    let addresses: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut zone = zone("www.web.example.net", &addresses);
    let long = "x".repeat(60);
    zone.nameservers = (0..16)
        .map(|n| Delegate {
            name: name(&format!("ns{n}.{long}.{long}.web.example.net")),
            addresses: vec![[192, 0, 2, n].into()],
        })
        .collect();
    let request = question("web.example.net", Rtype::AXFR, None);
    let message = ask(Some(&zone), &request, Transport::Tcp).unwrap();
    assert_eq!(said(&message).len(), 1 + 16 + 16 + 1_024 + 1);
}

/// Numbers that look random and are the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }
}

// Questions with bytes changed, put in and cut off, a hundred thousand of them → an answer that can
// be read and is short enough, or none.
#[test]
fn malformed_questions_do_no_harm() {
    let zone = usual();
    let seeds = [
        question("www.web.example.net", Rtype::A, Some(1_232)),
        question("web.example.net", Rtype::AXFR, None),
        question("a.b.c.web.example.net", Rtype::ANY, Some(512)),
    ];
    let mut random = Random(7);
    let mut answered = 0;
    for round in 0..100_000 {
        let mut request = seeds[round % seeds.len()].clone();
        for _ in 0..=random.below(4) {
            let at = random.below(request.len());
            match random.below(4) {
                0 => request.truncate(at.max(1)),
                1 => request.insert(at, u8::try_from(random.below(256)).unwrap()),
                // Pointers and long labels.
                2 => request[at] = [0, 0x3f, 0xc0, 0xff][random.below(4)],
                _ => request[at] = u8::try_from(random.below(256)).unwrap(),
            }
        }
        for over in [Transport::Udp, Transport::Tcp] {
            let Some(message) = ask(Some(&zone), &request, over) else { continue };
            assert!(message.header().qr());
            assert_eq!(message.as_slice()[..2], request[..2]);
            assert!(over == Transport::Tcp || message.as_slice().len() <= 1_232);
            assert!(message.answer().unwrap().all(|record| record.is_ok()));
            answered += 1;
        }
    }
    assert!(answered > 10_000, "{answered}");
}
