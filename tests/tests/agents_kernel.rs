//! Real agents whose kernel answers by itself (`data_plane = "kernel"`), for which there is no
//! `bpf` system call: failovers, moves, hosts with the XDP program beside them, and what is worse
//! than with it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::net::{IpAddr, Ipv6Addr};

use rais::data_plane::kernel::{MAX_HELD, OVERHANG};
use rais_tests::netns::Host;
use rais_tests::trial::{LIMIT, Trial, id, service};
use rais_tests::wait;
use serde_json::Value;

/// Floats in the group beside IPv4 addresses.
const SIX: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x64);

/// The configuration of a host that prefers these addresses, without BPF.
fn config(trial: &Trial, number: u8, preferred: &[u8], extra: &str) -> String {
    let with = trial.config(number, preferred, extra).unwrap();
    let without = with.replace("[agent]\n", "[agent]\ndata_plane = \"kernel\"\n");
    assert_ne!(with, without);
    without
}

/// Adds a host that has no BPF, and starts its agent.
fn start(trial: &mut Trial, number: u8, preferred: &[u8], extra: &str) {
    trial.add(number).unwrap();
    let config = config(trial, number, preferred, extra);
    trial.host(number).take_bpf_away();
    trial.host(number).start_agent(&config).unwrap();
}

/// What is on `eth0` besides the host's own address, as `ip` shows it.
fn on_interface(host: &Host) -> Vec<Value> {
    let text = host.run("ip", &["-j", "address", "show", "dev", "eth0"]).unwrap();
    let shown: Value = serde_json::from_str(&text).unwrap();
    let all = shown[0]["addr_info"].as_array().unwrap().iter();
    let own = host.address().to_string();
    all.filter(|a| a["local"] != own.as_str() && a["scope"] != "link").cloned().collect()
}

/// Waits until a host has nothing on its interface.
fn wait_nothing(host: &Host) {
    wait::until("nothing to be on eth0", LIMIT, || Ok(on_interface(host).is_empty().then_some(())))
        .unwrap();
}

// The holder is cut off, comes back, and its agent ends in order → the other has the address, and
// nobody answers twice; what the holder had is gone.
#[test]
fn addresses_move_without_bpf() {
    let mut trial = Trial::new().unwrap();
    start(&mut trial, 1, &[1], "");
    start(&mut trial, 2, &[2], "");
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    let plane = trial.get(1).group().unwrap().data_plane;
    assert_eq!((plane.kind.as_str(), plane.mode.as_str()), ("kernel", ""));
    assert!(plane.note.contains("without BPF") && plane.counters.is_empty(), "{plane:?}");
    let said = trial.get(1).ask(&["status"]).unwrap();
    assert!(said.contains("kernel on eth0, lease ") && said.contains(&plane.note), "{said}");
    // The kernel is to end it by itself.
    let [address] = on_interface(trial.get(1)).try_into().unwrap();
    assert!(address["valid_life_time"].as_u64().unwrap() <= 1, "{address}");
    let link = trial.get(1).run("ip", &["link", "show", "dev", "eth0"]).unwrap();
    assert!(!link.contains("xdp"), "{link}");

    let mut eye = trial.watch(&[1]).unwrap();
    trial.bed.cut(trial.get(1)).unwrap();
    trial.settle_among(&[2], &[(1, 2), (2, 2)]).unwrap();
    let seen = eye.look().unwrap();
    println!("cut: no answer for {:.0} ms", seen[&1].outage_ms);
    assert_eq!((seen[&1].arp_doubled, seen[&1].arp_handovers), (0, 1), "{seen:?}");
    assert_eq!(seen[&1].last_host.as_deref(), Some("h2"));
    trial.bed.heal().unwrap();
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    eye.look().unwrap();

    trial.host(1).terminate_agent().unwrap();
    assert!(trial.host(1).wait_agent_end(LIMIT).unwrap().success());
    assert!(on_interface(trial.get(1)).is_empty());
    trial.settle(&[(1, 2), (2, 2)]).unwrap();
    let seen = eye.look().unwrap();
    println!("SIGTERM: no answer for {:.0} ms, {} lost", seen[&1].outage_ms, seen[&1].lost);
    assert_eq!((seen[&1].arp_doubled, seen[&1].arp_handovers), (0, 1), "{seen:?}");

    trial.host(1).restart_agent().unwrap();
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    let seen = eye.look().unwrap();
    println!("failback: no answer for {:.0} ms, {} lost", seen[&1].outage_ms, seen[&1].lost);
    assert_eq!((seen[&1].arp_doubled, seen[&1].arp_handovers), (0, 1), "{seen:?}");
}

