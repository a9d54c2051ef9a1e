//! Moves, ends and restarts of agents under ten thousand packets a second: none is lost, also where
//! the client never learns that an address has changed its host.
//!
//! One run each; `RAIS_HANDOVER_RUNS=5` makes five. Each says what it measured.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use rais_tests::probe::AddressReport;
use rais_tests::trial::{Eye, LIMIT, TIMEOUT, Trial, id, service};

/// An echo each tenth of a millisecond.
const CLOSELY: [&str; 2] = ["--period-us", "100"];

fn runs() -> u32 {
    std::env::var("RAIS_HANDOVER_RUNS").map_or(1, |runs| runs.parse().unwrap())
}

/// Host 1 has address 1, host 2 could take it.
fn pair() -> Trial {
    let mut trial = Trial::new().unwrap();
    trial.start(1, &[1], "").unwrap();
    trial.start(2, &[], "").unwrap();
    trial.settle(&[(1, 1)]).unwrap();
    trial
}

/// The client sends everything for the address to this host from now on, whatever it hears.
fn believe(trial: &Trial, host: u8) {
    let link = trial.get(host).run("ip", &["-j", "link", "show", "dev", "eth0"]).unwrap();
    let link: serde_json::Value = serde_json::from_str(&link).unwrap();
    let mac = link.pointer("/0/address").and_then(|mac| mac.as_str()).unwrap();
    let address = service(1).to_string();
    let words = ["neigh", "replace", &address, "lladdr", mac, "dev", "eth0", "nud", "permanent"];
    trial.client.run("ip", &words).unwrap();
}

/// Ends a window in which nothing was to be lost.
fn look(eye: &mut Eye, what: &str) -> AddressReport {
    let seen: BTreeMap<u8, AddressReport> = eye.look().unwrap();
    let seen = seen.get(&1).unwrap().clone();
    let AddressReport { sent, lost, outage_ms, answered_twice, arp_doubled, .. } = seen;
    println!(
        "{what}: sent {sent}, lost {lost}, answered twice {answered_twice}, longest gap \
         {outage_ms:.2} ms, {:?}",
        seen.hosts
    );
    assert_eq!((arp_doubled, answered_twice), (0, 0), "{what}: two hosts answered");
    seen
}

fn nothing_lost(eye: &mut Eye, what: &str, hosts: &[&str]) {
    let seen = look(eye, what);
    assert!(seen.sent > 1_000, "{what}: {} sent", seen.sent);
    assert_eq!(seen.lost, 0, "{what}");
    assert_eq!(seen.hosts.keys().collect::<Vec<_>>(), hosts, "{what}");
}

/// `rais move` of address 0, there and back.
#[test]
fn a_planned_move_loses_nothing() {
    let mut trial = Trial::new().unwrap();
    trial.floating = vec![1];
    trial.start(1, &[], "").unwrap();
    trial.start(2, &[], "").unwrap();
    let group = trial.get(1).wait_group("a holder", LIMIT, |group| {
        group.hosts.len() == 2 && group.addresses.iter().all(|a| a.holders.len() == 1)
    });
    let first = if group.unwrap().addresses[0].holders == [id(1)] { 1 } else { 2 };
    for stale in [false, true] {
        if stale {
            believe(&trial, first);
        }
        for run in 1..=runs() {
            let mut eye = trial.watch_closely(&[1], &CLOSELY).unwrap();
            for to in [3 - first, first] {
                let (address, host) = (service(1).to_string(), id(to).to_string());
                trial.get(1).ask(&["move", &address, &host]).unwrap();
                trial.settle(&[(1, to)]).unwrap();
                let what = format!("move {run} to h{to}, stale client: {stale}");
                nothing_lost(&mut eye, &what, &["h1", "h2"]);
            }
        }
    }
}

/// The agent of the holder ends by SIGTERM, and perhaps starts again, as another file.
fn restart(trial: &mut Trial, upgrade: bool, stale: bool, run: u32) {
    let mut eye = trial.watch_closely(&[1], &CLOSELY).unwrap();
    trial.host(1).terminate_agent().unwrap();
    assert!(trial.host(1).wait_agent_end(LIMIT).unwrap().success());
    trial.settle(&[(1, 2)]).unwrap();
    nothing_lost(&mut eye, &format!("SIGTERM {run}, stale client: {stale}"), &["h1", "h2"]);
    let before = trial.get(1).attached().unwrap();
    if upgrade {
        trial.host(1).upgrade().unwrap();
    }
    trial.host(1).restart_agent().unwrap();
    trial.settle(&[(1, 1)]).unwrap();
    let what = if upgrade { "upgrade" } else { "restart" };
    nothing_lost(&mut eye, &format!("{what} {run}, stale client: {stale}"), &["h1", "h2"]);
    let after = trial.get(1).attached().unwrap();
    assert_eq!(after.link, before.link, "the link was adopted");
    assert_ne!(after.program, before.program, "the program was replaced");
}

#[test]
fn sigterm_restart_and_upgrade_lose_nothing() {
    let mut trial = pair();
    for stale in [false, true] {
        if stale {
            believe(&trial, 1);
        }
        for run in 1..=runs() {
            restart(&mut trial, false, stale, run);
            restart(&mut trial, true, stale, run);
        }
    }
    let dumped = trial.get(1).dump("COUNTERS").unwrap();
    println!("{}", serde_json::to_string(&dumped).unwrap());
}

// Without a SIGTERM there is no hand-over: the address is answered for again once the others have
// noticed, or the agent that was started at once has taken part again.
#[test]
fn a_killed_agent_that_starts_at_once_costs_a_failover() {
    let mut trial = pair();
    let mut eye = trial.watch_closely(&[1], &CLOSELY).unwrap();
    let before = trial.get(2).last_event().unwrap();
    trial.host(1).kill_agent().unwrap();
    trial.host(1).restart_agent().unwrap();
    trial.get(2).wait_event(before, "acquired", Some(service(1)), LIMIT).unwrap();
    trial.settle(&[(1, 1)]).unwrap();
    let seen = look(&mut eye, "SIGKILL and start");
    assert!(seen.lost > 0 && seen.answering);
    let limit = 10.0 * 1_000.0 * TIMEOUT.as_secs_f64();
    assert!(seen.outage_ms < limit, "{}", seen.outage_ms);
}
