//! A host's part in hand-overs.

use super::*;

// Told to take an address over after host 2 → taken only while that is seen to serve it; opened once
// it lists it no more, not while it is only silent.
#[test]
fn takes_over_on_positive_knowledge() {
    let opened = |a: &Action| matches!(a, Action::Open { .. });
    let order = |bench: &mut Bench| {
        let (address, reason) = (addr(9), Reason::Failback);
        let entry = OrderEntry { address, epoch: 4, reason, other: Some(host(2)) };
        bench.hear(1, Body::Acquire(Order { to: host(5), entries: vec![entry] }))
    };
    let mut unseen = Bench::member(settings(), true);
    order(&mut unseen);
    assert!(!unseen.serves(9), "host 2 is not in sight");
    unseen.hear(2, Body::Info(Box::new(leader_info())));
    order(&mut unseen);
    assert!(!unseen.serves(9), "nor does it serve it, as far as is known");

    let mut bench = Bench::member(settings(), true);
    bench.hear(2, listing(Phase::Joining, AddressState::Online, 3));
    let actions = order(&mut bench);
    assert!(bench.serves(9) && !actions.iter().any(opened));
    assert_eq!(bench.group.own_info(at(bench.now)).served[0].state, AddressState::Prepared);
    let mut silent = bench;
    silent.pass(T + H, true);
    assert!(!silent.serves(9), "whoever has it is for the leader to find out");

    let mut bench = Bench::member(settings(), true);
    bench.hear(2, listing(Phase::Joining, AddressState::Online, 3));
    order(&mut bench);
    let actions = bench.hear(2, Body::Info(Box::new(leader_info())));
    assert!(actions.iter().any(opened));
}

// Another host is prepared to take an address over → kept until the leader says so.
#[test]
fn keeps_what_another_prepares_for() {
    for state in [AddressState::Preparing, AddressState::Prepared] {
        let mut bench = Bench::member(settings(), true);
        bench.order(1, true, 5, (9, 4));
        bench.hear(1, listing(Phase::Member, state, 5));
        assert!(bench.serves(9), "{state:?}");
    }
}

// SIGTERM beside another host that can take over → kept until that is prepared, or two timeouts.
#[test]
fn shutdown_waits_for_a_taker() {
    let stopped = |a: &Action| matches!(a, Action::Stopped);
    let mut bench = Bench::member(settings(), true);
    bench.order(1, true, 5, (9, 4));
    assert!(!bench.give(Event::Shutdown).iter().any(stopped));
    bench.pass(2 * T - 2, true);
    assert!(bench.serves(9));
    bench.pass(H, true);
    assert!(!bench.serves(9), "nobody takes over");
}
