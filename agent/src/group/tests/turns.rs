//! What a turn does whatever its event: when the next is due, what stirs a leader, and what this
//! host's own pauses mean.

use super::*;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A member that follows this host.
fn follower() -> Info {
    let mut info = leader_info();
    info.host.leader = Some(host(5));
    info.database.clear();
    info
}

fn heartbeat(info: Info) -> Body {
    Body::Info(Box::new(info))
}

/// A group with so many addresses, one of them its own.
fn many(addresses: u32) -> Settings {
    let floating = (1..addresses).map(|n| IpAddr::V4((0x0a4f_0000 + n).into()));
    Settings { floating: floating.collect(), ..settings() }
}

/// The messages among these.
fn messages(actions: &[Action]) -> Vec<&Message> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Heartbeat { message, .. } | Action::Send(message) => Some(message),
            _ => None,
        })
        .collect()
}

// A tick at its time → the next is later: nothing is due again that could not be done.
#[test]
fn a_tick_leaves_nothing_due() {
    for led in [false, true] {
        let mut bench = Bench::member(settings(), led);
        for _ in 0..3 * T {
            let before = bench.group.last_tick;
            bench.pass(1, led);
            if bench.group.last_tick > before {
                assert!(bench.group.next_deadline() > at(bench.now), "at {}", bench.now);
            }
        }
    }
}

// Nothing is to be decided → a leader of many addresses is woken for its next heartbeat, not for
// the end of its pause.
#[test]
fn no_tick_for_nothing() {
    let mut bench = Bench::member(many(300), false);
    bench.give(Event::Tick);
    let group = &bench.group;
    assert!(group.decide_from > at(bench.now) && group.decide_from < group.next_heartbeat);
    (bench.group.stirred, bench.group.changed) = (false, false);
    assert_eq!(bench.group.next_deadline(), bench.group.next_heartbeat);
    bench.group.stirred = true;
    assert_eq!(bench.group.next_deadline(), bench.group.decide_from);
}

// What happens → whether a leader goes through its table.
#[test]
fn what_stirs_a_leader() {
    type Change = fn(&mut Bench);
    let rows: [(&str, Change, bool); 10] = [
        ("a heartbeat like the last one", |b| drop(b.hear(7, heartbeat(follower()))), false),
        ("another load", |b| other(b, |i| i.host.load = 9), false),
        ("its own heartbeat left", |b| drop(b.give(left(b))), false),
        ("quiesced", |b| other(b, |i| i.host.quiesced = true), true),
        ("another list", |b| other(b, |i| i.host.preferred = vec![addr(8)]), true),
        (
            "part of a database",
            |b| drop(b.hear(7, Body::Part(Part::Records(leader_info().database)))),
            true,
        ),
        ("another host", |b| drop(b.hear(8, heartbeat(follower()))), true),
        ("its own load", |b| drop(b.give(Event::Load { load: 1, capacity: 2 })), true),
        ("time", |b| drop(b.give(Event::Tick)), true),
        ("a request", |b| drop(b.give(Event::Move { address: addr(5), to: host(7) })), true),
    ];
    for (what, change, stirs) in rows {
        let mut bench = Bench::member(settings(), false);
        bench.hear(7, heartbeat(follower()));
        bench.pass(20, false);
        bench.group.stirred = false;
        let decided = bench.group.decide_from;
        bench.now += 1;
        change(&mut bench);
        assert_eq!(bench.group.decide_from > decided, stirs, "{what}");
    }
}

/// Host 7 says something else than before.
fn other(bench: &mut Bench, change: fn(&mut Info)) {
    let mut info = follower();
    change(&mut info);
    bench.hear(7, heartbeat(info));
}

fn left(bench: &Bench) -> Event {
    Event::HeartbeatSent { at: at(bench.now), lease_until: at(bench.now + T - H) }
}

