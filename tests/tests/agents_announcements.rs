//! Real agents, a client that learns of a failover by announcements alone, and a switch between
//! them: what makes either hard to convince, and how long after the holder was killed the client
//! has its first answer.
//!
//! The client keeps what it knows of its neighbours for an hour, and sends to the dead host until
//! it is told. The switch floods no frame for a host that it does not know, and does not know the
//! new holder: that one sends nothing on this network before it announces.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rais::clock;
use rais_tests::netns::Host;
use rais_tests::trial::{LIMIT, Trial, id, service};
use rais_tests::wait::pause;

/// So many IPv4 addresses float in the group, and this of IPv6.
const MANY: u8 = 8;
const SIX: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x64);
/// UDP port of the echo.
const PORT: u16 = 7_770;
/// From the end of the holder to the first answer. The others take 200 ms of it to notice.
const LEARNT: Duration = Duration::from_secs(2);
/// Time between two questions of the client.
const PERIOD: Duration = Duration::from_millis(4);

/// Announcements as `nft` matches them: each form of ARP, either, and the one of IPv6.
const REQUEST: &str = "arp operation request arp saddr ip 10.77.0.100-10.77.0.107 \
                       arp daddr ip 10.77.0.100-10.77.0.107";
const REPLY: &str = "ether daddr ff:ff:ff:ff:ff:ff arp operation reply";
const EITHER: &str = "arp saddr ip 10.77.0.100-10.77.0.107 arp daddr ip 10.77.0.100-10.77.0.107";
const ONE: &str = "arp saddr ip 10.77.0.100 arp daddr ip 10.77.0.100";
const ADVERTISEMENT: &str = "ip6 daddr ff02::1 icmpv6 type nd-neighbor-advert";

/// A client and a switch.
struct Case {
    name: &'static str,
    /// What does not reach the client's kernel, and what the switch loses: a match, and what is
    /// done with it.
    deaf: &'static [&'static str],
    loses: &'static [(&'static str, &'static str)],
    /// What the client's kernel is told besides.
    sysctl: Option<&'static str>,
    /// Who is to answer.
    of: Of,
}

#[derive(Clone, Copy)]
enum Of {
    Four,
    AllFour,
    Six,
}

impl Of {
    fn addresses(self) -> Vec<IpAddr> {
        match self {
            Self::Four => vec![service(0)],
            Self::AllFour => (0..MANY).map(service).collect(),
            Self::Six => vec![SIX.into()],
        }
    }
}

const fn case(name: &'static str, of: Of) -> Case {
    Case { name, deaf: &[], loses: &[], sysctl: None, of }
}

/// The switch drops so many of the first.
const FIRST_4: &str = "numgen inc mod 1000000 < 4 drop";
const FIRST_8: &str = "numgen inc mod 1000000 < 8 drop";
const FIRST_64: &str = "numgen inc mod 1000000 < 64 drop";
/// It lets through so many a second, and so many together.
const SLOWLY: &str = "limit rate over 5/second burst 1 packets drop";
const POLICED: &str = "limit rate over 10/second burst 4 packets drop";

/// Each of them has its answers in time.
fn cases() -> Vec<Case> {
    let four = |name| case(name, Of::Four);
    let six = |name| case(name, Of::Six);
    vec![
        four("ARP, both forms"),
        Case { deaf: &[REPLY], ..four("ARP, requests only") },
        Case { deaf: &[REQUEST], ..four("ARP, replies only") },
        Case {
            loses: &[(EITHER, FIRST_64)],
            ..case("8 addresses, the first 64 lost", Of::AllFour)
        },
        Case { loses: &[(ONE, FIRST_8)], ..four("ARP, the first 8 lost") },
        Case {
            deaf: &[REPLY],
            loses: &[(ONE, FIRST_4)],
            ..four("requests only, the first 4 lost")
        },
        Case {
            deaf: &[REQUEST],
            loses: &[(ONE, FIRST_4)],
            ..four("replies only, the first 4 lost")
        },
        Case { loses: &[(ONE, SLOWLY)], ..four("ARP, 5 a second") },
        Case { deaf: &[REPLY], loses: &[(ONE, SLOWLY)], ..four("requests only, 5 a second") },
        Case { deaf: &[REQUEST], loses: &[(ONE, SLOWLY)], ..four("replies only, 5 a second") },
        Case { loses: &[(EITHER, POLICED)], ..case("8 addresses, 10 a second", Of::AllFour) },
        six("neighbour discovery"),
        Case { loses: &[(ADVERTISEMENT, FIRST_4)], ..six("neighbour discovery, the first 4 lost") },
        Case { loses: &[(ADVERTISEMENT, SLOWLY)], ..six("neighbour discovery, 5 a second") },
    ]
}

