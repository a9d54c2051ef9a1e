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

// quorum 2: host 1 has heard an earlier heartbeat of this host, not the last one → the lease runs
// from that earlier one.
#[test]
fn an_earlier_heartbeat_counts_for_less() {
    let mut quorate = settings();
    quorate.quorum = 2;
    let mut bench = Bench::member(quorate, true);
    let earlier = bench.sent;
    bench.pass(2 * H, false);
    assert!(bench.sent.1 > earlier.1);
    let mut info = leader_info();
    let (boot, sequence) = earlier.0;
    info.known = vec![Known { id: host(5), boot, sequence, age: Duration::ZERO }];
    bench.hear(1, Body::Info(Box::new(info)));
    assert_eq!(bench.group.lease(at(bench.now)), at(earlier.1 + T - H / 4));
}

// quorum 2: host 1 is heard, and gives an order; it has heard this host so long ago → obeyed or not.
#[test]
fn takes_nothing_that_it_could_not_hold() {
    for (ago, taken) in [(T - H / 4 - 1, true), (T - H / 4, false)] {
        let mut quorate = settings();
        quorate.quorum = 2;
        let mut bench = Bench::member(quorate, true);
        bench.pass(H, false);
        let heard = bench.sent.1;
        bench.acknowledge(1, leader_info());
        while bench.now < heard + ago {
            bench.pass(1, false);
            bench.hear(1, Body::Info(Box::new(leader_info())));
        }
        assert!(bench.group.quorum_met && bench.group.phase == Phase::Member);
        let actions = bench.order(1, true, 5, (9, 4));
        let begun = actions.iter().any(|action| matches!(action, Action::Configure { .. }));
        assert_eq!((begun, bench.serves(9)), (taken, taken), "{ago}");
    }
}

/// quorum 2: host 1 was heard all the time, and has heard nothing of this host's for a lease but
/// for a bit; with an address, or without.
fn nearly_lapsed(serves: bool) -> Bench {
    let mut quorate = settings();
    quorate.quorum = 2;
    let mut bench = Bench::member(quorate, true);
    bench.pass(H, false);
    bench.acknowledge(1, leader_info());
    if serves {
        bench.order(1, true, 5, (9, 4));
    }
    while at(bench.now + 20) < bench.group.lease(at(bench.now)) {
        bench.pass(1, false);
        if bench.now.is_multiple_of(20) {
            bench.hear(1, Body::Info(Box::new(leader_info())));
        }
    }
    bench
}

// It hears nothing more → it falls silent when the lease has run out, though the quorum is in
// sight. It hears that a later heartbeat was heard → it tells at once, with a longer lease; without
// an address it can wait.
#[test]
fn a_lease_that_nearly_ran_out() {
    let mut bench = nearly_lapsed(true);
    let until = bench.group.lease(at(bench.now));
    while at(bench.now) < until {
        assert!(bench.serves(9), "{}", bench.now);
        bench.pass(1, false);
        bench.hear(1, Body::Info(Box::new(leader_info())));
    }
    let actions = bench.give(Event::Tick);
    assert!(bench.group.quorum_met && !bench.serves(9), "{actions:?}");

    for serves in [true, false] {
        let mut bench = nearly_lapsed(serves);
        assert!(bench.group.lease_until < bench.group.next_heartbeat);
        let (before, (boot, sequence)) = (bench.group.lease_until, bench.sent.0);
        let mut info = leader_info();
        info.known = vec![Known { id: host(5), boot, sequence, age: Duration::ZERO }];
        bench.now += 1;
        let actions = bench.hear(1, Body::Info(Box::new(info)));
        let told = actions.iter().any(|action| matches!(action, Action::Heartbeat { .. }));
        assert_eq!(told, serves);
        assert_eq!(bench.group.lease_until > before, serves);
        assert_eq!(bench.serves(9), serves);
    }
}

// quorum 2: each heartbeat is heard, and later ones as well before the next is due → none but those
// on schedule.
#[test]
fn a_lease_that_is_long_enough() {
    let mut quorate = settings();
    quorate.quorum = 2;
    let mut bench = Bench::member(quorate, true);
    bench.acknowledge(1, leader_info());
    bench.order(1, true, 5, (9, 4));
    bench.pass(1, true);
    let mut told = 0;
    for _ in 0..10 * H {
        bench.now += 1;
        let mut actions = Vec::new();
        if bench.now.is_multiple_of(H / 10) {
            let (boot, sequence) = bench.sent.0;
            let mut info = leader_info();
            info.known = vec![Known { id: host(5), boot, sequence, age: Duration::ZERO }];
            actions = bench.hear(1, Body::Info(Box::new(info)));
        }
        if at(bench.now) >= bench.group.next_deadline() {
            actions.extend(bench.give(Event::Tick));
        }
        told += actions.iter().filter(|a| matches!(a, Action::Heartbeat { .. })).count();
    }
    assert!(bench.serves(9));
    assert_eq!(told, 10);
}

// quorum 2: that a later heartbeat was heard is known before the lease has run out, and the heartbeat
// that would renew it leaves late → nothing is given up.
#[test]
fn a_renewal_that_leaves_late() {
    let mut bench = nearly_lapsed(true);
    let until = bench.group.lease_until;
    let (boot, sequence) = bench.sent.0;
    let mut info = leader_info();
    info.known = vec![Known { id: host(5), boot, sequence, age: Duration::ZERO }];
    bench.sequence += 1;
    let body = Body::Info(Box::new(info));
    let message = Message { source: host(1), boot: 1, sequence: bench.sequence, body };
    let now = at(bench.now);
    bench.group.handle(now, Event::Received { at: now, message });
    let later = until + Duration::from_millis(1);
    assert!(bench.group.sent_until.unwrap() > later);
    bench.group.handle(later, Event::Load { load: 1, capacity: 1 });
    assert!(bench.serves(9));
}

// What others have heard is part of a state for the model checker where a quorum hangs on it.
#[test]
fn what_was_heard_matters_with_a_quorum() {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let hash = |sent: &Sent| {
        let mut hasher = DefaultHasher::new();
        sent.hash(&mut hasher);
        hasher.finish()
    };
    for (quorum, matters) in [(1, false), (2, true)] {
        let bench = Bench::member(Settings { quorum, ..settings() }, true);
        assert_eq!(hash(&bench.group.sent) != hash(&Sent::default()), matters, "{quorum}");
    }
}
