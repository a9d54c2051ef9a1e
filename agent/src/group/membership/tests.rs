//! What others say → who is in sight, what is news, and when silence makes one dead.

use std::net::Ipv4Addr;

use super::super::AddressState;
use super::*;

const T: Duration = Duration::from_millis(350);
const H: Duration = Duration::from_millis(100);

fn host(n: u32) -> HostId {
    HostId(IpAddr::V4((0x0a4d_0000 + n).into()))
}

fn addr(n: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 78, 0, n))
}

fn at(ms: u64) -> Time {
    Time::from_nanos(ms * 1_000_000)
}

fn info() -> HostInfo {
    let served = |n| Served { address: addr(n), state: AddressState::Online, epoch: 1 };
    HostInfo {
        control_addresses: Vec::new(),
        mac: [0; 6],
        ok: true,
        quiesced: false,
        phase: Phase::Member,
        leader: None,
        load: 0,
        capacity: 1,
        preferred: vec![addr(1)],
        served: vec![served(1), served(2)],
        refused: vec![addr(3)],
    }
}

fn seen(hosts: impl Iterator<Item = u32>, now: Time) -> Membership {
    let mut members = Membership::default();
    for n in hosts {
        members.update(host(n), 4, 1, now, info(), None);
    }
    members
}

// What a heartbeat says that the last one did not → what is news.
#[test]
fn news() {
    type Change = fn(&mut HostInfo);
    let rows: [(&str, Change, bool, bool); 9] = [
        ("nothing", |_| {}, false, false),
        ("load", |i| i.load = 9, false, false),
        ("preferred", |i| i.preferred.clear(), true, false),
        ("served", |i| i.served[0].epoch = 2, true, false),
        ("refused", |i| i.refused.clear(), true, false),
        ("ok", |i| i.ok = false, false, true),
        ("quiesced", |i| i.quiesced = true, false, true),
        ("phase", |i| i.phase = Phase::Leaving, false, true),
        ("leader", |i| i.leader = Some(host(1)), false, true),
    ];
    for (what, change, lists, standing) in rows {
        let mut members = seen(1..2, at(0));
        let mut info = info();
        change(&mut info);
        let news = News { arrival: Arrival::Known, lists, standing, acknowledged: false };
        assert_eq!(members.update(host(1), 4, 2, at(1), info, None), Some(news), "{what}");
    }
    let mut members = seen(1..2, at(0));
    let anew = News { arrival: Arrival::Known, lists: false, standing: true, acknowledged: false };
    assert_eq!(members.update(host(1), 5, 1, at(1), info(), None), Some(anew), "started anew");
}

// What it says to have heard, one after the other; and the boot it says that in → the newest is
// kept, and what is higher is news. Who has started anew has forgotten it.
#[test]
fn acknowledgements() {
    let mut members = seen(1..2, at(0));
    let rows = [
        (4, Some((7, 1)), true, Some((7, 1))),
        (4, Some((7, 1)), false, Some((7, 1))),
        (4, None, false, Some((7, 1))),
        (4, Some((7, 5)), true, Some((7, 5))),
        (5, None, false, None),
        (5, Some((7, 2)), true, Some((7, 2))),
    ];
    for (sequence, (boot, said, news, kept)) in (2..).zip(rows) {
        let update = members.update(host(1), boot, sequence, at(1), info(), said);
        assert_eq!(update.map(|update| update.acknowledged), Some(news), "{sequence}");
        assert_eq!(members.get(host(1)).and_then(|peer| peer.acknowledged), kept, "{sequence}");
    }
}

// Available, and with a break → since when it could be assigned addresses.
#[test]
fn available_since() {
    let mut members = seen(1..2, at(10));
    let rows = [(4, true, Some(10)), (4, false, None), (4, true, Some(13)), (5, true, Some(14))];
    for (now, (boot, ok, since)) in (11..).zip(rows) {
        members.update(host(1), boot, now, at(now), HostInfo { ok, ..info() }, None);
        let peer = members.get(host(1));
        assert_eq!(peer.and_then(|peer| peer.available_since), since.map(at), "{now}");
    }
}

// Phases, one after the other → whether the host takes part.
#[test]
fn who_takes_part() {
    use Phase::{Joining, Leaving, Member};
    let mut members = Membership::default();
    let phases = [(Joining, false), (Member, true), (Member, true), (Leaving, false)];
    for (sequence, (phase, takes_part)) in (1..).zip(phases) {
        members.update(host(1), 4, sequence, at(0), HostInfo { phase, ..info() }, None);
        assert_eq!(members.first_member().is_some(), takes_part, "{phase:?}");
    }
}

// A message that is no heartbeat proves its sender alive, and is not to be taken twice; of another
// boot than is known it proves nothing.
#[test]
fn orders_prove_life() {
    for (boot, counts) in [(4, true), (5, false)] {
        let mut members = seen(1..2, at(0));
        assert!(members.is_fresh(host(1), boot, 2));
        members.heard(host(1), boot, 2, at(200));
        assert_eq!(members.is_fresh(host(1), boot, 2), !counts);
        assert_eq!(members.expire(at(400), T, H).is_empty(), counts, "{boot}");
        assert_eq!(members.expire(at(550), T, H).is_empty(), !counts, "{boot}");
    }
}

