//! Real agents and a name server on one host: a zone file with a reload, for BIND and for Knot; and
//! BIND as a secondary of the agent's own server.

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

use rais::events::Event;
use rais_tests::bind::Bind;
use rais_tests::knot::Knot;
use rais_tests::netns::Host;
use rais_tests::trial::{LIMIT, Trial, service};
use rais_tests::wait;

/// Pauses between attempts grow while something is wrong.
const RETRIED: Duration = Duration::from_secs(40);

/// Waits until the server on a host says that the zone has these addresses. `log`: what the server
/// has said.
fn wait_zone(host: &Host, server: &str, log: impl Fn() -> String, what: &str, addresses: &[u8]) {
    let wanted: BTreeSet<IpAddr> = addresses.iter().map(|&n| service(n)).collect();
    let mut last = String::new();
    let same = wait::until(what, RETRIED, || {
        let all = [server, "+time=2", "+tries=1", "+short", "www.web.example.net", "A"];
        last = host.run("dig", &all)?;
        let found: BTreeSet<IpAddr> = last.lines().filter_map(|line| line.parse().ok()).collect();
        Ok((found == wanted).then_some(()))
    });
    same.unwrap_or_else(|e| panic!("{e}: the zone says {last}; the server: {}", log()));
}

fn serial(host: &Host) -> u32 {
    let said = host.run("dig", &["@10.77.0.1", "+short", "web.example.net", "SOA"]).unwrap();
    said.split(' ').nth(2).unwrap().parse().unwrap()
}

/// BIND on h1 with the zone in a file, and the command that makes it read it.
fn bind_with_file(trial: &Trial, dir: &Path) -> (Bind, String) {
    fs::create_dir_all(dir).unwrap();
    // By hand, with a number that is above what the time gives for the next forty years.
    let text = "$TTL 60\n@ SOA ns host 3000000000 60 60 60 60\n@ NS ns\nns A 10.77.0.1\n";
    fs::write(dir.join("zone"), text).unwrap();
    Bind::with_file(trial.get(1), dir).unwrap()
}

/// What an agent is told of the zone in `dir`.
fn section(dir: &Path, reload: &str, timeout: &str) -> String {
    format!(
        "[group.dns]\nzone = 'web.example.net'\nname = 'www'\nttl = '1s'\nbackend = \
         'zone-file'\nfile = '{}/zone'\nnameservers = ['ns 10.77.0.1']\nreload = \
         {reload}\nreload_timeout = '{timeout}'\nserver = '10.77.0.1:53'\n",
        dir.display()
    )
}

