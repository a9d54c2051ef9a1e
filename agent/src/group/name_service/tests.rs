//! Hosts and what was advertised → what is.

use std::time::Duration;

use rais_common::time::Time;

use super::*;
use crate::group::{HostView, ListedState, Role, Served};

const MARKS: Balance = Balance { high: 800, low: 500, scale: 1_000 };

fn address(n: u8) -> IpAddr {
    IpAddr::from([10, 77, 0, n])
}

fn id(n: u8) -> HostId {
    HostId(address(n))
}

/// Host `n` is well, and has its own address 100 + `n` online.
fn host(n: u8, load: u32, capacity: u32) -> HostView {
    let served = vec![Served { address: address(100 + n), state: AddressState::Online, epoch: 1 }];
    HostView {
        id: id(n),
        info: HostInfo {
            control_addresses: vec![address(n)],
            mac: [2; 6],
            ok: true,
            quiesced: false,
            phase: Phase::Member,
            leader: Some(id(1)),
            load,
            capacity,
            preferred: vec![address(100 + n)],
            served,
            refused: Vec::new(),
        },
        age: Duration::ZERO,
    }
}

/// These hosts; their preferred addresses, those in `gone`, and floating ones.
fn view(hosts: Vec<HostView>, gone: &[u8], floating: &[u8]) -> View {
    let of = |address, preferred| AddressView {
        address,
        preferred,
        holders: Vec::new(),
        state: ListedState::Unserved,
        epoch: 1,
        orphaned: None,
        unassignable: false,
    };
    let own = hosts.iter().flat_map(|h| h.info.preferred.iter().map(|a| of(*a, Some(h.id))));
    let gone = gone.iter().map(|n| of(address(100 + n), Some(id(*n))));
    let floating = floating.iter().map(|n| of(address(*n), None));
    let mut addresses: Vec<_> = own.chain(gone).chain(floating).collect();
    addresses.sort_by_key(|a| a.address);
    View {
        host: id(1),
        leader: Some(id(1)),
        role: Role::Member,
        phase: Phase::Member,
        ok: true,
        health: String::new(),
        quiesced: false,
        quorum_met: true,
        lease_until: Time::ZERO,
        hosts,
        addresses,
    }
}

