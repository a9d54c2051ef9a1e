//! Real agents on two networks: control messages over both, and a group for each.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::net::IpAddr;

use rais::status::{AddressState, Group};
use rais_tests::family::last_byte;
use rais_tests::netns::Host;
use rais_tests::trial::{LIMIT, TIMEOUT, Trial, id, service};
use rais_tests::wait::pause;

/// The address of the other group that goes with one of the first.
fn second(address: IpAddr) -> IpAddr {
    service(last_byte(address))
}

/// The groups of a host's agent, by name.
fn groups(host: &Host) -> BTreeMap<String, Group> {
    let text = host.ask(&["status", "--json"]).unwrap();
    let status: rais::status::Status = serde_json::from_str(&text).unwrap();
    status.groups.into_iter().map(|group| (group.name.clone(), group)).collect()
}

/// Who has an address, where exactly one host has it and answers.
fn holder(group: &Group, address: IpAddr) -> Option<IpAddr> {
    let listed = group.addresses.iter().find(|a| a.address == address)?;
    match (listed.state, listed.holders.as_slice()) {
        (AddressState::Online, [one]) => Some(*one),
        _ => None,
    }
}

/// Waits until a host's agent says so of its groups.
fn wait_groups(host: &Host, what: &str, good: impl Fn(&BTreeMap<String, Group>) -> bool) {
    let end = rais::clock::now() + LIMIT;
    while !good(&groups(host)) {
        assert!(rais::clock::now() < end, "{what}: {:#?}", groups(host));
    }
}

/// Waits until a host says of its interfaces that so many hosts are heard on each.
fn wait_links(host: &Host, what: &str, wanted: [(&str, usize); 2]) {
    let as_wanted = |group: &Group| {
        wanted.iter().all(|(name, count)| {
            let mut all = group.control_interfaces.iter();
            let link = all.find(|link| link.name == *name).unwrap();
            let recent = link.last_heard_ms.is_some_and(|ms| u128::from(ms) < TIMEOUT.as_millis());
            link.up && link.hosts_heard == *count && recent == (*count > 0)
        })
    };
    host.wait_group(what, LIMIT, as_wanted).unwrap();
}

/// What people read where h3 is cut off one network.
fn assert_said(trial: &Trial, cut: &str, other: &str) {
    let h1 = trial.get(1).ask(&["status"]).unwrap();
    let said = format!("control {cut}: up, 1 of 2 hosts heard, not {}, ", id(3));
    assert!(h1.contains(&said) && h1.contains(&format!("control {other}: up, all 2")), "{h1}");
    let h3 = trial.get(3).ask(&["status"]).unwrap();
    assert!(h3.contains(&format!("control {cut}: up, SILENT: ")), "{h3}");
}

// Three hosts that talk over two networks; one is cut off either of them → it stays in sight,
// nothing moves, the status says which network, and what arrived twice was counted once.
#[test]
fn either_control_network_is_enough() {
    let mut trial = Trial::new().unwrap();
    trial.quorum = 2;
    for number in 1..=3 {
        trial.add(number).unwrap();
        trial.bed.second_network(trial.get(number)).unwrap();
        let config = trial.config(number, &[number], "").unwrap();
        let both = r#"control_interfaces = ["eth0", "eth1"]"#;
        let config = config.replace(r#"control_interfaces = ["eth0"]"#, both);
        trial.host(number).start_agent(&config).unwrap();
    }
    let homes = [(1, 1), (2, 2), (3, 3)];
    trial.settle(&homes).unwrap();
    let before: Vec<u64> = (1..=3).map(|n| trial.get(n).last_event().unwrap()).collect();
    let counted = trial.get(1).group().unwrap().messages;
    assert!(counted.duplicates > 0, "{counted:?}");
    let leader = trial.get(1).group().unwrap().leader;
    for number in 1..=3 {
        wait_links(trial.get(number), "both networks", [("eth0", 2), ("eth1", 2)]);
    }
    for (network, other) in [("eth1", "eth0"), ("eth0", "eth1")] {
        trial.bed.cut_from(trial.get(3), network).unwrap();
        // That nothing happens takes its time.
        pause(TIMEOUT * 3);
        trial.settle(&homes).unwrap();
        for (number, left) in [(1, 1), (2, 1), (3, 0)] {
            wait_links(trial.get(number), "one network", [(network, left), (other, 2)]);
        }
        assert_said(&trial, network, other);
        trial.bed.heal().unwrap();
        for number in 1..=3 {
            wait_links(trial.get(number), "healed", [(network, 2), (other, 2)]);
        }
    }
    let after = trial.get(1).group().unwrap();
    assert_eq!(after.leader, leader);
    let (messages, heard) = (after.messages, after.control_interfaces);
    assert!(messages.refused.is_empty() && messages.duplicates > counted.duplicates);
    // Whatever came over both was received once: more would be twice as many as were sent.
    let others: u64 = [2, 3].map(|n| trial.get(n).group().unwrap().messages.sent).iter().sum();
    assert!(messages.received + messages.duplicates <= others, "{messages:?} of {others}");
    assert!(messages.received < others * 3 / 4, "{messages:?} of {others}: {heard:?}");
    for (number, last) in (1..=3).zip(before) {
        let events = trial.get(number).events_after(last).unwrap();
        assert!(events.is_empty(), "h{number}: {events:?}");
    }
}

// Two groups on each of three hosts, one over each network; a host is cut off the second → that
// group's address fails over, the other's stays where it is.
#[test]
fn a_group_fails_over_alone() {
    let mut trial = Trial::new().unwrap();
    trial.quorum = 2;
    for number in 1..=3 {
        trial.add(number).unwrap();
        trial.bed.second_network(trial.get(number)).unwrap();
        let config = trial.config(number, &[number], "").unwrap();
        let (agent, group) = config.split_once("[[group]]").unwrap();
        let other = group
            .replace(r#"name = "demo""#, r#"name = "other""#)
            .replace("239.77.0.1:7077", "239.77.0.2:7078")
            .replace(r#"control_interfaces = ["eth0"]"#, r#"control_interfaces = ["eth1"]"#)
            .replace(&service(number).to_string(), &second(service(number)).to_string());
        let both = format!("{agent}[[group]]{group}\n[[group]]{other}");
        trial.host(number).start_agent(&both).unwrap();
    }
    let third = (service(3), second(service(3)));
    let home = |groups: &BTreeMap<String, Group>| {
        holder(&groups["demo"], third.0) == Some(id(3))
            && holder(&groups["other"], third.1) == Some(id(3))
    };
    for number in 1..=3 {
        wait_groups(trial.get(number), "both groups at home", home);
    }
    let last = trial.get(1).last_event().unwrap();

    trial.bed.cut_from(trial.get(3), "eth1").unwrap();
    wait_groups(trial.get(1), "the other group fails over", |groups| {
        holder(&groups["other"], third.1).is_some_and(|host| host != id(3))
    });
    wait_groups(trial.get(3), "its former holder is silent", |groups| {
        !groups["other"].quorum_met && groups["demo"].quorum_met
    });
    assert_eq!(holder(&groups(trial.get(1))["demo"], third.0), Some(id(3)));
    let events = trial.get(1).events_after(last).unwrap();
    assert!(events.iter().all(|event| event.group == "other"), "{events:?}");

    trial.bed.heal().unwrap();
    for number in 1..=3 {
        wait_groups(trial.get(number), "both groups at home again", home);
    }
}
