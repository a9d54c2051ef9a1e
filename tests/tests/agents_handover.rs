//! Moves, ends and restarts of agents under ten thousand packets a second: none is lost, also where
//! the client never learns that an address has changed its host. All of it with IPv4 and with IPv6
//! only, with the XDP program in generic mode and in native mode.
//!
//! One run each, in native mode without plain restarts; `RAIS_HANDOVER_RUNS=5` makes five of
//! everything. Each says what it measured.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::fmt;

use rais_tests::family::Family;
use rais_tests::many::eth0;
use rais_tests::probe::AddressReport;
use rais_tests::trial::{Eye, LIMIT, TIMEOUT, Trial};

/// An echo each tenth of a millisecond.
const CLOSELY: [&str; 2] = ["--period-us", "100"];

/// The family of all addresses, and the mode of the XDP program.
#[derive(Clone, Copy)]
struct Way {
    family: Family,
    native: bool,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = match self.family {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        };
        write!(f, "{family} {}", self.mode())
    }
}

/// Each test each way, in a module that is named after it.
macro_rules! each_way {
    ($($module:ident: $family:ident, $native:literal;)*) => {$(
        mod $module {
            use super::{Family, Way};

            const WAY: Way = Way { family: Family::$family, native: $native };

            #[test]
            fn a_planned_move_loses_nothing() {
                super::a_planned_move_loses_nothing(WAY);
            }

            #[test]
            fn sigterm_restart_and_upgrade_lose_nothing() {
                super::sigterm_restart_and_upgrade_lose_nothing(WAY);
            }

            #[test]
            fn a_killed_agent_that_starts_at_once_costs_a_failover() {
                super::a_killed_agent_that_starts_at_once_costs_a_failover(WAY);
            }
        }
    )*};
}

each_way! {
    ipv4: V4, false;
    ipv4_native: V4, true;
    ipv6: V6, false;
    ipv6_native: V6, true;
}

impl Way {
    const fn mode(self) -> &'static str {
        if self.native { "native" } else { "generic" }
    }

    /// A client, and no hosts yet.
    fn trial(self) -> Trial {
        let mut trial = Trial::with(self.family).unwrap();
        if self.native {
            trial.go_native().unwrap();
        }
        trial
    }

    /// Host 1 has address 1, host 2 could take it.
    fn pair(self) -> Trial {
        let mut trial = self.trial();
        trial.start(1, &[1], "").unwrap();
        trial.start(2, &[], "").unwrap();
        trial.settle(&[(1, 1)]).unwrap();
        self.check_mode(&trial);
        trial
    }

    fn check_mode(self, trial: &Trial) {
        for host in trial.hosts.values() {
            assert_eq!(host.group().unwrap().data_plane.mode, self.mode(), "{}", host.name());
        }
    }

    /// The client sends everything for the address to this host from now on, whatever it hears.
    fn believe(self, trial: &Trial, host: u8) {
        let (mac, _) = eth0(trial.get(host)).unwrap();
        let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
        let address = self.family.service(1).to_string();
        let words = ["replace", &address, "lladdr", &mac, "dev", "eth0", "nud", "permanent"];
        trial.client.run("ip", &[&["neighbour"], &words[..]].concat()).unwrap();
    }
}

fn runs() -> u32 {
    std::env::var("RAIS_HANDOVER_RUNS").map_or(1, |runs| runs.parse().unwrap())
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
fn a_planned_move_loses_nothing(way: Way) {
    let Way { family, .. } = way;
    let mut trial = way.trial();
    trial.floating = vec![1];
    trial.start(1, &[], "").unwrap();
    trial.start(2, &[], "").unwrap();
    let group = trial.get(1).wait_group("a holder", LIMIT, |group| {
        group.hosts.len() == 2 && group.addresses.iter().all(|a| a.holders.len() == 1)
    });
    let first = if group.unwrap().addresses[0].holders == [family.host(1)] { 1 } else { 2 };
    way.check_mode(&trial);
    for stale in [false, true] {
        if stale {
            way.believe(&trial, first);
        }
        for run in 1..=runs() {
            let mut eye = trial.watch_closely(&[1], &CLOSELY).unwrap();
            for to in [3 - first, first] {
                let [address, host] = [family.service(1), family.host(to)].map(|a| a.to_string());
                trial.get(1).ask(&["move", &address, &host]).unwrap();
                trial.settle(&[(1, to)]).unwrap();
                let what = format!("{way}: move {run} to h{to}, stale client: {stale}");
                nothing_lost(&mut eye, &what, &["h1", "h2"]);
            }
        }
    }
}

/// The agent of the holder ends by SIGTERM, and perhaps starts again, as another file.
fn restart(way: Way, trial: &mut Trial, upgrade: bool, stale: bool, run: u32) {
    let mut eye = trial.watch_closely(&[1], &CLOSELY).unwrap();
    trial.host(1).terminate_agent().unwrap();
    assert!(trial.host(1).wait_agent_end(LIMIT).unwrap().success());
    trial.settle(&[(1, 2)]).unwrap();
    nothing_lost(&mut eye, &format!("{way}: SIGTERM {run}, stale client: {stale}"), &["h1", "h2"]);
    let before = trial.get(1).attached().unwrap();
    if upgrade {
        trial.host(1).upgrade().unwrap();
    }
    trial.host(1).restart_agent().unwrap();
    trial.settle(&[(1, 1)]).unwrap();
    let what = if upgrade { "upgrade" } else { "restart" };
    nothing_lost(&mut eye, &format!("{way}: {what} {run}, stale client: {stale}"), &["h1", "h2"]);
    let after = trial.get(1).attached().unwrap();
    assert_eq!(after.link, before.link, "the link was adopted");
    assert_ne!(after.program, before.program, "the program was replaced");
}

fn sigterm_restart_and_upgrade_lose_nothing(way: Way) {
    let mut trial = way.pair();
    for stale in [false, true] {
        if stale {
            way.believe(&trial, 1);
        }
        for run in 1..=runs() {
            // An upgrade is a restart, too: where there is one run only, time is saved.
            if !way.native || runs() > 1 {
                restart(way, &mut trial, false, stale, run);
            }
            restart(way, &mut trial, true, stale, run);
        }
    }
    let dumped = trial.get(1).dump("COUNTERS").unwrap();
    println!("{}", serde_json::to_string(&dumped).unwrap());
}

// Without a SIGTERM there is no hand-over: the address is answered for again once the others have
// noticed, or the agent that was started at once has taken part again.
fn a_killed_agent_that_starts_at_once_costs_a_failover(way: Way) {
    let mut trial = way.pair();
    let mut eye = trial.watch_closely(&[1], &CLOSELY).unwrap();
    let before = trial.get(2).last_event().unwrap();
    trial.host(1).kill_agent().unwrap();
    trial.host(1).restart_agent().unwrap();
    trial.get(2).wait_event(before, "acquired", Some(way.family.service(1)), LIMIT).unwrap();
    trial.settle(&[(1, 1)]).unwrap();
    let seen = look(&mut eye, &format!("{way}: SIGKILL and start"));
    assert!(seen.lost > 0 && seen.answering);
    let limit = 10.0 * 1_000.0 * TIMEOUT.as_secs_f64();
    assert!(seen.outage_ms < limit, "{}", seen.outage_ms);
}
