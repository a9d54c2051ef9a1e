//! Recordings told to groups again: those that are kept, of real agents and of simulated hosts, and
//! ones with something wrong in them. See `rais_tests::recorded` for how to renew what is kept.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use rais_tests::cluster::{Cluster, Plan};
use rais_tests::recorded;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A cluster that records one of its hosts.
fn recording(plan: &Plan, host: usize) -> Cluster {
    let mut cluster = Cluster::new(plan, 7);
    cluster.record(host);
    cluster.start_all();
    cluster
}

// Host 0 crashes and comes back → host 1 takes its address over, and gives it back.
fn crash() -> String {
    let mut plan = Plan::new(&[1, 1]);
    plan.scripts = true;
    let mut cluster = recording(&plan, 1);
    cluster.crash(0);
    cluster.settle();
    cluster.start(0);
    cluster.settle();
    cluster.recording(1)
}

// Host 0 stands still until its lease has run out → it withdraws, and joins anew.
fn pause() -> String {
    let mut cluster = recording(&Plan::new(&[1, 1]), 0);
    cluster.pause(0, ms(800));
    cluster.run_for(ms(800));
    cluster.settle();
    cluster.recording(0)
}

// Hosts 0 and 1 do not hear each other for a while and both have the floating address → host 1
// has the higher epoch or yields.
fn partition() -> String {
    let mut plan = Plan::new(&[0, 0]);
    plan.floating = 1;
    let mut cluster = recording(&plan, 0);
    cluster.partition(&[&[0], &[1]]);
    cluster.run_for(ms(1_000));
    cluster.heal();
    cluster.settle();
    cluster.recording(0)
}

// The tests of host 0, which leads, fail, an operator quiesces host 1, and host 0 ends → orders,
// refusals and the orderly end of a leader.
fn orders() -> String {
    let mut plan = Plan::new(&[1, 0, 1]);
    plan.quorum = 2;
    let mut cluster = recording(&plan, 0);
    cluster.set_health(0, false);
    cluster.settle();
    cluster.quiesce(1, true);
    cluster.set_health(0, true);
    cluster.settle();
    cluster.shutdown(0);
    cluster.settle();
    cluster.recording(0)
}

type Scenario = fn() -> String;

const SIMULATED: [(&str, Scenario); 4] = [
    ("simulated-crash", crash),
    ("simulated-pause", pause),
    ("simulated-partition", partition),
    ("simulated-orders", orders),
];

/// What the command says that the test compares, without the place of the file.
fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// Renews what is kept where that is wanted.
fn update() {
    for (name, scenario) in SIMULATED {
        recorded::keep(name, &scenario()).unwrap();
    }
    for name in recorded::names().unwrap() {
        let path = recorded::path(&name);
        let anew = recorded::decided_anew(&fs::read_to_string(&path).unwrap());
        let anew = anew.unwrap_or_else(|e| panic!("{name}: {e:#}; record it anew"));
        recorded::keep(&name, &anew).unwrap();
        let (_, shown, _) = said(&recorded::replay(&path, &[]).unwrap());
        fs::write(path.with_extension("txt"), shown).unwrap();
    }
}

#[test]
fn groups_still_decide_as_they_did() {
    if recorded::updating() {
        update();
    }
    let names = recorded::names().unwrap();
    for (name, _) in SIMULATED {
        assert!(names.iter().any(|kept| kept == name), "{name} is not kept: see RAIS_UPDATE");
    }
    for name in names {
        let path = recorded::path(&name);
        let (code, shown, errors) = said(&recorded::replay(&path, &[]).unwrap());
        assert_eq!(code, 0, "{name}: {errors}");
        let expected = fs::read_to_string(path.with_extension("txt")).unwrap();
        let differs = shown.lines().zip(expected.lines()).position(|(a, b)| a != b);
        assert!(shown == expected, "{name}: differs from line {differs:?} on:\n{shown}");
    }
}

#[test]
fn a_simulated_run_is_the_same_each_time() {
    let without_head = |text: String| text.split_once('\n').unwrap().1.to_owned();
    assert_eq!(without_head(crash()), without_head(crash()));
}

/// A changed copy of a recording; goes with the test.
struct Changed(PathBuf);

impl Changed {
    fn new(name: &str, lines: &[String]) -> Self {
        let path = std::env::temp_dir().join(format!("rais-replay-{name}-{}", std::process::id()));
        fs::write(&path, lines.concat()).unwrap();
        Self(path)
    }

    /// What `rais replay` says of it: exit code, output, and errors without the place.
    fn said(&self, arguments: &[&str]) -> (i32, String, String) {
        let (code, shown, errors) = said(&recorded::replay(&self.0, arguments).unwrap());
        (code, shown, errors.replace(self.0.to_str().unwrap(), "FILE"))
    }
}

impl Drop for Changed {
    fn drop(&mut self) {
        fs::remove_file(&self.0).ok();
    }
}

/// The lines of a run, each with its end.
fn lines() -> Vec<String> {
    pause().split_inclusive('\n').map(str::to_owned).collect()
}