// Addresses, and whether a turn came to decisions → how long a leader pauses after it, in
// microseconds, and from when a tick is a reason to decide.
#[test]
fn a_leader_of_many_addresses_pauses() {
    let rows = [
        (256, false, 0, 0),
        (257, false, 4 * 257, 10 * 257),
        (1_000, true, 4_000, 10_000),
        (3_000, false, 2_048, 0),
        (3_000, true, 1_562, 0),
    ];
    for (addresses, decided, decide, review) in rows {
        let mut bench = Bench::member(many(addresses), false);
        bench.pass(1_000, false);
        bench.now += 1_000;
        let group = &mut bench.group;
        let now = at(bench.now);
        group.stir_at_once(now);
        group.review_from = now;
        // Of more than 2,048 it looks at the first ones.
        group.give_orders(now, true, &mut Vec::new());
        group.pause_to_decide(now, decided);
        let pause = |until: Time| until.since(now).as_micros();
        let pauses = (pause(group.decide_from), pause(group.review_from));
        assert_eq!(pauses, (decide, review), "{addresses} {decided}");
    }
}

// A host falls silent while this one, of many addresses, pauses → it decides at once, and from the
// first address on.
#[test]
fn a_fall_ends_the_pause() {
    let mut bench = Bench::member(many(3_000), false);
    bench.pass(1_000, false);
    bench.hear(7, heartbeat(follower()));
    let far = at(bench.now + 10 * T);
    while bench.group.members.len() > 0 {
        bench.group.decide_from = far;
        bench.pass(1, false);
    }
    let behind = bench.group.decide_from.since(at(bench.now));
    assert_eq!(behind, Duration::from_micros(2_048), "it has looked at the first ones");
}

// The leader leaves, and this host, which paused when it last led, comes to lead → it decides at once.
#[test]
fn who_comes_to_lead_does_not_pause() {
    let mut bench = Bench::member(many(300), true);
    let far = at(bench.now + 10 * T);
    bench.group.decide_from = far;
    let mut info = leader_info();
    info.host.phase = Phase::Leaving;
    bench.hear(1, heartbeat(info));
    assert_eq!(bench.group.leader, Some(host(5)));
    assert!(bench.group.decide_from < far);
}

// An operator asks while a leader of many addresses pauses → answered in this turn.
#[test]
fn a_request_ends_the_pause() {
    let mut bench = Bench::member(many(300), false);
    bench.hear(7, heartbeat(follower()));
    bench.group.decide_from = at(bench.now + 10 * T);
    let request = MoveRequest { leader: host(5), address: addr(99), to: host(7) };
    let actions = bench.hear(7, Body::Move(request));
    let answer = |message: &&Message| matches!(message.body, Body::MoveRefused(_));
    assert_eq!(messages(&actions).into_iter().filter(answer).count(), 1);
}

// A leader of many addresses that is not to decide yet → tries again at the next tick, and is not
// woken for it.
#[test]
fn who_may_not_decide_waits_for_a_tick() {
    let mut bench = Bench::member(many(300), false);
    let mut elsewhere = follower();
    elsewhere.host.leader = Some(host(7));
    bench.hear(7, heartbeat(elsewhere));
    let now = at(bench.now);
    let group = &mut bench.group;
    group.review_from = at(bench.now + 10 * T);
    group.stir_at_once(now);
    group.leading_since = now;
    group.give_orders(now, true, &mut Vec::new());
    group.stirred = false;
    assert!(!group.is_stirred() && group.stirs(now, &Event::Tick));
}

// The host with the lowest id says that it follows nobody → no other gives orders in its place.
#[test]
fn only_the_leader_gives_orders() {
    let mut bench = Bench::member(settings(), true);
    let mut info = leader_info();
    info.host.leader = None;
    for _ in 0..10 {
        bench.acknowledge(1, info.clone());
        bench.pass(H, false);
    }
    assert_eq!(bench.group.leader, Some(host(1)));
    assert!(!bench.serves(5));
}