// Said in any order → searched and compared in order.
#[test]
fn lists_are_sorted() {
    let mut members = seen(1..2, at(0));
    let mut turned = info();
    turned.preferred = vec![addr(9), addr(1)];
    turned.refused = vec![addr(9), addr(3)];
    turned.served.reverse();
    members.update(host(1), 4, 2, at(0), turned, None);
    let said = &members.get(host(1)).unwrap().info;
    assert_eq!(
        (&said.preferred, &said.refused),
        (&vec![addr(1), addr(9)], &vec![addr(3), addr(9)])
    );
    assert_eq!(said.served, info().served);
}

// Hosts list these, one after the other → what is listed by any of them, and no more when they are
// gone; one that says an address twice lists it once.
#[test]
fn what_anybody_lists() {
    let mut members = seen(1..3, at(0));
    let mut sequence = 1;
    let mut say = |n: u32, numbers: &[u8], listed: &[u8]| {
        let served = |&n: &u8| Served { address: addr(n), state: AddressState::Online, epoch: 1 };
        sequence += 1;
        let info = HostInfo { served: numbers.iter().map(served).collect(), ..info() };
        members.update(host(n), 4, sequence, at(0), info, None);
        let seen: Vec<u8> = (0..10).filter(|&n| members.lists(addr(n))).collect();
        assert_eq!(seen, listed, "{n} {numbers:?}");
    };
    say(1, &[], &[1, 2]);
    say(2, &[], &[]);
    say(1, &[3, 4, 7], &[3, 4, 7]);
    say(2, &[4, 5], &[3, 4, 5, 7]);
    say(1, &[5, 7, 7, 8], &[4, 5, 7, 8]);
    say(2, &[], &[5, 7, 8]);
    say(1, &[7, 8], &[7, 8]);
    say(1, &[8], &[8]);
    members.expire(at(1_000), T, H);
    assert!(!members.lists(addr(8)));
}

// A list is compared with this host's own once, and again when that has changed.
#[test]
fn compared_once() {
    let mut members = seen(1..2, at(0));
    assert!(members.compare(host(1)));
    assert!(!members.compare(host(1)));
    members.compare_anew();
    assert!(members.compare(host(1)));
    assert!(!members.compare(host(2)), "not in sight");
}

// Another host was heard there, so long ago, when this one had not heard it for longer → waited for
// until it has been silent there for the timeout; not if it is this host itself, or that is over.
#[test]
fn hidden_hosts_are_waited_for() {
    let known =
        |n, age| Known { id: host(n), boot: 4, sequence: 2, age: Duration::from_millis(age) };
    let told = |known| {
        let mut members = Membership::default();
        members.told(at(1_000), at(990), &[known], T, host(5));
        members
    };
    let mut members = told(known(2, 40));
    assert!(members.awaits_hidden(at(1_299), T));
    assert!(!members.awaits_hidden(at(1_300), T));
    members.expire(at(1_299), T, H);
    assert!(members.awaits_hidden(at(1_299), T));
    members.expire(at(1_300), T, H);
    assert!(members.hidden.is_empty());
    assert!(told(known(2, 349)).awaits_hidden(at(990), T));
    assert!(told(known(2, 350)).hidden.is_empty());
    assert!(!told(known(5, 40)).awaits_hidden(at(990), T), "this host");
    members = told(known(2, 40));
    members.update(host(2), 4, 3, at(1_010), info(), None);
    assert!(!members.awaits_hidden(at(1_010), T), "it is heard here, too");
}

// More hosts than there may be → not heard, nor remembered when they are out of sight.
#[test]
fn limits() {
    let mut members = seen(0..4_096, at(0));
    assert_eq!(members.update(host(4_096), 4, 1, at(0), info(), None), None);
    assert!(members.update(host(4_095), 4, 2, at(0), info(), None).is_some());
    assert_eq!(members.expire(at(350), T, H).len(), 4_096);
    let arrival = |members: &mut Membership, n, now| {
        members.update(host(n), 4, 3, now, info(), None).map(|news| news.arrival)
    };
    assert_eq!(arrival(&mut members, 4_097, at(350)), Some(Arrival::New));
    members.expire(at(700), T, H);
    assert_eq!(arrival(&mut members, 4_097, at(700)), Some(Arrival::New), "no room for it");
    assert_eq!(arrival(&mut members, 4_095, at(700)), Some(Arrival::Returned));
}

// What the heartbeat says of the others.
#[test]
fn known_hosts() {
    let members = seen(2..4, at(10));
    let known = |n| Known { id: host(n), boot: 4, sequence: 1, age: Duration::from_millis(5) };
    assert_eq!(members.known(at(15)), [known(2), known(3)]);
}
