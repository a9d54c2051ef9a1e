//! Several hosts list an address: which of them yields, and what follows when it is over.

use super::*;
use AddressState::{Acquiring, Online, Prepared, Preparing, Releasing};

const NOTHING: [IpAddr; 0] = [];

/// The host lists address 9, or nothing.
fn lists(state: Option<(AddressState, u64)>) -> Body {
    let mut info = leader_info();
    let served = state.map(|(state, epoch)| Served { address: addr(9), state, epoch });
    info.host.served = served.into_iter().collect();
    Body::Info(Box::new(info))
}

/// What is announced at the next ticks.
fn announced(bench: &mut Bench) -> Vec<IpAddr> {
    let actions = bench.give(Event::Tick);
    let announced = actions.into_iter().filter_map(|action| match action {
        Action::Announce(addresses) => Some(addresses),
        _ => None,
    });
    announced.flatten().collect()
}

/// Serves 8 and 9, both announced for the last time; hosts 2 and 3 are in sight.
fn calm() -> Bench {
    let mut bench = Bench::member(settings(), true);
    bench.order(1, true, 5, (8, 4));
    bench.order(1, true, 5, (9, 4));
    for _ in 0..400 {
        bench.hear(2, lists(None));
        bench.hear(3, lists(None));
        bench.pass(H, true);
    }
    assert!(bench.serves(8) && bench.serves(9));
    assert_eq!(announced(&mut bench), NOTHING);
    bench
}

// Another host lists one of two addresses under a lower epoch, and ceases to, or is gone → that
// address is announced again; not before, and not while it lists it still.
#[test]
fn announced_again_when_it_is_over() {
    let lower = lists(Some((Online, 3)));
    let mut bench = calm();
    bench.hear(2, lower.clone());
    assert_eq!(announced(&mut bench), NOTHING);
    bench.hear(2, lists(Some((Releasing, 3))));
    bench.hear(3, lower.clone());
    assert_eq!(announced(&mut bench), NOTHING);
    bench.hear(2, lists(None));
    assert_eq!(announced(&mut bench), [addr(9)]);
    assert_eq!(announced(&mut bench), NOTHING);

    let mut bench = calm();
    bench.hear(3, lower.clone());
    assert_eq!(announced(&mut bench), NOTHING);
    bench.hear(3, lists(None));
    assert_eq!(announced(&mut bench), [addr(9)]);

    let mut bench = calm();
    bench.hear(2, lower);
    let (begun, mut again) = (bench.now, Vec::new());
    while again.is_empty() && bench.now < begun + 2 * T {
        bench.now += 1;
        if bench.now.is_multiple_of(H / 2) {
            bench.acknowledge(1, leader_info());
            bench.hear(3, lists(None));
        }
        again = announced(&mut bench);
    }
    assert!(bench.now >= begun + T, "{}", bench.now - begun);
    assert_eq!(again, [addr(9)]);
}

// A host is heard again after it was silent → everything is announced again: the other side of a
// partition may have answered. One that is new → nothing.
#[test]
fn announced_again_when_a_host_returns() {
    let mut bench = calm();
    bench.hear(7, lists(None));
    assert_eq!(announced(&mut bench), NOTHING);
    bench.pass(T + H, true);
    bench.hear(7, lists(None));
    assert_eq!(announced(&mut bench), [addr(8), addr(9)]);
}

// What another host lists is compared when it changes, though it was compared already; and when what
// is listed here changes, though it does not there.
#[test]
fn compared_when_either_changes() {
    let mut bench = Bench::member(settings(), true);
    bench.order(1, true, 5, (9, 4));
    bench.hear(2, lists(None));
    bench.hear(2, lists(None));
    bench.hear(2, lists(Some((Online, 5))));
    assert!(!bench.serves(9));
    let mut bench = Bench::member(settings(), true);
    bench.hear(2, lists(Some((Online, 3))));
    bench.hear(2, lists(Some((Online, 3))));
    bench.order(1, true, 5, (9, 4));
    bench.hear(2, lists(Some((Online, 3))));
    assert_eq!(bench.group.contested, BTreeSet::from([(host(2), addr(9))]));
}

// Prepared to take an address over from host 2, under epoch 4: what that host lists, or host 3 →
// kept or given up.
#[test]
fn a_hand_over_that_is_crossed() {
    for (from, state, epoch, kept) in [
        (2, Online, 3, true),
        (2, Releasing, 3, true),
        (2, Online, 4, false),
        (2, Online, 5, false),
        (3, Online, 3, false),
        (3, Acquiring, 3, false),
        (3, Releasing, 3, false),
        (3, Preparing, 3, true),
        (3, Prepared, 5, false),
    ] {
        let mut bench = Bench::member(settings(), true);
        bench.hear(2, lists(Some((Online, 3))));
        bench.hear(3, lists(None));
        let (address, reason, other) = (addr(9), Reason::Failback, Some(host(2)));
        let entry = OrderEntry { address, epoch: 4, reason, other };
        bench.hear(1, Body::Acquire(Order { to: host(5), entries: vec![entry] }));
        assert!(bench.serves(9));
        bench.hear(from, lists(Some((state, epoch))));
        assert_eq!(bench.serves(9), kept, "{from} {state:?} {epoch}");
    }
}

// A host that is not in sight says a part of its lists, with this state and epoch → an address that
// it serves later than this host is given up at once, without the rest; a hand-over, one that it
// lets go of, and one under the same epoch wait for the whole.
#[test]
fn yields_to_a_part() {
    for (state, epoch, stays) in [
        (Online, 5, false),
        (Acquiring, 5, false),
        (Online, 4, true),
        (Online, 3, true),
        (Releasing, 5, true),
        (Prepared, 5, true),
        (Preparing, 5, true),
    ] {
        let mut bench = calm();
        let listed = |n, served| Listed {
            address: addr(n),
            preferred: false,
            refused: false,
            served: Some(served),
        };
        let entries = vec![listed(7, (Online, 9)), listed(9, (state, epoch))];
        let slice = Slice { bits: 0, index: 0 };
        let actions = bench.hear(4, Body::Part(Part::Lists(slice, entries)));
        assert_eq!((bench.serves(8), bench.serves(9)), (true, stays), "{state:?} {epoch}");
        let fenced = position(&actions, |a| *a == Action::Fence(vec![addr(9)]));
        let told = position(&actions, |a| matches!(a, Action::Heartbeat { .. }));
        assert_eq!((fenced.is_some(), told.is_some()), (!stays, !stays));
        assert!(stays || fenced < told, "withdrawn before it is conceded");
    }
}
