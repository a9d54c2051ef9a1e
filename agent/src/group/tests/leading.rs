//! The orders a leader gives: to whom, how many at once, and what it waits for.

use super::*;

fn follower(leader: u8) -> Info {
    let mut info = leader_info();
    info.host.leader = Some(host(leader));
    info.database.clear();
    info
}

fn heartbeat(info: Info) -> Body {
    Body::Info(Box::new(info))
}

fn serving(mut info: Info, n: u8, state: AddressState) -> Info {
    info.host.served = vec![Served { address: addr(n), state, epoch: 7 }];
    info
}

/// What others are told: to acquire or not, whom, and how many addresses.
fn orders(actions: &[Action]) -> Vec<(bool, HostId, usize)> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Send(Message { body: Body::Acquire(order), .. }) => {
                Some((true, order.to, order.entries.len()))
            }
            Action::Send(Message { body: Body::Release(order), .. }) => {
                Some((false, order.to, order.entries.len()))
            }
            _ => None,
        })
        .collect()
}

/// Leads, cannot serve anything itself, and host 7 follows: with these addresses.
fn unable(floating: impl Iterator<Item = IpAddr>) -> Bench {
    let mut observer = settings();
    observer.role = Role::Observer;
    (observer.preferred, observer.floating) = (BTreeSet::new(), floating.collect());
    Bench::member(observer, false)
}

fn many(n: u32) -> impl Iterator<Item = IpAddr> {
    (1..=n).map(|n| IpAddr::V4((0x0a4f_0000 + n).into()))
}

// Addresses for another host → told in messages of 28; nothing more until it has acknowledged the
// last of them, which is a reason to decide anew. That another host has heard this one is none.
#[test]
fn orders_wait_to_be_acknowledged() {
    let mut bench = unable(many(60));
    bench.hear(
        8,
        heartbeat({
            let mut quiesced = follower(5);
            quiesced.host.quiesced = true;
            quiesced
        }),
    );
    let actions = bench.hear(7, heartbeat(follower(5)));
    assert_eq!(orders(&actions), [(true, host(7), 28), (true, host(7), 28), (true, host(7), 4)]);
    let numbers: Vec<u64> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Send(Message { body: Body::Acquire(_), sequence, .. }) => Some(*sequence),
            _ => None,
        })
        .collect();
    let acknowledge = |bench: &mut Bench, from, sequence, quiesced| {
        let mut info = follower(5);
        info.host.quiesced = quiesced;
        info.known = vec![Known { id: host(5), boot: 4, sequence, age: Duration::ZERO }];
        bench.now += 1;
        orders(&bench.hear(from, heartbeat(info)))
    };
    bench.group.stirred = false;
    assert_eq!(acknowledge(&mut bench, 8, numbers[2] + 1, true), []);
    assert!(bench.group.decide_from < at(bench.now), "nothing was asked of that one");
    assert_eq!(acknowledge(&mut bench, 7, numbers[0] - 1, false), []);
    assert_eq!(bench.group.decide_from, at(bench.now));
    // It has handled these orders, and has taken none of them.
    assert_eq!(acknowledge(&mut bench, 7, numbers[1], false).len(), 2);
    assert_eq!(acknowledge(&mut bench, 7, numbers[2], false), [(true, host(7), 4)]);
}

/// Time passes until `done`, or for so long; host 7 says this twice in each interval. What was done
/// then, and when.
fn run(
    bench: &mut Bench,
    longest: u64,
    info: impl Fn(u64) -> Info,
    done: impl Fn(&[Action]) -> bool,
) -> Vec<(u64, Action)> {
    let mut all = Vec::new();
    for _ in 0..longest {
        bench.now += 1;
        let mut actions = Vec::new();
        // Not at the time of its own: where a heartbeat is due anyhow, another's brings it about.
        if (bench.now + 20).is_multiple_of(H / 2) {
            actions = bench.hear(7, heartbeat(info(bench.now)));
        }
        if at(bench.now) >= bench.group.next_deadline() {
            actions.extend(bench.give(Event::Tick));
        }
        let over = done(&actions);
        all.extend(actions.into_iter().map(|action| (bench.now, action)));
        if over {
            break;
        }
    }
    all
}

