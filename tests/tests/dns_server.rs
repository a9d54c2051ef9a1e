//! Real agents that answer for their group's zone, asked by dig: busy hosts leave the zone and
//! return, dead ones leave at once, and neither a flood of questions nor nonsense does any harm.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use rais_tests::netns::Host;
use rais_tests::questions::{Asker, Said};
use rais_tests::scripts::Scripts;
use rais_tests::trial::{LIMIT, Trial, id, service};
use rais_tests::wait;

/// Three hosts with an address each, one that floats, and loads to be set; each answers for the
/// zone.
struct Zone {
    trial: Trial,
    scripts: Scripts,
}

impl Zone {
    fn start(more: &str) -> Self {
        let (mut trial, scripts) = (Trial::new().unwrap(), Scripts::new().unwrap());
        trial.floating = vec![0];
        for number in 1..=3 {
            let zone = Self::section(&scripts, number, more);
            trial.start(number, &[number], &zone).unwrap();
        }
        trial.settle(&[(1, 1), (2, 2), (3, 3)]).unwrap();
        Self { trial, scripts }
    }

    fn section(scripts: &Scripts, number: u8, more: &str) -> String {
        let program = scripts.program(&format!("load{number}"), &format!("cat busy{number}"));
        let program = program.unwrap();
        let program = program.display();
        fs::write(scripts.path(&format!("busy{number}")), "100\n").unwrap();
        format!(
            "high_water = 800\nlow_water = 500\nspread = false\n[[group.load]]\nkind = \
             \"script\"\ncommand = \"{program}\"\ninterval = \"50ms\"\ntimeout = \"2s\"\ncapacity = \
             1000\n[group.dns]\nzone = \"web.example.net.\"\nname = \"www\"\nttl = \"1s\"\n{more}\n"
        )
    }

    /// Sets the load of a host, and waits until it is known there.
    fn load(&self, number: u8, load: u32) {
        let path = self.scripts.path(&format!("busy{number}"));
        let fresh = self.scripts.path("fresh");
        fs::write(&fresh, format!("{load}\n")).unwrap();
        fs::rename(fresh, path).unwrap();
        let host = self.trial.get(number);
        let known = |group: &rais::status::Group| {
            group.hosts.iter().any(|h| h.id == id(number) && h.load == load)
        };
        host.wait_group("the load to be known", LIMIT, known).unwrap();
    }

    /// What dig is told of the zone's name by the server on a host; nothing while there is none.
    fn ask(&self, number: u8) -> BTreeSet<IpAddr> {
        let server = format!("@{}", id(number));
        let said = try_dig(&self.trial.client, &[&server, "www.web.example.net", "A", "+short"]);
        said.unwrap_or_default().lines().map(|line| line.parse().unwrap()).collect()
    }

    /// Waits until the servers on these hosts advertise these addresses.
    fn wait(&self, what: &str, servers: &[u8], addresses: &[u8]) {
        let wanted: BTreeSet<IpAddr> = addresses.iter().map(|&n| service(n)).collect();
        for &server in servers {
            let mut last = BTreeSet::new();
            let same = wait::until(what, LIMIT, || {
                last = self.ask(server);
                Ok((last == wanted).then_some(()))
            });
            same.unwrap_or_else(|e| panic!("{e}: h{server} says {last:?}, not {wanted:?}"));
        }
    }
}

fn dig(client: &Host, arguments: &[&str]) -> String {
    try_dig(client, arguments).unwrap()
}

/// An error where no server answers.
fn try_dig(client: &Host, arguments: &[&str]) -> anyhow::Result<String> {
    let mut all = vec!["+time=2", "+tries=1"];
    all.extend(arguments);
    client.run("dig", &all)
}

