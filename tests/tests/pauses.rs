//! A pause of any length between any two actions never yields two hosts that answer: swept, not
//! drawn. In a failover, a crash, a failback and a move, each host that takes part pauses before
//! each single step of its driver, from the change until it is done, for every length that a rule
//! hangs on. The simulation looks at who answers whenever an address is opened or a lease renewed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::net::IpAddr;
use std::time::Duration;

use rais_tests::cluster::{Cluster, Plan, address, host_id};

const LEADER: usize = 0;
const SPARE: usize = 1;
const HOME: usize = 2;

/// Steps that are swept once the change is done.
const BEYOND: u32 = 12;

/// What changes, and who has the address before and after.
struct Change {
    name: &'static str,
    address: IpAddr,
    before: usize,
    after: usize,
    prepare: fn(&mut Cluster),
    begin: fn(&mut Cluster),
    /// Who pauses.
    pausing: &'static [usize],
}

fn plan() -> Plan {
    let mut plan = Plan::new(&[1, 0, 1]);
    plan.floating = 1;
    plan.scripts = true;
    plan.spread = false;
    plan
}

/// Half a heartbeat; lease and timeout, a moment less and a moment more; and far beyond.
fn lengths() -> [Duration; 7] {
    let timing = plan().timing;
    let moment = timing.heartbeat / 50;
    [
        timing.heartbeat / 2,
        timing.lease - moment,
        timing.lease + moment,
        timing.timeout - moment,
        timing.timeout + moment,
        2 * timing.timeout,
        10 * timing.timeout,
    ]
    .map(Duration::from_nanos)
}

/// One pause, after so many steps. Returns whether the change was done before it began.
fn pause(change: &Change, host: usize, steps: u32, length: Duration) -> bool {
    let mut cluster = Cluster::new(&plan(), u64::from(steps));
    let name = change.name;
    cluster.repeat_with(format!("{name}: host {host} after {steps} steps for {length:?}"));
    cluster.start_all();
    (change.prepare)(&mut cluster);
    assert_eq!(cluster.answering(change.address), [change.before], "{name}");
    (change.begin)(&mut cluster);
    cluster.pause_after(host, steps, length);
    let mut done = false;
    while !cluster.is_paused(host) {
        done = cluster.answering(change.address) == [change.after];
        cluster.run_for(Duration::from_millis(1));
    }
    cluster.run_for(length);
    cluster.settle();
    assert_eq!(cluster.answering(change.address).len(), 1, "{name}: {host} {steps} {length:?}");
    done
}

/// Every pause of every host that takes part. Returns how many there were.
fn sweep(change: &Change) -> usize {
    let mut cases = 0;
    for &host in change.pausing {
        for length in lengths() {
            let mut beyond = 0;
            let mut steps = 0;
            while beyond < BEYOND {
                beyond += u32::from(pause(change, host, steps, length));
                steps += 1;
                cases += 1;
            }
        }
    }
    println!("{}: {cases} pauses", change.name);
    cases
}

// The holder's tests fail → its address goes to the spare.
#[test]
fn failover() {
    let cases = sweep(&Change {
        name: "failover",
        address: address(Some(HOME), 0),
        before: HOME,
        after: SPARE,
        prepare: |_| {},
        begin: |cluster| cluster.set_health(HOME, false),
        pausing: &[LEADER, SPARE, HOME],
    });
    assert!(cases > 300, "{cases}");
}

// The holder's agent is killed → the spare takes over when the lease has run out.
#[test]
fn crash() {
    let cases = sweep(&Change {
        name: "crash",
        address: address(Some(HOME), 0),
        before: HOME,
        after: SPARE,
        prepare: |_| {},
        begin: |cluster| cluster.crash(HOME),
        pausing: &[LEADER, SPARE],
    });
    assert!(cases > 300, "{cases}");
}

// The preferred host's tests pass again → its address comes home.
#[test]
fn failback() {
    let cases = sweep(&Change {
        name: "failback",
        address: address(Some(HOME), 0),
        before: SPARE,
        after: HOME,
        prepare: |cluster| {
            cluster.set_health(HOME, false);
            cluster.settle();
        },
        begin: |cluster| cluster.set_health(HOME, true),
        pausing: &[LEADER, SPARE, HOME],
    });
    assert!(cases > 300, "{cases}");
}

// An operator moves a floating address.
#[test]
fn operators_move() {
    let cases = sweep(&Change {
        name: "move",
        address: address(None, 0),
        before: SPARE,
        after: HOME,
        prepare: |cluster| {
            if cluster.answering(address(None, 0)) != [SPARE] {
                cluster.relocate(LEADER, address(None, 0), host_id(SPARE));
                cluster.settle();
            }
        },
        begin: |cluster| cluster.relocate(LEADER, address(None, 0), host_id(HOME)),
        pausing: &[LEADER, SPARE, HOME],
    });
    assert!(cases > 300, "{cases}");
}
