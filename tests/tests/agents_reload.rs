//! Running agents that are told to read their configuration again: what changes, and what does not.
//!
//! `many_reloads` does 200. `RAIS_RELOADS=10000` has it do so many, which takes some minutes and
//! shows how memory goes; with `--nocapture` its figures are printed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use rais::api::{self, Request, client};
use rais::clock;
use rais::config::plan::{Fate, Plan};
use rais::events::Event;
use rais_tests::netns::Host;
use rais_tests::scripts::Scripts;
use rais_tests::trial::{Eye, LIMIT, TIMEOUT, Trial, service};
use rais_tests::wait::{self, pause};

/// Hosts 1 and 2 with an address of their own each, and one that floats.
fn two_hosts() -> Trial {
    let mut trial = Trial::new().unwrap();
    trial.floating = vec![0];
    for number in 1..=2 {
        trial.start(number, &[number], "").unwrap();
    }
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    trial
}

/// Has a host's agent read this configuration; what that changed.
fn reload(trial: &Trial, number: u8, config: &str) -> Plan {
    trial.get(number).configure(config).unwrap();
    serde_json::from_str(&trial.get(number).ask(&["reload", "--json"]).unwrap()).unwrap()
}

/// As [`reload`], where the agent refuses: why.
fn refused(trial: &Trial, number: u8, config: &str) -> String {
    let host = trial.get(number);
    host.configure(config).unwrap();
    let socket = host.socket();
    let done = host.rais(&["reload", "--socket", socket.to_str().unwrap()]).unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert!(done.stdout.is_empty());
    String::from_utf8(done.stderr).unwrap()
}

/// Nobody that looks at these addresses has missed anything.
fn nothing_lost(eye: &mut Eye, addresses: &[u8]) {
    let seen = eye.look().unwrap();
    for address in addresses {
        let seen = &seen[address];
        assert!(seen.sent > 0, "{address}");
        assert_eq!(
            (seen.lost, seen.arp_doubled, seen.hosts.len()),
            (0, 0, 1),
            "{address}: {seen:?}"
        );
    }
}

/// What has happened after the event of a number, in short.
fn kinds(host: &Host, after: u64) -> Vec<(String, String)> {
    let events = host.events_after(after).unwrap();
    events.into_iter().map(|Event { group, kind, .. }| (group, kind)).collect()
}

fn known(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(group, kind)| ((*group).to_owned(), (*kind).to_owned())).collect()
}

/// The second group of a host, with one address of its own.
fn second_group(trial: &Trial, number: u8) -> String {
    let config = trial.config(number, &[number + 20], "").unwrap();
    let (_, group) = config.split_once("[[group]]").unwrap();
    let group = group.replace("\"demo\"", "\"second\"").replace("239.77.0.1", "239.77.0.2");
    let floats = group.lines().filter(|line| !line.starts_with("floating"));
    floats.fold("\n[[group]]".to_owned(), |text, line| text + line + "\n")
}

#[test]
fn a_hangup_applies_the_file_and_says_what_has_changed() {
    let mut trial = two_hosts();
    let mut eye = trial.watch(&[0, 1, 2]).unwrap();
    let before = trial.get(1).last_event().unwrap();
    let pid = trial.host(1).agent_pid();
    trial.host(1).hang_up_agent().unwrap();
    let first = trial.get(1).wait_event(before, "reloaded", None, LIMIT).unwrap();
    let [first] = first.as_slice() else { panic!("{first:?}") };
    assert_eq!((first.group.as_str(), first.detail.as_deref()), ("*", Some("nothing has changed")));

    let config = trial.config(1, &[1], "failback = \"never\"\n").unwrap();
    trial.get(1).configure(&config).unwrap();
    trial.host(1).hang_up_agent().unwrap();
    let events = trial.get(1).wait_event(first.seq, "group-changed", None, LIMIT).unwrap();
    let detail = events.last().unwrap().detail.as_deref();
    assert_eq!(detail, Some("`failback` (immediate -> never)"));
    let log = trial.get(1).log_tail();
    assert!(log.contains("demo group-changed: `failback` (immediate -> never)"), "{log}");
    assert_eq!(trial.host(1).agent_pid(), pid);
    let expected = [("*", "reloaded"), ("*", "reloaded"), ("demo", "group-changed")];
    assert_eq!(kinds(trial.get(1), before), known(&expected));
    nothing_lost(&mut eye, &[0, 1, 2]);
}