// The agent is frozen, or killed → others take over while its kernel still answers: that is what
// the documentation says. The kernel ends it by itself, for IPv6 as well. What comes back, comes back
// with nothing.
#[test]
fn a_frozen_or_killed_agent_leaves_addresses_that_end_by_themselves() {
    let mut trial = Trial::new().unwrap();
    let with_six =
        |config: String| config.replace("floating = []", &format!("floating = [\"{SIX}\"]"));
    for number in 1..=2 {
        trial.add(number).unwrap();
        let config = with_six(config(&trial, number, if number == 1 { &[1] } else { &[] }, ""));
        trial.host(number).take_bpf_away();
        trial.host(number).start_agent(&config).unwrap();
        trial.settle(&[(1, 1)]).unwrap();
    }
    for frozen in [true, false] {
        trial
            .get(1)
            .wait_group("both", LIMIT, |g| g.addresses.iter().all(|a| a.holders.len() == 1))
            .unwrap();
        let mut eye = trial.watch(&[1]).unwrap();
        if frozen {
            trial.host(1).freeze_agent().unwrap();
        } else {
            trial.host(1).kill_agent().unwrap();
        }
        trial.settle_among(&[2], &[(1, 2)]).unwrap();
        wait_nothing(trial.get(1));
        let seen = eye.look().unwrap();
        println!("frozen {frozen}: two answered for {:.0} ms", seen[&1].arp_doubled_ms);
        assert!(seen[&1].arp_doubled > 0, "{seen:?}");
        assert!(seen[&1].arp_doubled_ms < OVERHANG.as_secs_f64() * 1e3, "{seen:?}");

        if frozen {
            trial.host(1).thaw_agent().unwrap();
        } else {
            trial.host(1).restart_agent().unwrap();
        }
        trial.settle(&[(1, 1)]).unwrap();
        let seen = eye.look().unwrap();
        assert_eq!((seen[&1].arp_doubled, seen[&1].arp_handovers), (0, 1), "{seen:?}");
        assert_eq!(seen[&1].last_host.as_deref(), Some("h1"));
    }
    // The floating address stays where it was last.
    let six = IpAddr::V6(SIX).to_string();
    let has_six = |host: &Host| on_interface(host).iter().any(|a| a["local"] == six.as_str());
    assert!(has_six(trial.get(1)) != has_six(trial.get(2)));
}

// A host with the XDP program and one without → addresses go to and fro, one host answers.
#[test]
fn hosts_with_and_without_bpf_in_one_group() {
    let mut trial = Trial::new().unwrap();
    trial.start(1, &[1], "").unwrap();
    start(&mut trial, 2, &[2], "");
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    let mut eye = trial.watch(&[1, 2]).unwrap();
    for (ends, address, other) in [(1, 1, 2), (2, 2, 1)] {
        trial.host(ends).terminate_agent().unwrap();
        assert!(trial.host(ends).wait_agent_end(LIMIT).unwrap().success());
        trial.settle(&[(address, other)]).unwrap();
        trial.host(ends).restart_agent().unwrap();
        trial.settle(&[(1, 1), (2, 2)]).unwrap();
        let seen = eye.look().unwrap();
        println!("h{ends}, there and back: {} lost", seen[&address].lost);
        assert_eq!(seen[&address].arp_handovers, 2, "{seen:?}");
        assert!(seen.values().all(|seen| seen.arp_doubled == 0), "{seen:?}");
    }
    // With the program nobody answers twice, whatever the other host is like.
    trial.host(1).kill_agent().unwrap();
    trial.settle(&[(1, 2), (2, 2)]).unwrap();
    let seen = eye.look().unwrap();
    assert_eq!((seen[&1].arp_doubled, seen[&1].arp_handovers), (0, 1), "{seen:?}");
}

