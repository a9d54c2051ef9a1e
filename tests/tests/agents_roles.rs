//! Who of several real agents gets an address: spares first, quiesced hosts and observers never;
//! and that leadership moves without any address moving.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use rais::status::Role;
use rais_tests::netns::Host;
use rais_tests::scripts::Scripts;
use rais_tests::trial::{LIMIT, Trial, id, service};
use rais_tests::wait::{self, pause};

/// Waits until each of these hosts follows this leader.
fn wait_led(trial: &Trial, hosts: &[u8], leader: u8) {
    for &host in hosts {
        let what = format!("h{leader} to lead");
        trial.get(host).wait_group(&what, LIMIT, |g| g.leader == Some(id(leader))).unwrap();
    }
}

/// Who has which address under which epoch, as this host sees it.
fn assignments(host: &Host) -> BTreeMap<IpAddr, (IpAddr, u64)> {
    let hosts = host.group().unwrap().hosts;
    let all = hosts.iter().flat_map(|host| host.addresses.iter().map(|a| (host.id, a)));
    all.map(|(holder, served)| (served.address, (holder, served.epoch))).collect()
}

/// How often this host reported that nobody can take the address.
fn unassigned(host: &Host, address: u8) -> usize {
    let about = |event: &rais::events::Event| {
        event.kind == "cannot-assign" && event.address == Some(service(address))
    };
    host.events().unwrap().iter().filter(|event| about(event)).count()
}

#[test]
fn spares_come_first_and_quiesced_hosts_keep_what_they_have() {
    let mut trial = Trial::new().unwrap();
    trial.floating = vec![0, 10];
    // Alone at first, the spare gets what floats: more addresses than the others will have.
    trial.start(3, &[], "").unwrap();
    trial.settle(&[(0, 3), (10, 3)]).unwrap();
    trial.start(1, &[1], "").unwrap();
    trial.start(2, &[2], "").unwrap();
    trial.settle(&[(0, 3), (10, 3), (1, 1), (2, 2)]).unwrap();

    trial.host(1).kill_agent().unwrap();
    trial.settle(&[(0, 3), (10, 3), (1, 3), (2, 2)]).unwrap();

    let said = trial.get(3).ask(&["quiesce"]).unwrap();
    assert_eq!(said, "quiesced in all groups\n");
    trial
        .get(2)
        .wait_group("h3 to be quiesced", LIMIT, |group| {
            group.hosts.iter().any(|host| host.id == id(3) && host.quiesced)
        })
        .unwrap();
    assert!(trial.get(3).group().unwrap().quiesced);
    trial.settle(&[(0, 3), (10, 3), (1, 3), (2, 2)]).unwrap();
    trial.host(1).restart_agent().unwrap();
    trial.settle(&[(0, 3), (10, 3), (1, 1), (2, 2)]).unwrap();
    trial.host(2).kill_agent().unwrap();
    trial.settle(&[(0, 3), (10, 3), (1, 1), (2, 1)]).unwrap();
    trial.host(2).restart_agent().unwrap();
    trial.settle(&[(0, 3), (10, 3), (1, 1), (2, 2)]).unwrap();

    trial.get(3).ask(&["resume"]).unwrap();
    trial
        .get(1)
        .wait_group("h3 to have resumed", LIMIT, |group| {
            group.hosts.iter().any(|host| host.id == id(3) && !host.quiesced)
        })
        .unwrap();
    trial.host(2).kill_agent().unwrap();
    trial.settle(&[(0, 3), (10, 3), (1, 1), (2, 3)]).unwrap();
}

