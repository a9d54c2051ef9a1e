//! What does not fit a heartbeat: what is said instead, when, and to whom.

use super::super::parts::{self, Told};
use super::*;

fn address(n: u32) -> IpAddr {
    IpAddr::V4((0x0a4f_0000 + n).into())
}

/// A host with so many addresses of its own.
fn own(n: u32) -> Settings {
    Settings { preferred: (0..n).map(address).collect(), ..settings() }
}

fn heartbeat(info: Info) -> Body {
    Body::Info(Box::new(info))
}

/// The last heartbeat among these.
fn told(actions: &[Action]) -> Option<Info> {
    actions.iter().rev().find_map(|action| match action {
        Action::Heartbeat { message: Message { body: Body::Info(info), .. }, .. } => {
            Some(info.as_ref().clone())
        }
        _ => None,
    })
}

fn sent(actions: &[Action]) -> Vec<Part> {
    let parts = actions.iter().filter_map(|action| match action {
        Action::Send(Message { body: Body::Part(part), .. }) => Some(part.clone()),
        _ => None,
    });
    parts.collect()
}

/// The slices of lists among these, and what is in them.
fn slices(actions: &[Action]) -> (Vec<Slice>, Vec<Listed>) {
    let lists = sent(actions).into_iter().filter_map(|part| match part {
        Part::Lists(slice, entries) => Some((slice, entries)),
        Part::Records(_) => None,
    });
    let (slices, entries): (Vec<Slice>, Vec<Vec<Listed>>) = lists.unzip();
    (slices, entries.concat())
}

/// The addresses of the parts of a database among these.
fn records(actions: &[Action]) -> Vec<IpAddr> {
    let records = sent(actions).into_iter().filter_map(|part| match part {
        Part::Records(records) => Some(records),
        Part::Lists(..) => None,
    });
    records.flatten().map(|record| record.address).collect()
}

/// Its next heartbeat, at its time.
fn next(bench: &mut Bench) -> Vec<Action> {
    while at(bench.now) < bench.group.next_heartbeat {
        bench.now += 1;
    }
    bench.give(Event::Tick)
}

// A heartbeat leaves late by so much → the next one at its time, or an interval later.
#[test]
fn on_schedule() {
    for (late, next) in [(0, H), (30, H), (H - 1, H), (H, 2 * H), (H + 30, 2 * H + 30)] {
        let mut bench = Bench::member(settings(), false);
        let due = bench.group.next_heartbeat;
        bench.group.handle(due + Duration::from_millis(late), Event::Tick);
        let next = due + Duration::from_millis(next);
        assert_eq!(bench.group.next_heartbeat, next, "{late}");
    }
}

// Lists that do not fit → said in parts, before a heartbeat that has nothing but their sum; then
// only what has changed is said again. They fit → they are in the heartbeat.
#[test]
fn lists_in_parts() {
    let mut bench = Bench::member(own(200), true);
    bench.group.telling = Telling::default();
    let first = next(&mut bench);
    let info = told(&first).unwrap();
    assert_eq!((info.host.preferred.len(), info.host.served.len()), (0, 0));
    let (all, entries) = slices(&first);
    let set: BTreeMap<IpAddr, Listed> = entries.into_iter().map(|l| (l.address, l)).collect();
    assert_eq!(set, parts::listed(&bench.group.own_info(at(bench.now))));
    assert_eq!(info.lists, Some(Told::new(set, 0).sum()));
    assert!(all.len() > 1);
    let last = first.iter().rposition(|action| matches!(action, Action::Send(_)));
    assert!(last < first.iter().position(|action| matches!(action, Action::Heartbeat { .. })));

    let second = next(&mut bench);
    assert_eq!(slices(&second).0, []);
    let again = told(&second).unwrap();
    assert_eq!((again.lists, again.host.preferred.len()), (info.lists, 0));

    bench.hear(1, one_more(0, 9));
    let third = next(&mut bench);
    let (changed, entries) = slices(&third);
    assert!(changed.len() == 1 && changed[0].has(address(0)));
    assert!(entries.iter().any(|l| l.address == address(0) && l.served.is_some()));
    assert_ne!(told(&third).unwrap().lists, info.lists);

    bench.give(Event::Reconfigured(Box::new(own(10))));
    let few = told(&next(&mut bench)).unwrap();
    assert_eq!((few.lists, few.host.preferred.len()), (None, 10));
}

