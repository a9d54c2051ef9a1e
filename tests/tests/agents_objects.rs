//! Tests and scripts of real agents: what fails gives its addresses away, and programs are told
//! what the manual says.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::Path;

use rais_tests::netns::Host;
use rais_tests::scripts::Scripts;
use rais_tests::trial::{LIMIT, Trial, service};
use rais_tests::wait;

/// Where the tested service listens.
const PORT: u16 = 4_000;

/// A service on this host for tests to connect to. Nobody accepts: the kernel's queue is enough.
fn listen(host: &Host) -> TcpListener {
    host.inside(|| TcpListener::bind(("127.0.0.1", PORT)).unwrap()).unwrap()
}

/// Waits for so many records; there are no more than these.
fn wait_records(scripts: &Scripts, count: usize) -> Vec<BTreeMap<String, String>> {
    wait::until("a script's record", LIMIT, || {
        Ok((scripts.records()?.len() >= count).then_some(()))
    })
    .unwrap();
    let records = scripts.records().unwrap();
    assert_eq!(records.len(), count, "{records:#?}");
    records
}

/// What a script is told, and sees.
fn told(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The first test of the host's group: whether it passes, and what it said last.
fn first_test(host: &Host) -> (bool, String) {
    let test = host.group().unwrap().tests.remove(0);
    (test.passing, test.detail)
}

/// `[group.scripts]` with these programs.
fn section(programs: &[(&str, &Path)]) -> String {
    let lines = programs.iter().map(|(key, path)| format!("{key} = \"{}\"\n", path.display()));
    format!("[group.scripts]\n{}", lines.collect::<String>())
}

#[test]
fn a_port_that_closes_gives_the_addresses_away_until_it_opens_again() {
    let scripts = Scripts::new().unwrap();
    let notice = scripts.recorder("notice", "").unwrap();
    let extra = format!(
        "[[group.test]]\nname = \"port\"\nkind = \"tcp\"\naddress = \"127.0.0.1:{PORT}\"\n\
         interval = \"50ms\"\ntimeout = \"300ms\"\nrise = 2\nfall = 2\n{}",
        section(&[("test_failed", &notice)])
    );
    let mut trial = Trial::new().unwrap();
    trial.start(1, &[1], "").unwrap();
    let open = listen(trial.add(2).unwrap());
    let config = trial.config(2, &[2, 12], &extra).unwrap();
    trial.host(2).start_agent(&config).unwrap();
    trial.settle(&[(1, 1), (2, 2), (12, 2)]).unwrap();
    let mut eye = trial.watch(&[2, 12]).unwrap();
    let [before, mark] = [1, 2].map(|number| trial.get(number).last_event().unwrap());

    drop(open);
    trial.settle(&[(1, 1), (2, 1), (12, 1)]).unwrap();
    let host = trial.get(2);
    for address in [2, 12] {
        host.wait_event(mark, "released", Some(service(address)), LIMIT).unwrap();
    }
    let events = host.events_after(mark).unwrap();
    assert_eq!(events[0].kind, "test-failed", "{events:#?}");
    assert!(events[0].detail.as_deref().unwrap().contains("refused"), "{events:#?}");
    let released: Vec<_> = events.iter().filter(|event| event.kind == "released").collect();
    assert_eq!(released.len(), 2, "{events:#?}");
    assert!(released.iter().all(|e| e.reason.as_deref() == Some("test-failed")), "{events:#?}");
    for address in [2, 12] {
        let about = Some(service(address));
        let taken = trial.get(1).wait_event(before, "acquired", about, LIMIT).unwrap();
        assert_eq!(taken.last().unwrap().reason.as_deref(), Some("test-failed"), "{taken:#?}");
    }
    let gone = || Ok((host.configured()?.is_empty() && host.entries()?.is_empty()).then_some(()));
    wait::until("the addresses to be gone", LIMIT, gone).unwrap();
    let (passing, detail) = first_test(host);
    assert!(!passing && detail.contains("refused"), "{detail}");
    let record = wait_records(&scripts, 1).remove(0);
    assert_eq!((&*record["RAIS_EVENT"], &*record["RAIS_HOST"]), ("test_failed", "10.77.0.2"));
    assert!(record["RAIS_REASON"].starts_with("port: "), "{record:?}");

    let _open = listen(host);
    trial.settle(&[(1, 1), (2, 2), (12, 2)]).unwrap();
    assert!(first_test(trial.get(2)).0);
    let seen = eye.look().unwrap();
    for address in [2, 12] {
        assert_eq!((seen[&address].arp_doubled, seen[&address].arp_handovers), (0, 2), "{seen:?}");
    }
    assert_eq!(scripts.records().unwrap().len(), 1, "told once an occurrence");
}

#[test]
fn a_file_says_whether_the_host_serves() {
    let files = Scripts::new().unwrap();
    let ready = files.path("ready");
    let extra = format!(
        "[[group.test]]\nname = \"ready\"\nkind = \"file\"\npath = \"{}\"\n\
         interval = \"20ms\"\nfall = 1\nrise = 1\n",
        ready.display()
    );
    let mut trial = Trial::new().unwrap();
    trial.start(1, &[1], "").unwrap();
    trial.start(2, &[2], &extra).unwrap();
    trial.settle(&[(1, 1), (2, 1)]).unwrap();
    fs::write(&ready, "").unwrap();
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    let mark = trial.get(2).last_event().unwrap();
    fs::remove_file(&ready).unwrap();
    trial.settle(&[(1, 1), (2, 1)]).unwrap();
    let events = trial.get(2).wait_event(mark, "test-failed", None, LIMIT).unwrap();
    let detail = events.last().unwrap().detail.as_deref().unwrap();
    assert!(detail.starts_with("ready: ") && detail.contains("No such file"), "{detail}");
}

#[test]
fn a_test_that_hangs_fails_at_its_deadline_and_is_killed() {
    let scripts = Scripts::new().unwrap();
    let body = "if [ -e hang ]; then echo $$ > pid; exec sleep 1000; fi";
    let program = scripts.program("test", body).unwrap();
    let extra = format!(
        "[[group.test]]\nname = \"script\"\nkind = \"script\"\ncommand = \"{}\"\n\
         interval = \"100ms\"\ntimeout = \"400ms\"\nfall = 1\n",
        program.display()
    );
    let mut trial = Trial::new().unwrap();
    trial.start(1, &[1], &extra).unwrap();
    trial.settle(&[(1, 1)]).unwrap();
    let mark = trial.get(1).last_event().unwrap();

    fs::write(scripts.path("hang"), "").unwrap();
    let host = trial.get(1);
    let events = host.wait_event(mark, "test-failed", None, LIMIT).unwrap();
    let detail = events.last().unwrap().detail.as_deref().unwrap();
    assert_eq!(detail, "script: no result within 400ms");
    host.wait_event(mark, "released", Some(service(1)), LIMIT).unwrap();
    assert!(!first_test(host).0);
    fs::remove_file(scripts.path("hang")).unwrap();
    trial.settle(&[(1, 1)]).unwrap();
    let pid = fs::read_to_string(scripts.path("pid")).unwrap();
    assert!(!Path::new("/proc").join(pid.trim()).exists(), "process {pid} still runs");
}

#[test]
fn acquire_and_release_scripts_are_told_everything_in_order() {
    let scripts = Scripts::new().unwrap();
    let acquire = scripts.recorder("acquire", "").unwrap();
    let release = scripts.recorder("release", "").unwrap();
    let mut trial = Trial::new().unwrap();
    trial.start(1, &[1], &section(&[("acquire", &acquire), ("release", &release)])).unwrap();
    trial.settle(&[(1, 1)]).unwrap();
    let expected = |event, reason, epoch| {
        told(&[
            ("RAIS_ADDRESS", "10.77.0.101"),
            ("RAIS_EPOCH", epoch),
            ("RAIS_EVENT", event),
            ("RAIS_GROUP", "demo"),
            ("RAIS_HOST", "10.77.0.1"),
            ("RAIS_INTERFACE", "eth0"),
            ("RAIS_REASON", reason),
            // Put in place before the one, taken away after the other.
            ("SEEN", "1"),
        ])
    };
    assert_eq!(wait_records(&scripts, 1), [expected("acquire", "unserved", "1")]);

    trial.host(1).terminate_agent().unwrap();
    assert_eq!(trial.host(1).wait_agent_end(LIMIT).unwrap().code(), Some(0));
    let both = [expected("acquire", "unserved", "1"), expected("release", "shutdown", "1")];
    assert_eq!(wait_records(&scripts, 2), both);
    assert!(trial.get(1).configured().unwrap().is_empty());
}

#[test]
fn a_failing_acquire_script_undoes_the_acquisition_and_the_address_goes_elsewhere() {
    let scripts = Scripts::new().unwrap();
    let acquire = scripts.recorder("acquire", "echo no room >&2; exit 3").unwrap();
    let release = scripts.recorder("release", "").unwrap();
    let mut trial = Trial::new().unwrap();
    trial.start(2, &[2], "").unwrap();
    trial.settle(&[(2, 2)]).unwrap();
    let mut eye = trial.watch(&[1]).unwrap();
    let extra = section(&[("acquire", &acquire), ("release", &release)]);
    trial.start(1, &[1], &extra).unwrap();

    trial.settle(&[(1, 2), (2, 2)]).unwrap();
    let host = trial.get(1);
    let events = host.wait_event(0, "acquire-failed", Some(service(1)), LIMIT).unwrap();
    let detail = events.last().unwrap().detail.as_deref().unwrap();
    assert!(detail.contains("exited with 3: no room"), "{detail}");
    wait::until("the address to be gone", LIMIT, || {
        Ok((host.configured()?.is_empty() && host.entries()?.is_empty()).then_some(()))
    })
    .unwrap();
    let record = wait_records(&scripts, 1).remove(0);
    assert_eq!((&*record["RAIS_EVENT"], &*record["SEEN"]), ("acquire", "1"));
    let seen = eye.look().unwrap();
    assert!(seen[&1].answering && seen[&1].last_host.as_deref() == Some("h2"), "{seen:?}");
    assert_eq!(seen[&1].arp_doubled, 0, "{seen:?}");
}

#[test]
fn a_release_script_that_hangs_does_not_keep_the_agent_from_ending() {
    let scripts = Scripts::new().unwrap();
    let release = scripts.program("release", "exec sleep 1000").unwrap();
    let mut trial = Trial::new().unwrap();
    let extra = section(&[("release", &release)]) + "timeout = \"500ms\"\n";
    trial.start(1, &[1], &extra).unwrap();
    trial.start(2, &[2], "").unwrap();
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    let mut eye = trial.watch(&[1]).unwrap();

    trial.host(1).terminate_agent().unwrap();
    assert_eq!(trial.host(1).wait_agent_end(LIMIT).unwrap().code(), Some(0));
    let log = trial.get(1).log_tail();
    assert!(log.contains("took longer than 500ms and was killed"), "{log}");
    assert!(trial.get(1).configured().unwrap().is_empty());
    trial.settle(&[(1, 2), (2, 2)]).unwrap();
    let seen = eye.look().unwrap();
    assert_eq!((seen[&1].arp_doubled, seen[&1].arp_handovers), (0, 1), "{seen:?}");
}