#[test]
fn what_cannot_be_applied_changes_nothing() {
    let trial = two_hosts();
    let mut eye = trial.watch(&[0, 1, 2]).unwrap();
    let good = trial.config(1, &[1], "").unwrap();
    let before = trial.get(1).last_event().unwrap();

    let bad = good.replace("quorum = 1", "quorum = 2\nplacement = \"best\"");
    let why = refused(&trial, 1, &bad);
    assert!(why.starts_with("rais: nothing was changed:\n") && why.contains("rais.toml:"), "{why}");
    assert!(why.contains("`placement`"), "{why}");

    let elsewhere = good.replace("[agent]", "[agent]\nrealtime = false").replace("quorum = 1", "");
    let why = refused(&trial, 1, &elsewhere);
    let said = "rais.toml: [agent]: `realtime` (true -> false) cannot change while the agent runs; \
                put it back as it was, or restart the agent; nothing was changed";
    assert!(why.contains(said), "{why}");

    // The last thing of many cannot be had: a port that is taken.
    let taken = trial.get(1).inside(|| TcpListener::bind("127.0.0.1:9477").unwrap()).unwrap();
    let threads = trial.get(1).dump("LEASES").unwrap().len();
    let metrics = "[agent]\nmetrics = \"127.0.0.1:9477\"";
    let many = good.replace("[agent]", metrics).replace("quorum = 1", "spread = false");
    let many = many + &second_group(&trial, 1);
    let why = refused(&trial, 1, &many);
    let said = "`metrics`: cannot listen on 127.0.0.1:9477";
    assert!(why.contains(said) && why.ends_with("; nothing was changed\n"), "{why}");
    assert_eq!(trial.get(1).dump("LEASES").unwrap().len(), threads);
    let refusals = [("*", "reload-refused"); 3];
    assert_eq!(kinds(trial.get(1), before), known(&refusals));

    drop(taken);
    let plan = reload(&trial, 1, &many);
    assert_eq!(
        plan.to_string(),
        "agent: changed: `metrics` (none -> 127.0.0.1:9477)\ngroup demo: changed: `spread` (true \
         -> false)\ngroup second: added\n"
    );
    nothing_lost(&mut eye, &[0, 1, 2]);
}

#[test]
fn addresses_come_and_go_and_others_stay() {
    let mut trial = two_hosts();
    let mut eye = trial.watch(&[0, 1, 2]).unwrap();
    let config = trial.config(1, &[1, 3], "").unwrap();
    assert_eq!(
        reload(&trial, 1, &config).to_string(),
        "group demo: changed: `preferred` (+10.77.0.103)\n"
    );
    trial.settle(&[(1, 1), (2, 2), (3, 1)]).unwrap();
    let mut third = trial.watch(&[3]).unwrap();
    nothing_lost(&mut third, &[3]);

    // It becomes another host's, which has it then.
    let config = trial.config(2, &[2, 3], "").unwrap();
    reload(&trial, 2, &config);
    let config = trial.config(1, &[1], "").unwrap();
    reload(&trial, 1, &config);
    trial.settle(&[(1, 1), (2, 2), (3, 2)]).unwrap();
    third.look().unwrap();
    pause(TIMEOUT * 3);
    nothing_lost(&mut third, &[3]);

    // Nobody has it any more.
    let config = trial.config(2, &[2], "").unwrap();
    reload(&trial, 2, &config);
    for number in 1..=2 {
        trial
            .get(number)
            .wait_group("the address to be gone", LIMIT, |group| {
                group.addresses.iter().all(|a| a.address != service(3))
            })
            .unwrap();
        assert!(!trial.get(number).configured().unwrap().contains(&service(3)));
    }
    nothing_lost(&mut eye, &[0, 1, 2]);
}