/// An order from host 1 for one of these addresses.
fn one_more(n: u32, epoch: u64) -> Body {
    let reason = Reason::Unserved;
    let entry = OrderEntry { address: address(n), epoch, reason, other: None };
    Body::Acquire(Order { to: host(5), entries: vec![entry] })
}

// What is refused changes → it is told, though nothing else of the lists has changed.
#[test]
fn refusals_in_parts() {
    let mut bench = Bench::member(own(200), true);
    let now = at(bench.now);
    bench.sequence += 1;
    let message =
        Message { source: host(1), boot: 1, sequence: bench.sequence, body: one_more(0, 9) };
    bench.group.handle(now, Event::Received { at: now, message });
    let result = Err("no".to_owned());
    bench.group.handle(now, Event::Configured { address: address(0), epoch: 9, result });
    let told = next(&mut bench);
    assert!(slices(&told).1.iter().any(|l| l.address == address(0) && l.refused));
    bench.group.holdings = Holdings::new(Limits::of(&bench.group.settings));
    let told = next(&mut bench);
    assert!(slices(&told).1.iter().any(|l| l.address == address(0) && !l.refused));
    assert_eq!(slices(&next(&mut bench)).0, []);
}

// Something has changed just after a heartbeat → told at once; where it takes parts, a quarter of a
// heartbeat after the last one; where it takes 1,024, 40 us for each after the last one.
#[test]
fn changes_are_collected_where_they_take_parts() {
    for (addresses, pause) in [(1, 0), (200, H / 4), (100_000, 41)] {
        let mut bench = Bench::member(own(addresses), true);
        next(&mut bench);
        next(&mut bench);
        let since = bench.now;
        bench.now += 1;
        let tells = |actions: &[Action]| told(actions).is_some();
        let mut done = tells(&bench.give(Event::Quiesce(true)));
        while !done {
            assert!(bench.group.next_deadline() <= at(since + pause), "{}", bench.now);
            bench.now += 1;
            done = at(bench.now) >= bench.group.next_deadline() && tells(&bench.give(Event::Tick));
        }
        assert_eq!(bench.now, since + pause.max(1), "{addresses}");
    }
}

// Others in sight → all are in the heartbeat, or the leader and eight in turn.
#[test]
fn hosts_in_turn() {
    for (others, each, more) in [(10, 10, false), (60, 9, true)] {
        let mut bench = Bench::member(settings(), true);
        for n in 101..100 + others {
            bench.hear(n, heartbeat(leader_info()));
        }
        let mut seen = BTreeSet::new();
        for _ in 0..others.div_ceil(8) {
            bench.now += 1;
            bench.acknowledge(1, leader_info());
            (101..100 + others).for_each(|n| drop(bench.hear(n, heartbeat(leader_info()))));
            let info = told(&next(&mut bench)).unwrap();
            assert!(
                info.known.len() <= each && info.known.len() + 1 >= each,
                "{}",
                info.known.len()
            );
            assert!(info.known.is_sorted_by(|a, b| a.id < b.id));
            assert!(info.known.iter().any(|known| known.id == host(1)), "the leader");
            assert_eq!(info.knows_more, more);
            seen.extend(info.known.into_iter().map(|known| known.id));
        }
        assert_eq!(seen.len(), usize::from(others));
    }
}