#[test]
fn a_zone_file_is_written_and_read_again() {
    let mut trial = Trial::new().unwrap();
    let dir = trial.bed.dir().join("bind");
    trial.add(1).unwrap();
    let (bind, reload) = bind_with_file(&trial, &dir);
    let section = section(&dir, &reload, "10s");
    let config = trial.config(1, &[1], &section).unwrap();
    trial.host(1).start_agent(&config).unwrap();
    trial.start(2, &[2], "").unwrap();
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    wait_zone(trial.get(1), "@10.77.0.1", || bind.log(), "both", &[1, 2]);
    let first = serial(trial.get(1));
    assert!(first > 3_000_000_000, "{first}");
    trial.host(2).kill_agent().unwrap();
    wait_zone(trial.get(1), "@10.77.0.1", || bind.log(), "the killed host to leave", &[1]);
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
    for (command, words) in [
        ("['/bin/false']", "reload: /bin/false exited with 1"),
        ("['/bin/sleep', '60']", "reload: /bin/sleep took longer than 1s and was killed"),
        ("['/bin/true']", "did not load zone web.example.net with serial 3"),
    ] {
        let config = trial.config(1, &[1], &section(&dir, command, "1s")).unwrap();
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
    let config = trial.config(1, &[1], &section(&dir, &reload, "1s")).unwrap();
    trial.host(1).start_agent(&config).unwrap();
    wait_zone(trial.get(1), "@10.77.0.1", || bind.log(), "the address", &[1]);
}

// Knot passes over a file whose modification time it knows already.
#[test]
fn knot_reads_each_file_as_well() {
    let mut trial = Trial::new().unwrap();
    let dir = trial.bed.dir().join("knot");
    trial.add(1).unwrap();
    let knot = Knot::start(trial.get(1), &dir, None).unwrap();
    let section = section(&dir, &Knot::reload(&dir), "10s");
    let config = trial.config(1, &[1], &section).unwrap();
    trial.host(1).start_agent(&config).unwrap();
    trial.start(2, &[2], "").unwrap();
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    let wait = |trial: &Trial, what: &str, addresses: &[u8]| {
        wait_zone(trial.get(1), "@10.77.0.1", || knot.log(), what, addresses);
    };
    for _ in 0..5 {
        wait(&trial, "both", &[1, 2]);
        trial.get(2).ask(&["quiesce"]).unwrap();
        wait(&trial, "the quiesced host to leave", &[1]);
        trial.get(2).ask(&["resume"]).unwrap();
    }
    let events = trial.get(1).events().unwrap();
    // At first there may be nothing to say; nothing else goes wrong.
    let other = |detail: &str| !detail.starts_with("no address is there");
    let trouble = |e: &Event| e.kind == "dns-trouble" && e.detail.as_deref().is_none_or(other);
    assert!(!events.iter().any(trouble), "{events:?}");
}

// The first command does its work and goes on for longer than anybody waits here → the next change
// waits for it no longer than until the name server has the zone, and then it is gone.
#[test]
fn a_command_that_goes_on_holds_no_change_up() {
    let mut trial = Trial::new().unwrap();
    let dir = trial.bed.dir().join("bind");
    trial.add(1).unwrap();
    let (bind, reload) = bind_with_file(&trial, &dir);
    let words = reload.strip_prefix('[').unwrap();
    let script = format!("echo $$ >> {}/commands; \"$@\"; sleep 300", dir.display());
    let reload = format!("['/bin/sh', '-c', '{script}', 'sh', {words}");
    let config = trial.config(1, &[1], &section(&dir, &reload, "120s")).unwrap();
    trial.host(1).start_agent(&config).unwrap();
    trial.start(2, &[2], "").unwrap();
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    wait_zone(trial.get(1), "@10.77.0.1", || bind.log(), "both", &[1, 2]);
    trial.get(2).ask(&["quiesce"]).unwrap();
    wait_zone(trial.get(1), "@10.77.0.1", || bind.log(), "the quiesced host to leave", &[1]);
    trial.get(2).ask(&["resume"]).unwrap();
    wait_zone(trial.get(1), "@10.77.0.1", || bind.log(), "it to return", &[1, 2]);
    let commands = fs::read_to_string(dir.join("commands")).unwrap();
    let runs = |pid: &&str| Path::new("/proc").join(pid).exists();
    assert!(commands.lines().count() >= 3, "{commands}");
    wait::until("all but the last command to be gone", LIMIT, || {
        Ok((commands.lines().filter(runs).count() <= 1).then_some(()))
    })
    .unwrap();
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
    wait_zone(&host, "@10.77.0.60", || bind.log(), "both", &[1, 2]);
    // The secondary looks by itself once a minute: what comes sooner was told.
    trial.host(2).kill_agent().unwrap();
    wait_zone(&host, "@10.77.0.60", || bind.log(), "the killed host to leave", &[1]);
    trial.host(2).restart_agent().unwrap();
    wait_zone(&host, "@10.77.0.60", || bind.log(), "it to return", &[1, 2]);
    let log = bind.log();
    assert!(log.contains("received notify for zone 'web.example.net'"), "{log}");
    let said = host.run("dig", &["@10.77.0.60", "ns2.web.example.net", "+short"]).unwrap();
    assert_eq!(said, "10.77.0.60\n");
    let whole = host.run("dig", &["@10.77.0.1", "web.example.net", "AXFR", "+noall", "+answer"]);
    assert_eq!(whole.unwrap().lines().count(), 1 + 2 + 2 + 2 + 1);
    let refused = trial.client.run("dig", &["@10.77.0.1", "web.example.net", "AXFR"]).unwrap();
    assert!(refused.contains("Transfer failed"), "{refused}");
}