#[test]
fn a_quiesced_host_stays_so_when_its_agent_is_restarted() {
    let mut trial = Trial::new().unwrap();
    trial.start(1, &[1], "").unwrap();
    trial.start(2, &[2], "").unwrap();
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    let file = trial.get(2).run_dir().join("quiesced");
    assert!(!file.exists());
    trial.get(2).ask(&["quiesce"]).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "demo\n");

    trial.host(2).kill_agent().unwrap();
    trial.settle(&[(1, 1), (2, 1)]).unwrap();
    restart_quiesced(&mut trial);
    trial.host(2).terminate_agent().unwrap();
    assert_eq!(trial.host(2).wait_agent_end(LIMIT).unwrap().code(), Some(0));
    restart_quiesced(&mut trial);

    trial.get(2).ask(&["resume"]).unwrap();
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    assert!(!file.exists());
    trial.host(2).kill_agent().unwrap();
    trial.host(2).restart_agent().unwrap();
    trial.settle(&[(1, 1), (2, 2)]).unwrap();

    // What makes no sense is said once and ignored.
    trial.host(2).kill_agent().unwrap();
    fs::write(&file, "nonsense\n").unwrap();
    trial.host(2).restart_agent().unwrap();
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    assert!(!trial.get(2).group().unwrap().quiesced);
    let log = trial.get(2).log_tail();
    let warning = format!("{}: ignored: there is no group \"nonsense\"", file.display());
    assert_eq!(log.matches(&warning).count(), 1, "{log}");

    // The operator is told what cannot be written down; it is done nevertheless.
    fs::create_dir(file.with_extension("new")).unwrap();
    let error = format!("{:#}", trial.get(2).ask(&["quiesce"]).unwrap_err());
    assert!(error.contains("quiesced, but only until the agent is restarted"), "{error}");
    trial.get(2).wait_group("h2 to be quiesced", LIMIT, |group| group.quiesced).unwrap();
}

/// Starts the agent of the second host again, which is quiesced from its first message on: it gets
/// nothing in all the turns that the leader has, not even what belongs there.
fn restart_quiesced(trial: &mut Trial) {
    let before = trial.get(1).last_event().unwrap();
    trial.host(2).restart_agent().unwrap();
    trial.settle(&[(1, 1), (2, 1)]).unwrap();
    pause(Duration::from_secs(1));
    trial.settle(&[(1, 1), (2, 1)]).unwrap();
    let group = trial.get(2).group().unwrap();
    assert!(group.quiesced && group.ok, "{group:#?}");
    let events = trial.get(2).events().unwrap();
    assert_eq!(events[0].kind, "quiesced", "{events:#?}");
    assert!(events.iter().all(|event| event.address.is_none()), "{events:#?}");
    let events = trial.get(1).events_after(before).unwrap();
    assert!(events.iter().all(|event| event.address.is_none()), "{events:#?}");
}

#[test]
fn an_observer_leads_is_assigned_nothing_and_says_once_that_nobody_can_be() {
    let scripts = Scripts::new().unwrap();
    let notice = scripts.recorder("notice", "").unwrap();
    let extra =
        format!("role = \"observer\"\n[group.scripts]\ncannot_assign = \"{}\"\n", notice.display());
    let mut trial = Trial::new().unwrap();
    trial.start(1, &[], &extra).unwrap();
    trial.start(2, &[2], "").unwrap();
    trial.start(3, &[3], "").unwrap();
    trial.settle(&[(2, 2), (3, 3)]).unwrap();
    wait_led(&trial, &[1, 2, 3], 1);
    let observer = trial.get(1).group().unwrap();
    assert!(observer.role == Role::Observer && !observer.ok, "{observer:#?}");

    trial.host(2).kill_agent().unwrap();
    trial.settle(&[(2, 3), (3, 3)]).unwrap();
    assert_eq!((unassigned(trial.get(1), 2), unassigned(trial.get(1), 3)), (0, 0));
    trial.host(3).kill_agent().unwrap();
    for address in [2, 3] {
        trial.get(1).wait_event(0, "cannot-assign", Some(service(address)), LIMIT).unwrap();
    }
    // Many turns of the leader, each of which could say it again.
    pause(Duration::from_secs(1));
    assert_eq!((unassigned(trial.get(1), 2), unassigned(trial.get(1), 3)), (1, 1));
    assert!(trial.get(1).entries().unwrap().is_empty());
    assert!(trial.get(1).configured().unwrap().is_empty());
    let told: Vec<_> = scripts
        .records()
        .unwrap()
        .iter()
        .map(|record| (record["RAIS_EVENT"].clone(), record["RAIS_ADDRESS"].clone()))
        .collect();
    let expected = ["10.77.0.102", "10.77.0.103"];
    assert_eq!(told, expected.map(|address| ("cannot_assign".to_owned(), address.to_owned())));

    // Another occurrence is said again.
    trial.host(3).restart_agent().unwrap();
    trial.settle(&[(2, 3), (3, 3)]).unwrap();
    trial.host(3).kill_agent().unwrap();
    let again = || Ok((unassigned(trial.get(1), 3) == 2).then_some(()));
    wait::until("another report", LIMIT, again).unwrap();
}

