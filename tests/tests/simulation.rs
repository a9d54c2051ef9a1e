//! Scenarios on simulated clusters. Whatever they ask for themselves, the invariants are checked
//! after every step; random runs come last.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use rais_tests::cluster::chaos::{self, Options};
use rais_tests::cluster::network::Link;
use rais_tests::cluster::{Cluster, Plan, address};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Nothing more than the timeout, a heartbeat's lateness and the work itself.
const TAKEN_OVER: Duration = ms(350 + 100 + 15);

fn running(plan: &Plan, seed: u64) -> Cluster {
    let mut cluster = Cluster::new(plan, seed);
    cluster.repeat_with(format!("this test, seed {seed}"));
    cluster.start_all();
    cluster
}

/// Every host's addresses are where they belong.
fn assert_at_home(cluster: &Cluster, plan: &Plan) {
    for (host, &count) in plan.preferred.iter().enumerate() {
        for n in 0..count {
            assert_eq!(cluster.answering(address(Some(host), n)), [host]);
        }
    }
}

// Three hosts start at once, and each sees the others join when it begins to take part → they still
// agree on a leader before anyone gives orders; all addresses come home.
#[test]
fn cold_start_of_three() {
    for seed in 0..100 {
        let mut plan = Plan::new(&[1, 1, 1]);
        plan.floating = 2;
        plan.drift = 0;
        let cluster = running(&plan, seed);
        assert_at_home(&cluster, &plan);
    }
}

// The holder pauses until just before its lease ends, starts a turn, and pauses again within it
// before its heartbeat leaves → it must not renew its lease on that turn's time: others may have
// waited long enough meanwhile.
#[test]
fn two_pauses_in_one_turn() {
    for seed in 0..200 {
        let mut cluster = running(&Plan::new(&[1, 1, 1]), seed);
        cluster.pause(2, ms(120 + seed % 90));
        cluster.pause_after(2, u32::try_from(1 + seed % 8).unwrap(), ms(180 + seed));
        cluster.run_for(ms(800));
        cluster.settle();
    }
}

// Just enough hosts for the quorum, and one in twenty datagrams lost → a single lost heartbeat
// neither moves an address nor silences its holder.
#[test]
fn quorum_bears_single_losses() {
    for seed in 0..20 {
        let mut plan = Plan::new(&[1, 1, 1]);
        plan.quorum = 3;
        let mut cluster = running(&plan, seed);
        let moves = cluster.moves().len();
        cluster.set_links(Link { loss: 20, ..Link::default() });
        let calm = cluster.disturbed_until();
        for _ in 0..2_000 {
            cluster.run_for(ms(1));
            // Two losses in a row are more than the quorum's lease bears.
            if cluster.disturbed_until() > calm {
                break;
            }
            assert_at_home(&cluster, &plan);
            assert_eq!(cluster.moves().len(), moves);
        }
    }
}

// The leader does not hear the holder any more, but the host it picks instead does → that host
// answers only after the holder has yielded.
#[test]
fn one_way_cut_from_holder_to_leader() {
    for seed in 0..40 {
        let mut cluster = running(&Plan::new(&[1, 0, 1]), seed);
        cluster.set_cut(2, 0, true);
        cluster.run_for(ms(2_000));
        assert_eq!(cluster.answering(address(Some(2), 0)), [1]);
        cluster.heal();
        cluster.settle();
        assert_eq!(cluster.answering(address(Some(2), 0)), [2]);
    }
}