#[test]
fn groups_come_and_go_and_others_stay() {
    let mut trial = two_hosts();
    let mut eye = trial.watch(&[0, 1, 2]).unwrap();
    let alone = trial.config(1, &[1], "").unwrap();
    let both = alone.clone() + &second_group(&trial, 1);
    let online = |host: &Host, address: u8| {
        host.configured().unwrap().contains(&service(address))
            && host.entries().unwrap().contains_key(&service(address))
    };
    assert_eq!(reload(&trial, 1, &both).groups[1].fate, Fate::Added);
    wait::until("its address", LIMIT, || Ok(online(trial.get(1), 21).then_some(()))).unwrap();

    // Another group address: it ends, and starts anew.
    let before = trial.get(1).last_event().unwrap();
    let moved = both.replace("239.77.0.2:7077", "239.77.0.3:7077");
    let plan = reload(&trial, 1, &moved);
    assert_eq!(
        plan.groups[1].to_string(),
        "second: restarted: `address` (239.77.0.2:7077 -> 239.77.0.3:7077)"
    );
    assert!(!online(trial.get(1), 21), "it was released");
    let events = trial.get(1).wait_event(before, "acquired", Some(service(21)), LIMIT).unwrap();
    assert!(events.iter().all(|event| event.group != "demo"), "{events:?}");

    assert_eq!(reload(&trial, 1, &alone).groups[1].fate, Fate::Removed);
    assert!(!online(trial.get(1), 21));
    let status = trial.host(1).status().unwrap().unwrap();
    assert_eq!(status.groups.len(), 1);
    nothing_lost(&mut eye, &[0, 1, 2]);

    // An agent that ends releases those that came later.
    reload(&trial, 1, &both);
    wait::until("its address", LIMIT, || Ok(online(trial.get(1), 21).then_some(()))).unwrap();
    trial.host(1).terminate_agent().unwrap();
    assert!(trial.host(1).wait_agent_end(LIMIT).unwrap().success());
    assert!(trial.get(1).configured().unwrap().is_empty());
}

#[test]
fn keys_are_changed_without_anybody_falling_silent() {
    let trial = two_hosts();
    let mut eye = trial.watch(&[0, 1, 2]).unwrap();
    let marks = [1, 2].map(|number| trial.get(number).last_event().unwrap());
    let old = trial.bed.key_file().unwrap();
    let new = trial.bed.dir().join("next.key");
    fs::copy(&old, &new).unwrap();
    fs::write(&new, trial.client.rais(&["keygen"]).unwrap().stdout).unwrap();
    let (old, new) = (format!("\"{}\"", old.display()), format!("\"{}\"", new.display()));
    let steps = [format!("{old}, {new}"), format!("{new}, {old}"), new.clone()];
    for keys in &steps {
        for number in 1..=2 {
            let config = trial.config(number, &[number], "").unwrap();
            let plan = reload(&trial, number, &config.replace(&old, keys));
            assert_eq!(plan.to_string(), "group demo: changed: `key_files`\n");
            pause(TIMEOUT);
        }
    }
    nothing_lost(&mut eye, &[0, 1, 2]);
    for (number, mark) in [1, 2].into_iter().zip(marks) {
        let expected = [("*", "reloaded"), ("demo", "group-changed")].repeat(3);
        assert_eq!(kinds(trial.get(number), mark), known(&expected));
        let refused = trial.get(number).group().unwrap().messages.refused;
        assert_eq!(refused.get("forged"), None, "{refused:?}");
    }
}

// On one host after the other: while they differ, nobody is taken for dead, and nobody is taken
// over from too early.
#[test]
fn timings_change_without_anybody_falling_silent() {
    let mut trial = two_hosts();
    let mut eye = trial.watch(&[0, 1, 2]).unwrap();
    let marks = [1, 2].map(|number| trial.get(number).last_event().unwrap());
    let config = |trial: &Trial, number: u8, slow: bool| {
        let config = trial.config(number, &[number], "").unwrap();
        if !slow {
            return config;
        }
        config.replace("\"20000us\"", "\"500ms\"").replace("\"200000us\"", "\"1500ms\"")
    };
    for (number, slow) in [(1, true), (2, true), (2, false), (1, false)] {
        let changed = config(&trial, number, slow);
        let plan = reload(&trial, number, &changed);
        assert_eq!(plan.groups[0].keys.len(), 2, "{plan}");
        pause(Duration::from_secs(2));
    }
    nothing_lost(&mut eye, &[0, 1, 2]);
    for (number, mark) in [1, 2].into_iter().zip(marks) {
        let expected = [("*", "reloaded"), ("demo", "group-changed")].repeat(2);
        assert_eq!(kinds(trial.get(number), mark), known(&expected));
    }

    // One has shortened its timeout, the other one answers for longer, and dies.
    let slow = config(&trial, 1, true);
    reload(&trial, 1, &slow);
    pause(Duration::from_secs(1));
    eye.look().unwrap();
    trial.host(1).kill_agent().unwrap();
    trial.settle_among(&[2], &[(1, 2), (2, 2)]).unwrap();
    let seen = eye.look().unwrap();
    for (address, seen) in seen {
        assert_eq!(seen.arp_doubled, 0, "{address}: {seen:?}");
    }
}

