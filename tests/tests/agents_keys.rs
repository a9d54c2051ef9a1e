//! Who belongs to a group: real agents with its key, with another one, and with none.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rais::status::{AddressState, Group};
use rais_tests::trial::{LIMIT, TIMEOUT, Trial, id};
use rais_tests::wait::pause;

/// A configuration without the line that names the key.
fn without_key(config: &str, instead: &str) -> String {
    let lines =
        config.lines().map(|line| if line.starts_with("key_files") { instead } else { line });
    lines.fold(String::new(), |text, line| text + line + "\n")
}

/// A key of the bed that is not the group's.
fn another_key(trial: &Trial) -> PathBuf {
    let path = trial.bed.dir().join("other.key");
    let made = trial.client.rais(&["keygen"]).unwrap();
    fs::copy(trial.bed.key_file().unwrap(), &path).unwrap();
    assert_ne!(fs::read(&path).unwrap(), made.stdout);
    fs::write(&path, made.stdout).unwrap();
    path
}

/// How many messages were refused for this reason.
fn refused(group: &Group, reason: &str) -> u64 {
    group.messages.refused.get(reason).copied().unwrap_or(0)
}

#[test]
fn a_group_without_a_key_runs_only_where_that_is_said() {
    let mut trial = Trial::new().unwrap();
    trial.add(1).unwrap();
    let config = trial.config(1, &[1], "").unwrap();
    trial.host(1).start_agent(&without_key(&config, "")).unwrap();
    let ended = trial.host(1).wait_agent_end(LIMIT).unwrap();
    assert_eq!(ended.code(), Some(2));
    let log = trial.get(1).log_tail();
    assert!(log.contains("key_files") && log.contains("insecure = true"), "{log}");
    assert!(trial.get(1).attached().is_err() && trial.get(1).configured().unwrap().is_empty());

    trial.add(2).unwrap();
    for number in 1..=2 {
        let config = trial.config(number, &[number], "").unwrap();
        trial.host(number).start_agent(&without_key(&config, "insecure = true")).unwrap();
    }
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    assert!(!trial.get(1).group().unwrap().secure);
    assert!(trial.get(1).ask(&["status"]).unwrap().contains("INSECURE"));
}

#[test]
fn hosts_with_another_key_or_none_change_nothing_and_are_counted() {
    let mut trial = Trial::new().unwrap();
    trial.floating = vec![0];
    // Alone, strangers may hold nothing: what they think of themselves is not the group's matter.
    trial.quorum = 2;
    for number in 1..=2 {
        trial.start(number, &[number], "").unwrap();
    }
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    let online = |group: &Group| {
        group.addresses.len() == 3
            && group.addresses.iter().all(|a| a.state == AddressState::Online)
    };
    let before = trial.get(1).wait_group("all to be online", LIMIT, online).unwrap();
    assert!(before.secure);
    let mut eye = trial.watch(&[0, 1, 2]).unwrap();
    let marks = [1, 2].map(|number| (number, trial.get(number).last_event().unwrap()));

    let key = another_key(&trial);
    for number in 3..=4 {
        trial.add(number).unwrap();
        let config = trial.config(number, &[number], "").unwrap();
        let line = match number {
            3 => format!("key_files = [\"{}\"]", key.display()),
            _ => "insecure = true".to_owned(),
        };
        trial.host(number).start_agent(&without_key(&config, &line)).unwrap();
    }
    // Which host, and for which reason it refuses what the others send.
    let expected: [(u8, &[&str]); 4] = [
        (1, &["forged", "unsealed"]),
        (2, &["forged", "unsealed"]),
        (3, &["forged", "unsealed"]),
        (4, &["sealed"]),
    ];
    for (number, reasons) in expected {
        let counted = |group: &Group| reasons.iter().all(|reason| refused(group, reason) >= 20);
        trial.get(number).wait_group("refusals to be counted", LIMIT, counted).unwrap();
    }
    pause(TIMEOUT + Duration::from_millis(300));
    for number in 3..=4 {
        let alone = trial.get(number).group().unwrap();
        assert_eq!(alone.hosts.iter().map(|host| host.id).collect::<Vec<_>>(), [id(number)]);
        assert!(!alone.quorum_met && trial.get(number).configured().unwrap().is_empty());
    }
    assert!(trial.get(3).group().unwrap().secure);
    assert!(!trial.get(4).group().unwrap().secure);
    for (number, mark) in marks {
        assert_eq!(trial.get(number).events_after(mark).unwrap(), []);
        assert_eq!(trial.get(number).group().unwrap().hosts.len(), 2);
    }
    let holders = |addresses: &[rais::status::Address]| {
        addresses.iter().map(|a| (a.address, a.holders.clone(), a.state)).collect::<Vec<_>>()
    };
    assert_eq!(holders(&trial.get(1).group().unwrap().addresses), holders(&before.addresses));
    for (address, seen) in eye.look().unwrap() {
        assert_eq!((seen.hosts.len(), seen.arp_doubled, seen.lost), (1, 0, 0), "{address}");
    }
}
