//! The unit in `packaging`, unchanged, under a real systemd: what it is told, whom it restarts, what
//! it leaves, and what the journal has.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use rais_tests::netns::unit;
use rais_tests::systemd::Systemd;
use rais_tests::trial::{LIMIT, Trial, service};
use rais_tests::wait;
use serde_json::Value;

/// A host with three groups whose agent is to run under systemd, with the places of the unit.
fn host(trial: &mut Trial) -> String {
    trial.add(1).unwrap();
    let config = trial.config(1, &[1], "").unwrap();
    let places = [("run_dir = ", "\"/run/rais\""), ("bpf_dir = ", "\"/sys/fs/bpf/rais\"")];
    let mut lines: Vec<String> = config.lines().map(str::to_owned).collect();
    for line in &mut lines {
        for (key, place) in places {
            if line.starts_with(key) {
                *line = format!("{key}{place}");
            }
        }
    }
    let first = lines.join("\n") + "\n";
    let (_, group) = first.split_once("[[group]]").unwrap();
    let second = group.replace("\"demo\"", "\"other\"").replace(":7077", ":7078");
    let second = second.replace("10.77.0.101", "10.77.0.111");
    // Its driver has nothing to do in the time of a watchdog.
    let slow = group.replace("\"demo\"", "\"slow\"").replace(":7077", ":7079");
    let slow = slow.replace("\"10.77.0.101\"", "").replace("20000us", "30s");
    let slow = slow.replace("200000us", "100s");
    format!("{first}\n[[group]]{second}\n[[group]]{slow}")
}

/// Waits until the addresses on the host's interface are these.
fn wait_configured(trial: &Trial, numbers: &[u8]) {
    let wanted: Vec<_> = numbers.iter().map(|&number| service(number)).collect();
    wait::until("the addresses", LIMIT, || {
        let mut there = trial.get(1).configured()?;
        there.sort();
        Ok((there == wanted).then_some(()))
    })
    .unwrap();
}

/// The thread of this name of a process.
fn thread(process: u32, name: &str) -> String {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let mut tasks = tasks.map(|task| task.unwrap().path());
    let named = |task: &std::path::PathBuf| {
        fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name)
    };
    let found = tasks.find(named).unwrap();
    found.file_name().unwrap().to_str().unwrap().to_owned()
}