#[test]
fn busy_hosts_leave_the_zone_and_return_and_dead_ones_leave_at_once() {
    let mut zone = Zone::start("");
    let all = [1, 2, 3];
    zone.wait("all to be advertised", &all, &[0, 1, 2, 3]);

    // Between the marks a host stays what it was.
    zone.load(3, 800);
    zone.wait("h3 to stay", &all, &[0, 1, 2, 3]);
    zone.load(3, 801);
    zone.wait("h3 to leave", &all, &[0, 1, 2]);
    let group = zone.trial.get(1).group().unwrap();
    let dns = group.dns.unwrap();
    assert_eq!(dns.withheld, [service(3)]);
    assert_eq!(dns.reasons[&service(3)], "busy");
    assert!(dns.publishes && dns.trouble.is_none() && dns.serial.is_some());
    let said = zone.trial.get(1).ask(&["status"]).unwrap();
    let line = "dns: advertised 10.77.0.100, 10.77.0.101, 10.77.0.102; withheld 10.77.0.103 (busy)";
    assert!(said.contains(line), "{said}");
    let said = zone.trial.get(1).ask(&["events"]).unwrap();
    let line = "dns-withheld 10.77.0.103: its host is busy, at 801 (busy)";
    assert!(said.contains(line), "{said}");
    assert!(said.contains("dns-advertised 10.77.0.103 to 10.77.0.3"), "{said}");
    zone.load(3, 501);
    zone.load(2, 900);
    zone.wait("h2 to leave, and h3 not to return yet", &all, &[0, 1]);
    // The least busy of those above the mark stays: h1 at 850 before h2 at 900.
    zone.load(3, 950);
    zone.load(1, 850);
    zone.wait("the least busy to stay", &all, &[0, 1]);
    zone.load(3, 500);
    zone.wait("h3 to return, and h1 to leave", &all, &[0, 3]);
    zone.load(1, 100);
    zone.load(2, 100);
    zone.wait("all to return", &all, &[0, 1, 2, 3]);

    let events = zone.trial.get(1).events().unwrap();
    let about = |kind: &str, n: u8| {
        events.iter().filter(|e| e.kind == kind && e.address == Some(service(n))).count()
    };
    assert!(about("dns-withheld", 3) >= 2 && about("dns-advertised", 3) >= 2);

    // A killed host's address is with another host soon, and never advertised there.
    let before = zone.ask(1);
    zone.trial.host(2).kill_agent().unwrap();
    zone.wait("the killed host to leave", &[1, 3], &[0, 1, 3]);
    zone.trial.settle_among(&[1, 3], &[(1, 1), (3, 3)]).unwrap();
    assert!(before.contains(&service(2)));
    zone.wait("the orphan to stay out", &[1, 3], &[0, 1, 3]);
    let dns = zone.trial.get(1).group().unwrap().dns.unwrap();
    assert_eq!(dns.withheld, [service(2)]);
    zone.trial.get(3).ask(&["quiesce"]).unwrap();
    zone.wait("the quiesced host to leave", &[1, 3], &[0, 1]);
    zone.trial.get(3).ask(&["resume"]).unwrap();
    zone.trial.host(2).restart_agent().unwrap();
    zone.wait("both to return", &all, &[0, 1, 2, 3]);
}

#[test]
fn dig_gets_whole_and_proper_answers() {
    let zone = Zone::start("nameservers = ['ns1 10.77.0.1', 'ns2 10.77.0.2', 'ns.example.org.']");
    zone.wait("all to be advertised", &[1, 2, 3], &[0, 1, 2, 3]);
    let client = &zone.trial.client;
    let ask = |arguments: &[&str]| dig(client, &[&["@10.77.0.1"], arguments].concat());

    let said = ask(&["web.example.net", "SOA", "+short"]);
    assert!(said.starts_with("ns1.web.example.net. hostmaster.web.example.net. "), "{said}");
    let said = ask(&["web.example.net", "NS", "+short"]);
    let servers: BTreeSet<&str> = said.lines().collect();
    let expected = ["ns.example.org.", "ns1.web.example.net.", "ns2.web.example.net."];
    assert_eq!(servers, expected.into());
    assert_eq!(ask(&["ns2.web.example.net", "A", "+short"]), "10.77.0.2\n");
    assert_eq!(ask(&["+tcp", "ns1.web.example.net", "A", "+short"]), "10.77.0.1\n");

    let said = ask(&["www.web.example.net", "A"]);
    assert!(said.contains("status: NOERROR") && said.contains("flags: qr aa rd;"), "{said}");
    assert!(said.contains("ANSWER: 4,") && said.contains("\t1\tIN\tA\t10.77.0.101"), "{said}");
    assert!(!said.contains("WARNING: Message parser") && said.contains("EDNS: version: 0"));
    // What else dig says of servers that do not do what they should.
    assert!(!said.contains("malformed") && !said.contains("extra bytes"), "{said}");
    let said = ask(&["www.web.example.net", "AAAA"]);
    assert!(said.contains("status: NOERROR") && said.contains("ANSWER: 0, AUTHORITY: 1"), "{said}");
    let said = ask(&["nothing.web.example.net", "A"]);
    assert!(said.contains("status: NXDOMAIN") && said.contains("AUTHORITY: 1"), "{said}");
    let said = ask(&["www.example.org", "A"]);
    assert!(said.contains("status: REFUSED") && !said.contains(" aa"), "{said}");
    let said = ask(&["web.example.net", "AXFR"]);
    assert!(said.contains("Transfer failed"), "{said}");

    let first: BTreeSet<String> = (0..8)
        .map(|_| ask(&["www.web.example.net", "+short"]).lines().next().unwrap().to_owned())
        .collect();
    assert_eq!(first.len(), 4, "{first:?}");
}

