//! Real agents that are frozen, killed, ended and cut off: what they leave, what they come back to,
//! and that two hosts never answer for one address. All of it with IPv4, and with hosts, a client
//! and control messages that know IPv6 only.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use rais::events::Event;
use rais_common::maps::STATE_OPEN;
use rais_tests::family::Family;
use rais_tests::for_both_families;
use rais_tests::netns::Host;
use rais_tests::trial::{LIMIT, Trial};
use rais_tests::wait::{self, pause};

/// Long enough to look at a host that is back before its addresses are.
const HOLD_DOWN: &str = "failback = \"2s\"\n";

/// Waits until the host has none of these any more, on the interface or in the map.
fn wait_gone(host: &Host, addresses: &[u8]) {
    let family = Family::of(host.address());
    wait::until("the addresses to be gone", LIMIT, || {
        let (entries, configured) = (host.entries()?, host.configured()?);
        let gone = |&n: &u8| {
            !entries.contains_key(&family.service(n)) && !configured.contains(&family.service(n))
        };
        Ok(addresses.iter().all(gone).then_some(()))
    })
    .unwrap();
}

for_both_families! {
    a_thawed_agent_withdraws_before_it_does_anything_else
    no_length_of_a_pause_makes_two_hosts_answer
    a_killed_agent_that_starts_again_adopts_the_program_and_leaves_nothing_stale
    agents_that_start_again_at_once_never_answer_beside_another
    another_configuration_leaves_nothing_of_the_old_one
    sigterm_releases_everything_and_ends_with_zero
    clean_refuses_while_an_agent_runs_and_takes_all_away_after_it_was_killed
    without_a_quorum_a_host_falls_silent_before_others_take_over
    hosts_without_a_quorum_fall_silent_by_themselves
}

/// Kind, address and reason of an event.
fn words(event: &Event) -> (&str, Option<IpAddr>, Option<&str>) {
    (&event.kind, event.address, event.reason.as_deref())
}

fn a_thawed_agent_withdraws_before_it_does_anything_else(family: Family) {
    let mut trial = Trial::with(family).unwrap();
    for number in 1..=2 {
        trial.start(number, &[number], HOLD_DOWN).unwrap();
    }
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    let mut eye = trial.watch(&[1]).unwrap();
    let before = trial.get(1).last_event().unwrap();

    trial.host(1).freeze_agent().unwrap();
    trial.settle_among(&[2], &[(1, 2), (2, 2)]).unwrap();
    let seen = eye.look().unwrap();
    assert_eq!((seen[&1].arp_doubled, seen[&1].arp_handovers), (0, 1), "{seen:?}");
    // The kernel of the frozen host still has the address; it is the lease that keeps it silent.
    assert_eq!(trial.get(1).configured().unwrap(), [family.service(1)]);
    assert_eq!(trial.get(1).entries().unwrap()[&family.service(1)], u64::from(STATE_OPEN));

    trial.host(1).thaw_agent().unwrap();
    let about = Some(family.service(1));
    let events = trial.get(1).wait_event(before, "released", about, LIMIT).unwrap();
    assert_ne!(
        trial.get(1).entries().unwrap().get(&family.service(1)),
        Some(&u64::from(STATE_OPEN))
    );
    wait_gone(trial.get(1), &[1]);
    let withdrawn = ("released", Some(family.service(1)), Some("lease-lapsed"));
    assert_eq!(words(events.last().unwrap()), withdrawn, "{events:#?}");
    assert_eq!(events[0].kind, "lease-lapsed", "{events:#?}");
    let detail = events[0].detail.as_deref().unwrap();
    assert!(detail.ends_with("1 addresses withdrawn"), "{detail}");
    let seen = eye.look().unwrap();
    assert_eq!(seen[&1].hosts.keys().collect::<Vec<_>>(), ["h2"], "{seen:?}");
    assert_eq!((seen[&1].arp_hosts.len(), seen[&1].arp_doubled), (1, 0), "{seen:?}");

    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    let seen = eye.look().unwrap();
    assert_eq!((seen[&1].arp_handovers, seen[&1].arp_doubled), (1, 0), "{seen:?}");
    assert_eq!(seen[&1].last_host.as_deref(), Some("h1"));
}

