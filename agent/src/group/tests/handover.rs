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

// Who serves the address, under which epoch → whether an order to take it over from host 2 under
// epoch 4 is obeyed.
#[test]
fn takes_over_from_its_holder_alone() {
    use AddressState::{Online, Preparing, Releasing};
    type Holders = &'static [(u8, AddressState, u64)];
    let rows: [(Holders, bool); 7] = [
        (&[(2, Online, 3)], true),
        (&[(2, Releasing, 3)], true),
        (&[(2, Online, 4)], false),
        (&[(2, Releasing, 4)], false),
        (&[(3, Online, 3)], false),
        (&[(2, Online, 3), (3, Online, 3)], false),
        (&[(2, Online, 3), (3, Preparing, 3)], true),
    ];
    for (holders, taken) in rows {
        let mut bench = Bench::member(settings(), true);
        for &(from, state, epoch) in holders {
            bench.hear(from, listing(Phase::Joining, state, epoch));
        }
        let entry = OrderEntry {
            address: addr(9),
            epoch: 4,
            reason: Reason::Failback,
            other: Some(host(2)),
        };
        bench.hear(1, Body::Acquire(Order { to: host(5), entries: vec![entry] }));
        assert_eq!(bench.serves(9), taken, "{holders:?}");
    }
}

// SIGTERM, and another host takes so long to be prepared, for this address or for another → kept
// for two timeouts, or for three times the limit beyond that.
#[test]
fn shutdown_waits_for_who_prepares() {
    use AddressState::{Online, Preparing};
    let limit = 3 * 1_000;
    let rows = [
        (addr(9), Preparing, 2 * T + limit),
        (addr(8), Preparing, 2 * T),
        (addr(8), Online, 2 * T),
    ];
    for (address, state, span) in rows {
        let action_limit = Duration::from_secs(1);
        let mut bench = Bench::member(Settings { action_limit, ..settings() }, true);
        bench.order(1, true, 5, (9, 4));
        bench.give(Event::Shutdown);
        let begun = bench.now;
        while bench.serves(9) && bench.now < begun + span + T {
            if bench.now.is_multiple_of(H / 2) {
                let mut info = leader_info();
                info.host.served = vec![Served { address, state, epoch: 5 }];
                bench.hear(2, Body::Info(Box::new(info)));
            }
            bench.pass(1, true);
            bench.give(Event::Tick);
        }
        assert_eq!(bench.now - begun, span, "{address} {state:?}");
    }
}

// Handed over to host 2, and another host serves the address then → what still comes goes there;
// not to one that only prepares to.
#[test]
fn what_is_sent_on_follows_the_address() {
    let mut bench = Bench::member(settings(), true);
    bench.order(1, true, 5, (9, 4));
    let serves = |from: u8, state| {
        let mut info = leader_info();
        info.host.mac = [from; 6];
        info.host.served = vec![Served { address: addr(9), state, epoch: 5 }];
        Body::Info(Box::new(info))
    };
    let forwards = |actions: &[Action]| {
        let forwards = actions.iter().filter_map(|action| match action {
            Action::Forward { to, .. } => Some(to[0]),
            _ => None,
        });
        forwards.collect::<Vec<u8>>()
    };
    bench.hear(2, serves(2, AddressState::Prepared));
    let entry =
        OrderEntry { address: addr(9), epoch: 4, reason: Reason::Failback, other: Some(host(2)) };
    let release = Body::Release(Order { to: host(5), entries: vec![entry] });
    assert_eq!(forwards(&bench.hear(1, release)), [2]);
    assert_eq!(forwards(&bench.hear(3, serves(3, AddressState::Prepared))), [0; 0]);
    assert_eq!(forwards(&bench.hear(2, serves(2, AddressState::Online))), [0; 0]);
    assert_eq!(forwards(&bench.hear(3, serves(3, AddressState::Online))), [3]);
}

// SIGTERM while an address is only prepared here → given up at once: its holder keeps it.
#[test]
fn shutdown_gives_up_what_is_not_online() {
    let mut bench = Bench::member(settings(), true);
    bench.hear(2, listing(Phase::Joining, AddressState::Online, 3));
    let entry =
        OrderEntry { address: addr(9), epoch: 4, reason: Reason::Failback, other: Some(host(2)) };
    bench.hear(1, Body::Acquire(Order { to: host(5), entries: vec![entry] }));
    bench.order(1, true, 5, (8, 4));
    assert!(bench.serves(8) && bench.serves(9));
    bench.give(Event::Shutdown);
    assert!(bench.serves(8) && !bench.serves(9));
}
