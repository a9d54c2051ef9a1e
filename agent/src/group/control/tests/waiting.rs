//! Orders that are still on their way, addresses that wait, and what is asked meanwhile.

use super::super::super::phases::{ChangePhase, Phases};
use super::*;

/// An order for an address went to a host.
fn ordered(leader: &mut Leader, n: u8, to: u8, acquire: bool) {
    let (to, given) = (host(to), at(0));
    let pending = Pending { to, to_boot: 1, message: (7, 50), given, acquire };
    leader.control.sent(addr(n), pending);
}

// A host was told to acquire an address, which it does not list yet → it counts as having it; one
// that was told to release does not.
#[test]
fn what_was_promised_counts() {
    for (told, taker) in [(3, 4), (4, 3)] {
        for n in 10..20 {
            let mut leader =
                Leader::new(vec![(3, info(&[])), (4, info(&[]))]).floating(9).floating(n);
            ordered(&mut leader, 9, told, true);
            assert_eq!(leader.orders(at(0)), [(ACQUIRE, taker, Reason::Unserved)], "{n}");
        }
    }
    // Host 5 serves what host 3 is to take over.
    for n in 10..20 {
        let hosts =
            vec![(3, info(&[])), (4, info(&[])), (5, online(online(info(&[8]), 8, 1), 9, 1))];
        let mut leader = Leader::new(hosts).floating(9).floating(n);
        ordered(&mut leader, 9, 3, true);
        assert_eq!(leader.orders(at(0)), [(ACQUIRE, 4, Reason::Unserved)], "{n}");
    }
    let hosts = vec![(3, info(&[])), (4, info(&[]))];
    let released_by = |told| {
        let mut leader = Leader::new(hosts.clone()).floating(9).floating(10);
        ordered(&mut leader, 9, told, false);
        leader.orders(at(0))
    };
    assert_eq!(released_by(3), released_by(4), "a release promises nothing");
}

// A host has an order that it has not acknowledged → it is awaited; no other is.
#[test]
fn who_is_awaited() {
    let mut leader = Leader::new(vec![(3, info(&[])), (4, info(&[]))]).floating(9);
    assert!(!leader.control.awaits(host(3)));
    ordered(&mut leader, 9, 3, true);
    assert!(leader.control.awaits(host(3)) && !leader.control.awaits(host(4)));
}

// Served until 5 s, or never → for how long nobody has had it, as the order says.
#[test]
fn how_long_nobody_had_it() {
    let hosts = |serves: bool| {
        let serving = online(info(&[]), 9, 1);
        vec![(3, if serves { serving } else { info(&[]) })]
    };
    for (serves, decision) in [(true, 0), (false, 5_000)] {
        let mut leader = Leader::new(hosts(serves)).floating(9);
        if !serves {
            leader.follows = |_| false;
        }
        leader.decide(at(0));
        leader.hear(hosts(false));
        leader.decide(at(5_000));
        let phases = leader.control.unserved.phases(at(5_000), addr(9), None);
        let span = Duration::from_millis(decision);
        assert_eq!(phases, Phases::from([(ChangePhase::Decision, span)]));
    }
}

// An operator wants address 9 on host 2, and an order about it is on its way: to whom, to acquire or
// to release → at it already, or not now.
#[test]
fn asked_while_an_order_is_under_way() {
    for (to, acquire, answer) in [
        (2, true, Ok(())),
        (4, true, Err(MoveRefusal::Moving)),
        (3, false, Err(MoveRefusal::Moving)),
        (2, false, Err(MoveRefusal::Moving)),
    ] {
        let hosts = vec![(2, info(&[])), (3, online(info(&[]), 9, 4)), (4, info(&[]))];
        let mut leader = Leader::new(hosts).floating(9);
        ordered(&mut leader, 9, to, acquire);
        let said = leader.asked(9, 2).map(|decision| assert_eq!(decision, None));
        assert_eq!(said, answer, "{to} {acquire}");
    }
}

// The holder does not follow, or something was decided about the address in this turn → not now.
// About another address → nothing hinders it.
#[test]
fn asked_while_something_was_decided() {
    let leader = || {
        let hosts = vec![(2, info(&[])), (3, online(info(&[]), 9, 4))];
        Leader::new(hosts).floating(9)
    };
    let mut elsewhere = leader();
    elsewhere.follows = |n| n != 3;
    assert_eq!(elsewhere.asked(9, 2), Err(MoveRefusal::Moving));
    let request = MoveRequest { leader: host(1), address: addr(9), to: host(2) };
    for (n, moves) in [(9, false), (8, true)] {
        let mut leader = leader();
        let mut control = std::mem::take(&mut leader.control);
        let decided = [Decision::CannotAssign(addr(n))];
        let answer = control.operator(&leader.situation(at(0)), &request, &decided);
        assert_eq!(answer.is_ok(), moves, "{n}");
    }
}