#[test]
fn a_port_that_is_taken_holds_nothing_up_and_is_used_when_it_is_free() {
    let mut trial = Trial::new().unwrap();
    trial.add(1).unwrap();
    let taken = trial.get(1).inside(|| std::net::UdpSocket::bind("10.77.0.1:53").unwrap()).unwrap();
    let dns = "[group.dns]\nzone = 'web.example.net'\n";
    let config = trial.config(1, &[1], dns).unwrap();
    trial.host(1).start_agent(&config).unwrap();
    trial.settle(&[(1, 1)]).unwrap();
    let trouble = |group: &rais::status::Group| {
        let trouble = group.dns.as_ref().and_then(|dns| dns.trouble.as_ref());
        trouble.is_some_and(|t| t.contains("cannot listen on 10.77.0.1:53: Address already in use"))
    };
    trial.get(1).wait_group("trouble", LIMIT, trouble).unwrap();
    drop(taken);
    let well = |group: &rais::status::Group| {
        group.dns.as_ref().is_some_and(|dns| dns.trouble.is_none() && dns.advertised.len() == 1)
    };
    // The pauses between attempts grow to eight seconds meanwhile, if the machine is slow.
    let limit = LIMIT + Duration::from_secs(10);
    trial.get(1).wait_group("no trouble", limit, well).unwrap();
    assert_eq!(
        dig(&trial.client, &["@10.77.0.1", "web.example.net", "+short"]),
        format!("{}\n", service(1))
    );
    let kinds: Vec<String> = trial.get(1).events().unwrap().into_iter().map(|e| e.kind).collect();
    assert!(kinds.iter().any(|kind| kind == "dns-trouble"), "{kinds:?}");
    assert!(kinds.iter().any(|kind| kind == "dns-recovered"), "{kinds:?}");
}

#[test]
fn an_observer_answers_while_it_is_not_cut_off() {
    let mut trial = Trial::new().unwrap();
    trial.quorum = 2;
    trial.start(1, &[1], "").unwrap();
    trial.start(2, &[2], "").unwrap();
    let section = "role = 'observer'\n[group.dns]\nzone = 'web.example.net'\nname = 'www'\n";
    trial.start(3, &[], section).unwrap();
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    let ask = |trial: &Trial| {
        try_dig(&trial.client, &["@10.77.0.3", "www.web.example.net", "A"]).unwrap_or_default()
    };
    let wait = |trial: &Trial, what: &str, wanted: &[&str]| {
        let said = wait::until(what, LIMIT, || {
            let said = ask(trial);
            Ok(wanted.iter().all(|part| said.contains(part)).then_some(()))
        });
        said.unwrap_or_else(|e| panic!("{e}: {}", ask(trial)));
    };
    wait(&trial, "both", &["status: NOERROR", "ANSWER: 2,", "10.77.0.101", "10.77.0.102"]);
    assert!(trial.get(1).group().unwrap().dns.is_none());

    // Whom it has lost sight of may be well: somebody else may know.
    trial.bed.part(trial.get(3), &[trial.get(1), trial.get(2)]).unwrap();
    wait(&trial, "no answer", &["status: SERVFAIL", "ANSWER: 0,"]);
    assert!(trial.get(3).group().unwrap().dns.unwrap().advertised.is_empty());
    trial.bed.heal().unwrap();
    wait(&trial, "both again", &["status: NOERROR", "ANSWER: 2,"]);
    trial.host(2).terminate_agent().unwrap();
    trial.host(2).wait_agent_end(LIMIT).unwrap();
    wait(&trial, "one", &["status: NOERROR", "ANSWER: 1,", "10.77.0.101"]);
}