/// None of these learns anything from announcements: without them, nobody would in time.
fn hopeless() -> Vec<Case> {
    vec![
        Case { loses: &[(EITHER, "drop")], ..case("ARP, all lost", Of::Four) },
        Case {
            sysctl: Some("net.ipv4.conf.eth0.drop_gratuitous_arp"),
            ..case("ARP, heeds no announcement", Of::Four)
        },
        Case {
            sysctl: Some("net.ipv6.conf.eth0.drop_unsolicited_na"),
            ..case("neighbour discovery, heeds no announcement", Of::Six)
        },
    ]
}

#[test]
fn whatever_client_and_switch_are_like_the_client_learns_of_a_failover() {
    let mut bench = Bench::new();
    let mut late = Vec::new();
    for case in cases() {
        let took = bench.run(&case);
        let slowest = took.values().max().unwrap();
        println!("{:44} {slowest:?}", case.name);
        if took.values().any(|took| took.is_none_or(|took| took > LEARNT)) {
            late.push((case.name, took));
        }
    }
    assert!(late.is_empty(), "{late:#?}");
}

#[test]
fn a_client_that_heeds_no_announcement_learns_nothing() {
    let mut bench = Bench::new();
    for case in hopeless() {
        let took = bench.run(&case);
        println!("{:44} {took:?}", case.name);
        assert!(took.values().all(Option::is_none), "{}: {took:?}", case.name);
    }
}

/// Two hosts, one of which has all addresses of the group, and a client.
struct Bench {
    trial: Trial,
    holder: u8,
    echoes: Vec<Echo>,
}

impl Bench {
    fn new() -> Self {
        let mut trial = Trial::new().unwrap();
        trial.floating = (0..MANY).collect();
        let client = &trial.client;
        client.run("ip", &["-6", "address", "add", "fd77::50/64", "dev", "eth0", "nodad"]).unwrap();
        for family in ["ipv4", "ipv6"] {
            let hour = format!("net.{family}.neigh.eth0.base_reachable_time_ms=3600000");
            client.run("sysctl", &["-qw", &hour]).unwrap();
        }
        let mut bench = Self { trial, holder: 1, echoes: Vec::new() };
        bench.start(1);
        bench.settle(1, &[1]);
        bench.start(2);
        bench.settle(1, &[1, 2]);
        bench
            .trial
            .bed
            .on_switch("bridge", &["link", "set", "dev", "h1-eth0", "flood", "off"])
            .unwrap();
        bench
            .trial
            .bed
            .on_switch("bridge", &["link", "set", "dev", "h2-eth0", "flood", "off"])
            .unwrap();
        bench
    }

    /// Starts a host that talks to the other on a network of their own.
    fn start(&mut self, number: u8) {
        let trial = &mut self.trial;
        trial.add(number).unwrap();
        trial.bed.second_network(trial.get(number)).unwrap();
        let own = format!("fd77::{number}/64");
        trial
            .get(number)
            .run("ip", &["-6", "address", "add", &own, "dev", "eth0", "nodad"])
            .unwrap();
        self.echoes.push(Echo::start(trial.get(number), number));
        let config = trial.config(number, &[], "").unwrap();
        let config = config
            .replace("control_interfaces = [\"eth0\"]", "control_interfaces = [\"eth1\"]")
            .replace("floating = [", &format!("floating = [\"{SIX}\", "));
        trial.host(number).start_agent(&config).unwrap();
    }

    /// Waits until one host has everything, and these are in sight.
    fn settle(&mut self, holder: u8, running: &[u8]) {
        let all: Vec<IpAddr> = [Of::AllFour, Of::Six].into_iter().flat_map(Of::addresses).collect();
        for &number in running {
            let settled = self.trial.host(number).wait_status("all to settle", LIMIT, |status| {
                let held = |&address: &IpAddr| status.holder(address) == Some(id(holder));
                status.hosts() == running.len() && all.iter().all(held)
            });
            settled.unwrap();
        }
    }

    /// Kills the holder; when the client had its first answer from the other, by address.
    fn run(&mut self, case: &Case) -> BTreeMap<IpAddr, Option<Duration>> {
        let (old, new) = (self.holder, 3 - self.holder);
        self.prepare(case, old);
        let addresses = case.of.addresses();
        let socket = client_socket(&self.trial.client);
        // What it believes now is right.
        let before = learn(&socket, &addresses, old, LIMIT);
        assert!(before.values().all(Option::is_some), "{}: {before:?}", case.name);
        let port = format!("h{new}-eth0");
        let forget = ["link", "set", "dev", &port, "type", "bridge_slave", "fdb_flush"];
        self.trial.bed.on_switch("ip", &forget).unwrap();
        self.trial.host(old).kill_agent().unwrap();
        let took = learn(&socket, &addresses, new, LEARNT);
        self.undo(case);
        self.settle(new, &[new]);
        self.trial.host(old).restart_agent().unwrap();
        self.settle(new, &[1, 2]);
        self.holder = new;
        took
    }

