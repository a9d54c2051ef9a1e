//! Real agents that record what they are told: groups that are told it again decide the same. The
//! recordings that are kept as cases come from here, see `rais_tests::recorded`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rais_tests::recorded;
use rais_tests::trial::{HEARTBEAT, LIMIT, TIMEOUT, Trial};

/// Starts hosts 1 and 2, each with an address of its own. One of them records. Slower than other
/// trials: a recording that is kept has to be small.
fn recording(recorder: u8) -> Trial {
    let mut trial = Trial::new().unwrap();
    for number in 1..=2 {
        let host = trial.add(number).unwrap();
        if number == recorder {
            host.record();
        }
        let config = trial.config(number, &[number], "").unwrap();
        let slower = config
            .replace(&format!("\"{}us\"", HEARTBEAT.as_micros()), "\"100ms\"")
            .replace(&format!("\"{}us\"", TIMEOUT.as_micros()), "\"500ms\"");
        trial.host(number).start_agent(&slower).unwrap();
    }
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    trial
}

/// Ends the agent that records; its recording is replayed, and kept where that is wanted.
fn replay(trial: &mut Trial, recorder: u8, name: &str) {
    let host = trial.host(recorder);
    host.terminate_agent().unwrap();
    assert!(host.wait_agent_end(LIMIT).unwrap().success());
    let path = host.recording();
    let recording = fs::read_to_string(&path).unwrap();
    assert!(recording.ends_with("{\"end\":{\"group\":\"demo\"}}\n"), "not complete");
    let output = recorded::replay(&path, &["--all"]).unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    // The head, the start and the end are no turns.
    let turns = recording.lines().count() - 3;
    assert!(shown.ends_with(&format!("\n{turns} turns, all as recorded\n")), "{shown}");
    if recorded::updating() {
        recorded::keep(name, &recording).unwrap();
        let notable = recorded::replay(&path, &[]).unwrap();
        fs::write(recorded::path(name).with_extension("txt"), notable.stdout).unwrap();
    }
}

#[test]
fn an_agent_that_takes_over_and_gives_back() {
    let mut trial = recording(2);
    trial.host(1).kill_agent().unwrap();
    trial.settle(&[(1, 2), (2, 2)]).unwrap();
    trial.host(1).restart_agent().unwrap();
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    // Another agent of this host is refused before it touches the recording.
    let config = trial.get(2).recording().with_file_name("rais.toml");
    let mut second = trial.get(2).command(rais_tests::netns::binary("rais").unwrap());
    second.arg("run").arg("--config").arg(config).arg("--record").arg(trial.get(2).recording());
    assert_eq!(second.output().unwrap().status.code(), Some(2));
    let mode = fs::metadata(trial.get(2).recording()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    replay(&mut trial, 2, "agents-failover");
}

#[test]
fn an_agent_that_stood_still() {
    let mut trial = recording(1);
    trial.host(1).freeze_agent().unwrap();
    trial.settle_among(&[2], &[(1, 2), (2, 2)]).unwrap();
    trial.host(1).thaw_agent().unwrap();
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    replay(&mut trial, 1, "agents-lapse");
}

#[test]
fn an_agent_that_meets_another_with_its_address() {
    let mut trial = recording(2);
    trial.bed.cut(trial.get(2)).unwrap();
    trial.settle_among(&[2], &[(1, 2), (2, 2)]).unwrap();
    trial.settle_among(&[1], &[(1, 1), (2, 1)]).unwrap();
    trial.bed.heal().unwrap();
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    replay(&mut trial, 2, "agents-duplicate");
}

#[test]
fn a_file_that_cannot_be_written_to() {
    let mut trial = Trial::new().unwrap();
    trial.add(1).unwrap().record();
    let path = trial.get(1).recording();
    let config = trial.config(1, &[1], "").unwrap();

    // Not at all: the agent does not start, and says why.
    fs::create_dir(&path).unwrap();
    trial.host(1).start_agent(&config).unwrap();
    let status = trial.host(1).wait_agent_end(LIMIT).unwrap();
    assert_eq!(status.code(), Some(2));
    let said = format!("rais: cannot record to {}: Is a directory (os error 21)", path.display());
    assert!(trial.get(1).log_tail().contains(&said), "{}", trial.get(1).log_tail());
    fs::remove_dir(&path).unwrap();

    // Not any more: the agent goes on, and says so once.
    std::os::unix::fs::symlink(Path::new("/dev/full"), &path).unwrap();
    trial.host(1).start_agent(&config).unwrap();
    trial.settle(&[(1, 1)]).unwrap();
    let log = trial.get(1).log_tail();
    let said = format!("the recording ends: {}: No space left on device", path.display());
    assert_eq!(log.matches(&said).count(), 1, "{log}");
    trial.host(1).terminate_agent().unwrap();
    assert!(trial.host(1).wait_agent_end(LIMIT).unwrap().success());
}