/// A number from the agent's `/proc/<pid>/status`.
fn proc_status(pid: u32, field: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Open descriptors and threads.
fn handles(pid: u32) -> (usize, u64) {
    (fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count(), proc_status(pid, "Threads:"))
}

/// Two files that differ in what changes in place, and in a group.
fn two_files(trial: &Trial, scripts: &Scripts) -> [String; 2] {
    let program = scripts.program("nothing", "exit 0").unwrap();
    let program = program.display();
    let first = trial.config(1, &[1], "").unwrap();
    let extra = format!(
        "failback = \"never\"\norphan_timeout = \"1h\"\nhigh_water = 800\nlow_water = 500\n\
         [[group.test]]\nname = \"t\"\nkind = \"script\"\ncommand = \"{program}\"\n\
         interval = \"1s\"\n\
         [[group.load]]\nkind = \"cpu\"\n\
         [group.scripts]\nacquire = \"{program}\"\n\
         [group.traps]\ndestinations = [\"127.0.0.1:9162\"]\n"
    );
    let second = trial.config(1, &[1], &extra).unwrap();
    let key = trial.bed.dir().join("next.key");
    fs::copy(trial.bed.key_file().unwrap(), &key).unwrap();
    fs::write(&key, trial.client.rais(&["keygen"]).unwrap().stdout).unwrap();
    let second = second
        .replace("group.key\"]", &format!("group.key\", \"{}\"]", key.display()))
        .replace("\"20000us\"", "\"25ms\"")
        .replace("\"200000us\"", "\"220ms\"");
    [first, second + &second_group(trial, 1)]
}

#[test]
fn many_reloads() {
    let count: u32 = std::env::var("RAIS_RELOADS").map_or(1_000, |text| text.parse().unwrap());
    let mut trial = two_hosts();
    let scripts = Scripts::new().unwrap();
    let files = two_files(&trial, &scripts);
    let pid = trial.host(1).agent_pid().unwrap();
    let socket = trial.get(1).socket();
    let request = Request {
        v: api::VERSION,
        cmd: api::Command::Reload,
        group: None,
        follow: false,
        after: None,
        log: None,
        address: None,
        host: None,
    };
    let mut eye = trial.watch(&[0, 1, 2]).unwrap();
    let (mut before, mut took) = (None, Duration::ZERO);
    let mut slowest = Duration::ZERO;
    for n in 1..=count {
        trial.get(1).configure(&files[(n % 2) as usize]).unwrap();
        let start = clock::now();
        let reply = client::ask_long(&socket, &request, LIMIT).unwrap();
        let span = clock::now().since(start);
        (took, slowest) = (took + span, slowest.max(span));
        assert!(!reply.plan.unwrap().is_empty(), "reload {n}");
        // The log of events fills up first. The number is even: as at the end.
        if n == (count / 2).next_multiple_of(2) {
            pause(TIMEOUT);
            before = Some((proc_status(pid, "VmRSS:"), handles(pid)));
        }
        if n % (count / 10).max(1) == 0 {
            println!("{n}: {} KiB, {:?}", proc_status(pid, "VmRSS:"), handles(pid));
        }
    }
    let (memory, held) = before.unwrap();
    wait::until("descriptors and threads as before", LIMIT, || {
        Ok((handles(pid) == held).then_some(()))
    })
    .unwrap_or_else(|e| panic!("{e}: {held:?}, then {:?}", handles(pid)));
    let after = proc_status(pid, "VmRSS:");
    let seen = eye.look().unwrap();
    let sent: u64 = seen.values().map(|seen| seen.sent).sum();
    let lost: u64 = seen.values().map(|seen| seen.lost).sum();
    println!(
        "{count} reloads in {took:?}, {:?} each, {slowest:?} the slowest; {memory} KiB, then \
         {after}; descriptors and threads {held:?}; {lost} lost of {sent} packets",
        took / count
    );
    assert_eq!((lost, seen.values().map(|seen| seen.arp_doubled).sum::<u64>()), (0, 0));
    // What the allocator keeps differs by some MiB. With many reloads this finds small leaks too.
    assert!(after < memory + 8_192, "{memory} KiB, then {after} KiB");
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
}
