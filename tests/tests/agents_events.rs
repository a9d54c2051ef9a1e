//! `rais events` with real agents: where the time of a change went, and a reader that outlives an
//! agent.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use rais::events::Event;
use rais_tests::netns::{Host, binary};
use rais_tests::scripts::Scripts;
use rais_tests::trial::{LIMIT, TIMEOUT, Trial, id, service};
use rais_tests::wait;

/// The scripts of this test take so long.
const SCRIPT: Duration = Duration::from_millis(50);

fn words(event: &Event) -> Vec<&str> {
    event.phases.0.iter().map(|(phase, _)| phase.as_str()).collect()
}

/// The phases are all of the time, to the microsecond each.
fn adds_up(event: &Event) {
    let sum: f64 = event.phases.0.iter().map(|(_, ms)| ms).sum();
    assert!((sum - event.took_ms.unwrap()).abs() < 0.01, "{event}");
}

fn phase(event: &Event, phase: &str) -> Duration {
    Duration::from_secs_f64(event.phases.get(phase).unwrap() / 1e3)
}

/// The event of this kind about the address of host 2.
fn about(host: &Host, mark: u64, kind: &str) -> Event {
    host.wait_event(mark, kind, Some(service(2)), LIMIT).unwrap().pop().unwrap()
}

#[test]
fn a_killed_holder_and_an_operator_are_accounted_for() {
    let scripts = Scripts::new().unwrap();
    let script = scripts.program("slow", &format!("sleep {}", SCRIPT.as_secs_f64())).unwrap();
    let script = script.display();
    let extra = format!("[group.scripts]\nacquire = \"{script}\"\nrelease = \"{script}\"\n");
    let mut trial = Trial::new().unwrap();
    trial.start(1, &[1], &extra).unwrap();
    trial.start(2, &[2], &extra).unwrap();
    trial.start(3, &[], &extra).unwrap();
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    let marks = [1, 3].map(|n| trial.get(n).last_event().unwrap());

    trial.host(2).kill_agent().unwrap();
    trial.settle_among(&[1, 3], &[(1, 1), (2, 3)]).unwrap();
    let down = trial.get(1).wait_event(marks[0], "host-down", None, LIMIT).unwrap().pop().unwrap();
    let ordered = about(trial.get(1), marks[0], "acquire-ordered");
    let acquired = about(trial.get(3), marks[1], "acquired");
    assert_eq!((down.to, words(&down)), (Some(id(2)), vec!["silence"]));
    assert!(phase(&down, "silence") >= TIMEOUT, "{down}");
    assert_eq!(words(&ordered), ["silence", "decision"]);
    assert_eq!(phase(&ordered, "silence"), phase(&down, "silence"));
    assert!(phase(&ordered, "decision") < phase(&ordered, "silence"), "{ordered}");
    assert_eq!(words(&acquired), ["configure", "open", "script"]);
    assert!(phase(&acquired, "script") >= SCRIPT, "{acquired}");
    for event in [&down, &ordered, &acquired] {
        adds_up(event);
    }
    for event in [&ordered, &acquired] {
        let hosts = (event.from, event.to, event.decided_by);
        assert_eq!(hosts, (Some(id(2)), Some(id(3)), Some(id(1))), "{event}");
        let why = "because its holder fell silent (host-down)";
        assert!(event.to_string().contains(why), "{event}");
    }
    assert_eq!((ordered.epoch, acquired.reason.as_deref()), (acquired.epoch, Some("host-down")));

    let (address, to) = (service(2).to_string(), id(1).to_string());
    trial.get(3).ask(&["move", &address, &to]).unwrap();
    let released = about(trial.get(3), marks[1], "released");
    assert_eq!(words(&released), ["script", "withdraw", "deconfigure"]);
    assert!(phase(&released, "script") >= SCRIPT, "{released}");
    adds_up(&released);
    let decided = (released.from, released.decided_by, released.reason.as_deref());
    assert_eq!(decided, (Some(id(3)), Some(id(1)), Some("operator")), "{released}");
}

#[test]
fn an_acquisition_that_fails_says_where() {
    let scripts = Scripts::new().unwrap();
    let script = scripts.program("fails", "exit 3").unwrap();
    let mut trial = Trial::new().unwrap();
    let extra = format!("[group.scripts]\nacquire = \"{}\"\n", script.display());
    trial.start(2, &[2], &extra).unwrap();
    let failed = about(trial.get(2), 0, "acquire-failed");
    assert_eq!(failed.failed_in.as_deref(), Some("script"), "{failed}");
    assert_eq!(words(&failed), ["configure", "open", "script"]);
    adds_up(&failed);
    assert!(failed.to_string().contains(", in its phase script after "), "{failed}");
}

/// A reader, which is killed with this.
struct Reader(Child);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn numbers(path: &Path) -> Vec<u64> {
    let text = fs::read_to_string(path).unwrap();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| serde_json::from_str::<Event>(line).unwrap().seq).collect()
}

#[test]
fn a_reader_goes_on_after_a_restart() {
    let scratch = Scripts::new().unwrap();
    let (out, err) = (scratch.path("events"), scratch.path("said"));
    let mut trial = Trial::new().unwrap();
    trial.start(1, &[1], "").unwrap();
    trial.settle(&[(1, 1)]).unwrap();
    let mut command = trial.get(1).command(binary("rais").unwrap());
    command.args(["events", "--follow", "--json", "--socket"]).arg(trial.get(1).socket());
    command.stdin(Stdio::null());
    command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
    let mut reader = Reader(command.spawn().unwrap());
    let before = trial.get(1).last_event().unwrap();
    wait::until("the reader", LIMIT, || Ok((numbers(&out).last() >= Some(&before)).then_some(())))
        .unwrap();

    trial.host(1).kill_agent().unwrap();
    let gone = "rais: the agent has gone; waiting until it is there again\n";
    wait::until("the reader to say so", LIMIT, || {
        Ok((fs::read_to_string(&err)? == gone).then_some(()))
    })
    .unwrap();
    let seen = numbers(&out);
    assert_eq!(seen, (1..=seen.len() as u64).collect::<Vec<_>>(), "each once, in order");

    trial.host(1).restart_agent().unwrap();
    trial.settle(&[(1, 1)]).unwrap();
    let after = trial.get(1).last_event().unwrap();
    wait::until("the new events", LIMIT, || {
        Ok((numbers(&out).len() as u64 >= seen.len() as u64 + after).then_some(()))
    })
    .unwrap();
    let anew = numbers(&out).split_off(seen.len());
    assert_eq!(anew, (1..=anew.len() as u64).collect::<Vec<_>>(), "each once, in order");
    let said = format!("{gone}rais: the agent was restarted; these are its events since\n");
    assert_eq!(fs::read_to_string(&err).unwrap(), said);
    assert!(reader.0.try_wait().unwrap().is_none(), "it goes on");
}