    fn prepare(&self, case: &Case, holder: u8) {
        let (client, bed) = (&self.trial.client, &self.trial.bed);
        let deaf: Vec<String> = case.deaf.iter().map(|form| format!("{form} drop")).collect();
        let rules = format!(
            "table netdev case {{\nchain in {{\n\
             type filter hook ingress device eth0 priority 0\n{}\n}}\n}}\n",
            deaf.join("\n")
        );
        client.run("nft", &[&rules]).unwrap();
        // Each frame is judged for each port that it goes out of.
        let lost = case.loses.iter().map(|(what, how)| format!("oifname client-eth0 {what} {how}"));
        let rules = format!(
            "table bridge case {{\nchain forward {{\n\
             type filter hook forward priority 1\n{}\n}}\n}}\n",
            lost.collect::<Vec<_>>().join("\n")
        );
        bed.on_switch("nft", &[&rules]).unwrap();
        if let Some(key) = case.sysctl {
            client.run("sysctl", &["-qw", &format!("{key}=1")]).unwrap();
        }
        let mac = mac_of(self.trial.get(holder));
        for address in case.of.addresses() {
            let words = ["neigh", "replace", &address.to_string(), "lladdr", &mac];
            client.run("ip", &[&words[..], &["dev", "eth0", "nud", "reachable"]].concat()).unwrap();
        }
    }

    fn undo(&self, case: &Case) {
        let (client, bed) = (&self.trial.client, &self.trial.bed);
        client.run("nft", &["delete table netdev case"]).unwrap();
        bed.on_switch("nft", &["delete table bridge case"]).unwrap();
        if let Some(key) = case.sysctl {
            client.run("sysctl", &["-qw", &format!("{key}=0")]).unwrap();
        }
    }
}

/// The hardware address of a host's `eth0`. Its `/sys` would be this machine's.
fn mac_of(host: &Host) -> String {
    let link = host.run("ip", &["-j", "link", "show", "dev", "eth0"]).unwrap();
    let link: serde_json::Value = serde_json::from_str(&link).unwrap();
    link.pointer("/0/address").and_then(|mac| mac.as_str()).unwrap().to_owned()
}

/// For IPv4 and IPv6.
fn client_socket(client: &Host) -> UdpSocket {
    let socket = client.inside(|| UdpSocket::bind("[::]:0").unwrap()).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// Asks until this host has answered for every address, or the limit is over; when it did first.
fn learn(
    socket: &UdpSocket,
    addresses: &[IpAddr],
    host: u8,
    limit: Duration,
) -> BTreeMap<IpAddr, Option<Duration>> {
    let start = clock::now();
    let mut took: BTreeMap<IpAddr, Option<Duration>> =
        addresses.iter().map(|&address| (address, None)).collect();
    while clock::now().since(start) < limit && took.values().any(Option::is_none) {
        for (&address, _) in took.iter().filter(|(_, took)| took.is_none()) {
            let to = match address {
                IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                IpAddr::V6(v6) => v6,
            };
            // Where the switch is full of what nobody takes, that is no fault of the agents'.
            match socket.send_to(&to.octets(), (to, PORT)) {
                Err(error) if error.kind() != ErrorKind::WouldBlock => panic!("{error}"),
                _ => {}
            }
        }
        pause(PERIOD);
        let mut answer = [0; 17];
        while let Ok((17, _)) = socket.recv_from(&mut answer) {
            let (asked, by) = answer.split_first_chunk::<16>().unwrap();
            let asked = Ipv6Addr::from(*asked).to_canonical();
            if by == [host] {
                took.entry(asked).and_modify(|took| {
                    took.get_or_insert(clock::now().since(start));
                });
            }
        }
    }
    took
}

/// Sends each datagram back with the number of its host, until it is dropped.
struct Echo(Arc<AtomicBool>);

impl Echo {
    fn start(host: &Host, number: u8) -> Self {
        let open = || UdpSocket::bind((Ipv6Addr::UNSPECIFIED, PORT)).unwrap();
        let socket = host.inside(open).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ended);
        std::thread::spawn(move || {
            let mut datagram = [0; 17];
            while !end.load(Ordering::Relaxed) {
                if let Ok((16, from)) = socket.recv_from(&mut datagram) {
                    datagram[16] = number;
                    // Nobody to hear it: the client goes on asking.
                    socket.send_to(&datagram, from).ok();
                }
            }
        });
        Self(ended)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