// Addresses of the group, other hosts → the database is in the heartbeat if all of it fits, its
// sum else.
#[test]
fn a_database_that_fits() {
    for others in [0, 20, 40] {
        let mut both = [false; 2];
        for addresses in (30..100).step_by(3) {
            let mut bench = Bench::member(settings(), true);
            let mut info = leader_info();
            let record = Record { preferred: Some(host(7)), ..info.database[1] };
            info.database =
                (0..addresses).map(|n| Record { address: address(n), ..record }).collect();
            for n in 0..=others {
                bench.hear(101 + n, heartbeat(info.clone()));
            }
            let info = told(&next(&mut bench)).unwrap();
            let all = bench.group.database.records(at(bench.now));
            let used = parts::standing_len(&info.host)
                + parts::lists_len(&info.host)
                + info.known.iter().map(parts::known_len).sum::<usize>()
                + all.iter().map(parts::record_len).sum::<usize>();
            let fits = used + 48 <= parts::ROOM;
            both[usize::from(fits)] = true;
            let expected =
                if fits { (all, None) } else { (Vec::new(), Some(bench.group.database.sum())) };
            assert_eq!((info.database, info.records), expected, "{addresses} {others}");
        }
        assert_eq!(both, [true; 2]);
    }
}

// What does not fit heartbeats → said again with every sixteenth, in turn, until all of it was.
#[test]
fn everything_is_repeated() {
    let floating = Settings { floating: (0..150).map(address).collect(), ..settings() };
    for (settings, serves, lists, database) in [
        (own(200), 0, 200, 202),
        (own(60), 60, 60, 62),
        (floating, 0, 0, 152),
        (settings(), 0, 0, 0),
    ] {
        let mut bench = Bench::member(settings, true);
        (0..serves).for_each(|n| drop(bench.hear(1, one_more(n, 9))));
        next(&mut bench);
        let info = told(&next(&mut bench)).unwrap();
        assert_eq!(info.lists.is_some(), lists > 0);
        assert_eq!(info.records.is_some(), database > 62, "in parts only where it does not fit");
        let (mut listed, mut recorded) = (BTreeSet::new(), BTreeSet::new());
        let mut at = BTreeSet::new();
        for n in 0..16 * 8 {
            let actions = next(&mut bench);
            if !sent(&actions).is_empty() {
                at.insert(n % 16);
            }
            listed.extend(slices(&actions).1.into_iter().map(|l| l.address));
            recorded.extend(records(&actions));
            bench.hear(1, heartbeat(leader_info()));
        }
        assert_eq!((listed.len(), recorded.len()), (lists, database));
        assert_eq!(at.len(), usize::from(lists + database > 0));
    }
}

/// A question about these slices, of so many bits, to a host.
fn ask(to: u8, of: PartOf, bits: u8, first: u16, sums: &[u64]) -> Body {
    Body::Ask(Ask { to: host(to), of, bits, first, sums: parts::short_sums(sums) })
}

// Somebody asks for lists → told those slices whose sums differ, of those that were asked for. Who
// asks another host, or with other slices, is told nothing.
#[test]
fn answers_about_lists() {
    let mut bench = Bench::member(own(800), true);
    next(&mut bench);
    let now = told(&next(&mut bench)).unwrap();
    let bits = now.lists.unwrap().bits;
    let set = parts::listed(&bench.group.own_info(at(bench.now)));
    let sums = Told::new(set, bits).sums;
    let mut others = sums.clone();
    (others[1], others[3]) = (0, 1);
    let index = |actions: &[Action]| slices(actions).0.iter().map(|s| s.index).collect::<Vec<_>>();
    let lists = PartOf::Lists;
    let mut hear = |body| index(&bench.hear(1, body));
    assert_eq!(hear(ask(5, lists, bits, 0, &others)), [1, 3]);
    assert_eq!(hear(ask(5, lists, bits, 2, &others[2..])), [3]);
    assert_eq!(hear(ask(5, lists, bits, 0, &sums)), [0; 0]);
    assert_eq!(hear(ask(6, lists, bits, 0, &others)), [0; 0]);
    assert_eq!(hear(ask(5, lists, bits + 1, 0, &others)), [0; 0]);
}