#[test]
fn another_decision_is_found_with_its_line() {
    let mut lines = lines();
    let turn = lines.iter().position(|line| line.contains(r#"{"open":"#)).unwrap();
    lines[turn] = lines[turn].replacen(r#"{"open":"#, r#"{"forget":"#, 1);
    let (code, shown, errors) = Changed::new("decision", &lines).said(&[]);
    assert_eq!(code, 1);
    let start =
        format!("rais: FILE:{}: group `simulated` decides otherwise in its action", turn + 1);
    assert!(errors.starts_with(&start), "{errors}");
    assert!(errors.contains(r#"  recorded: {"forget":"#), "{errors}");
    assert!(errors.contains(r#"  replayed: {"open":"#), "{errors}");
    assert!(!shown.contains("as recorded"), "{shown}");

    // An action too many, and one too few.
    lines[turn] = lines[turn].replacen(r#""actions":["#, r#""actions":["stopped","#, 1);
    assert_eq!(Changed::new("more", &lines).said(&[]).0, 1);
    let empty = lines.iter().position(|line| line.contains(r#""actions":[{"heartbeat""#)).unwrap();
    let (told, _) = lines[empty].split_once(r#""actions":["#).unwrap();
    lines[empty] = format!("{told}\"actions\":[]}}}}\n");
    let (code, _, errors) = Changed::new("fewer", &lines).said(&["--json"]);
    assert_eq!(code, 1);
    assert!(errors.contains("  recorded: nothing\n"), "{errors}");
}

#[test]
fn nothing_is_replayed_past_a_gap() {
    let mut lines = lines();
    let count = lines.len();
    lines.insert(12, "{\"missed\":{\"group\":\"simulated\",\"turns\":3}}\n".to_owned());
    let (code, shown, errors) = Changed::new("gap", &lines).said(&["--json"]);
    assert_eq!(code, 1);
    assert_eq!(shown.lines().count(), 10, "the head and the start are no turns");
    let missing = "rais: FILE:13: 3 turns of group `simulated` are missing here: what follows of \
                   it cannot be replayed\n";
    assert!(errors.starts_with(missing), "{errors}");
    let end = format!("rais: 10 turns as recorded; {} could not be replayed\n", count - 12 + 3);
    assert!(errors.ends_with(&end), "{errors}");
}

#[test]
fn a_killed_agents_recording_is_replayed_as_far_as_it_goes() {
    let mut lines = lines();
    let last = lines.pop().unwrap();
    lines.push(last[..last.len() / 2].to_owned());
    let (code, shown, errors) = Changed::new("cut", &lines).said(&[]);
    assert_eq!(code, 0, "{errors}");
    let turns = lines.len() - 3;
    assert!(shown.ends_with(&format!("\n{turns} turns, all as recorded\n")), "{shown}");
    let within = format!("rais: FILE:{}: the recording breaks off within a line\n", lines.len());
    assert!(errors.starts_with(&within), "{errors}");
    assert!(errors.ends_with("the recording of group `simulated` breaks off before its end\n"));
}

#[test]
fn every_turn_is_shown_where_that_is_wanted() {
    let lines = lines();
    let file = Changed::new("all", &lines);
    let turns = |shown: &str| shown.lines().filter(|line| line.starts_with('+')).count();
    let (_, all, _) = file.said(&["--all"]);
    assert_eq!(turns(&all), lines.len() - 2);
    let (_, notable, _) = file.said(&[]);
    assert!(turns(&notable) > 5 && turns(&notable) < turns(&all) / 2, "{notable}");
    let (_, json, _) = file.said(&["--json"]);
    let first: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!(first["line"], 3);
    assert_eq!(first["group"], "simulated");
    assert!(first["event"].is_object() && first["actions"].is_array(), "{first}");
}

#[test]
fn what_is_no_recording_is_refused_in_one_sentence() {
    let lines = lines();
    let head = lines[0].replace("\"format\":1", "\"format\":9");
    let second = r#""heartbeat":{"secs":0,"#;
    let settings = lines[1].replace(second, &format!(r#""heartbeat":{{"secs":{},"#, u64::MAX));
    assert_ne!(settings, lines[1]);
    let cases: [(&[String], &str); 7] = [
        (&[], "FILE: not a recording: empty\n"),
        (&["[agent]\n".to_owned()], "FILE:1: not a recording: expected value at line 1 column 1\n"),
        (&lines[1..], "FILE:1: not a recording: its first line says so of one\n"),
        (&[head], "FILE:1: a recording of format 9, by version "),
        (&[lines[0].clone(), lines[0].clone()], "FILE:2: another recording begins within this"),
        (&[lines[0].clone(), settings], "FILE:2: settings that no configuration has\n"),
        (&[lines[0].clone(), lines[2].clone()], "FILE:2: group `simulated` takes a turn before it"),
    ];
    for (lines, expected) in cases {
        let (code, shown, errors) = Changed::new("wrong", lines).said(&[]);
        assert_eq!((code, shown.as_str()), (2, ""), "{errors}");
        assert!(errors.starts_with(&format!("rais: {expected}")), "{errors}");
    }
    let missing = recorded::replay("/nonexistent".as_ref(), &[]).unwrap();
    let (code, _, errors) = said(&missing);
    assert_eq!(code, 2);
    assert_eq!(errors, "rais: /nonexistent: No such file or directory (os error 2)\n");
}