// Configured addresses → they stay in the database, however soon an orphan is none any more; where
// there are many, it is not gone through at each tick.
#[test]
fn the_database_is_kept_fresh() {
    for (addresses, pause) in [(256, None), (257, Some(ms(50)))] {
        let mut short = many(addresses);
        short.orphan_timeout = ms(200);
        let mut bench = Bench::member(short, false);
        bench.pass(1_000, false);
        assert_eq!(bench.group.addresses().len(), usize::try_from(addresses).unwrap());
        bench.group.refresh_at = None;
        bench.give(Event::Tick);
        assert_eq!(bench.group.refresh_at, pause.map(|pause| at(bench.now) + pause));
        bench.now += 1;
        bench.give(Event::Tick);
        assert_eq!(bench.group.refresh_at, pause.map(|pause| at(bench.now - 1) + pause));
    }
}

// Host 1 has been silent for the timeout when this host's turn comes, late by half an interval, or
// by a moment more → judged dead, at once or after another interval.
#[test]
fn a_pause_of_its_own_is_nobodys_silence() {
    for (pause, later) in [(H + H / 2, 0), (H + H / 2 + 1, H)] {
        let mut bench = Bench::member(settings(), true);
        let heard = bench.group.members.get(host(1)).unwrap().heard;
        while at(bench.now) < heard + ms(T - 50) {
            bench.pass(1, false);
        }
        assert_eq!(bench.group.last_turn, at(bench.now));
        bench.now += pause;
        bench.give(Event::Tick);
        if later > 0 {
            bench.pass(later - 1, false);
            assert_eq!(bench.group.members.len(), 1);
            bench.pass(1, false);
        }
        assert_eq!(bench.group.members.len(), 0);
    }
}

// The lease ran out: phase, addresses → reported or not, and the phase then.
#[test]
fn a_lapse_is_reported_if_something_was_lost() {
    let rows = [
        (Phase::Member, false, true, Phase::Joining),
        (Phase::Joining, false, false, Phase::Joining),
        (Phase::Leaving, false, false, Phase::Leaving),
        (Phase::Leaving, true, true, Phase::Leaving),
    ];
    for (phase, serves, reported, then) in rows {
        let mut bench = Bench::member(settings(), true);
        if serves {
            bench.order(1, true, 5, (9, 4));
        }
        bench.group.phase = phase;
        bench.now += T;
        let actions = bench.group.handle(at(bench.now), Event::Load { load: 1, capacity: 1 });
        let addresses = usize::from(serves);
        let lapsed =
            |r: &&Report| matches!(r, Report::LeaseLapsed { addresses: a, .. } if *a == addresses);
        assert_eq!(reports(&actions).iter().any(lapsed), reported, "{phase:?} {serves}");
        assert_eq!(bench.group.phase, then);
    }
}

// Somebody else answers for one of two addresses → that one is announced again.
#[test]
fn a_conflict_is_answered_for_its_address() {
    let mut two = settings();
    two.floating = BTreeSet::from([addr(9)]);
    let mut bench = Bench::member(two, false);
    bench.pass(30_000, false);
    assert!(bench.serves(5) && bench.serves(9));
    let conflict = Report::Conflict { address: addr(9), mac: [1; 6] };
    let actions = bench.give(Event::Conflict { address: addr(9), mac: [1; 6] });
    assert_eq!(reports(&actions), [&conflict]);
    let actions = bench.give(Event::Tick);
    assert!(actions.contains(&Action::Announce(vec![addr(9)])), "{actions:?}");
    assert_eq!(bench.give(Event::Conflict { address: addr(7), mac: [1; 6] }), [], "not its own");
}

// An address could not be put in place → its heartbeats say so.
#[test]
fn a_refused_address_is_told() {
    let mut bench = Bench::member(settings(), true);
    let entry = OrderEntry { address: addr(9), epoch: 4, reason: Reason::Unserved, other: None };
    let body = Body::Acquire(Order { to: host(5), entries: vec![entry] });
    bench.sequence += 1;
    let message = Message { source: host(1), boot: 1, sequence: bench.sequence, body };
    let now = at(bench.now);
    bench.group.handle(now, Event::Received { at: now, message });
    let result = Err("no".to_owned());
    let failed = Event::Configured { address: addr(9), epoch: 4, result };
    let actions = bench.group.handle(now, failed);
    let refused = messages(&actions).into_iter().find_map(|message| match &message.body {
        Body::Info(info) => Some(info.host.refused.clone()),
        _ => None,
    });
    assert_eq!(refused, Some(vec![addr(9)]));
}

