//! Lists and databases that do not fit a heartbeat: what this host asks for, whom and when.

use super::*;

/// A heartbeat of a member that leads or follows, and whose database has this sum.
fn summed(leader: u8, records: Sum) -> Info {
    let mut info = leader_info();
    info.host.leader = Some(host(leader));
    info.database.clear();
    info.records = Some(records);
    info
}

fn heartbeat(info: Info) -> Body {
    Body::Info(Box::new(info))
}

const OTHER: Sum = Sum { bits: 1, digest: 77 };

/// Who is asked for what, and with how many sums.
fn asked(actions: &[Action]) -> Vec<(HostId, PartOf, usize)> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Send(Message { body: Body::Ask(ask), .. }) => {
                Some((ask.to, ask.of, ask.sums.len()))
            }
            _ => None,
        })
        .collect()
}

/// Hears this heartbeat every 10 ms for so long; when it asked its sender for its database, since
/// the beginning.
fn questions(bench: &mut Bench, from: u8, info: &Info, until: u64) -> Vec<u64> {
    let mut asked_at = Vec::new();
    for since in (0..=until).step_by(10) {
        for question in asked(&bench.hear(from, heartbeat(info.clone()))) {
            assert_eq!(question, (host(from), PartOf::Database, 2));
            asked_at.push(since);
        }
        bench.pass(10, false);
    }
    asked_at
}

// A member finds that its leader's database is another → asks it after one or two heartbeats, and
// as long as that brings nothing less and less often: down to one in 64.
#[test]
fn asks_less_and_less_often() {
    let mut bench = Bench::member(settings(), true);
    let asked = questions(&mut bench, 1, &summed(1, OTHER), 30_000);
    assert!((H..=2 * H).contains(&asked[0]), "{asked:?}");
    let pauses: Vec<u64> = asked.windows(2).map(|two| (two[1] - two[0]) / H).collect();
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
}

// The question brought something, but not all → asked again soon. It brought all → asked no more.
#[test]
fn asks_until_both_are_the_same() {
    let mut bench = Bench::member(settings(), true);
    assert_eq!(questions(&mut bench, 1, &summed(1, OTHER), 5_000).len(), 6);
    bench
        .hear(1, Body::Part(Part::Records(vec![Record { epoch: 9, ..leader_info().database[1] }])));
    let asked = questions(&mut bench, 1, &summed(1, OTHER), 1_000);
    assert!((H..=2 * H).contains(&asked[0]), "{asked:?}");
    assert_eq!((asked[1] - asked[0], asked[2] - asked[1]), (H, 2 * H));
    let same = bench.group.database.sum();
    assert_eq!(questions(&mut bench, 1, &summed(1, same), 10_000), [0; 0]);
    assert_eq!(questions(&mut bench, 1, &summed(1, OTHER), 210).len(), 1, "from the start");
}

// Who has another database → asked or not. A member follows its leader; a leader compares with all
// that take part, one at a time.
#[test]
fn who_is_asked() {
    let joining = |mut info: Info| {
        info.host.phase = Phase::Joining;
        info
    };
    let mut bench = Bench::member(settings(), true);
    assert_eq!(questions(&mut bench, 2, &summed(1, OTHER), T - H), [0; 0], "not its leader");
    let mut bench = Bench::member(settings(), false);
    assert_eq!(questions(&mut bench, 7, &joining(summed(5, OTHER)), T), [0; 0], "it is joining");
    let mut bench = Bench::member(settings(), false);
    assert_eq!(questions(&mut bench, 7, &summed(5, OTHER), 2 * H).len(), 1);
    assert_eq!(questions(&mut bench, 8, &summed(5, OTHER), T - 2 * H), [0; 0], "one at a time");
    bench.pass(2 * H, false);
    assert_eq!(bench.group.members.get(host(7)).map(|peer| peer.boot), None);
    assert!(!questions(&mut bench, 8, &summed(5, OTHER), 2 * H).is_empty(), "the other is gone");
}

// A host joins, and its leader's database is another → it asks at that one's next heartbeat, and takes
// part when it has learned, or after a timeout more; where it is the same, or not said, after one.
#[test]
fn a_joining_host_catches_up() {
    let joins = |records: fn(&Group, u64) -> Option<Sum>| {
        let group = Group::new(settings(), 4, at(0));
        let mut bench = Bench { group, now: 0, sequence: 0, sent: ((0, 0), 0) };
        let mut first = None;
        while bench.group.phase == Phase::Joining {
            if bench.now.is_multiple_of(H / 2) {
                let mut info = summed(1, OTHER);
                info.records = records(&bench.group, bench.now);
                let questions = asked(&bench.hear(1, heartbeat(info)));
                first = first.or((!questions.is_empty()).then_some(bench.now));
            }
            if bench.group.phase == Phase::Joining {
                bench.pass(1, false);
            }
        }
        (bench.now, first)
    };
    assert_eq!(joins(|_, _| None), (T, None));
    assert_eq!(joins(|group, _| Some(group.database.sum())), (T, None));
    assert_eq!(joins(|_, _| Some(OTHER)), (2 * T, Some(H / 2)));
    let learned = |group: &Group, now| Some(if now < 450 { OTHER } else { group.database.sum() });
    assert_eq!(joins(learned), (450, Some(H / 2)));
}

// The lists of a host are not whole → it is asked for them at once, and no sooner than half a
// heartbeat later again.
#[test]
fn asks_for_lists() {
    let mut bench = Bench::member(settings(), true);
    let mut info = leader_info();
    info.lists = Some(Sum { bits: 2, digest: 1 });
    let question = vec![(host(2), PartOf::Lists, 4)];
    for (pass, expected) in [(0, question.clone()), (H / 2 - 1, vec![]), (1, question)] {
        bench.now += pass;
        assert_eq!(asked(&bench.hear(2, heartbeat(info.clone()))), expected, "{pass}");
    }
}
