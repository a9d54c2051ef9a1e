//! Other settings for a group that runs → what it does then, and what it leaves alone.

use super::*;

fn reconfigured(change: impl FnOnce(&mut Settings)) -> Event {
    let mut new = settings();
    change(&mut new);
    Event::Reconfigured(Box::new(new))
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Other intervals, in milliseconds.
fn paced(settings: &mut Settings, heartbeat: u64, timeout: u64) {
    settings.heartbeat = ms(heartbeat);
    settings.timeout = ms(timeout);
    settings.lease = ms(timeout - heartbeat);
}

/// The heartbeats among these: what each says of the lease, and the lease it brings.
fn heartbeats(actions: &[Action]) -> Vec<(Duration, Time)> {
    let heartbeat = |action: &Action| match action {
        Action::Heartbeat {
            message: Message { body: Body::Info(info), .. }, lease_until, ..
        } => Some((info.lease, *lease_until)),
        _ => None,
    };
    actions.iter().filter_map(heartbeat).collect()
}

/// A host that is heard, and may answer for so long.
fn other(leader: u8, lease: Duration) -> Body {
    let mut info = leader_info();
    (info.host.leader, info.lease) = (Some(host(leader)), lease);
    info.database.clear();
    Body::Info(Box::new(info))
}

fn moves(actions: &[Action]) -> bool {
    actions.iter().any(|action| {
        matches!(
            action,
            Action::Fence(_)
                | Action::Open { .. }
                | Action::Forget(_)
                | Action::Configure { .. }
                | Action::Deconfigure { .. }
                | Action::Send(_)
        )
    })
}

// What changes → the address it has is left alone, and all is as the settings say.
#[test]
fn what_stays_is_not_touched() {
    type Row = (&'static str, fn(&mut Settings));
    let rows: [Row; 12] = [
        ("nothing", |_| {}),
        ("shorter", |s| paced(s, 20, 70)),
        ("longer", |s| paced(s, 1_000, 3_500)),
        ("heartbeat alone", |s| paced(s, 150, 350)),
        ("floating", |s| s.floating = BTreeSet::from([addr(100)])),
        ("preferred", |s| s.preferred = BTreeSet::from([addr(5), addr(6)])),
        ("failback", |s| s.failback = Failback::Never),
        ("placement", |s| s.placement = Placement::Random),
        ("balance", |s| s.balance = Some(Balance { high: 800, low: 500, scale: 1_000 })),
        ("spread", |s| s.spread = false),
        ("orphan_timeout", |s| s.orphan_timeout = ms(1)),
        ("scripts", |s| (s.acquire_script, s.release_script) = (true, true)),
    ];
    for (name, change) in rows {
        let mut bench = Bench::member(settings(), false);
        assert!(bench.serves(5), "{name}");
        bench.pass(30, false);
        let said = bench.give(reconfigured(change));
        let taken: Vec<&Action> = said
            .iter()
            .filter(|action| match action {
                Action::Fence(addresses) | Action::Announce(addresses) => {
                    addresses.contains(&addr(5))
                }
                Action::Open { address, .. }
                | Action::Forget(address)
                | Action::Configure { address, .. }
                | Action::Deconfigure { address, .. } => *address == addr(5),
                _ => false,
            })
            .collect();
        assert!(taken.is_empty(), "{name}: {taken:?}");
        bench.pass(10_000, false);
        assert!(bench.serves(5), "{name}");
        let mut expected = settings();
        change(&mut expected);
        assert_eq!(bench.group.settings, expected, "{name}");
        let pace = (bench.group.pace.heartbeat, bench.group.pace.lease);
        assert_eq!(pace, (expected.heartbeat, expected.lease), "{name}");
    }
}

#[test]
fn settings_of_another_group_or_host_change_nothing() {
    let mut bench = Bench::member(settings(), false);
    for change in [|s: &mut Settings| s.name.push('x'), |s: &mut Settings| s.host = host(6)] {
        bench.give(reconfigured(change));
        assert_eq!(bench.group.settings, settings());
        assert!(bench.serves(5));
    }
}

// A shorter lease → the data plane has it before a heartbeat says so, and only then.
#[test]
fn a_lease_is_shortened_before_that_is_said() {
    let mut bench = Bench::member(settings(), false);
    let until = bench.group.lease_until;
    let said = bench.give(reconfigured(|s| paced(s, 20, 70)));
    let now = at(bench.now);
    assert!(until > now + ms(50), "it was longer");
    let shortened = said.iter().position(|action| *action == Action::Shorten(now + ms(50)));
    let told = position(&said, |action| matches!(action, Action::Heartbeat { .. }));
    assert!(shortened.unwrap() < told.unwrap(), "{said:?}");
    assert_eq!(heartbeats(&said), [(ms(50), now + ms(50))]);
    // The next ones keep to it.
    bench.now += 20;
    assert!(bench.group.next_deadline() <= at(bench.now));
    let next = bench.give(Event::Tick);
    assert_eq!(heartbeats(&next), [(ms(50), at(bench.now) + ms(50))]);
    assert!(!next.iter().any(|action| matches!(action, Action::Shorten(_))));
}

// A longer lease and interval → said in each heartbeat at once; used after the old timeout.
#[test]
fn a_longer_lease_is_said_before_it_is_used() {
    let mut bench = Bench::member(settings(), false);
    let changed = bench.now;
    let said = bench.give(reconfigured(|s| paced(s, 1_000, 3_500)));
    assert_eq!(heartbeats(&said), [(ms(2_500), at(changed) + ms(T - H))]);
    let mut last = changed;
    while bench.now < changed + T {
        bench.now += 1;
        if at(bench.now) < bench.group.next_deadline() {
            continue;
        }
        for (lease, until) in heartbeats(&bench.give(Event::Tick)) {
            assert!(bench.now - last <= H, "at the old pace");
            let used = if bench.now < changed + T { T - H } else { 2_500 };
            assert_eq!((lease, until), (ms(2_500), at(bench.now) + ms(used)));
            last = bench.now;
        }
    }
    bench.pass(H, false);
    assert_eq!(bench.group.lease_until, at(last + H) + ms(2_500), "one more at the old pace");
    assert_eq!(bench.group.next_deadline(), at(last + H + 1_000));
}

// Two changes, the second before the first is in use → never a lease that was not said.
#[test]
fn a_change_of_mind() {
    let mut bench = Bench::member(settings(), false);
    bench.give(reconfigured(|s| paced(s, 1_000, 3_500)));
    bench.pass(H, false);
    let said = bench.give(reconfigured(|_| {}));
    assert_eq!(heartbeats(&said), [(ms(T - H), at(bench.now) + ms(T - H))]);
    for _ in 0..10 * T {
        bench.pass(1, false);
        assert!(bench.group.lease_until <= at(bench.now) + ms(T - H));
    }
}

// Another host may answer for longer than this one's timeout → it is not dead before that.
#[test]
fn a_slower_host_is_waited_for() {
    let mut bench = Bench::member(settings(), false);
    bench.hear(7, other(5, ms(T - H)));
    bench.hear(8, other(5, ms(2_000)));
    bench.pass(T + 1, false);
    let in_sight = |bench: &Bench, n| bench.group.members.get(host(n)).is_some();
    assert!(!in_sight(&bench, 7) && in_sight(&bench, 8));
    assert_eq!(bench.group.patience(), ms(2_000 + H));
    bench.pass(2_000 + H - T - 2, false);
    assert!(in_sight(&bench, 8));
    bench.pass(2, false);
    assert!(!in_sight(&bench, 8));
    assert_eq!(bench.group.patience(), ms(T));
}

// An address that is taken out of the settings, and another host that has it or not → it stays
// where it is, or goes after twice the timeout.
#[test]
fn an_address_that_nobody_has_any_more_goes() {
    let without: fn(&mut Settings) = |s| s.preferred.clear();
    let mut bench = Bench::member(settings(), false);
    bench.give(reconfigured(without));
    bench.pass(2 * T - 1, false);
    assert!(bench.serves(5), "others have time to claim it");
    let before = bench.group.view(at(bench.now)).addresses.len();
    bench.pass(H, false);
    assert!(!bench.serves(5));
    assert_eq!((before, bench.group.view(at(bench.now)).addresses.len()), (1, 0));

    let mut bench = Bench::member(settings(), false);
    let claim = |bench: &mut Bench| {
        let record = Record {
            address: addr(5),
            preferred: None,
            age: Duration::ZERO,
            epoch: 0,
            withdrawn: false,
        };
        let Body::Info(mut info) = other(5, ms(T - H)) else { panic!() };
        info.database.push(record);
        bench.hear(7, Body::Info(info));
    };
    claim(&mut bench);
    bench.give(reconfigured(without));
    for _ in 0..20 {
        bench.pass(H, false);
        claim(&mut bench);
    }
    let view = bench.group.view(at(bench.now));
    assert_eq!(view.addresses.len(), 1);
    assert_eq!(view.addresses[0].preferred, None, "it floats there");
    assert_eq!(view.addresses[0].state, ListedState::Online);

    // It comes back: as before.
    bench.give(reconfigured(|_| {}));
    bench.pass(T, false);
    assert_eq!(bench.group.view(at(bench.now)).addresses[0].preferred, Some(host(5)));
}

#[test]
fn an_observer_gives_everything_up_and_a_member_takes_part_again() {
    let observer: fn(&mut Settings) = |s| {
        s.role = Role::Observer;
        s.preferred.clear();
        s.floating = BTreeSet::from([addr(5)]);
    };
    let mut bench = Bench::member(settings(), false);
    let said = bench.give(reconfigured(observer));
    let released =
        |report: &&Report| matches!(report, Report::Released { reason: Reason::Operator, .. });
    assert_eq!(reports(&said).into_iter().filter(released).count(), 1, "{said:?}");
    bench.pass(T, false);
    assert!(!bench.serves(5));
    let said = bench.give(reconfigured(|_| {}));
    assert!(moves(&said) && bench.serves(5), "{said:?}");
}

// The quorum goes up → what is held goes, unless enough hosts are in sight and have heard this one
// lately.
#[test]
fn a_higher_quorum() {
    let two: fn(&mut Settings) = |s| s.quorum = 2;
    let mut bench = Bench::member(settings(), false);
    let said = bench.give(reconfigured(two));
    assert!(!bench.serves(5));
    let revoked = said.iter().position(|action| *action == Action::Shorten(Time::ZERO));
    assert!(revoked.is_some(), "{said:?}");

    let mut bench = Bench::member(settings(), false);
    let sent = bench.sent.1;
    let Body::Info(info) = other(5, ms(T - H)) else { panic!() };
    bench.acknowledge(7, *info);
    bench.pass(50, false);
    let said = bench.give(reconfigured(two));
    assert!(bench.serves(5));
    let until = at(sent + T - H / 4).min(at(bench.now + T - H - H / 4));
    assert_eq!(heartbeats(&said), [(ms(T - H), until)]);
}

// The lease alone becomes longer, the interval stays → used after the old timeout.
#[test]
fn a_longer_lease_at_the_same_interval() {
    let mut bench = Bench::member(settings(), false);
    let slower = reconfigured(|s| paced(s, H, 500));
    assert_eq!(heartbeats(&bench.give(slower)), [(ms(400), at(bench.now) + ms(250))]);
    bench.pass(T - 1, false);
    assert_eq!(bench.group.pace.lease, ms(250));
    bench.now += 1;
    bench.give(Event::Tick);
    assert_eq!(bench.group.pace.lease, ms(400));
}

// Nothing of the lease changes, just after a heartbeat → it is not shortened.
#[test]
fn a_lease_that_stays_is_let_be() {
    let mut bench = Bench::member(settings(), false);
    while at(bench.now) < bench.group.next_heartbeat {
        bench.now += 1;
    }
    bench.give(Event::Tick);
    let said = bench.give(reconfigured(|s| s.spread = false));
    assert!(!said.iter().any(|action| matches!(action, Action::Shorten(_))), "{said:?}");
}

// A host that joins has another timeout → it listens for that one.
#[test]
fn a_joining_host_listens_for_the_new_timeout() {
    for timeout in [200, 900] {
        let mut group = Group::new(settings(), 4, at(0));
        group.handle(at(10), reconfigured(|s| paced(s, H, timeout)));
        let mut bench = Bench { group, now: 10, sequence: 0, sent: ((0, 0), 0) };
        while bench.group.phase == Phase::Joining {
            bench.pass(1, false);
        }
        assert_eq!(bench.now, timeout);
    }
}

// A script that there was none of, and another limit → for what begins from now on.
#[test]
fn scripts_from_now_on() {
    let mut bench = Bench::member(settings(), true);
    bench.order(1, true, 5, (9, 4));
    bench.give(reconfigured(|s| s.release_script = true));
    let said = bench.order(1, false, 5, (9, 4));
    assert!(said.iter().any(|action| matches!(action, Action::RunScript { .. })), "{said:?}");
}

// An address is taken out of this host's configuration → out of the group after a while, unless
// another host in sight calls it its own.
#[test]
fn an_address_that_is_taken_out() {
    for (others, withdrawn) in [(vec![], true), (vec![addr(5)], false), (vec![addr(6)], true)] {
        let mut bench = Bench::member(settings(), true);
        let mut info = leader_info();
        info.host.preferred = others;
        bench.hear(2, Body::Info(Box::new(info)));
        bench.now += 10;
        bench.give(reconfigured(|s| s.preferred = BTreeSet::from([addr(8)])));
        let entry = bench.group.database.get(addr(5)).unwrap();
        // From then on it has not been seen; or since that host was heard.
        assert_eq!((entry.withdrawn, entry.seen == at(bench.now)), (withdrawn, withdrawn));
    }
}
