//! Questions to the built-in name server.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use domain::base::iana::Rcode;
use domain::base::{Message, Serial};
use rais::config::checked::Delegate;
use rais::dns::{Prepared, Rotation, Transport, Zone, answer};

/// Longest answer over UDP, by what the asker says of itself.
const SMALL: usize = 512;
const LARGE: usize = 1_232;

/// What a zone may say: nothing that is known, no addresses, a few, more than fit a datagram.
static ZONES: LazyLock<[Option<Prepared>; 4]> =
    LazyLock::new(|| [None, Some(zone(0)), Some(zone(3)), Some(zone(100))]);

/// A zone with so many addresses of each family.
fn zone(count: u16) -> Prepared {
    let name = |text: &str| text.parse().expect("a name");
    let v4 = |n: u16| Ipv4Addr::from(0x0a4d_0000 + u32::from(n));
    let v6 = |n: u16| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n);
    let addresses: Vec<IpAddr> = vec![v4(53).into(), v6(53).into()];
    let zone = Zone {
        apex: name("web.example.net"),
        name: name("www.web.example.net"),
        ttl: 5,
        nameservers: vec![
            Delegate { name: name("ns.a.web.example.net"), addresses },
            Delegate { name: name("ns.example.org"), addresses: Vec::new() },
        ],
        serial: Serial(77),
        v4: (0..count).map(v4).collect(),
        v6: (0..count).map(v6).collect(),
    };
    Prepared::from(zone)
}

/// How a question comes and what the zone says (first byte), and the question: an answer that
/// belongs to it, is well-formed and no longer than it may be. Dropped are answers, and what is
/// shorter than a header, alone.
pub fn dns(data: &[u8]) {
    let Some((&how, request)) = data.split_first() else { return };
    let over = if how & 1 == 0 { Transport::Udp } else { Transport::Tcp };
    let zone = ZONES.get(usize::from((how >> 2) & 3)).and_then(Option::as_ref);
    let (apex, rotation) = ("web.example.net".parse().expect("a name"), Rotation::default());
    let say = |request: &[u8]| answer(&apex, zone, &rotation, request, over, how & 2 != 0);

    let said = say(request);
    let asked = Message::from_octets(request).ok().filter(|asked| !asked.header().qr());
    assert_eq!(said.is_some(), asked.is_some(), "dropped, or an answer to nothing");
    let (Some(said), Some(asked)) = (said, asked) else { return };
    assert_eq!(say(&said), None, "an answer to an answer would never end");

    let limit = match over {
        Transport::Tcp => usize::from(u16::MAX),
        Transport::Udp => {
            asked.opt().map_or(SMALL, |opt| usize::from(opt.udp_payload_size()).clamp(SMALL, LARGE))
        }
    };
    assert!(said.len() <= limit, "{} bytes, {limit} are the most", said.len());
    let said = Message::from_octets(said).expect("no header");
    let (header, counts) = (said.header(), said.header_counts());
    assert_eq!((header.id(), header.opcode()), (asked.header().id(), asked.header().opcode()));
    assert!(!header.ra() && !header.z(), "{header:?}");
    assert_eq!(counts.arcount() > 0, asked.opt().is_some(), "EDNS where it was not asked for");
    let records = said.iter().inspect(|record| assert!(record.is_ok(), "malformed")).count();
    let promised = [counts.ancount(), counts.nscount(), counts.arcount()].map(usize::from);
    assert_eq!(records, promised.iter().sum::<usize>());
    match header.rcode() {
        Rcode::NOERROR => {
            let same = said.sole_question().ok().zip(asked.sole_question().ok());
            assert!(same.is_some_and(|(said, asked)| said == asked), "another question");
        }
        Rcode::NXDOMAIN => assert!(header.aa() && counts.ancount() == 0),
        Rcode::FORMERR | Rcode::NOTIMP | Rcode::REFUSED | Rcode::SERVFAIL => {
            assert!(!header.aa() && counts.ancount() == 0 && counts.nscount() == 0);
        }
        other => panic!("{other}"),
    }
}
