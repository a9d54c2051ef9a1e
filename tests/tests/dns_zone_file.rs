//! Real agents and BIND on one host: a zone file with a reload, and BIND as a secondary of the
//! agent's own server.

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
use std::path::Path;
use std::time::Duration;

use rais_tests::bind::{Bind, key};
use rais_tests::netns::Host;
use rais_tests::trial::{LIMIT, Trial, service};
use rais_tests::wait;

/// Pauses between attempts grow while something is wrong.
const RETRIED: Duration = Duration::from_secs(40);

/// Waits until the server on a host says that the zone has these addresses.
fn wait_zone(host: &Host, server: &str, bind: &Bind, what: &str, addresses: &[u8]) {
    let wanted: BTreeSet<IpAddr> = addresses.iter().map(|&n| service(n).into()).collect();
    let mut last = String::new();
    let same = wait::until(what, RETRIED, || {
        let all = [server, "+time=2", "+tries=1", "+short", "www.web.example.net", "A"];
        last = host.run("dig", &all)?;
        let found: BTreeSet<IpAddr> = last.lines().filter_map(|line| line.parse().ok()).collect();
        Ok((found == wanted).then_some(()))
    });
    same.unwrap_or_else(|e| panic!("{e}: the zone says {last}; BIND: {}", bind.log()));
}

fn serial(host: &Host) -> u32 {
    let said = host.run("dig", &["@10.77.0.1", "+short", "web.example.net", "SOA"]).unwrap();
    said.split(' ').nth(2).unwrap().parse().unwrap()
}

/// BIND on h1 with the zone in a file, and the command that makes it read it.
fn bind_with_file(trial: &Trial, dir: &Path) -> (Bind, String) {
    fs::create_dir_all(dir).unwrap();
    let control = key(dir, "rndc.key", "hmac-sha256", "rndc").unwrap();
    // By hand, with a number that is above what the time gives for the next forty years.
    let text = "$TTL 60\n@ SOA ns host 3000000000 60 60 60 60\n@ NS ns\nns A 10.77.0.1\n";
    fs::write(dir.join("zone"), text).unwrap();
    let text = format!(
        "include \"{}\";\ncontrols {{ inet 10.77.0.1 port 953 allow {{ any; }} keys {{ rndc; }}; \
         }};\nzone \"web.example.net\" {{ type primary; file \"DIR/zone\"; }};\n",
        control.display()
    );
    let bind = Bind::start(trial.get(1), dir, &text).unwrap();
    let control = control.display();
    let reload = format!(
        "['/usr/sbin/rndc', '-k', '{control}', '-s', '10.77.0.1', 'reload', 'web.example.net']"
    );
    (bind, reload)
}

#[test]
fn a_zone_file_is_written_and_read_again() {
    let mut trial = Trial::new().unwrap();
    let dir = trial.bed.dir().join("bind");
    trial.add(1).unwrap();
    let (bind, reload) = bind_with_file(&trial, &dir);
    let section = format!(
        "[group.dns]\nzone = 'web.example.net'\nname = 'www'\nttl = '1s'\nbackend = \
         'zone-file'\nfile = '{}/zone'\nnameservers = ['ns 10.77.0.1']\nreload = {reload}\nserver \
         = '10.77.0.1:53'\n",
        dir.display()
    );
    let config = trial.config(1, &[1], &section).unwrap();
    trial.host(1).start_agent(&config).unwrap();
    trial.start(2, &[2], "").unwrap();
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    wait_zone(trial.get(1), "@10.77.0.1", &bind, "both", &[1, 2]);
    let first = serial(trial.get(1));
    assert!(first > 3_000_000_000, "{first}");
    trial.host(2).kill_agent().unwrap();
    wait_zone(trial.get(1), "@10.77.0.1", &bind, "the killed host to leave", &[1]);
    let second = serial(trial.get(1));
    assert!(second > first);
    // The name server has it before the agent knows.
    let well = |group: &rais::status::Group| {
        let dns = group.dns.as_ref();
        dns.is_some_and(|dns| dns.trouble.is_none() && dns.serial == Some(second))
    };
    trial.get(1).wait_group("no trouble", LIMIT, well).unwrap();
    // Nothing but the zone is beside it.
    let names: Vec<_> = fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("zone"))
        .collect();
    assert_eq!(names, ["zone"]);
}

