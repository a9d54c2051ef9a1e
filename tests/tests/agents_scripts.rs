//! Programs that real agents run: one for several groups, such that end in different ways, and such
//! that cannot be started at all.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rais::clock;
use rais_tests::netns::Host;
use rais_tests::scripts::Scripts;
use rais_tests::trial::{LIMIT, Trial, id, service};
use rais_tests::wait::{self, pause};

/// How long an address is refused after a failure, and then some.
const REFUSED: Duration = Duration::from_secs(20);

/// Waits until the agent's group of this name is well, or is not.
fn wait_ok(host: &mut Host, group: &str, ok: bool) {
    let what = format!("group {group} to be ok = {ok}");
    let wanted = |g: &rais::status::Group| g.name == group && g.ok == ok;
    wait::until(&what, LIMIT, || {
        let text = host.ask(&["status", "--json"]).unwrap_or_default();
        let status: Option<rais::status::Status> = serde_json::from_str(&text).ok();
        Ok(status.filter(|status| status.groups.iter().any(wanted)))
    })
    .unwrap();
}

#[test]
fn groups_of_one_agent_share_a_test_that_is_the_same() {
    let interval = Duration::from_millis(200);
    let scripts = Scripts::new().unwrap();
    // As many runs fail as there are letters in `left`, and no more, whoever started them.
    let body = "echo run >> runs\n\
                left=$(cat left 2>/dev/null)\n\
                if [ \"$left\" ]; then echo \"${left#x}\" > left; echo out of order; exit 1; fi";
    let program = scripts.program("check", body).unwrap();
    let test = |name: &str, fall: u32| {
        format!(
            "[[group.test]]\nname = \"{name}\"\nkind = \"script\"\ncommand = \"{}\"\n\
             interval = \"{}ms\"\ntimeout = \"10s\"\nrise = 1\nfall = {fall}\n",
            program.display(),
            interval.as_millis()
        )
    };
    let mut trial = Trial::new().unwrap();
    let shop = format!(
        "[[group]]\nname = \"shop\"\naddress = \"239.77.0.2:7078\"\n\
         control_interfaces = [\"eth0\"]\nservice_interface = \"eth0\"\nkey_files = [\"{}\"]\n\
         heartbeat = \"20ms\"\ntimeout = \"200ms\"\npreferred = [\"{}\"]\n{}",
        trial.bed.key_file().unwrap().display(),
        service(12),
        test("stock", 2)
    );
    let begun = clock::now();
    trial.start(1, &[1], &(test("app", 1) + &shop)).unwrap();
    let host = trial.host(1);
    for group in ["demo", "shop"] {
        wait_ok(host, group, true);
    }
    for address in [1, 12] {
        host.wait_event(0, "acquired", Some(service(address)), LIMIT).unwrap();
    }
    let mark = host.last_event().unwrap();
    fs::write(scripts.path("left.new"), "xx").unwrap();
    fs::rename(scripts.path("left.new"), scripts.path("left")).unwrap();

    // Both failures are everybody's: the first is enough for one group, it takes both for the
    // other.
    for address in [1, 12] {
        host.wait_event(mark, "released", Some(service(address)), LIMIT).unwrap();
        host.wait_event(mark, "acquired", Some(service(address)), LIMIT).unwrap();
    }
    let events = host.events_after(mark).unwrap();
    let failed = |group: &str| {
        let mut failed = events.iter().filter(|e| e.kind == "test-failed" && e.group == group);
        let detail = failed.next().and_then(|e| e.detail.clone()).unwrap_or_default();
        assert!(failed.next().is_none(), "{events:#?}");
        detail
    };
    let said = format!("{} exited with 1: out of order", program.display());
    assert_eq!(failed("demo"), format!("app: {said}"));
    assert_eq!(failed("shop"), format!("stock: {said}"));
    for group in ["demo", "shop"] {
        wait_ok(host, group, true);
    }

    // One object's runs: it starts one an interval and makes up for none.
    pause(interval * 10);
    let runs = fs::read_to_string(scripts.path("runs")).unwrap().lines().count();
    let turns = clock::now().since(begun).as_millis() / interval.as_millis() + 1;
    let turns = usize::try_from(turns).unwrap();
    assert!(runs >= 8 && runs <= turns, "{runs} runs in {turns} turns");
}

#[test]
fn events_tell_how_a_script_ended() {
    let scripts = Scripts::new().unwrap();
    let acquire = scripts.recorder(
        "acquire",
        "echo this is $RAIS_ADDRESS\n\
         case $RAIS_ADDRESS in\n\
         *.101) exit 3 ;;\n\
         *.102) kill -SEGV $$ ;;\n\
         *.103) exec sleep 1000 ;;\n\
         esac",
    );
    let acquire = acquire.unwrap();
    let extra =
        format!("[group.scripts]\nacquire = \"{}\"\ntimeout = \"500ms\"\n", acquire.display());
    let mut trial = Trial::new().unwrap();
    trial.start(1, &[1, 2, 3, 5], &extra).unwrap();
    trial.settle(&[(5, 1)]).unwrap();
    let host = trial.get(1);
    let ends = [
        (1, "exited with 3: this is 10.77.0.101"),
        (2, "was ended by signal 11: this is 10.77.0.102"),
        (3, "took longer than 500ms and was killed: this is 10.77.0.103"),
    ];
    for (address, end) in ends {
        let about = Some(service(address));
        let events = host.wait_event(0, "acquire-failed", about, LIMIT).unwrap();
        let detail = events.last().unwrap().detail.as_deref().unwrap();
        assert_eq!(detail, format!("{} {end}", acquire.display()));
    }
    wait::until("nothing but what was acquired", LIMIT, || {
        Ok((host.configured()? == [service(5)]).then_some(()))
    })
    .unwrap();
}