/// Last numbers of what is advertised, and of what is not with the word for it.
fn chosen(
    marks: Option<Balance>,
    minimum: usize,
    view: &View,
    last: &[u8],
) -> (Vec<u8>, Vec<(u8, &'static str)>) {
    let last = last.iter().map(|n| address(*n)).collect();
    let listing = Advertising { marks, minimum }.choose(view, &last);
    let number = |address: &IpAddr| match address {
        IpAddr::V4(v4) => v4.octets()[3],
        IpAddr::V6(v6) => panic!("{v6}"),
    };
    (
        listing.advertised.keys().map(number).collect(),
        listing.withheld.iter().map(|(a, why)| (number(a), why.word())).collect(),
    )
}

/// What is advertised of hosts 1, 2, … with these loads of 1,000.
fn loads(minimum: usize, loads: &[u32], last: &[u8]) -> Vec<u8> {
    let hosts = (1..).zip(loads).map(|(n, load)| host(n, *load, 1_000)).collect();
    chosen(Some(MARKS), minimum, &view(hosts, &[], &[]), last).0
}

// Load of the only busy host, and whether it was advertised → whether it is.
#[test]
fn a_host_leaves_above_the_high_mark_and_returns_at_the_low_one() {
    for (load, was, is) in [
        (0, false, true),
        (499, false, true),
        (500, false, true),
        (501, false, false),
        (800, false, false),
        (801, false, false),
        (0, true, true),
        (500, true, true),
        (501, true, true),
        (800, true, true),
        (801, true, false),
        (u32::MAX, true, false),
    ] {
        let last: &[u8] = if was { &[101, 102] } else { &[101] };
        let wanted: &[u8] = if is { &[101, 102] } else { &[101] };
        assert_eq!(loads(1, &[100, load], last), wanted, "{load}, advertised before: {was}");
    }
}

#[test]
fn a_host_leaves_and_returns_over_time() {
    let mut last = vec![101, 102];
    let mut seen = Vec::new();
    for load in [700, 800, 801, 750, 501, 500, 650, 800, 900] {
        last = loads(1, &[100, load], &last);
        seen.push(last.contains(&102));
    }
    assert_eq!(seen, [true, true, false, false, false, true, true, true, false]);
}

// Minimum, loads, advertised before → advertised: the least busy stay, whatever they weigh.
#[test]
fn the_least_busy_stay() {
    for (minimum, given, last, wanted) in [
        (0, &[900, 901][..], &[101, 102][..], &[][..]),
        (1, &[900], &[101], &[101]),
        (1, &[900], &[], &[101]),
        (1, &[901, 900, 902], &[101, 102, 103], &[102]),
        (2, &[901, 900, 902], &[101, 102, 103], &[101, 102]),
        (3, &[901, 900, 902], &[], &[101, 102, 103]),
        (9, &[901, 900, 902], &[], &[101, 102, 103]),
        // Those below the mark stay beside the minimum.
        (1, &[400, 300, 902], &[], &[101, 102]),
        (2, &[100, 700, 850], &[101], &[101, 102]),
        // Between the marks, one that was advertised weighs less than one that was not, though it
        // is busier: 790 against 600 + 300.
        (1, &[790, 600], &[101], &[101]),
        (1, &[790, 600], &[102], &[102]),
        (1, &[790, 600], &[], &[102]),
        // One that was advertised and is above the mark weighs as much as one that was not.
        (1, &[801, 800], &[101], &[102]),
    ] {
        assert_eq!(loads(minimum, given, last), wanted, "{minimum} {given:?} {last:?}");
    }
}

#[test]
fn ties_are_settled_by_address() {
    assert_eq!(loads(1, &[900, 900, 900], &[103]), [101]);
    assert_eq!(loads(2, &[900, 900, 900], &[103]), [101, 102]);
    // 600 + 300 and 900 that was let in: equal weights too.
    let wide = Balance { high: 900, low: 600, ..MARKS };
    let hosts = vec![host(1, 900, 1_000), host(2, 601, 1_000)];
    assert_eq!(chosen(Some(wide), 1, &view(hosts, &[], &[]), &[101]).0, [101]);
}

// Load and capacity of a second host → whether it is advertised, being so already.
#[test]
fn extremes_are_counted_right() {
    for (load, capacity, marks, is) in [
        (0, 0, MARKS, false),
        (u32::MAX, 0, MARKS, false),
        (0, u32::MAX, MARKS, true),
        (u32::MAX, u32::MAX, MARKS, false),
        (u32::MAX / 2, u32::MAX, MARKS, true),
        (u32::MAX, 1, MARKS, false),
        // 2^32 - 1 squared needs 64 bits, and what is added to it must not wrap.
        (u32::MAX, 1, Balance { high: u32::MAX, low: 0, scale: u32::MAX }, false),
        (1, 1, Balance { high: u32::MAX, low: 0, scale: u32::MAX }, true),
        (0, 0, Balance { high: u32::MAX, low: 0, scale: u32::MAX }, false),
        // 3 of 2 in units of 1 is 1.5, rounded down.
        (3, 2, Balance { high: 1, low: 0, scale: 1 }, true),
        (4, 2, Balance { high: 1, low: 0, scale: 1 }, false),
    ] {
        let hosts = vec![host(1, 0, 1), host(2, load, capacity)];
        let listed = chosen(Some(marks), 1, &view(hosts, &[], &[]), &[101, 102]);
        assert_eq!(listed.0.contains(&102), is, "{load}/{capacity} {marks:?}");
        assert_eq!(listed.1, if is { vec![] } else { vec![(102, "busy")] });
    }
    // Without capacity, and yet the only one.
    assert_eq!(chosen(Some(MARKS), 1, &view(vec![host(1, 7, 0)], &[], &[]), &[]).0, [101]);
}

#[test]
fn the_marks_are_as_far_apart_as_they_say() {
    // 501 between marks is raised by δ = 300 and stays above 800 only then.
    assert_eq!(weight(501, MARKS, false), 801);
    assert_eq!(weight(500, MARKS, false), 500);
    assert_eq!(weight(800, MARKS, true), 800);
    assert_eq!(weight(801, MARKS, true), 1_101);
    assert_eq!(weight(u64::MAX, MARKS, true), u64::MAX);
}

// What is the matter with host 2 → why its address is withheld.
#[test]
fn quiesced_failed_and_leaving_hosts_are_out_at_once() {
    type Change = fn(&mut HostInfo);
    let changes: [(Change, &str); 6] = [
        (|info| info.quiesced = true, "quiesced"),
        (|info| info.ok = false, "failing"),
        (|info| info.phase = Phase::Leaving, "failing"),
        (|info| info.served.clear(), "not-online"),
        (|info| info.served[0].state = AddressState::Acquiring, "not-online"),
        (|info| info.served[0].state = AddressState::Releasing, "not-online"),
    ];
    for (change, word) in changes {
        for marks in [None, Some(MARKS)] {
            let mut second = host(2, 0, 1);
            change(&mut second.info);
            // Nor does the minimum keep it.
            let listed =
                chosen(marks, 9, &view(vec![host(1, 0, 1), second], &[], &[]), &[101, 102]);
            assert_eq!(listed, (vec![101], vec![(102, word)]));
        }
    }
}

#[test]
fn a_dead_host_is_out_and_its_address_never_advertised_elsewhere() {
    let mut first = host(1, 0, 1);
    let listed = chosen(Some(MARKS), 9, &view(vec![first.clone()], &[2], &[]), &[101, 102]);
    assert_eq!(listed, (vec![101], vec![(102, "not-online")]));
    let taken = Served { address: address(102), state: AddressState::Online, epoch: 2 };
    first.info.served.push(taken);
    let listed = chosen(Some(MARKS), 9, &view(vec![first.clone()], &[2], &[]), &[101, 102]);
    assert_eq!(listed, (vec![101], vec![(102, "orphaned")]));
    // Its host is back and well; the address is not.
    let mut second = host(2, 0, 1);
    second.info.served.clear();
    let listed = chosen(None, 9, &view(vec![first, second], &[], &[]), &[101, 102]);
    assert_eq!(listed, (vec![101], vec![(102, "orphaned")]));
}

#[test]
fn floating_addresses_are_advertised_when_online_without_weighting() {
    let mut busy = host(1, 5_000, 1_000);
    for (n, state) in [(50, AddressState::Online), (51, AddressState::Acquiring)] {
        busy.info.served.push(Served { address: address(n), state, epoch: 1 });
    }
    busy.info.quiesced = true;
    let hosts = vec![busy, host(2, 900, 1_000), host(3, 950, 1_000)];
    // They do not count for the minimum either.
    let listed = chosen(Some(MARKS), 1, &view(hosts, &[], &[50, 51, 52]), &[]);
    let withheld = vec![(51, "not-online"), (52, "not-online"), (101, "quiesced"), (103, "busy")];
    assert_eq!(listed, (vec![50, 102], withheld));
}

#[test]
fn without_marks_load_plays_no_part() {
    let hosts = vec![host(1, u32::MAX, 1), host(2, 0, 0)];
    assert_eq!(chosen(None, 0, &view(hosts, &[], &[]), &[]).0, [101, 102]);
}

#[test]
fn a_host_with_several_addresses_advertises_all_of_them() {
    let mut two = host(1, 900, 1_000);
    let more = Served { address: address(120), state: AddressState::Online, epoch: 1 };
    two.info.served.push(more);
    two.info.preferred.push(address(120));
    let all = view(vec![two, host(2, 100, 1_000)], &[], &[]);
    assert_eq!(chosen(Some(MARKS), 1, &all, &[101, 120]).0, [102]);
    assert_eq!(chosen(Some(MARKS), 2, &all, &[101, 120]).0, [101, 102]);
    assert_eq!(chosen(None, 1, &all, &[]).0, [101, 102, 120]);
}

// The order of the hosts plays no part.
#[test]
fn hosts_that_see_the_same_choose_the_same() {
    let hosts: Vec<_> = (1..=9).map(|n| host(n, u32::from(n) * 111, 1_000)).collect();
    let last = [101, 106, 107, 109];
    let forward = chosen(Some(MARKS), 3, &view(hosts.clone(), &[], &[]), &last);
    let backward =
        chosen(Some(MARKS), 3, &view(hosts.into_iter().rev().collect(), &[], &[]), &last);
    assert_eq!(forward, backward);
    assert_eq!(forward.0, [101, 102, 103, 104, 106, 107]);
}
