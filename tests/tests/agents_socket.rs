//! The control socket of a running agent in the hands of others: who may do what, and what a flood
//! of nonsense does to the heartbeats.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rais_tests::netns::{Host, binary};
use rais_tests::trial::{LIMIT, Trial};
use rustix::thread::{Gid, Uid, set_thread_res_gid, set_thread_res_uid};

/// The group of the socket.
const GROUP: u32 = 65_530;
/// Users who are nobody; the kernel knows them by their numbers only.
const USERS: [u32; 4] = [65_531, 65_532, 65_533, 65_534];

/// How many requests the flood has; a million takes a minute.
const VARIABLE: &str = "RAIS_FLOOD";
const USUAL: u64 = 20_000;

/// Where the agents serve their metrics.
const METRICS: &str = "127.0.0.1:9477";

/// Two agents whose sockets are for a group. Others may go through the directories of the bed.
fn start(trial: &mut Trial) {
    for number in 1..=2 {
        trial.add(number).unwrap();
        let config = trial.config(number, &[number], "").unwrap();
        let agent = format!("[agent]\nmetrics = \"{METRICS}\"\nsocket_group = \"{GROUP}\"\n");
        let config = config.replacen("[agent]\n", &agent, 1);
        trial.host(number).start_agent(&config).unwrap();
    }
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    let host = trial.get(1).run_dir();
    for dir in host.ancestors().take(3) {
        fs::set_permissions(dir, Permissions::from_mode(0o711)).unwrap();
    }
}

/// Runs `rais` as this user and group.
fn rais_as(trial: &Trial, user: u32, group: u32, arguments: &[&str]) -> Output {
    // Where others may run it from.
    let program = trial.bed.dir().join("rais");
    if !program.exists() {
        fs::copy(binary("rais").unwrap(), &program).unwrap();
        fs::set_permissions(trial.bed.dir(), Permissions::from_mode(0o711)).unwrap();
    }
    let mut command = Command::new(program);
    command.args(arguments).arg("--socket").arg(trial.get(1).socket());
    command.uid(user).gid(group);
    command.output().unwrap()
}

#[test]
fn the_group_of_the_socket_may_look_and_change_nothing() {
    let mut trial = Trial::new().unwrap();
    start(&mut trial);
    let about = fs::metadata(trial.get(1).socket()).unwrap();
    let mode = about.permissions().mode() & 0o7777;
    assert_eq!((std::os::unix::fs::MetadataExt::gid(&about), mode), (GROUP, 0o660));
    let before = trial.get(1).events().unwrap();

    for look in ["status", "events"] {
        let output = rais_as(&trial, USERS[0], GROUP, &[look, "--json"]);
        assert_eq!(output.status.code(), Some(0), "{look}");
        assert!(output.stdout.starts_with(b"{"), "{look}");
    }
    let changes: [&[&str]; 3] = [&["quiesce"], &["resume"], &["move", "10.77.0.101", "10.77.0.2"]];
    for change in changes {
        let output = rais_as(&trial, USERS[0], GROUP, change);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout), (Some(1), Vec::new()), "{change:?}");
        let wanted = format!(
            "rais: only root and the agent's own user may do this; it was asked by user id {}\n",
            USERS[0]
        );
        assert_eq!(said, wanted, "{change:?}");
    }
    // Who is not in the group does not get that far.
    let output = rais_as(&trial, USERS[0], USERS[0], &["status"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("Permission denied"), "{said}");
    assert_eq!(trial.get(1).events().unwrap(), before, "nothing happened");
    assert!(!trial.get(1).group().unwrap().quiesced);
}