/// Load and capacity of a host, as this one sees it.
fn wait_load(trial: &Trial, host: u8, expected: (u32, u32)) {
    let shown = |group: &rais::status::Group| {
        group.hosts.iter().any(|h| h.id == id(host) && (h.load, h.capacity) == expected)
    };
    let what = format!("h{host} to say {expected:?}");
    trial.get(1).wait_group(&what, LIMIT, shown).unwrap();
}

#[test]
fn an_address_goes_to_the_host_whose_script_says_it_is_least_busy() {
    let scripts = Scripts::new().unwrap();
    let load = |host: u8, capacity: &str| {
        let program = scripts.program(&format!("load{host}"), &format!("cat value{host}")).unwrap();
        format!(
            "[[group.load]]\nkind = \"script\"\ncommand = \"{}\"\ninterval = \"100ms\"\n\
             timeout = \"1s\"\n{capacity}[[group.load]]\nkind = \"cpu\"\ncapacity = 1000000\n",
            program.display()
        )
    };
    fs::write(scripts.path("value1"), "90 100\n").unwrap();
    fs::write(scripts.path("value2"), "10\n").unwrap();
    let mut trial = Trial::new().unwrap();
    trial.start(1, &[1], &load(1, "")).unwrap();
    trial.start(2, &[2], &load(2, "capacity = 50\n")).unwrap();
    let measured = "[[group.load]]\nkind = \"pressure\"\nresource = \"memory\"\n";
    trial.start(3, &[3], measured).unwrap();
    trial.settle(&[(1, 1), (2, 2), (3, 3)]).unwrap();
    wait_load(&trial, 1, (90, 100));
    wait_load(&trial, 2, (10, 50));
    let pressure = |g: &rais::status::Group| g.hosts.iter().any(|h| h.capacity == 1_000);
    trial.get(1).wait_group("the pressure on h3", LIMIT, pressure).unwrap();
    trial.host(3).kill_agent().unwrap();
    trial.settle(&[(1, 1), (2, 2), (3, 2)]).unwrap();

    trial.host(3).restart_agent().unwrap();
    trial.settle(&[(1, 1), (2, 2), (3, 3)]).unwrap();
    fs::remove_file(scripts.path("value2")).unwrap();
    wait_load(&trial, 2, (10, 0));
    trial.host(3).kill_agent().unwrap();
    trial.settle(&[(1, 1), (2, 2), (3, 1)]).unwrap();
    let log = trial.get(2).log_tail();
    assert_eq!(log.matches("load script: ").count(), 1, "{log}");
    assert!(log.contains("exited with 1: cat: value2: No such file"), "{log}");
}

#[test]
fn leadership_moves_and_no_address_does() {
    let mut trial = Trial::new().unwrap();
    trial.floating = vec![0];
    trial.start(2, &[2], "").unwrap();
    trial.start(3, &[3], "").unwrap();
    trial.settle(&[(2, 2), (3, 3)]).unwrap();
    wait_led(&trial, &[2, 3], 2);
    let before = assignments(trial.get(3));
    assert_eq!(before.len(), 3, "{before:?}");
    let marks = [2, 3].map(|number| (number, trial.get(number).last_event().unwrap()));
    let mut eye = trial.watch(&[0, 2, 3]).unwrap();

    trial.start(1, &[], "").unwrap();
    wait_led(&trial, &[1, 2, 3], 1);
    // The new leader has had many turns.
    pause(Duration::from_millis(500));
    assert_eq!(assignments(trial.get(1)), before);
    trial.host(1).kill_agent().unwrap();
    wait_led(&trial, &[2, 3], 2);
    pause(Duration::from_millis(500));
    assert_eq!(assignments(trial.get(3)), before);
    for (number, mark) in marks {
        let events = trial.get(number).events_after(mark).unwrap();
        assert!(events.iter().all(|event| event.address.is_none()), "{events:#?}");
    }
    let seen = eye.look().unwrap();
    for (address, seen) in &seen {
        assert_eq!((seen.hosts.len(), seen.arp_handovers, seen.lost), (1, 0, 0), "{address}");
    }
}