fn no_length_of_a_pause_makes_two_hosts_answer(family: Family) {
    let mut trial = Trial::with(family).unwrap();
    for number in 1..=2 {
        trial.start(number, &[number], "").unwrap();
    }
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    let mut eye = trial.watch(&[1, 2]).unwrap();
    // Shorter than the lease of 180 ms, about as long, and longer than the timeout of 200 ms.
    for millis in [90, 160, 178, 182, 188, 194, 199, 201, 206, 215, 300] {
        for victim in 1..=2 {
            trial.host(victim).freeze_agent().unwrap();
            pause(Duration::from_millis(millis));
            trial.host(victim).thaw_agent().unwrap();
            trial.settle(&[(1, 1), (2, 2)]).unwrap();
        }
    }
    for (address, seen) in eye.look().unwrap() {
        assert!(seen.answering && seen.arp_doubled == 0, "{address}: {seen:?}");
        assert!(seen.arp_handovers > 0, "{address}: no pause was long enough: {seen:?}");
    }
}

fn a_killed_agent_that_starts_again_adopts_the_program_and_leaves_nothing_stale(family: Family) {
    let mut trial = Trial::with(family).unwrap();
    for number in 1..=2 {
        trial.start(number, &[number], HOLD_DOWN).unwrap();
    }
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    let mut eye = trial.watch(&[2]).unwrap();
    let before = trial.get(2).attached().unwrap();

    trial.host(2).kill_agent().unwrap();
    trial.settle(&[(1, 1), (2, 1)]).unwrap();
    assert_eq!(trial.get(2).attached().unwrap(), before, "the program goes on without its agent");
    assert_eq!(trial.get(2).configured().unwrap(), [family.service(2)]);
    assert_eq!(trial.get(2).entries().unwrap()[&family.service(2)], u64::from(STATE_OPEN));

    trial.host(2).restart_agent().unwrap();
    trial.host(2).wait_status("an answer", LIMIT, |_| true).unwrap();
    assert_eq!(trial.get(2).entries().unwrap(), BTreeMap::new());
    assert!(trial.get(2).configured().unwrap().is_empty());
    let after = trial.get(2).attached().unwrap();
    assert_eq!(after.link, before.link, "the program was detached in between");
    assert_ne!(after.program, before.program, "the program was not replaced");
    let seen = eye.look().unwrap();
    assert_eq!((seen[&2].arp_handovers, seen[&2].arp_doubled), (1, 0), "{seen:?}");

    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    assert_eq!(trial.get(2).configured().unwrap(), [family.service(2)]);
    assert_eq!(trial.get(2).attached().unwrap(), after);
    let seen = eye.look().unwrap();
    assert_eq!((seen[&2].arp_handovers, seen[&2].arp_doubled), (1, 0), "{seen:?}");
    assert_eq!(seen[&2].last_host.as_deref(), Some("h2"));
}

fn agents_that_start_again_at_once_never_answer_beside_another(family: Family) {
    let mut trial = Trial::with(family).unwrap();
    for number in 1..=2 {
        trial.start(number, &[number], "").unwrap();
    }
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    let mut eye = trial.watch(&[1, 2]).unwrap();
    let links = [1, 2].map(|number| trial.get(number).attached().unwrap().link);
    for victim in [2, 1, 2, 1] {
        // Its lease still lives, and the others have not missed it yet.
        trial.host(victim).kill_agent().unwrap();
        trial.host(victim).restart_agent().unwrap();
        trial.host(victim).wait_status("an answer", LIMIT, |_| true).unwrap();
        trial.settle(&[(1, 1), (2, 2)]).unwrap();
    }
    let seen = eye.look().unwrap();
    for address in 1..=2 {
        assert!(seen[&address].answering && seen[&address].arp_doubled == 0, "{seen:?}");
        assert_eq!(seen[&address].last_host, Some(format!("h{address}")), "{seen:?}");
    }
    assert_eq!([1, 2].map(|number| trial.get(number).attached().unwrap().link), links);
}

