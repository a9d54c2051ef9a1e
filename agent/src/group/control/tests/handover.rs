//! Who lists an address, and how → what the leader has them do about a hand-over.

use super::*;

// A host is to take an address over → its holder is told to let go in favour of it once it is
// prepared; the taker waits too long, or two take it over → one is told to give it up. The holder is
// about to end → another takes it over.
#[test]
fn hand_over() {
    use AddressState::{Online, Prepared, Preparing, Releasing};
    let release = |to, epoch, reason, heir: Option<u8>| {
        let (address, heir) = (addr(9), heir.map(host));
        Decision::Release { address, to: host(to), epoch, reason, heir }
    };
    let with = |states: &[(u8, AddressState, u64)]| {
        let hosts = states.iter().map(|&(n, s, epoch)| (n, serving(info(&[]), 9, s, epoch)));
        Leader::new(hosts.collect()).floating(9)
    };
    let let_go = release(3, 4, Reason::Superseded, Some(2));
    for (states, expected) in [
        (vec![(2, Preparing, 5), (3, Online, 4)], vec![]),
        (vec![(2, Prepared, 5), (3, Online, 4)], vec![let_go]),
        (vec![(2, Prepared, 5), (3, Releasing, 4)], vec![]),
        (vec![(2, Prepared, 5)], vec![]),
        (vec![(2, Prepared, 4), (3, Online, 4)], vec![]),
        (
            vec![(2, Prepared, 5), (3, Online, 4), (4, Preparing, 4)],
            vec![release(4, 4, Reason::Duplicate, None), let_go],
        ),
        (
            vec![(2, Preparing, 5), (3, Online, 4), (4, Online, 3)],
            vec![release(4, 3, Reason::Duplicate, None)],
        ),
    ] {
        assert_eq!(with(&states).decide(at(0)), expected, "{states:?}");
    }
    let mut stuck = with(&[(2, Preparing, 5), (3, Online, 4)]);
    assert_eq!(stuck.decide(at(0)), []);
    let late = u64::try_from(STUCK.as_millis()).unwrap();
    assert_eq!(stuck.decide(at(late)), [release(2, 5, Reason::Stuck, None)]);

    let mut last = online(info(&[]), 9, 4);
    last.phase = Phase::Leaving;
    let mut left = Leader::new(vec![(2, info(&[])), (3, last.clone())]).floating(9);
    assert_eq!(left.orders(at(0)), [(ACQUIRE, 2, Reason::Shutdown)]);
    let mut alone = Leader::new(vec![(3, last)]).floating(9);
    assert_eq!(alone.orders(at(0)), []);
}

// Its preferred host is to have it back, and does not take it → told three times, then its holder is
// told to release it. It is held under another number meanwhile → from the start.
#[test]
fn how_often_it_is_tried() {
    let mut leader = Leader::new(Vec::new());
    let hosts = |epoch| vec![(2, info(&[9])), (3, online(info(&[]), 9, epoch))];
    for (epoch, order) in [
        (4, (ACQUIRE, 2)),
        (4, (ACQUIRE, 2)),
        (5, (ACQUIRE, 2)),
        (5, (ACQUIRE, 2)),
        (5, (ACQUIRE, 2)),
        (5, (RELEASE, 3)),
    ] {
        leader.hear(hosts(epoch));
        let orders = leader.orders(at(0));
        assert_eq!(orders, [(order.0, order.1, Reason::Failback)], "{epoch}");
    }
}

// A host is prepared to take an address over, as this leader wanted it, or another → the holder is
// told why.
#[test]
fn why_it_goes_over() {
    let hosts = |state| {
        let preferred = serving(info(&[9]), 9, state, 5);
        vec![(2, preferred), (3, online(info(&[]), 9, 4)), (4, info(&[]))]
    };
    let mut leader = Leader::new(vec![(2, info(&[9])), (3, online(info(&[]), 9, 4))]);
    assert_eq!(leader.orders(at(0)), [(ACQUIRE, 2, Reason::Failback)]);
    leader.hear(hosts(AddressState::Prepared));
    assert_eq!(leader.orders(at(1)), [(RELEASE, 3, Reason::Failback)]);
    let mut another = Leader::new(hosts(AddressState::Prepared));
    assert_eq!(another.orders(at(1)), [(RELEASE, 3, Reason::Superseded)]);
    let mut other_heir = Leader::new(vec![(2, info(&[9])), (3, online(info(&[]), 9, 4))]);
    other_heir.orders(at(0));
    let prepared = serving(info(&[]), 9, AddressState::Prepared, 5);
    other_heir.hear(vec![(2, info(&[9])), (3, online(info(&[]), 9, 4)), (4, prepared)]);
    assert_eq!(other_heir.orders(at(1)), [(RELEASE, 3, Reason::Superseded)]);
}

// The holder or the taker has no XDP program → the address is released before another acquires it.
#[test]
fn without_a_hand_over() {
    for (holder, taker) in [(true, false), (false, true), (false, false)] {
        let mut last = online(info(&[]), 9, 4);
        last.phase = Phase::Leaving;
        let mut next = info(&[]);
        for (host, can) in [(&mut last, holder), (&mut next, taker)] {
            if !can {
                host.mac = crate::group::NO_HAND_OVER;
            }
        }
        let mut leader = Leader::new(vec![(2, next), (3, last)]).floating(9);
        assert_eq!(leader.orders(at(0)), [(RELEASE, 3, Reason::Shutdown)], "{holder} {taker}");
    }
}