// As many addresses as can be held so move at once → that keeps no heartbeat waiting for so long
// that a lease would end.
#[test]
fn as_many_as_there_may_be() {
    let mut trial = Trial::new().unwrap();
    for number in 1..=2 {
        trial.add(number).unwrap();
        let config = config(&trial, number, &[], "");
        let range = "floating = [\"10.77.1.0-10.77.1.255\"]";
        trial.host(number).take_bpf_away();
        trial.host(number).start_agent(&config.replace("floating = []", range)).unwrap();
        let all = trial.host(number).wait_status("all to be served", LIMIT, |status| {
            let mut all = status.groups[0].addresses.iter();
            status.hosts() == usize::from(number) && all.all(|a| a.state == "online")
        });
        assert_eq!(all.unwrap().groups[0].addresses.len(), MAX_HELD);
    }
    let before = trial.get(2).last_event().unwrap();
    trial.host(1).kill_agent().unwrap();
    let all = trial.host(2).wait_status("all to be taken over", LIMIT, |status| {
        let mut all = status.groups[0].addresses.iter();
        all.all(|a| a.state == "online" && a.holders == [id(2)])
    });
    all.unwrap();
    assert_eq!(on_interface(trial.get(2)).len(), MAX_HELD);
    let events = trial.get(2).events_after(before).unwrap();
    assert!(events.iter().all(|event| event.kind != "lease-lapsed"), "{events:#?}");
    let took = events.iter().filter(|e| e.kind == "acquired").filter_map(|e| e.took_ms);
    println!("the slowest of {MAX_HELD} took {:?} ms", took.fold(0.0, f64::max));
    trial.host(2).terminate_agent().unwrap();
    assert!(trial.host(2).wait_agent_end(LIMIT).unwrap().success());
    assert!(on_interface(trial.get(2)).is_empty());
}

// An agent with the XDP program was killed → its program has to be cleaned away first; what another
// without BPF left goes by itself, and `rais clean` takes it away before.
#[test]
fn what_another_agent_left() {
    let mut trial = Trial::new().unwrap();
    trial.start(1, &[1], "").unwrap();
    trial.settle(&[(1, 1)]).unwrap();
    trial.host(1).kill_agent().unwrap();
    let without = config(&trial, 1, &[1], "");
    trial.get(1).configure(&without).unwrap();
    let path = trial.bed.dir().join("h1").join("rais.toml");
    let path = path.to_str().unwrap();
    let refused = trial.get(1).rais(&["run", "--config", path]).unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("left its XDP program") && said.contains("`rais clean`"), "{said}");

    let cleaned = trial.get(1).rais(&["clean", "--config", path]).unwrap();
    assert!(cleaned.status.success(), "{}", String::from_utf8_lossy(&cleaned.stderr));
    assert!(on_interface(trial.get(1)).is_empty());
    trial.host(1).take_bpf_away();
    trial.host(1).restart_agent().unwrap();
    trial.settle(&[(1, 1)]).unwrap();
    let checked = trial.get(1).rais(&["check", "--config", path]).unwrap();
    let said = String::from_utf8(checked.stdout).unwrap();
    assert!(said.contains("data plane kernel: without BPF"), "{said}");
    // Another data plane takes another start.
    trial.get(1).configure(&trial.config(1, &[1], "").unwrap()).unwrap();
    let refused =
        trial.get(1).rais(&["reload", "--socket", trial.get(1).socket().to_str().unwrap()]);
    let said = String::from_utf8(refused.unwrap().stderr).unwrap();
    assert!(said.contains("`data_plane` (kernel -> xdp)") && said.contains("restart"), "{said}");

    trial.get(1).configure(&without).unwrap();
    trial.host(1).kill_agent().unwrap();
    let cleaned = trial.get(1).rais(&["clean", "--config", path]).unwrap();
    let said = String::from_utf8(cleaned.stdout).unwrap();
    assert!(said.contains(&service(1).to_string()), "{said}");
    assert!(on_interface(trial.get(1)).is_empty());
}
