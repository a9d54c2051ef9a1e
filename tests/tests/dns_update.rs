//! Real agents update a zone on BIND, signed: the leader does, the next one goes on, and a server
//! that is away or disagrees holds nothing up.

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
use std::path::PathBuf;
use std::time::Duration;

use rais_tests::bind::{Bind, key};
use rais_tests::knot::Knot;
use rais_tests::netns::Host;
use rais_tests::trial::{LIMIT, Trial, service};
use rais_tests::wait;

/// Pauses between attempts grow while a server is away.
const RETRIED: Duration = Duration::from_secs(40);

/// A name server with the zone, and agents.
struct Setting {
    bind: Bind,
    server: Host,
    key: PathBuf,
    trial: Trial,
}

impl Setting {
    fn new(algorithm: &str) -> Self {
        let trial = Trial::new().unwrap();
        let server = trial.bed.host("ns", 60).unwrap();
        let dir = trial.bed.dir().join("bind");
        fs::create_dir_all(&dir).unwrap();
        let key = key(&dir, "update.key", algorithm, "updates").unwrap();
        fs::write(
            dir.join("zone"),
            "$TTL 60\n@ SOA ns host 1 60 60 60 60\n@ NS ns\nns A 10.77.0.60\nwww A 192.0.2.1\nwww \
             TXT \"stays\"\n",
        )
        .unwrap();
        let text = format!(
            "include \"{}\";\nzone \"web.example.net\" {{ type primary; file \"DIR/zone\"; \
             allow-update {{ key updates; }}; }};\n",
            key.display()
        );
        let bind = Bind::start(&server, &dir, &text).unwrap();
        Self { bind, server, key, trial }
    }

    fn section(&self, zone: &str) -> String {
        let key = self.key.display();
        format!(
            "[group.dns]\nzone = \"{zone}\"\nname = \"www\"\nttl = \"1s\"\nbackend = \
             \"update\"\nserver = \"10.77.0.60:53\"\nkey_file = \"{key}\"\n"
        )
    }

    fn start(&mut self, hosts: u8, zone: &str) {
        for number in 1..=hosts {
            let section = self.section(zone);
            self.trial.start(number, &[number], &section).unwrap();
        }
        let homes: Vec<_> = (1..=hosts).map(|number| (number, number)).collect();
        self.trial.settle(&homes).unwrap();
    }

    fn ask(&self, name: &str, rtype: &str) -> String {
        let all = ["@10.77.0.60", "+time=2", "+tries=1", "+short", name, rtype];
        self.server.run("dig", &all).unwrap()
    }

    /// Waits until the zone has these addresses.
    fn wait(&self, what: &str, addresses: &[u8]) {
        let wanted: BTreeSet<IpAddr> = addresses.iter().map(|&n| service(n)).collect();
        let mut last = String::new();
        let same = wait::until(what, RETRIED, || {
            last = self.ask("www.web.example.net", "A");
            let found: BTreeSet<IpAddr> = last.lines().filter_map(|l| l.parse().ok()).collect();
            Ok((found == wanted).then_some(()))
        });
        same.unwrap_or_else(|e| panic!("{e}: the zone says {last}; BIND: {}", self.bind.log()));
    }

    /// Waits until an agent is in trouble, and says so in these words.
    fn wait_trouble(&self, host: u8, words: &str) {
        let found = |group: &rais::status::Group| {
            group
                .dns
                .as_ref()
                .and_then(|dns| dns.trouble.as_ref())
                .is_some_and(|t| t.contains(words))
        };
        self.trial.get(host).wait_group(words, RETRIED, found).unwrap();
        let said = self.trial.get(host).ask(&["events"]).unwrap();
        let told = said.lines().any(|l| l.contains("dns-trouble: ") && l.contains(words));
        assert!(told, "{words}: {said}");
    }

    /// Waits until an agent is in no trouble.
    fn wait_well(&self, host: u8) {
        let found = |group: &rais::status::Group| {
            group.dns.as_ref().is_some_and(|dns| dns.trouble.is_none())
        };
        self.trial.get(host).wait_group("no trouble", RETRIED, found).unwrap();
    }
}