/// A process that may start no other, nor a thread, until this is dropped.
struct Full(PathBuf);

impl Full {
    /// Puts the process into a control group that has no room for another.
    fn around(pid: u32) -> Self {
        let group = pids_hierarchy().join(format!("rais-full-{pid}"));
        fs::create_dir(&group).unwrap();
        let full = Self(group);
        fs::write(full.0.join("cgroup.procs"), pid.to_string()).unwrap();
        let now = fs::read_to_string(full.0.join("pids.current")).unwrap();
        fs::write(full.0.join("pids.max"), now.trim()).unwrap();
        full
    }

    /// How often something could not be started.
    fn refusals(&self) -> u32 {
        let text = fs::read_to_string(self.0.join("pids.events")).unwrap();
        text.strip_prefix("max ").unwrap().lines().next().unwrap().parse().unwrap()
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        let above = self.0.parent().unwrap().join("cgroup.procs");
        let inside = fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
        for pid in inside.lines() {
            // One that has ended meanwhile is gone from here, too.
            fs::write(&above, pid).ok();
        }
        let gone = wait::until("the control group to go", LIMIT, || {
            Ok(fs::remove_dir(&self.0).is_ok().then_some(()))
        });
        if let Err(e) = gone {
            eprintln!("{}: {e}", self.0.display());
        }
    }
}

/// Where control groups limit processes, in either version (cgroups(7)).
fn pids_hierarchy() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let words = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let limits = |kind: &str, path: &str, options: &str| match kind {
        "cgroup" => options.split(',').any(|option| option == "pids"),
        "cgroup2" => fs::read_to_string(Path::new(path).join("cgroup.subtree_control"))
            .is_ok_and(|text| text.split_whitespace().any(|word| word == "pids")),
        _ => false,
    };
    let mut found = words.filter(|w| w.len() > 3 && limits(w[2], w[1], w[3])).map(|w| w[1].into());
    found.next_back().expect("a control group hierarchy with `pids`")
}

#[test]
fn where_no_process_can_be_started_addresses_are_refused_until_it_can() {
    let scripts = Scripts::new().unwrap();
    let acquire = scripts.recorder("acquire", "").unwrap();
    let ready = scripts.path("ready");
    fs::write(&ready, "").unwrap();
    // A look at a file takes a thread.
    let extra = format!(
        "[[group.test]]\nname = \"ready\"\nkind = \"file\"\npath = \"{}\"\ninterval = \"100ms\"\n\
         fall = 1000\n[group.scripts]\nacquire = \"{}\"\n",
        ready.display(),
        acquire.display()
    );
    let mut trial = Trial::new().unwrap();
    trial.start(1, &[1], &extra).unwrap();
    trial.start(2, &[2], "").unwrap();
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    let mut eye = trial.watch(&[1, 2]).unwrap();
    let full = Full::around(trial.host(1).agent_pid().unwrap());
    trial.host(2).kill_agent().unwrap();

    let host = trial.get(1);
    let events = host.wait_event(0, "acquire-failed", Some(service(2)), LIMIT).unwrap();
    let detail = events.last().unwrap().detail.as_deref().unwrap();
    let why = "could not be started: Resource temporarily unavailable (os error 11)";
    assert_eq!(detail, format!("{} {why}", acquire.display()));
    assert!(full.refusals() > 0);
    wait::until("the acquisition to be undone", LIMIT, || {
        let (entries, configured) = (host.entries()?, host.configured()?);
        Ok((configured == [service(1)] && entries.len() == 1).then_some(()))
    })
    .unwrap();
    // Many leases long: heartbeats go on, each of which renews it. A test says that it could not
    // be made, and goes on.
    let sent = host.group().unwrap().messages.sent;
    pause(Duration::from_secs(1));
    let group = host.group().unwrap();
    assert!(group.messages.sent > sent && group.ok, "{group:#?}");
    let expected = format!("no thread to look at {}: ", ready.display());
    assert!(group.tests[0].detail.starts_with(&expected), "{:?}", group.tests);
    let seen = eye.look().unwrap();
    let kept = &seen[&1];
    assert_eq!((kept.hosts.len(), kept.arp_handovers, kept.lost), (1, 0, 0), "{kept:?}");
    assert_eq!(scripts.records().unwrap().len(), 1, "the script of the host's own address");

    drop(full);
    let about = |status: &rais_tests::status::Status| status.holder(service(2)) == Some(id(1));
    trial.host(1).wait_status("the other host's address", REFUSED, about).unwrap();
    assert_eq!(scripts.records().unwrap().len(), 2);
    let tested = |group: &rais::status::Group| group.tests[0].detail.ends_with(" is there");
    trial.get(1).wait_group("the test to be made", LIMIT, tested).unwrap();
}
