//! Addresses and loads → moves. Hosts beat every 100 ms and have been available from the start.

use std::time::Duration;

use super::super::balance::tests::{decide, loaded, with};
use super::super::control::Decision;
use super::super::control::tests::{Leader, addr, at, host, info, online};
use super::super::{Balance, HostInfo, Reason};

fn leader(hosts: Vec<(u8, HostInfo)>) -> Leader {
    let mut leader = super::super::balance::tests::leader(hosts);
    leader.balance = None;
    leader.spread = true;
    leader
}

/// The first move within ten seconds: when, and from whom.
fn first(leader: &mut Leader) -> Option<(u64, u8)> {
    let decisions = decide(leader, 0, 10_000);
    decisions.first().map(|&(ms, decision)| match decision {
        Decision::Acquire { after: Some(from), reason: Reason::Spread, .. } => {
            (ms, (1..9).find(|&n| host(n) == from).unwrap())
        }
        Decision::Release { .. } | Decision::Acquire { .. } | Decision::CannotAssign(_) => {
            panic!("{decision:?}")
        }
    })
}

// Three addresses against one, once the other has been available for 3 s → one goes over, for the
// reason spread. Two against one → nothing.
#[test]
fn one_at_a_time() {
    let mut uneven = leader(vec![(2, with(0, &[10, 11, 12])), (3, with(0, &[13]))]);
    let decisions = decide(&mut uneven, 0, 3_000);
    let [(3_000, Decision::Acquire { address, after, reason: Reason::Spread, .. })] = decisions[..]
    else {
        panic!("{decisions:?}")
    };
    assert_eq!(after, Some(host(2)));
    let rest: Vec<u8> = (10..13).filter(|&n| addr(n) != address).collect();
    uneven.hear(vec![(2, with(0, &rest)), (3, with(0, &[13]))]);
    assert_eq!(uneven.orders(at(3_100)), [(true, 3, Reason::Spread)]);

    let mut even = leader(vec![(2, with(0, &[10, 11])), (3, with(0, &[13]))]);
    assert_eq!(first(&mut even), None);
}

// Not asked for, or not yet available for 3 s → nothing.
#[test]
fn not_always() {
    let uneven = || vec![(2, with(0, &[10, 11, 12])), (3, with(0, &[]))];
    let mut off = leader(uneven());
    off.spread = false;
    assert_eq!(first(&mut off), None);
    let mut late = leader(uneven());
    late.available_since = Some(at(2_000));
    assert_eq!(first(&mut late), Some((5_000, 2)));
}

// holder's load, other's load → moved or not: never to a host that is busier by a twentieth.
#[test]
fn never_to_a_busier_host() {
    for (holder, other, moved) in
        [(20, 20, true), (20, 24, true), (20, 25, false), (90, 10, true), (0, 90, false)]
    {
        let hosts = vec![(2, with(holder, &[10, 11, 12])), (3, with(other, &[]))];
        assert_eq!(first(&mut leader(hosts)).is_some(), moved, "{holder} {other}");
    }
}

// With marks: nothing that would lift the other host above the high one.
#[test]
fn never_above_the_high_mark() {
    for (load, moved) in [(57, true), (66, false)] {
        let hosts = vec![(2, with(load, &[10, 11, 12])), (3, with(load, &[]))];
        let mut leader = leader(hosts);
        leader.balance = Some(Balance { high: 80, low: 50, scale: 100 });
        assert_eq!(first(&mut leader).is_some(), moved, "{load}");
    }
}

// At home → counted, but stays; what floats goes. Spares share with spares alone.
#[test]
fn among_hosts_of_a_kind() {
    let holder = |floating: &[u8]| {
        let own = [10, 11, 12].iter().chain(floating);
        own.fold(loaded(info(&[10, 11, 12]), 0), |info, &n| online(info, n, 1))
    };
    let other = || online(info(&[19]), 19, 1);
    assert_eq!(first(&mut leader(vec![(2, holder(&[])), (3, other())])), None);
    let decisions = decide(&mut leader(vec![(2, holder(&[13])), (3, other())]), 0, 3_000);
    let [(3_000, Decision::Acquire { address, .. })] = decisions[..] else {
        panic!("{decisions:?}")
    };
    assert_eq!(address, addr(13));
    assert_eq!(first(&mut leader(vec![(2, holder(&[13])), (3, info(&[]))])), None);
}

// Relieved by the balancer → given nothing for evenness' sake in the five minutes after.
#[test]
fn not_back_to_a_host_that_was_relieved() {
    let mut leader = leader(vec![(2, with(90, &[10, 11, 12])), (3, with(10, &[13, 14, 15]))]);
    leader.balance = Some(Balance { high: 80, low: 50, scale: 100 });
    let decisions = decide(&mut leader, 0, 3_000);
    assert!(matches!(decisions[..], [(3_000, Decision::Acquire { reason: Reason::Balance, .. })]));
    leader.hear(vec![(2, with(10, &[10])), (3, with(10, &[11, 12, 13, 14, 15]))]);
    assert_eq!(decide(&mut leader, 3_100, 302_900), []);
    assert_eq!(decide(&mut leader, 303_000, 303_000).len(), 1);
}

// Some address is on its way → nothing is added; after it has arrived a second passes.
#[test]
fn nothing_else_is_under_way() {
    let mut busy = with(0, &[19]);
    busy.served[0].state = super::super::AddressState::Acquiring;
    let hosts = |other: &HostInfo| vec![(2, with(0, &[10, 11, 12, 13])), (3, other.clone())];
    let mut leader = leader(hosts(&busy));
    assert_eq!(decide(&mut leader, 0, 10_000), []);
    leader.hear(hosts(&with(0, &[19])));
    assert_eq!(decide(&mut leader, 10_100, 10_900), []);
    assert_eq!(decide(&mut leader, 11_000, 11_000).len(), 1);
}

// Slow heartbeats → ten of them have to pass, not a second only.
#[test]
fn ten_heartbeats() {
    let mut leader = leader(vec![(2, with(0, &[10, 11, 12])), (3, with(0, &[]))]);
    leader.heartbeat = Duration::from_secs(1);
    assert_eq!(first(&mut leader), Some((10_000, 2)));
}

// Addresses of three hosts, the last of which refuses all → moved or not: a move has to bring two
// hosts nearer to each other.
#[test]
fn nearer_to_each_other() {
    let rows: [(&[u8], &[u8], bool); 4] = [
        (&[10, 11], &[12], false),
        (&[10, 11, 12], &[13], true),
        (&[10, 11, 12, 13], &[14, 15, 16], false),
        (&[10, 11, 12, 13, 14], &[15, 16, 17], true),
    ];
    for (holder, other, moved) in rows {
        let mut empty = with(0, &[]);
        empty.refused = (10..20).map(addr).collect();
        let mut both = leader(vec![(2, with(0, holder)), (3, with(0, other))]);
        assert_eq!(first(&mut both).is_some(), moved, "{holder:?} {other:?}");
        let hosts = vec![(2, with(0, holder)), (3, with(0, other)), (4, empty)];
        assert_eq!(first(&mut leader(hosts)).is_some(), moved, "{holder:?} {other:?}");
    }
}
