//! Agents that may do what the unit in `packaging` lets them do, and no more, while they are killed,
//! frozen and ended; and what an agent keeps of its privileges. `RAIS_CONFINED=1` does the first to
//! every other test with agents.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use rais_tests::netns::Host;
use rais_tests::scripts::Scripts;
use rais_tests::trial::{LIMIT, Trial, service};
use rais_tests::wait;

/// The lines of a thread's status that tell of its privileges, by their names.
fn privileges(status: &str) -> BTreeMap<String, u64> {
    let lines = status.lines().filter_map(|line| line.split_once(':'));
    lines
        .filter(|(name, _)| name.starts_with("Cap") || *name == "NoNewPrivs")
        .map(|(name, value)| (name.to_owned(), u64::from_str_radix(value.trim(), 16).unwrap()))
        .collect()
}

/// Those of all the agent's threads, by their names.
fn threads(host: &mut Host) -> BTreeMap<String, BTreeMap<String, u64>> {
    let tasks = format!("/proc/{}/task", host.agent_pid().unwrap());
    let tasks = fs::read_dir(tasks).unwrap().map(|task| task.unwrap().path());
    tasks
        .filter_map(|task| {
            // One may have ended meanwhile.
            let status = fs::read_to_string(task.join("status")).ok()?;
            let name = fs::read_to_string(task.join("comm")).ok()?;
            Some((name.trim().to_owned(), privileges(&status)))
        })
        .collect()
}

/// The bits of these capabilities, by the numbers of `linux/capability.h`.
fn bits(numbers: &[u32]) -> u64 {
    numbers.iter().fold(0, |bits, number| bits | 1 << number)
}

const NEEDED: [u32; 6] = [10, 12, 13, 14, 23, 39];
const SCRIPTS: [u32; 6] = [0, 1, 3, 5, 6, 7];

#[test]
fn every_thread_keeps_what_is_needed_and_scripts_what_they_were_given() {
    let mut trial = Trial::new().unwrap();
    trial.add(1).unwrap();
    let scripts = Scripts::new().unwrap();
    let told = scripts.path("told");
    let body = "cat /proc/self/status > told.new && mv told.new told";
    let script = scripts.program("acquire", body).unwrap();
    let extra = format!("[group.scripts]\nacquire = \"{}\"\n", script.display());
    let config = trial.config(1, &[1], &extra).unwrap();
    let beyond = |host: &mut Host, kept: u64| {
        for (name, held) in threads(host) {
            let (permitted, effective) = (held["CapPrm"], held["CapEff"]);
            assert_eq!((permitted & !kept, effective & !kept), (0, 0), "{name}: {held:x?}");
            assert_eq!((held["NoNewPrivs"], held["CapInh"], held["CapAmb"]), (1, 0, 0), "{name}");
        }
    };

    let kept = bits(&NEEDED) | bits(&SCRIPTS);
    trial.host(1).start_agent(&config).unwrap();
    trial.settle(&[(1, 1)]).unwrap();
    beyond(trial.host(1), kept);
    let names: BTreeSet<_> = threads(trial.host(1)).into_keys().collect();
    for name in ["rais", "rais-demo", "rais-rx-demo", "rais-announce", "rais-work"] {
        assert!(names.contains(name), "{names:?}");
    }
    let read = || wait::until("the script", LIMIT, || Ok(fs::read_to_string(&told).ok())).unwrap();
    let held = privileges(&read());
    assert_eq!((held["CapEff"], held["NoNewPrivs"]), (kept, 1));
    trial.host(1).terminate_agent().unwrap();
    assert!(trial.host(1).wait_agent_end(LIMIT).unwrap().success());

    // Nothing for scripts; or everything, and then nothing is dropped.
    fs::remove_file(&told).unwrap();
    let none = config.replacen("[agent]\n", "[agent]\nscript_capabilities = []\n", 1);
    trial.host(1).start_agent(&none).unwrap();
    trial.settle(&[(1, 1)]).unwrap();
    beyond(trial.host(1), bits(&NEEDED));
    assert_eq!(privileges(&read())["CapEff"], bits(&NEEDED));
    trial.host(1).kill_agent().unwrap();
    fs::remove_file(&told).unwrap();
    let all = config.replacen("[agent]\n", "[agent]\nscript_capabilities = \"all\"\n", 1);
    trial.host(1).start_agent(&all).unwrap();
    trial.settle(&[(1, 1)]).unwrap();
    let own = privileges(&fs::read_to_string("/proc/self/status").unwrap());
    assert_eq!(privileges(&read())["CapEff"], own["CapEff"]);
}

#[test]
fn faults_are_survived_by_confined_agents() {
    let mut trial = Trial::new().unwrap();
    for number in 1..=2 {
        trial.add(number).unwrap();
        trial.host(number).confine();
        let config = trial.config(number, &[number], "").unwrap();
        trial.host(number).start_agent(&config).unwrap();
    }
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    // It is a filter that holds them.
    let pid = trial.host(1).agent_pid().unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("\nSeccomp:\t2\n"), "{status}");
    let mut eye = trial.watch(&[1, 2]).unwrap();
    let link = trial.get(2).attached().unwrap().link;

    trial.host(2).kill_agent().unwrap();
    trial.settle_among(&[1], &[(1, 1), (2, 1)]).unwrap();
    trial.host(2).restart_agent().unwrap();
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    assert_eq!(trial.get(2).attached().unwrap().link, link, "the program was adopted");

    trial.host(1).freeze_agent().unwrap();
    trial.settle_among(&[2], &[(1, 2), (2, 2)]).unwrap();
    trial.host(1).thaw_agent().unwrap();
    trial.settle(&[(1, 1), (2, 2)]).unwrap();

    trial.host(2).terminate_agent().unwrap();
    assert!(trial.host(2).wait_agent_end(LIMIT).unwrap().success());
    trial.settle(&[(1, 1), (2, 1)]).unwrap();
    assert!(trial.get(2).configured().unwrap().is_empty());
    let seen = eye.look().unwrap();
    for address in 1..=2 {
        assert!(seen[&address].answering && seen[&address].arp_doubled == 0, "{seen:?}");
    }
}

#[test]
fn clean_can_leave_the_program_and_takes_off_everything_else() {
    let mut trial = Trial::new().unwrap();
    trial.start(1, &[1], "").unwrap();
    trial.settle(&[(1, 1)]).unwrap();
    let before = trial.get(1).attached().unwrap();
    let config = trial.bed.dir().join("h1").join("rais.toml");
    let arguments = ["clean", "--keep-program", "--config", config.to_str().unwrap()];
    let refused = trial.get(1).rais(&arguments).unwrap();
    assert_eq!(refused.status.code(), Some(1), "an agent runs");
    assert_eq!(trial.get(1).configured().unwrap(), [service(1)]);

    trial.host(1).kill_agent().unwrap();
    let done = trial.get(1).rais(&arguments).unwrap();
    let said = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success() && said.contains("removed 10.77.0.101"), "{said}");
    assert!(trial.get(1).configured().unwrap().is_empty());
    assert_eq!(trial.get(1).entries().unwrap(), BTreeMap::new());
    assert_eq!(trial.get(1).attached().unwrap(), before);

    trial.host(1).restart_agent().unwrap();
    trial.settle(&[(1, 1)]).unwrap();
    assert_eq!(trial.get(1).attached().unwrap().link, before.link);
}