// Somebody asks for a database, whatever slices it has → told what differs.
#[test]
fn answers_about_a_database() {
    let mut bench = Bench::member(own(300), true);
    let sums = bench.group.database.sums(2);
    let mut others = sums.clone();
    others[2] = 0;
    let expected = |slice| {
        let all = bench.group.addresses().into_iter();
        all.filter(|&a| parts::index(a, 2) == slice).collect::<Vec<_>>()
    };
    let expected = expected(2);
    assert_eq!(records(&bench.hear(1, ask(5, PartOf::Database, 2, 0, &others))), expected);
    assert!(records(&bench.hear(1, ask(6, PartOf::Database, 2, 0, &others))).is_empty());
}

// Hosts miss all of long lists, and ask several times in a turn → as many parts as can be sent in a
// quarter of a heartbeat, at 40 us each, and the rest in the next ones, without being asked again.
#[test]
fn answers_take_their_time() {
    let mut bench = Bench::member(own(100_000), true);
    next(&mut bench);
    let bits = told(&next(&mut bench)).unwrap().lists.unwrap().bits;
    let all = 1 << bits;
    let room = 625;
    assert!((room + 3..2 * room).contains(&all), "{all}");
    let mut sequence = bench.sequence;
    let mut question = |bench: &Bench, sums: usize| {
        sequence += 1;
        let body = ask(5, PartOf::Lists, bits, 0, &vec![0; sums]);
        let message = Message { source: host(1), boot: 1, sequence, body };
        Event::Received { at: at(bench.now), message }
    };
    let quiet = |bench: &mut Bench| bench.group.next_heartbeat = at(bench.now + H);
    let asked = [1, 1, all].map(|sums| question(&bench, sums)).to_vec();
    quiet(&mut bench);
    assert_eq!(slices(&bench.give(Event::Together(asked))).0.len(), room);
    let again = question(&bench, 1);
    assert_eq!(slices(&bench.give(again)).0, []);
    assert_eq!(bench.group.next_deadline(), at(bench.now + H / 4));
    bench.now += H / 4 - 1;
    quiet(&mut bench);
    assert_eq!(slices(&bench.give(Event::Tick)).0, []);
    bench.now += 1;
    let rest = slices(&bench.give(Event::Tick)).0;
    assert_eq!(rest.len(), 2 + all - room + 1, "and the one that was asked for again");
    bench.now += H / 4;
    quiet(&mut bench);
    assert_eq!(slices(&bench.give(Event::Tick)).0, []);
}

// A large database is another's → asked about with 256 sums a message, and 16 messages.
#[test]
fn long_questions() {
    let mut bench = Bench::member(settings(), true);
    let questions = |bench: &mut Bench, bits: u8| {
        let mut out = Vec::new();
        let sums: Vec<u64> = (0..1 << bits).collect();
        bench.group.ask(host(1), PartOf::Database, bits, &sums, &mut out);
        let asks = out.into_iter().map(|action| match action {
            Action::Send(Message { body: Body::Ask(ask), .. }) => ask,
            other => panic!("{other:?}"),
        });
        asks.collect::<Vec<Ask>>()
    };
    for (bits, messages, sums) in [(0, 1, 1), (8, 1, 256), (9, 2, 512), (13, 16, 4_096)] {
        let asks = questions(&mut bench, bits);
        assert_eq!(asks.len(), messages);
        assert!(asks.iter().all(|ask| ask.to == host(1) && ask.bits == bits));
        let asked = asks.iter().flat_map(|ask| (ask.first..).zip(ask.sums.iter().copied()));
        let expected = (0..sums).map(|n| (n, u32::from(n)));
        assert!(asked.eq(expected), "{bits}");
    }
}