fn another_configuration_leaves_nothing_of_the_old_one(family: Family) {
    let mut trial = Trial::with(family).unwrap();
    trial.start(1, &[1, 11], "").unwrap();
    trial.settle(&[(1, 1), (11, 1)]).unwrap();
    let before = trial.get(1).attached().unwrap();

    trial.host(1).kill_agent().unwrap();
    let config = trial.config(1, &[12], "").unwrap();
    trial.host(1).start_agent(&config).unwrap();
    trial.settle(&[(12, 1)]).unwrap();
    let host = trial.get(1);
    assert_eq!(host.attached().unwrap().link, before.link);
    assert_eq!(host.configured().unwrap(), [family.service(12)]);
    assert_eq!(host.entries().unwrap().into_keys().collect::<Vec<_>>(), [family.service(12)]);
    let traffic = host.dump("TRAFFIC").unwrap();
    assert_eq!(traffic.len(), 1, "{traffic:?}");
    let listed: Vec<IpAddr> = host.group().unwrap().addresses.iter().map(|a| a.address).collect();
    assert_eq!(listed, [family.service(12)]);
}

fn sigterm_releases_everything_and_ends_with_zero(family: Family) {
    let mut trial = Trial::with(family).unwrap();
    for number in 1..=2 {
        trial.start(number, &[number], "").unwrap();
    }
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    let mut eye = trial.watch(&[1]).unwrap();
    let before = trial.get(1).attached().unwrap();
    let mark = trial.get(2).last_event().unwrap();

    trial.host(1).terminate_agent().unwrap();
    let status = trial.host(1).wait_agent_end(LIMIT).unwrap();
    assert_eq!((status.code(), status.signal()), (Some(0), None));
    assert_eq!(trial.get(1).entries().unwrap(), BTreeMap::new());
    assert!(trial.get(1).configured().unwrap().is_empty());
    assert_eq!(trial.get(1).attached().unwrap(), before);
    assert!(!trial.get(1).socket().exists());

    trial.settle(&[(1, 2), (2, 2)]).unwrap();
    let events = trial.get(2).wait_event(mark, "host-left", None, LIMIT).unwrap();
    assert!(events.iter().all(|event| event.kind != "host-down"), "{events:#?}");
    let seen = eye.look().unwrap();
    assert_eq!((seen[&1].arp_handovers, seen[&1].arp_doubled), (1, 0), "{seen:?}");
}

fn clean_refuses_while_an_agent_runs_and_takes_all_away_after_it_was_killed(family: Family) {
    let mut trial = Trial::with(family).unwrap();
    trial.floating = vec![0];
    trial.start(1, &[1], "").unwrap();
    trial.settle(&[(0, 1), (1, 1)]).unwrap();
    let config = trial.bed.dir().join("h1").join("rais.toml");
    let arguments = ["clean", "--config", config.to_str().unwrap()];

    let refused = trial.get(1).rais(&arguments).unwrap();
    let message = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{message}");
    assert!(message.contains("agent") && message.contains("rais.sock"), "{message}");
    let second = trial.get(1).rais(&["run", arguments[1], arguments[2]]).unwrap();
    assert_eq!(second.status.code(), Some(2), "{}", String::from_utf8_lossy(&second.stderr));
    trial.settle(&[(0, 1), (1, 1)]).unwrap();

    trial.host(1).kill_agent().unwrap();
    let host = trial.get(1);
    assert_eq!(host.configured().unwrap().len(), 2);
    let done = host.rais(&arguments).unwrap();
    let text = String::from_utf8(done.stdout).unwrap();
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    let [first, second] = [0, 1].map(|number| family.service(number).to_string());
    for removed in [first.as_str(), second.as_str(), "link-eth0", "SERVICE_ADDRS", "TRAFFIC"] {
        assert!(text.contains(removed), "{removed} is not in {text}");
    }
    assert!(host.configured().unwrap().is_empty());
    assert!(!host.run("ip", &["link", "show", "dev", "eth0"]).unwrap().contains("xdp"));
    let pinned = std::fs::read_dir(host.bpf_dir()).map_or(0, Iterator::count);
    assert_eq!(pinned, 0);
    // There is nothing left to do.
    let again = host.rais(&arguments).unwrap();
    assert_eq!((again.status.code(), again.stdout), (Some(0), Vec::new()));
}