#[test]
fn the_leader_updates_and_the_next_one_goes_on() {
    let mut setting = Setting::new("hmac-sha256");
    setting.start(3, "web.example.net");
    setting.wait("the zone to have all", &[1, 2, 3]);
    assert_eq!(setting.ask("www.web.example.net", "TXT"), "\"stays\"\n");
    let publishes = |setting: &Setting, host: u8| {
        setting.trial.get(host).group().unwrap().dns.unwrap().publishes
    };
    assert!(publishes(&setting, 1) && !publishes(&setting, 2) && !publishes(&setting, 3));
    let serial = setting.trial.get(1).group().unwrap().dns.unwrap().serial;
    let soa = setting.ask("web.example.net", "SOA");
    assert_eq!(soa.split(' ').nth(2).unwrap().parse().ok(), serial);

    setting.trial.host(2).kill_agent().unwrap();
    setting.wait("the killed host to leave", &[1, 3]);
    setting.trial.host(1).kill_agent().unwrap();
    setting.wait("the killed leader to leave", &[3]);
    setting.trial.host(1).restart_agent().unwrap();
    setting.trial.host(2).restart_agent().unwrap();
    setting.wait("both to return", &[1, 2, 3]);
    setting.wait_well(1);
}

#[test]
fn a_server_that_is_away_is_told_when_it_is_back() {
    let mut setting = Setting::new("hmac-sha512");
    setting.start(2, "web.example.net");
    setting.wait("the zone to have both", &[1, 2]);

    setting.bind.stop().unwrap();
    setting.trial.host(2).kill_agent().unwrap();
    setting.wait_trouble(1, "name server 10.77.0.60:53: Connection refused");
    // Nothing else waits for it.
    setting.trial.settle_among(&[1], &[(1, 1), (2, 1)]).unwrap();
    setting.bind.restart(&setting.server).unwrap();
    setting.wait("the killed host to leave", &[1]);
    setting.wait_well(1);
    let kinds: Vec<_> =
        setting.trial.get(1).events().unwrap().into_iter().map(|e| e.kind).collect();
    let position = |wanted: &str| kinds.iter().rposition(|kind| kind == wanted).unwrap();
    assert!(position("dns-trouble") < position("dns-recovered"), "{kinds:?}");

    // One that is there and says nothing.
    setting.server.run("nft", &["add table ip quiet; add chain ip quiet in { type filter hook input priority 0; tcp dport 53 drop; }"]).unwrap();
    setting.trial.host(2).restart_agent().unwrap();
    setting.wait_trouble(1, "no answer within 5s");
    setting.trial.settle(&[(1, 1), (2, 2)]).unwrap();
    setting.server.run("nft", &["delete table ip quiet"]).unwrap();
    setting.wait("the other host to return", &[1, 2]);
    setting.wait_well(1);
}

#[test]
fn another_key_and_another_zone_are_refused_in_plain_words() {
    let mut setting = Setting::new("hmac-sha256");
    let good = setting.key.clone();
    setting.key =
        key(&setting.trial.bed.dir().join("bind"), "bad.key", "hmac-sha256", "updates").unwrap();
    setting.start(1, "web.example.net");
    setting.wait_trouble(1, "name server 10.77.0.60:53 does not agree about the key");
    assert_eq!(setting.ask("www.web.example.net", "A"), "192.0.2.1\n");
    let log = setting.trial.get(1).log_tail();
    let secret = fs::read_to_string(&setting.key).unwrap();
    let secret = secret.split('"').nth(3).unwrap();
    assert!(secret.len() > 40 && !log.contains(secret), "{log}");

    setting.trial.host(1).terminate_agent().unwrap();
    setting.trial.host(1).wait_agent_end(LIMIT).unwrap();
    setting.key = good;
    let config = setting.trial.config(1, &[1], &setting.section("other.example.net")).unwrap();
    setting.trial.host(1).start_agent(&config).unwrap();
    setting.wait_trouble(1, "refused a question about zone other.example.net: REFUSED");

    setting.trial.host(1).terminate_agent().unwrap();
    setting.trial.host(1).wait_agent_end(LIMIT).unwrap();
    let config = setting.trial.config(1, &[1], &setting.section("web.example.net")).unwrap();
    setting.trial.host(1).start_agent(&config).unwrap();
    setting.wait("the zone to have it", &[1]);
}

#[test]
fn knot_is_updated_as_well() {
    let mut setting = Setting::new("hmac-sha512");
    setting.bind.stop().unwrap();
    let dir = setting.trial.bed.dir().join("knot");
    let _knot = Knot::start(&setting.server, &dir, Some(&setting.key)).unwrap();
    setting.start(2, "web.example.net");
    setting.wait("the zone to have both", &[1, 2]);
    setting.trial.host(2).kill_agent().unwrap();
    setting.wait("the killed host to leave", &[1]);
    setting.wait_well(1);

    setting.trial.host(1).terminate_agent().unwrap();
    setting.trial.host(1).wait_agent_end(LIMIT).unwrap();
    let config = setting.trial.config(1, &[1], &setting.section("other.example.net")).unwrap();
    setting.trial.host(1).start_agent(&config).unwrap();
    setting.wait_trouble(1, "about zone other.example.net: ");
}
