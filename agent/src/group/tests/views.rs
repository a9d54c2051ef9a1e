//! What a group looks like from one of its hosts.

use super::*;
use AddressState::{Acquiring, Online, Prepared, Preparing, Releasing};

/// The host lists address 9, or nothing.
fn lists(state: Option<AddressState>) -> Body {
    let mut info = leader_info();
    info.host.served =
        state.into_iter().map(|state| Served { address: addr(9), state, epoch: 3 }).collect();
    Body::Info(Box::new(info))
}

fn address(bench: &Bench, n: u8) -> AddressView {
    let view = bench.group.view(at(bench.now));
    view.addresses.into_iter().find(|view| view.address == addr(n)).unwrap()
}

// What hosts 2 and 3 say of an address → who has it, and how: whoever only prepares to take it over
// does not, as long as another serves it.
#[test]
fn who_has_an_address() {
    for (second, third, holders, state) in [
        (None, None, vec![], ListedState::Unserved),
        (Some(Online), None, vec![2], ListedState::Online),
        (Some(Online), Some(Preparing), vec![2], ListedState::Online),
        (Some(Releasing), Some(Prepared), vec![2], ListedState::Releasing),
        (Some(Online), Some(Acquiring), vec![2, 3], ListedState::Duplicate),
        (None, Some(Prepared), vec![3], ListedState::Acquiring),
    ] {
        let mut bench = Bench::member(settings(), true);
        bench.hear(2, lists(second));
        bench.hear(3, lists(third));
        let seen = address(&bench, 9);
        assert_eq!(seen.holders, holders.into_iter().map(host).collect::<Vec<_>>());
        assert_eq!(seen.state, state, "{second:?} {third:?}");
    }
}

// An address is held by its own host, by another, or floats → for how long its own host was not
// seen, where that does not have it.
#[test]
fn orphaned() {
    let mut bench = Bench::member(settings(), true);
    let mut info = leader_info();
    info.host.preferred = vec![addr(7)];
    bench.hear(2, Body::Info(Box::new(info.clone())));
    info.host.served = vec![Served { address: addr(7), state: Online, epoch: 3 }];
    bench.hear(2, Body::Info(Box::new(info.clone())));
    bench.give(Event::Tick);
    assert_eq!(address(&bench, 7).orphaned, None);
    bench.pass(T, true);
    info.host.preferred.clear();
    bench.hear(3, Body::Info(Box::new(info)));
    let away = address(&bench, 7);
    assert_eq!((away.preferred, away.holders), (Some(host(2)), vec![host(3)]));
    assert!(away.orphaned >= Some(Duration::from_millis(T)), "{:?}", away.orphaned);
    let mut floats = Bench::member(settings(), true);
    floats.hear(3, lists(Some(Online)));
    assert_eq!(address(&floats, 9).orphaned, None);
}

// Which addresses there are, and which of them this host has, though it be in taking one away.
#[test]
fn addresses() {
    let mut bench = Bench::member(settings(), true);
    bench.order(1, true, 5, (9, 4));
    assert_eq!(bench.group.addresses(), [addr(5), addr(9)]);
    assert!(bench.group.has(addr(9)) && !bench.group.has(addr(5)));
    let now = at(bench.now);
    bench.group.handle(now, Event::Health { ok: false, detail: String::new() });
    assert!(bench.group.has(addr(9)) && !bench.serves(9));
    let result = Ok(());
    bench.group.handle(now, Event::Deconfigured { address: addr(9), epoch: 4, result });
    assert!(!bench.group.has(addr(9)));
}

// Nobody can take an address → the leader says so.
#[test]
fn unassignable() {
    let mut bench = Bench::member(settings(), false);
    assert!(!address(&bench, 5).unassignable);
    bench.give(Event::Health { ok: false, detail: String::new() });
    assert!(address(&bench, 5).unassignable);
}