fn without_a_quorum_a_host_falls_silent_before_others_take_over(family: Family) {
    let mut trial = Trial::with(family).unwrap();
    trial.quorum = 2;
    for number in 1..=3 {
        trial.start(number, &[number], "").unwrap();
    }
    let homes = [(1, 1), (2, 2), (3, 3)];
    trial.settle(&homes).unwrap();
    let mut eye = trial.watch(&[1, 2, 3]).unwrap();
    let mark = trial.get(3).last_event().unwrap();

    // The client reaches all of them, so it hears whoever answers.
    trial.bed.part(trial.get(3), &[trial.get(1), trial.get(2)]).unwrap();
    trial.settle_among(&[1, 2], &[(1, 1), (2, 2)]).unwrap();
    let taken = trial.host(1).wait_status("the third address to be taken over", LIMIT, |status| {
        status.holder(family.service(3)).is_some_and(|holder| holder != family.host(3))
    });
    taken.unwrap();
    let events = trial.get(3).wait_event(mark, "released", Some(family.service(3)), LIMIT).unwrap();
    let reason = events.last().unwrap().reason.as_deref();
    assert!(matches!(reason, Some("quorum-lost" | "lease-lapsed")), "{events:#?}");
    wait_gone(trial.get(3), &[3]);
    let cut_off = trial.get(3).group().unwrap();
    assert!(!cut_off.quorum_met && cut_off.data_plane.lease_ms_left == 0, "{cut_off:#?}");
    let seen = eye.look().unwrap();
    assert_eq!((seen[&3].arp_handovers, seen[&3].arp_doubled), (1, 0), "{seen:?}");
    for address in 1..=2 {
        assert_eq!((seen[&address].arp_hosts.len(), seen[&address].arp_doubled), (1, 0));
    }

    trial.bed.heal().unwrap();
    trial.settle(&homes).unwrap();
    let seen = eye.look().unwrap();
    for address in 1..=3 {
        assert_eq!(seen[&address].arp_doubled, 0, "{seen:?}");
        assert_eq!(seen[&address].last_host, Some(format!("h{address}")), "{seen:?}");
    }
}

fn hosts_without_a_quorum_fall_silent_by_themselves(family: Family) {
    let mut trial = Trial::with(family).unwrap();
    trial.quorum = 2;
    for number in 1..=2 {
        trial.start(number, &[number], "").unwrap();
    }
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    let mut eye = trial.watch(&[1, 2]).unwrap();

    trial.bed.part(trial.get(1), &[trial.get(2)]).unwrap();
    for number in 1..=2 {
        wait_gone(trial.get(number), &[1, 2]);
    }
    eye.look().unwrap();
    let seen = eye.look().unwrap();
    for address in 1..=2 {
        assert_eq!(seen[&address].arp_unanswered, seen[&address].arp_asked, "{seen:?}");
        assert!(seen[&address].arp_asked > 50 && seen[&address].hosts.is_empty(), "{seen:?}");
    }

    trial.bed.heal().unwrap();
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    let seen = eye.look().unwrap();
    for address in 1..=2 {
        assert!(seen[&address].answering && seen[&address].arp_doubled == 0, "{seen:?}");
    }
}