// Each message has a higher number than the one before.
#[test]
fn messages_are_numbered() {
    let mut bench = Bench::member(settings(), false);
    let mut numbers = Vec::new();
    for _ in 0..5 {
        bench.now += H;
        let actions = bench.give(Event::Tick);
        numbers.extend(messages(&actions).into_iter().map(|m| (m.boot, m.sequence)));
    }
    assert_eq!(numbers.len(), 5);
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
}

// It serves an address before it hears that there is one → the database says that it does.
#[test]
fn what_it_serves_is_in_the_database() {
    let mut bench = Bench::member(settings(), true);
    bench.order(1, true, 5, (8, 4));
    assert!(bench.serves(8) && bench.group.database.get(addr(8)).is_none());
    let mut info = leader_info();
    info.database = vec![Record { address: addr(8), epoch: 0, ..info.database[1] }];
    bench.hear(1, heartbeat(info));
    bench.give(Event::Tick);
    let entry = bench.group.database.get(addr(8)).unwrap();
    assert_eq!((entry.last_holder, entry.epoch), (Some(host(5)), 4));
}

// Others say that an address floats → believed, unless this host or another in sight calls it its
// own.
#[test]
fn an_address_is_its_owners_while_that_is_seen() {
    let mut bench = Bench::member(settings(), true);
    let mut owner = leader_info();
    owner.host.preferred = vec![addr(7)];
    owner.database.clear();
    bench.hear(2, heartbeat(owner));
    bench.pass(20, false);
    let mut info = leader_info();
    let floats = |n| Record { address: addr(n), preferred: None, ..info.database[0] };
    info.database = vec![floats(5), floats(7)];
    bench.hear(1, heartbeat(info));
    let preferred = |n| bench.group.database.get(addr(n)).unwrap().preferred;
    assert_eq!((preferred(5), preferred(7)), (Some(host(5)), Some(host(2))));
}

// The lists of a host in sight are not whole → nothing is opened, for no longer than the timeout.
#[test]
fn opens_when_it_knows_what_others_have() {
    let mut bench = Bench::member(settings(), true);
    let mut parted = leader_info();
    parted.lists = Some(Sum { bits: 0, digest: 1 });
    bench.hear(2, heartbeat(parted));
    bench.order(1, true, 5, (9, 4));
    let state = |bench: &Bench| bench.group.own_info(at(bench.now)).served[0].state;
    for (pass, expected) in
        [(0, AddressState::Acquiring), (T - 1, AddressState::Acquiring), (1, AddressState::Online)]
    {
        bench.pass(pass, true);
        bench.give(Event::Tick);
        assert_eq!(state(&bench), expected, "{pass}");
    }
}

// What was received until then has been handed in, at a tick after host 1 has been silent for the
// timeout → it is dead only if that was after the timeout, too; and it holds for one tick.
#[test]
fn judged_by_what_was_heard() {
    for (heard, dead) in [(None, true), (Some(T), true), (Some(T - 1), false), (Some(0), false)] {
        let mut bench = Bench::member(settings(), true);
        bench.hear(1, heartbeat(leader_info()));
        let begun = bench.now;
        // Ticks of its own, lest it takes the silence for a pause.
        while bench.now < begun + T - 1 {
            bench.now += 1;
            bench.give(Event::Tick);
        }
        bench.now = begun + T + H - 1;
        let gone = |actions: &[Action]| {
            reports(actions).iter().any(|r| matches!(r, Report::HostDown { .. }))
        };
        if let Some(heard) = heard {
            assert_eq!(bench.give(Event::HeardUntil(at(begun + heard))), []);
        }
        let seen = gone(&bench.give(Event::Tick));
        assert_eq!(seen, dead, "{heard:?}");
        assert_eq!(gone(&bench.give(Event::Tick)), !dead);
    }
}
