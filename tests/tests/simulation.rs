//! Scenarios on simulated clusters. Whatever they ask for themselves, the invariants are checked
//! after every step; random runs come last.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::net::IpAddr;
use std::time::Duration;

use rais::group::{Balance, Failback, MoveRefusal};
use rais_tests::cluster::chaos::{self, Options};
use rais_tests::cluster::network::Link;
use rais_tests::cluster::{Cluster, Plan, address, host_id};

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

// Hosts whose clocks differ start together → every address is opened once, at home.
#[test]
fn cold_start_moves_nothing() {
    for seed in 0..20 {
        let mut plan = Plan::new(&[2, 1, 1, 0]);
        plan.failback = Failback::Never;
        let cluster = running(&plan, seed);
        assert_at_home(&cluster, &plan);
        assert_eq!(cluster.moves().len(), 4);
    }
}

// Three hosts start at once, and each sees the others join when it begins to take part → they still
// agree on a leader before anyone gives orders; all addresses come home.
#[test]
fn cold_start_of_three() {
    for seed in 0..60 {
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
    for seed in 0..120 {
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

// The holder's links are cut in silence → another host answers within the timeout and a bit.
#[test]
fn silent_cut_of_holder() {
    for seed in 0..20 {
        let mut cluster = running(&Plan::new(&[1, 1, 1]), seed);
        cluster.set_interface(2, false);
        cluster.run_for(TAKEN_OVER);
        let answering = cluster.answering(address(Some(2), 0));
        assert_eq!(answering.len(), 1);
        assert_ne!(answering, [2]);
        cluster.set_interface(2, true);
        cluster.settle();
        assert_eq!(cluster.answering(address(Some(2), 0)), [2], "back at its preferred host");
    }
}

// The leader, which holds an address too, is cut off → the next id leads, its address is taken
// over; when it is back it leads again.
#[test]
fn silent_cut_of_leader() {
    for seed in 0..20 {
        let mut cluster = running(&Plan::new(&[1, 1, 1]), seed);
        assert_eq!(cluster.leader(2), Some(0));
        cluster.set_interface(0, false);
        // The followers have to notice, each for itself, and to say whom they follow.
        cluster.run_for(TAKEN_OVER + ms(100));
        assert_eq!(cluster.leader(2), Some(1));
        assert_eq!(cluster.answering(address(Some(0), 0)).len(), 1);
        cluster.set_interface(0, true);
        cluster.settle();
        assert_eq!(cluster.leader(2), Some(0));
        assert_eq!(cluster.answering(address(Some(0), 0)), [0]);
    }
}

// SIGKILL of the holder's agent → the data plane falls silent by itself, then another answers.
#[test]
fn crash_of_holder() {
    for seed in 0..20 {
        let mut cluster = running(&Plan::new(&[1, 1, 1]), seed);
        cluster.crash(2);
        assert_eq!(cluster.answering(address(Some(2), 0)), [2], "pinned");
        cluster.run_for(ms(255));
        assert!(cluster.answering(address(Some(2), 0)).is_empty(), "the lease has ended");
        cluster.run_for(TAKEN_OVER.saturating_sub(ms(255)));
        assert_eq!(cluster.answering(address(Some(2), 0)).len(), 1);
    }
}

// SIGSTOP of the holder for every span around lease and timeout → never two (I1), and in order
// again afterwards (I2).
#[test]
fn pause_of_holder() {
    for span in (10..600).step_by(7) {
        let mut cluster = running(&Plan::new(&[1, 1, 1]), span);
        cluster.pause(2, ms(span));
        cluster.run_for(ms(span));
        cluster.settle();
        assert_eq!(cluster.answering(address(Some(2), 0)), [2]);
    }
}

// A pause that no lease outlives, between any two of the actions that acquiring takes.
#[test]
fn pause_in_the_middle_of_actions() {
    for steps in 0..24 {
        let mut plan = Plan::new(&[1, 1, 1]);
        plan.scripts = true;
        let mut cluster = running(&plan, u64::from(steps));
        cluster.crash(1);
        cluster.run_for(ms(200));
        cluster.pause_after(0, steps, ms(420));
        cluster.pause_after(2, steps, ms(400));
        cluster.run_for(ms(1_500));
        cluster.settle();
        assert_eq!(cluster.answering(address(Some(1), 0)).len(), 1);
    }
}

// SIGTERM → the address is on another host after two messages each way, long before any timeout;
// what was under way is answered before the agent ends.
#[test]
fn shutdown_hands_over() {
    for seed in 0..20 {
        let mut cluster = running(&Plan::new(&[1, 1, 1]), seed);
        cluster.shutdown(2);
        cluster.run_for(ms(20));
        let answering = cluster.answering(address(Some(2), 0));
        assert_eq!(answering.len(), 1);
        assert_ne!(answering, [2]);
        assert!(cluster.runs(2));
        cluster.run_for(ms(350));
        assert!(!cluster.runs(2));
    }
}

// Crash and restart before anybody noticed → the address is taken over at once, because the new
// agent lists nothing, and comes home when it has joined.
#[test]
fn restart_within_the_timeout() {
    for seed in 0..20 {
        let mut cluster = running(&Plan::new(&[1, 1, 1]), seed);
        cluster.crash(2);
        cluster.run_for(ms(30));
        cluster.start(2);
        cluster.run_for(ms(12));
        assert_eq!(cluster.answering(address(Some(2), 0)).len(), 1);
        cluster.settle();
        assert_eq!(cluster.answering(address(Some(2), 0)), [2]);
    }
}

// A host with a lower id than all others joins → it leads, and no address moves.
#[test]
fn new_leader_moves_nothing() {
    for seed in 0..20 {
        let mut plan = Plan::new(&[0, 1, 1]);
        plan.floating = 3;
        let mut cluster = Cluster::new(&plan, seed);
        cluster.start(1);
        cluster.start(2);
        cluster.settle();
        let moves = cluster.moves().len();
        cluster.start(0);
        cluster.settle();
        assert_eq!(cluster.leader(2), Some(0));
        assert_eq!(cluster.moves().len(), moves);
    }
}

// The holder hears nobody any more but is heard → nothing moves for that, in either direction of
// the healing.
#[test]
fn deaf_holder() {
    for seed in 0..20 {
        let mut cluster = running(&Plan::new(&[1, 1, 1]), seed);
        cluster.set_cut(0, 2, true);
        cluster.set_cut(1, 2, true);
        cluster.run_for(ms(2_000));
        cluster.heal();
        cluster.settle();
        assert_eq!(cluster.answering(address(Some(2), 0)), [2]);
    }
}

// Without a quorum both sides of a partition serve everything, under the same epochs; after the
// healing one of each pair yields.
#[test]
fn partition_with_equal_epochs() {
    for seed in 0..20 {
        let mut plan = Plan::new(&[1, 1, 1, 1]);
        plan.floating = 2;
        let mut cluster = running(&plan, seed);
        cluster.partition(&[&[0, 1], &[2, 3]]);
        cluster.run_for(ms(2_000));
        for address in cluster.addresses() {
            assert_eq!(cluster.answering(address).len(), 2);
        }
        let healed = cluster.now();
        cluster.heal();
        // A heartbeat from each side, and the handling.
        cluster.run_for(ms(110));
        for address in cluster.addresses() {
            assert!(cluster.answering(address).len() <= 1, "{} ns", cluster.now() - healed);
        }
        cluster.settle();
        assert_at_home(&cluster, &plan);
    }
}

// With a quorum only the larger side serves, and the smaller is silent before the larger begins.
#[test]
fn partition_with_quorum() {
    for seed in 0..20 {
        let mut plan = Plan::new(&[1, 1, 1]);
        plan.quorum = 2;
        let mut cluster = running(&plan, seed);
        cluster.partition(&[&[0], &[1, 2]]);
        for _ in 0..200 {
            cluster.run_for(ms(10));
            for address in cluster.addresses() {
                assert!(cluster.answering(address).len() <= 1);
            }
        }
        for address in cluster.addresses() {
            let answering = cluster.answering(address);
            assert!(answering == [1] || answering == [2]);
        }
        cluster.heal();
        cluster.settle();
        assert_at_home(&cluster, &plan);
    }
}

// A cut heals when the lease of the smaller side has run out and it does not yet count the others
// as dead → what it had it does not answer for again, whoever it hears first: the larger side may
// have taken it over, and not everybody there knows.
#[test]
fn a_lease_that_ran_out_for_want_of_a_quorum_does_not_come_back() {
    for seed in 0..150 {
        let mut plan = Plan::new(&[1, 1, 1, 1, 1]);
        plan.quorum = 3;
        let mut cluster = running(&plan, seed);
        cluster.run_for(ms(seed * 7 % 100));
        cluster.partition(&[&[0, 1, 2], &[3, 4]]);
        cluster.run_for(ms(260 + seed % 90));
        cluster.heal();
        cluster.settle();
        assert_at_home(&cluster, &plan);
    }
}

// Every host was alone, so that each leads and has waited long ago; when the cut heals, one host
// completes the quorum of two others → they do not both give orders.
#[test]
fn leaders_without_a_quorum_are_followed_anew() {
    for seed in 0..100 {
        let mut plan = Plan::new(&[1, 1, 0]);
        plan.quorum = 2;
        plan.link.delay = (20_000, 4_000_000);
        let mut cluster = running(&plan, seed);
        cluster.partition(&[&[0], &[1], &[2]]);
        cluster.run_for(ms(1_300 + seed));
        cluster.heal();
        cluster.settle();
        assert_at_home(&cluster, &plan);
    }
}

// Both sides of a partition give the address of a host that is gone to a host with addresses of its
// own, under the same epoch → after the healing one of the two yields at once, and does not wait
// for a leader's order and its own release script.
#[test]
fn of_two_equal_holders_one_yields_at_once() {
    for seed in 0..20 {
        let mut plan = Plan::new(&[1, 1, 1]);
        plan.scripts = true;
        let mut cluster = running(&plan, seed);
        cluster.crash(2);
        cluster.partition(&[&[0], &[1]]);
        cluster.run_for(ms(2_000));
        let gone = address(Some(2), 0);
        assert_eq!(cluster.answering(gone).len(), 2);
        cluster.heal();
        cluster.run_for(ms(110));
        assert_eq!(cluster.answering(gone).len(), 1, "seed {seed}");
    }
}

// The leader is cut off, and when the cut heals hears one of the others before the rest → it waits
// for those it has not heard yet, and nothing of theirs moves.
#[test]
fn a_leader_that_returns_disturbs_nobody() {
    for seed in 0..60 {
        let mut plan = Plan::new(&[1, 1, 1, 1]);
        plan.quorum = 2;
        let mut cluster = running(&plan, seed);
        let moves = cluster.moves().len();
        cluster.partition(&[&[0], &[1, 2, 3]]);
        cluster.run_for(ms(2_000));
        cluster.heal();
        cluster.settle();
        assert_at_home(&cluster, &plan);
        let own = address(Some(0), 0);
        let others: Vec<_> =
            cluster.moves()[moves..].iter().filter(|moved| moved.address != own).collect();
        assert!(others.is_empty(), "seed {seed}: {others:?}");
    }
}

// Too few hosts for the quorum → nobody answers.
#[test]
fn no_quorum_no_service() {
    let mut plan = Plan::new(&[1, 1, 1]);
    plan.quorum = 2;
    let mut cluster = running(&plan, 1);
    cluster.crash(1);
    cluster.crash(2);
    cluster.run_for(ms(400));
    assert!(cluster.addresses().into_iter().all(|a| cluster.answering(a).is_empty()));
}

// The preferred host fails its tests, passes again, and has its address back.
#[test]
fn preferred_host_returns() {
    for failback in [Failback::Immediate, Failback::After(ms(1_000)), Failback::Never] {
        let mut plan = Plan::new(&[1, 1, 0]);
        plan.failback = failback;
        let mut cluster = running(&plan, 5);
        let home = address(Some(1), 0);
        cluster.set_health(1, false);
        cluster.run_for(ms(20));
        assert_eq!(cluster.answering(home), [2], "the spare is to take it");
        cluster.set_health(1, true);
        cluster.run_for(ms(500));
        assert_eq!(cluster.answering(home) == [1], failback == Failback::Immediate);
        cluster.run_for(ms(2_000));
        assert_eq!(cluster.answering(home) == [1], failback != Failback::Never);
    }
}

// A quiesced host keeps what it has and is given nothing.
#[test]
fn quiesced_host() {
    let mut cluster = running(&Plan::new(&[1, 1, 1]), 9);
    cluster.quiesce(1, true);
    cluster.settle();
    assert_eq!(cluster.answering(address(Some(1), 0)), [1]);
    cluster.crash(2);
    cluster.settle();
    assert_eq!(cluster.answering(address(Some(2), 0)), [0]);
}

/// Every address loads its host by so much, out of 100; measured each second.
fn measure(cluster: &mut Cluster, weight: impl Fn(u8) -> u32, floating: u8) {
    for host in 0..cluster.len() {
        let here = (0..floating).filter(|&n| cluster.answering(address(None, n)) == [host]);
        let load = here.map(&weight).sum();
        cluster.set_load(host, load, 100);
    }
    cluster.run_for(ms(1_000));
}

/// Ten minutes of a host that has everything, beside two that were started later. Returns how many
/// addresses moved in each.
fn ten_minutes(seed: u64, floating: u8, weight: impl Fn(u8) -> u32) -> (Cluster, Vec<usize>) {
    let mut plan = Plan::new(&[0, 0, 0]);
    plan.floating = floating;
    plan.balance = Some(Balance { high: 80, low: 50, scale: 100 });
    plan.spread = false;
    let mut cluster = Cluster::new(&plan, seed);
    cluster.repeat_with(format!("this test, seed {seed}"));
    cluster.start(2);
    cluster.settle();
    cluster.start(0);
    cluster.start(1);
    cluster.settle();
    let mut moves = Vec::new();
    for _ in 0..10 {
        let before = cluster.moves().len();
        for _ in 0..60 {
            measure(&mut cluster, &weight, floating);
        }
        moves.push(cluster.moves().len() - before);
    }
    (cluster, moves)
}

// One host has six addresses and bears four → it sheds two, in the first minute, one at a time,
// and nothing moves in the nine after that.
#[test]
fn sheds_until_it_bears_the_rest() {
    for seed in 0..10 {
        let (cluster, moves) = ten_minutes(seed, 6, |_| 20);
        assert_eq!(moves, [2, 0, 0, 0, 0, 0, 0, 0, 0, 0], "seed {seed}");
        let times: Vec<u64> = cluster.moves().iter().rev().take(2).map(|moved| moved.at).collect();
        assert!(times[0] - times[1] >= 9_900_000_000, "seed {seed}: {times:?}");
        let held = |host| (0..6).filter(|&n| cluster.answering(address(None, n)) == [host]).count();
        assert_eq!(held(2), 4, "seed {seed}");
    }
}

// One address alone is more than any host bears → it is tried elsewhere, but rests in between: the
// group does not play ping-pong with it.
#[test]
fn no_ping_pong_with_a_busy_address() {
    for seed in 0..10 {
        let (cluster, moves) = ten_minutes(seed, 3, |n| if n == 0 { 95 } else { 5 });
        let busy = cluster.moves().iter().filter(|m| m.address == address(None, 0)).count();
        assert!(busy <= 3, "seed {seed}: {busy} times");
        assert!(moves.iter().sum::<usize>() <= 6, "seed {seed}: {moves:?}");
    }
}

/// How many addresses each of these hosts has.
fn counts(cluster: &Cluster, hosts: impl Iterator<Item = usize>, floating: u8) -> Vec<usize> {
    let preferred = (0..cluster.len()).map(|host| address(Some(host), 0));
    let all: Vec<IpAddr> = preferred.chain((0..floating).map(|n| address(None, n))).collect();
    hosts
        .map(|host| all.iter().filter(|&&address| cluster.answering(address) == [host]).count())
        .collect()
}

fn assert_even(counts: &[usize], what: &str) {
    let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
    assert!(most - least <= 1, "{what}: {counts:?}");
}

// Ten hosts, started one after the other, every address as busy as the next → an even spread, which
// any one failure and return restores; the failure itself moves no address of another host.
#[test]
fn ten_hosts_share_evenly() {
    const FLOATING: u8 = 40;
    let mut plan = Plan::new(&[1; 10]);
    plan.floating = FLOATING;
    plan.balance = Some(Balance { high: 80, low: 50, scale: 100 });
    let mut cluster = Cluster::new(&plan, 1);
    cluster.repeat_with("this test".to_owned());
    for host in 0..10 {
        cluster.start(host);
        cluster.run_for(ms(700));
    }
    let minute = |cluster: &mut Cluster| {
        for _ in 0..60 {
            measure(cluster, |_| 5, FLOATING);
        }
    };
    minute(&mut cluster);
    assert_even(&counts(&cluster, 0..10, FLOATING), "at first");
    let moved = cluster.moves().len();
    minute(&mut cluster);
    assert_eq!(cluster.moves().len(), moved, "at rest");
    for failed in [0, 4, 9] {
        let before = cluster.moves().len();
        cluster.crash(failed);
        minute(&mut cluster);
        let others = cluster.moves()[before..].iter().find(|m| m.from != Some(failed));
        assert!(others.is_none(), "host {failed} failed: {others:?}");
        assert_even(&counts(&cluster, (0..10).filter(|&h| h != failed), FLOATING), "one less");
        cluster.start(failed);
        minute(&mut cluster);
        assert_even(&counts(&cluster, 0..10, FLOATING), "it is back");
    }
}

// An operator asks one host or another, over links that lose a message in ten → the address is
// where it was wanted, or stays where it is and there is a reason.
#[test]
fn operators_move() {
    for seed in 0..40 {
        let mut plan = Plan::new(&[1, 1, 0, 0]);
        plan.floating = 1;
        plan.scripts = true;
        plan.link.loss = 100;
        let mut cluster = running(&plan, seed);
        let floating = address(None, 0);
        let holder = cluster.answering(floating)[0];
        let asked = usize::try_from(seed % 4).unwrap();
        let target = (holder + 1) % 4;
        cluster.relocate(asked, floating, host_id(target));
        cluster.run_for(ms(2_000));
        assert_eq!(cluster.moved(asked), [Ok(())], "seed {seed}");
        // Losses may take it away again; until then it is there.
        let mut moves = cluster.moves().iter().filter(|moved| moved.address == floating);
        assert!(moves.any(|moved| moved.to == target), "seed {seed}");

        cluster.relocate(asked, address(Some(1), 0), host_id(2));
        cluster.run_for(ms(2_000));
        assert_eq!(cluster.moved(asked)[1..], [Err(MoveRefusal::FailsBack)], "seed {seed}");
    }
}

#[test]
fn random_runs() {
    for seed in 1..=120 {
        let outcome = chaos::run(seed, &Options::default());
        assert!(outcome.moves > 0, "seed {seed}: nothing was ever served");
    }
}

// A lease that outlives the timeout → others are told, and wait for it.
#[test]
fn too_long_a_lease_is_waited_for() {
    let mut plan = Plan::new(&[1, 1, 1]);
    plan.timing.lease = plan.timing.timeout * 2;
    let mut cluster = running(&plan, 1);
    cluster.pause(2, ms(600));
    cluster.run_for(ms(600));
}

// The checks themselves: clocks that differ too much → two hosts answer, and it is seen.
#[test]
#[should_panic(expected = "I1")]
fn clocks_that_differ_too_much_are_noticed() {
    let mut plan = Plan::new(&[1, 1, 1]);
    plan.drift = 300_000;
    for (seed, host) in (1..=30).zip((0..3).cycle()) {
        let mut cluster = running(&plan, seed);
        cluster.pause(host, ms(1_000));
        cluster.run_for(ms(2_000));
    }
}