/// The numbers of this name, by their labels.
fn metrics(host: &Host, name: &str) -> Vec<(String, f64)> {
    let mut stream = host.inside(|| TcpStream::connect(METRICS)).unwrap().unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    let lines = page.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// One value, of the only series of this name.
fn metric(host: &Host, name: &str) -> f64 {
    metrics(host, name)[0].1
}

/// How many heartbeats left later than each bound, in seconds.
fn lateness(host: &Host) -> Vec<(String, f64)> {
    let all = metric(host, "rais_heartbeat_lateness_seconds_count");
    let buckets = metrics(host, "rais_heartbeat_lateness_seconds_bucket");
    let bound =
        |series: &str| series.split("le=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    buckets.iter().map(|(series, within)| (bound(series), all - within)).collect()
}

/// From here on this thread is somebody else, the others are not.
fn become_somebody(user: u32) {
    let (group, user) = (Gid::from_raw(GROUP), Uid::from_raw(user));
    set_thread_res_gid(group, group, group).unwrap();
    set_thread_res_uid(user, user, user).unwrap();
}

/// One client that is up to no good; the `n`-th.
fn annoy(socket: &Path, n: u64) -> std::io::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    let mut answer = [0; 512];
    match n % 16 {
        // Nonsense, with an answer or without waiting for it.
        0..=5 => {
            stream.write_all(b"{\"v\":1,\"cmd\":[[[[{\"a\":null\xff\n")?;
            let length = stream.read(&mut answer)?;
            assert!(answer[..length].starts_with(b"{\"ok\":false,"), "{answer:?}");
        }
        6 | 7 => stream.write_all(b"\0\0\0\n\n\n\n\n\n")?,
        // Huge, with an end and without.
        8 => stream.write_all(&vec![b'['; 65_000])?,
        9 => stream.write_all(&[&vec![b'x'; 70_000][..], b"\n"].concat())?,
        // Slow: some bytes, and then nothing for a while.
        10 => {
            stream.write_all(b"{\"v\":1,")?;
            if n % 1_024 == 10 {
                rais_tests::wait::pause(Duration::from_millis(200));
            }
        }
        // Closed on one side, before and after a request.
        11 => stream.shutdown(Shutdown::Write)?,
        12 => {
            stream.write_all(b"{\"v\":1,\"cmd\":\"quiesce\"}")?;
            stream.shutdown(Shutdown::Write)?;
            let length = stream.read(&mut answer)?;
            assert!(!answer[..length].starts_with(b"{\"ok\":true"), "{answer:?}");
        }
        13 => stream.shutdown(Shutdown::Read)?,
        // Good ones, many at a time, whose answers nobody takes.
        14 if n % 256 == 14 => stream.write_all(&b"{\"v\":1,\"cmd\":\"status\"}\n".repeat(8))?,
        14 => stream.write_all(b"{\"v\":1,\"cmd\":\"events\",\"follow\":true}\n")?,
        _ => {}
    }
    Ok(())
}

#[test]
fn a_flood_of_nonsense_makes_no_heartbeat_late() {
    let mut trial = Trial::new().unwrap();
    start(&mut trial);
    let wanted = std::env::var(VARIABLE).map_or(USUAL, |text| text.parse().unwrap());
    let before = lateness(trial.get(1));
    let (sent, missed) = (
        metric(trial.get(1), "rais_heartbeats_sent_total"),
        metric(trial.get(1), "rais_heartbeats_missed_total"),
    );
    let log = trial.bed.dir().join("h1").join("agent.log");
    let lines = || fs::read_to_string(&log).unwrap().lines().count();
    let said = lines();
    let marks = [1, 2].map(|number| trial.get(number).last_event().unwrap());
    let socket = trial.get(1).socket();
    let (next, turned_away) = (AtomicU64::new(0), AtomicU64::new(0));
    let began = rais::clock::now();
    std::thread::scope(|scope| {
        for user in USERS.iter().flat_map(|user| [user; 4]) {
            scope.spawn(|| {
                become_somebody(*user);
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= wanted {
                        return;
                    }
                    if annoy(&socket, n).is_err() {
                        turned_away.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        // Meanwhile root is served.
        for on in ["quiesce", "resume"].iter().cycle().take(6) {
            trial.get(1).ask(&[on]).unwrap();
            trial.get(1).ask(&["status"]).unwrap();
        }
    });
    let took = rais::clock::now().since(began);
    let after = lateness(trial.get(1));
    let sent = metric(trial.get(1), "rais_heartbeats_sent_total") - sent;
    let missed = metric(trial.get(1), "rais_heartbeats_missed_total") - missed;
    println!("{wanted} requests in {took:?}; {turned_away:?} found the connection closed");
    println!(
        "{sent} heartbeats, {missed} missed; later than, before: {before:?}, after: {after:?}"
    );
    assert!(missed < 1.0, "{missed}");
    // Root's requests are events, each with a line; the others are not worth one.
    assert!(lines() - said < 20, "{}", trial.get(1).log_tail());
    // A lease is nine heartbeats here. None was late by as many as would have been missed.
    for (number, mark) in [1, 2].into_iter().zip(marks) {
        let events = trial.get(number).events_after(mark).unwrap();
        let bad =
            |kind: &str| ["lease-lapsed", "host-down", "quorum-lost", "released"].contains(&kind);
        assert!(events.iter().all(|event| !bad(&event.kind)), "{events:#?}");
    }
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    // Nothing is left of them: whoever comes next is served.
    let output = rais_as(&trial, USERS[0], GROUP, &["status"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}