/// Holds one thread of another process still, for as long as this program runs (ptrace(2)).
const HOLD: &str = r"
import ctypes, os, sys
thread = int(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
SEIZE, INTERRUPT = 0x4206, 0x4207
for request in (SEIZE, INTERRUPT):
    if libc.ptrace(request, thread, None, None) != 0:
        sys.exit('ptrace: errno %d' % ctypes.get_errno())
print('held', flush=True)
# Until it is dead: a process is gone only once whoever traces its threads has heard of it.
while os.WIFSTOPPED(os.waitpid(thread, 0x40000000)[1]):
    pass
";

/// A thread that stands still until this is dropped.
struct Held(Child);

impl Held {
    fn hold(thread: &str) -> Self {
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-c", HOLD, thread]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "held\n");
        Self(child)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn the_unit_runs_the_agent_and_restarts_it_when_one_driver_stands_still() {
    let mut trial = Trial::new().unwrap();
    let config = host(&mut trial);
    // As the unit is, but for a watchdog that does not take so long.
    let dropin = "[Service]\nWatchdogSec=3s\n";
    let bed = trial.bed.dir().to_owned();
    let systemd = Systemd::start(trial.get(1), &bed, &config, dropin).unwrap();

    // It is started once it says that it is.
    systemd.ctl(&["start", "rais.service"]).unwrap();
    assert_eq!(systemd.property("ActiveState").unwrap(), "active");
    wait_configured(&trial, &[1, 11]);
    let says = |text: &str| text.contains("demo: leads, hosts 1, holds 1 of 1 addresses; other:");
    systemd.wait_property("StatusText", says).unwrap();
    let link = || {
        let version = format!("v{}", rais_common::maps::SCHEMA);
        let pins = trial.get(1).bpf_dir().join("rais").join(version);
        trial
            .get(1)
            .run("bpftool", &["link", "show", "pinned", pins.join("link-eth0").to_str().unwrap()])
    };
    let first = link().unwrap();
    assert!(systemd.command("rais").args(["status"]).output().unwrap().status.success());

    // Longer than the watchdog's time it goes on, as long as all drivers do.
    let process = systemd.agent().unwrap();
    wait::pause(std::time::Duration::from_secs(4));
    assert_eq!(systemd.agent().unwrap(), process);
    assert_eq!(systemd.property("NRestarts").unwrap(), "0");

    // One of the drivers stands still, and nothing else.
    let held = Held::hold(&thread(process, "rais-other"));
    systemd.wait_property("NRestarts", |n| n == "1").unwrap();
    systemd.wait_property("ActiveState", |state| state == "active").unwrap();
    drop(held);
    assert_ne!(systemd.agent().unwrap(), process);
    wait_configured(&trial, &[1, 11]);
    let said = systemd.journal();
    assert!(said.contains("no turn of the driver in"), "{said}");
    assert!(said.contains("removed 10.77.0.101"), "the unit cleaned up: {said}");
    // The interface was not touched.
    let id = |text: &str| text.split(':').next().unwrap().to_owned();
    assert_eq!(id(&link().unwrap()), id(&first));

    systemd.ctl(&["stop", "rais.service"]).unwrap();
    assert_eq!(systemd.property("Result").unwrap(), "success");
    assert!(trial.get(1).configured().unwrap().is_empty());
}

#[test]
fn the_journal_has_fields_and_a_bad_configuration_is_not_tried_again() {
    let mut trial = Trial::new().unwrap();
    let config = host(&mut trial);
    let bed = trial.bed.dir().to_owned();
    let systemd = Systemd::start(trial.get(1), &bed, &config, "").unwrap();
    systemd.ctl(&["start", "rais.service"]).unwrap();
    let entry = wait::until("an entry with fields", LIMIT, || {
        let mut command = systemd.command("journalctl");
        let shown = command.args(["-o", "json", "RAIS_INTERFACE=eth0"]).output()?;
        let text = String::from_utf8(shown.stdout)?;
        let entry: Option<Value> = text.lines().next().map(serde_json::from_str).transpose()?;
        Ok(entry)
    })
    .unwrap();
    assert_eq!(entry["PRIORITY"], "6", "{entry}");
    assert_eq!(entry["RAIS_MODE"], "generic", "{entry}");
    assert_eq!(entry["_SYSTEMD_UNIT"], "rais.service", "{entry}");
    let message = entry["MESSAGE"].as_str().unwrap();
    assert!(message.starts_with("XDP program attached interface=eth0"), "{message}");

    systemd.ctl(&["stop", "rais.service"]).unwrap();
    let file = bed.join("systemd/h1/etc/rais/rais.toml");
    fs::write(&file, config.replace("heartbeat", "heartbeet")).unwrap();
    systemd.ctl(&["start", "rais.service"]).unwrap_err();
    assert_eq!(systemd.property("ActiveState").unwrap(), "failed");
    assert_eq!(systemd.property("NRestarts").unwrap(), "0");
    let said = systemd.journal();
    assert!(said.contains("did you mean `heartbeat`?"), "{said}");
}

/// What `systemd-analyze security` gives the unit, at most, in tenths: 0 is nothing exposed, 100 is
/// everything.
const EXPOSURE: &str = "39";

#[test]
fn the_unit_is_well_formed_and_exposes_little() {
    let analyze = |arguments: &[&str]| {
        let mut command = Command::new("systemd-analyze");
        let done = command.args(arguments).arg(unit()).output().unwrap();
        let said = [done.stdout, done.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
        (done.status.success(), said)
    };
    let threshold = format!("--threshold={EXPOSURE}");
    let (good, said) = analyze(&["security", "--offline=true", &threshold]);
    assert!(good, "{said}");
    // The one thing it may miss is the program, where that is not installed.
    let (_, said) = analyze(&["verify", "--man=no"]);
    let other = said.lines().filter(|line| !line.contains("/usr/sbin/rais is not executable"));
    assert_eq!(other.collect::<Vec<_>>(), Vec::<&str>::new());
}