#[test]
fn a_reload_that_fails_hangs_or_does_nothing_is_told_and_tried_again() {
    let mut trial = Trial::new().unwrap();
    let dir = trial.bed.dir().join("bind");
    trial.add(1).unwrap();
    let (bind, reload) = bind_with_file(&trial, &dir);
    let section = |reload: &str| {
        format!(
            "[group.dns]\nzone = 'web.example.net'\nname = 'www'\nbackend = 'zone-file'\nfile = \
             '{}/zone'\nnameservers = ['ns 10.77.0.1']\nreload = {reload}\nreload_timeout = \
             '1s'\nserver = '10.77.0.1:53'\n",
            dir.display()
        )
    };
    for (command, words) in [
        ("['/bin/false']", "reload: /bin/false exited with 1"),
        ("['/bin/sleep', '60']", "reload: /bin/sleep took longer than 1s and was killed"),
        ("['/bin/true']", "did not load zone web.example.net with serial 3"),
    ] {
        let config = trial.config(1, &[1], &section(command)).unwrap();
        trial.host(1).start_agent(&config).unwrap();
        let found = |group: &rais::status::Group| {
            group
                .dns
                .as_ref()
                .and_then(|dns| dns.trouble.as_ref())
                .is_some_and(|t| t.contains(words))
        };
        trial.get(1).wait_group(words, RETRIED, found).unwrap();
        trial.settle(&[(1, 1)]).unwrap();
        trial.host(1).terminate_agent().unwrap();
        trial.host(1).wait_agent_end(LIMIT).unwrap();
    }
    let config = trial.config(1, &[1], &section(&reload)).unwrap();
    trial.host(1).start_agent(&config).unwrap();
    wait_zone(trial.get(1), "@10.77.0.1", &bind, "the address", &[1]);
}

#[test]
fn bind_follows_the_agents_server_as_a_secondary() {
    let mut trial = Trial::new().unwrap();
    let host = trial.bed.host("ns", 60).unwrap();
    let dir = trial.bed.dir().join("bind");
    let zone = "zone \"web.example.net\" { type secondary; primaries { 10.77.0.1; }; file \
                \"DIR/copy\"; masterfile-format text; };";
    let section = "[group.dns]\nzone = 'web.example.net'\nname = 'www'\nnameservers = ['ns1 \
                   10.77.0.1', 'ns2 10.77.0.60']\nnotify = ['10.77.0.60:53']\ntransfer = \
                   ['10.77.0.60']\n";
    trial.start(1, &[1], section).unwrap();
    trial.start(2, &[2], "").unwrap();
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    // Only now: one that finds no primary at first tries again after a minute.
    wait::until("the agent to answer", LIMIT, || {
        let all = ["@10.77.0.1", "+time=1", "+tries=1", "+short", "www.web.example.net", "A"];
        Ok(host.run("dig", &all).ok().filter(|said| said.lines().count() == 2))
    })
    .unwrap();
    let bind = Bind::start(&host, &dir, zone).unwrap();
    wait_zone(&host, "@10.77.0.60", &bind, "both", &[1, 2]);
    // The secondary looks by itself once a minute: what comes sooner was told.
    trial.host(2).kill_agent().unwrap();
    wait_zone(&host, "@10.77.0.60", &bind, "the killed host to leave", &[1]);
    trial.host(2).restart_agent().unwrap();
    wait_zone(&host, "@10.77.0.60", &bind, "it to return", &[1, 2]);
    let log = bind.log();
    assert!(log.contains("received notify for zone 'web.example.net'"), "{log}");
    let said = host.run("dig", &["@10.77.0.60", "ns2.web.example.net", "+short"]).unwrap();
    assert_eq!(said, "10.77.0.60\n");
    let whole = host.run("dig", &["@10.77.0.1", "web.example.net", "AXFR", "+noall", "+answer"]);
    assert_eq!(whole.unwrap().lines().count(), 1 + 2 + 2 + 2 + 1);
    let refused = trial.client.run("dig", &["@10.77.0.1", "web.example.net", "AXFR"]).unwrap();
    assert!(refused.contains("Transfer failed"), "{refused}");
}
