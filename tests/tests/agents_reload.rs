//! A running agent that is told to read its configuration again.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use rais_tests::trial::{LIMIT, Trial};
use rais_tests::wait;

#[test]
fn a_hangup_changes_nothing_and_says_so() {
    let mut trial = Trial::new().unwrap();
    trial.start(1, &[1], "").unwrap();
    trial.settle(&[(1, 1)]).unwrap();
    let before = trial.get(1).events().unwrap();
    let pid = trial.host(1).agent_pid().unwrap().to_string();
    trial.get(1).run("kill", &["-HUP", &pid]).unwrap();
    wait::until("the agent to say so", LIMIT, || {
        Ok(trial.get(1).log_tail().contains("SIGHUP: ").then_some(()))
    })
    .unwrap();
    trial.settle(&[(1, 1)]).unwrap();
    assert_eq!(trial.host(1).agent_pid().unwrap().to_string(), pid);
    assert_eq!(trial.get(1).events().unwrap(), before);
}