// More addresses than can be ordered at once → the rest after a moment, so many each time.
#[test]
fn no_more_than_so_many_at_once() {
    let mut many = Settings { floating: many(2_100).collect(), ..settings() };
    many.preferred.clear();
    let group = Group::new(many, 4, at(0));
    let mut bench = Bench { group, now: 0, sequence: 0, sent: ((0, 0), 0) };
    bench.give(Event::Health { ok: true, detail: String::new() });
    let mut turns: BTreeMap<u64, usize> = BTreeMap::new();
    for (now, action) in run(&mut bench, 2 * T, |_| not_ok(5), |_| false) {
        if matches!(action, Action::Configure { .. }) {
            *turns.entry(now).or_default() += 1;
        }
    }
    let turns: Vec<(u64, usize)> = turns.into_iter().collect();
    let [(first, 1_024), (second, 1_024), (third, 52)] = turns[..] else { panic!("{turns:?}") };
    let pauses = (second - first, third - second);
    assert_eq!(pauses, (2, 2), "1.6 ms, an interval divided by 64, in whole milliseconds");
}

/// One that follows and can take nothing.
fn not_ok(leader: u8) -> Info {
    let mut info = follower(leader);
    info.host.ok = false;
    info
}

// An address was served by another host while this one still waited to be followed → what is said
// of the time before its order begins when it was not.
#[test]
fn served_while_it_waits() {
    let mut bench = Bench::member(settings(), true);
    let said = |now| {
        let other = follower(if now < 1_000 { 1 } else { 5 });
        if now < 850 { serving(other, 9, AddressState::Online) } else { other }
    };
    let ordered = |action: &Action| match action {
        Action::Report(Report::Ordered { address, phases, .. }) if *address == addr(9) => {
            Some(phases.clone())
        }
        _ => None,
    };
    let all = run(&mut bench, 1_000, said, |actions| actions.iter().any(|a| ordered(a).is_some()));
    let decision = all.iter().find_map(|(_, action)| ordered(action));
    let took = (ChangePhase::Decision, Duration::from_millis(1_030 - 880));
    assert_eq!((bench.now, decision), (1_030, Some(Phases::from([took]))));
}

// What is asked for, and how hosts are chosen → whether addresses go to a host that has none.
#[test]
fn spreads_if_it_is_to() {
    for (spread, placement, moved) in [
        (true, Placement::LeastUtilised, true),
        (false, Placement::LeastUtilised, false),
        (true, Placement::Random, false),
    ] {
        let floating = (11..15).map(addr).collect();
        let preferred = BTreeSet::new();
        let settings = Settings { preferred, floating, placement, spread, ..settings() };
        let mut bench = Bench::member(settings, false);
        assert!(bench.serves(11) && bench.serves(14));
        let tells = |actions: &[Action]| !orders(actions).is_empty();
        let all = run(&mut bench, 10_000, |_| follower(5), tells);
        let told: Vec<Action> = all.into_iter().map(|(_, action)| action).collect();
        let expected = if moved { vec![(true, host(7), 1)] } else { vec![] };
        assert_eq!(orders(&told), expected, "{spread} {placement:?}");
    }
}

// A host takes too long to acquire an address → told to release it after two acquisitions and a
// timeout.
#[test]
fn stuck() {
    let mut bench = unable(std::iter::once(addr(9)));
    bench.pass(T, false);
    let acquiring = |_| serving(follower(5), 9, AddressState::Acquiring);
    bench.hear(7, heartbeat(acquiring(0)));
    let begun = bench.now;
    let told = |actions: &[Action]| orders(actions) == [(false, host(7), 1)];
    run(&mut bench, 30_000, acquiring, told);
    let took = bench.now - begun;
    assert!((2 * 10_000 + T..2 * 10_000 + T + H).contains(&took), "{took}");
}
