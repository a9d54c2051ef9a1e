//! What hangs on a quorum.

use super::*;

// quorum 3: a heartbeat each is acknowledged by hosts 2, 3 and 1, and later ones are not, whatever
// else is heard → the lease, counted from the second newest; the same where others have no room to
// say so
#[test]
fn quorum_bounds_the_lease() {
    let mut quorate = settings();
    quorate.quorum = 3;
    let mut bench = Bench::member(quorate, true);
    let mut sent = Vec::new();
    for from in [2, 3, 1] {
        bench.pass(H, false);
        sent.push(bench.sent.1);
        bench.acknowledge(from, leader_info());
    }
    bench.pass(H, false);
    for from in [2, 3, 1] {
        bench.hear(from, Body::Info(Box::new(leader_info())));
    }
    assert_eq!(bench.group.lease(at(bench.now + H)), at(sent[1] + T - H / 4));
    let mut info = leader_info();
    info.knows_more = true;
    bench.now += 1;
    bench.hear(2, Body::Info(Box::new(info)));
    let guessed = bench.sent.1 - H * 3 / 4;
    assert!(guessed > sent[1]);
    assert_eq!(bench.group.lease(at(bench.now + H)), at(sent[2].min(guessed) + T - H / 4));
    bench.group.settings.quorum = 1;
    assert_eq!(bench.group.lease(at(bench.now)), at(bench.now + T - H));
    bench.group.settings.quorum = 5;
    assert_eq!(bench.group.lease(at(bench.now)), Time::ZERO);
}

// The quorum is lost → the holder withdraws, and the leader assigns nothing, until it is back.
#[test]
fn quorum_lost_and_back() {
    let mut quorate = settings();
    quorate.quorum = 2;
    let mut bench = Bench::member(quorate, true);
    bench.order(1, true, 5, (9, 4));
    bench.pass(T + H, false);
    assert!(!bench.group.quorum_met);
    assert!(!bench.serves(9));
    bench.pass(10 * T, false);
    assert_eq!(bench.group.leader, Some(host(5)));
    assert!(!bench.serves(5), "leads and assigns nothing");
    let mut info = leader_info();
    (info.host.phase, info.host.leader) = (Phase::Joining, Some(host(5)));
    bench.acknowledge(7, info.clone());
    assert!(bench.group.quorum_met);
    assert!(!bench.serves(5), "one that has just started may have forgotten whom it heard");
    info.host.phase = Phase::Member;
    bench.acknowledge(7, info);
    assert!(bench.serves(5));
}

// The quorum is met, but the host that completes it was not heard for more than a heartbeat → the
// leader gives no order until it is.
#[test]
fn orders_need_a_quorum_that_is_heard_now() {
    let mut quorate = settings();
    quorate.quorum = 2;
    let mut bench = Bench::member(quorate, false);
    let mut follower = leader_info();
    follower.host.leader = Some(host(5));
    bench.acknowledge(7, follower.clone());
    assert!(bench.serves(5));
    bench.give(Event::Health { ok: false, detail: String::new() });
    assert!(!bench.serves(5));
    bench.pass(H + H / 2, false);
    bench.give(Event::Health { ok: true, detail: String::new() });
    assert!(bench.group.quorum_met && !bench.serves(5));
    bench.acknowledge(7, follower);
    assert!(bench.serves(5));
}