// As many questions as are answered, for two seconds → no heartbeat is missed for that.
#[test]
fn a_flood_of_questions_is_answered_and_nobody_takes_the_host_for_dead() {
    let trial = Trial::of(2, "[group.dns]\nzone = 'web.example.net'\n").unwrap();
    let mut asker = Asker::new(&trial.client, [10, 77, 0, 1], "web.example.net").unwrap();
    let both = |said: &Said| said.addresses.len() == 2;
    wait::until("the server", LIMIT, || Ok(asker.ask()?.filter(both))).unwrap();
    let last = [1, 2].map(|number| trial.get(number).last_event().unwrap());
    let flood = asker.flood(Duration::from_secs(2)).unwrap();
    println!("{:.0} answers a second: {flood:?}", flood.rate());
    assert!(flood.answered > 1_000 && flood.refused == 0, "{flood:?}");
    for (number, last) in [1, 2].into_iter().zip(last) {
        let mut events = trial.get(number).events_after(last).unwrap();
        events.retain(|e| ["host-down", "lease-lapsed", "dns-trouble"].contains(&e.kind.as_str()));
        assert!(events.is_empty(), "{events:?}");
    }
    assert!(asker.ask().unwrap().as_ref().is_some_and(both));
}

/// Numbers that look random and are the same in each run.
struct Random(u64);

impl Random {
    fn byte(&mut self) -> u8 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.0.to_be_bytes()[0]
    }
}

#[test]
fn nonsense_by_the_thousand_leaves_it_answering() {
    use std::io::Write;
    use std::net::{TcpStream, UdpSocket};

    let mut trial = Trial::new().unwrap();
    trial.start(1, &[1], "[group.dns]\nzone = 'web.example.net'\n").unwrap();
    trial.settle(&[(1, 1)]).unwrap();
    let address = format!("{}\n", service(1));
    let ask = |trial: &Trial, how: &str| {
        dig(&trial.client, &["@10.77.0.1", how, "web.example.net", "A", "+short"])
    };
    let advertises =
        |group: &rais::status::Group| group.dns.as_ref().is_some_and(|dns| dns.serial.is_some());
    trial.get(1).wait_group("the server", LIMIT, advertises).unwrap();
    let pid = trial.host(1).agent_pid();
    trial
        .client
        .inside(|| {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            let mut random = Random(1);
            for round in 0..5_000 {
                let length = usize::from(random.byte()) + 12 * (round % 2);
                let mut bytes: Vec<u8> = (0..length).map(|_| random.byte()).collect();
                // A header that claims a question, for every other one.
                if round % 2 == 0 && bytes.len() > 12 {
                    bytes[2..12].copy_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
                }
                socket.send_to(&bytes, "10.77.0.1:53").unwrap();
            }
            // More connections than are served at a time, that say too little or nonsense.
            let connections: Vec<TcpStream> = (0..100)
                .map(|round| {
                    let mut stream = TcpStream::connect("10.77.0.1:53").unwrap();
                    let length = usize::from(random.byte());
                    let bytes: Vec<u8> = (0..length).map(|_| random.byte()).collect();
                    if round % 3 > 0 {
                        // The other end may have closed already.
                        stream.write_all(&bytes).ok();
                    }
                    stream
                })
                .collect();
            drop(connections);
        })
        .unwrap();
    assert_eq!(ask(&trial, "+notcp"), address);
    let over_tcp = wait::until("an answer over TCP", LIMIT, || {
        let said = trial.client.run(
            "dig",
            &["@10.77.0.1", "+tcp", "+time=1", "+tries=1", "web.example.net", "A", "+short"],
        );
        Ok(said.ok().filter(|said| *said == address))
    });
    over_tcp.unwrap();
    assert_eq!(trial.host(1).agent_pid(), pid);
    trial.settle(&[(1, 1)]).unwrap();
}
