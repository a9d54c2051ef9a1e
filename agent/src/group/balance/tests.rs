//! Loads and addresses → moves. Marks at 80 and 50 of 100; hosts beat every 100 ms.

use super::super::control::Decision;
use super::super::control::tests::{Leader, addr, at, host, info, online};
use super::super::{AddressState, Placement, Reason};
use super::*;

const MARKS: Balance = Balance { high: 80, low: 50, scale: 100 };

pub(in super::super) fn loaded(mut info: HostInfo, load: u32) -> HostInfo {
    info.load = load;
    info
}

/// A host with these floating addresses.
pub(in super::super) fn with(load: u32, addresses: &[u8]) -> HostInfo {
    addresses.iter().fold(loaded(info(&[]), load), |info, &n| online(info, n, 1))
}

pub(in super::super) fn leader(hosts: Vec<(u8, HostInfo)>) -> Leader {
    let floating = hosts.iter().flat_map(|(_, info)| info.served.iter().map(|s| s.address));
    let mut leader = Leader::new(Vec::new());
    for address in floating {
        leader.database.claim(address, None, at(0), |_| true);
    }
    leader.balance = Some(MARKS);
    leader.hear(hosts);
    leader
}

/// Decides every 100 ms; what it decided, and when, but for orders that it gives again because
/// nobody obeys here.
pub(in super::super) fn decide(leader: &mut Leader, from: u64, until: u64) -> Vec<(u64, Decision)> {
    let mut decided = Vec::new();
    for ms in (from..=until).step_by(100) {
        for decision in leader.decide(at(ms)) {
            let before = leader.told.replace(decision);
            if before.is_none_or(|before| before.address() != decision.address()) {
                decided.push((ms, decision));
            }
        }
    }
    decided
}

/// Addresses that are to be taken over: from whom.
fn taken(decisions: &[(u64, Decision)]) -> Vec<(u64, HostId)> {
    decisions
        .iter()
        .map(|&(ms, decision)| {
            let Decision::Acquire { after: Some(from), reason: Reason::Balance, .. } = decision
            else {
                panic!("{decision:?}")
            };
            (ms, from)
        })
        .collect()
}

// Above the high mark for 3 s, and another host at or below the low one → one address is taken
// from it, for the reason balance, and given to that host although it is a hot spare itself.
#[test]
fn moves_one_address() {
    let mut leader = leader(vec![(2, with(90, &[10, 11, 12])), (3, with(50, &[]))]);
    let decisions = decide(&mut leader, 0, 3_000);
    assert_eq!(taken(&decisions), [(3_000, host(2))]);
    let Some(&(_, Decision::Acquire { address, .. })) = decisions.first() else { panic!() };
    let rest: Vec<u8> = (10..13).filter(|&n| addr(n) != address).collect();
    leader.hear(vec![(2, with(0, &rest)), (3, with(50, &[]))]);
    let acquires: Vec<_> = leader.orders(at(3_100));
    assert_eq!(acquires, [(true, 3, Reason::Balance)], "though host 2 is idle by now");
}

// holder's load, other's load → moved or not: above the high mark, at or below the low one.
#[test]
fn marks() {
    for (holder, other, moved) in
        [(81, 50, true), (80, 50, false), (81, 51, false), (81, 0, true), (0, 0, false)]
    {
        let hosts = vec![(2, with(holder, &[10, 11, 12])), (3, with(other, &[]))];
        let decisions = decide(&mut leader(hosts), 0, 5_000);
        assert_eq!(!decisions.is_empty(), moved, "{holder} {other}");
    }
}

// No marks → nothing, whatever the load.
#[test]
fn off_unless_asked_for() {
    let mut leader = leader(vec![(2, with(500, &[10, 11, 12])), (3, with(0, &[]))]);
    leader.balance = None;
    assert_eq!(decide(&mut leader, 0, 60_000), []);
}

// Below the high mark for an instant → the time starts anew.
#[test]
fn without_a_break() {
    let busy = || vec![(2, with(90, &[10, 11, 12])), (3, with(0, &[]))];
    let mut leader = leader(busy());
    assert_eq!(decide(&mut leader, 0, 2_900), []);
    leader.hear(vec![(2, with(80, &[10, 11, 12])), (3, with(0, &[]))]);
    assert_eq!(decide(&mut leader, 3_000, 3_000), []);
    leader.hear(busy());
    assert_eq!(decide(&mut leader, 3_100, 6_000), []);
    assert_eq!(decide(&mut leader, 6_100, 6_100).len(), 1);
}

// A capacity of 0 → full, and has no room.
#[test]
fn capacity_of_nothing() {
    let mut broken = with(0, &[10]);
    broken.capacity = 0;
    let decisions = decide(&mut leader(vec![(2, broken.clone()), (3, with(0, &[]))]), 0, 3_000);
    assert_eq!(decisions.len(), 1);
    let hosts = vec![(2, with(90, &[11, 12, 13])), (3, broken)];
    assert_eq!(decide(&mut leader(hosts), 0, 60_000), []);
}

// Preferred by its holder → stays. Orphaned, or its preferred host calls it its own no more → goes.
#[test]
fn only_what_is_not_at_home() {
    let own = |load| online(online(loaded(info(&[10, 11]), load), 10, 1), 11, 1);
    assert_eq!(decide(&mut leader(vec![(2, own(90)), (3, with(0, &[]))]), 0, 60_000), []);
    let mut orphans = leader(vec![(4, info(&[10, 11])), (3, with(0, &[]))]);
    let mut away = info(&[10, 11]);
    away.ok = false;
    orphans.hear(vec![(2, with(90, &[10, 11])), (3, with(0, &[])), (4, away)]);
    assert_eq!(decide(&mut orphans, 0, 3_000).len(), 1);
    let mut disowned = leader(vec![(2, own(90)), (3, with(0, &[]))]);
    disowned.hear(vec![(2, with(90, &[10, 11])), (3, with(0, &[]))]);
    assert_eq!(decide(&mut disowned, 0, 3_000).len(), 1);
}

// The other host is quiesced, not OK, refuses → not moved. A host with addresses of its own takes
// it where no spare has room; a spare comes first.
#[test]
fn who_takes_it() {
    type Change = fn(&mut HostInfo);
    let changes: [Change; 3] =
        [|i| i.quiesced = true, |i| i.ok = false, |i| i.refused = (10..13).map(addr).collect()];
    for change in changes {
        let mut other = with(0, &[]);
        change(&mut other);
        let hosts = vec![(2, with(90, &[10, 11, 12])), (3, other)];
        assert_eq!(decide(&mut leader(hosts), 0, 60_000), []);
    }
    for (spare, taker) in [(50, 3), (51, 4)] {
        let mut hosts = vec![(2, with(90, &[10, 11, 12])), (3, with(spare, &[]))];
        hosts.push((4, online(loaded(info(&[9]), 0), 9, 1)));
        let mut leader = leader(hosts);
        leader.decide(at(0));
        leader.decide(at(3_000));
        let mut relieved = leader.hosts.clone();
        relieved[0].1 = with(60, &[]);
        leader.hear(relieved);
        assert!(leader.orders(at(3_100)).contains(&(true, taker, Reason::Balance)), "{spare}");
    }
}

// One average address would lift the other host above the high mark → stays: the trouble would
// move with it.
#[test]
fn does_not_move_the_trouble() {
    let alone = vec![(2, with(90, &[10])), (3, with(0, &[]))];
    assert_eq!(decide(&mut leader(alone), 0, 60_000), []);
    let mut large = with(0, &[]);
    large.capacity = 1_000;
    assert_eq!(decide(&mut leader(vec![(2, with(90, &[10])), (3, large)]), 0, 3_000).len(), 1);
}

// Still above after a move → the next address after the cooldown, never the same one again before
// it has rested.
#[test]
fn one_at_a_time() {
    // Measurements do not change, and no order is obeyed: the leader sees the same for ever.
    let mut leader = leader(vec![(2, with(90, &[10, 11])), (3, with(0, &[]))]);
    let decisions = decide(&mut leader, 0, 303_000);
    let times: Vec<u64> = taken(&decisions).iter().map(|r| r.0).collect();
    // The order is given five times, and the cooldown counts from the last.
    assert_eq!(times, [3_000, 13_400, 303_000]);
    let address = |i: usize| {
        let Decision::Acquire { address, .. } = decisions[i].1 else { panic!("{decisions:?}") };
        address
    };
    assert_ne!(address(0), address(1));
    assert_eq!(address(0), address(2));
}

// Some other address is on its way → nothing is added; after a move the cooldown counts from when
// all have arrived.
#[test]
fn nothing_else_is_under_way() {
    let mut busy = with(0, &[]);
    busy.served.push(super::super::Served {
        address: addr(19),
        state: AddressState::Acquiring,
        epoch: 1,
    });
    let hosts = |other: &HostInfo| vec![(2, with(90, &[10, 11, 12])), (3, other.clone())];
    let mut leader = leader(hosts(&busy));
    assert_eq!(decide(&mut leader, 0, 10_000), []);
    leader.hear(hosts(&with(0, &[19])));
    assert_eq!(decide(&mut leader, 10_100, 10_100).len(), 1);
    leader.hear(hosts(&busy));
    assert_eq!(decide(&mut leader, 10_200, 15_000), []);
    leader.hear(hosts(&with(0, &[19])));
    assert_eq!(decide(&mut leader, 15_100, 24_900), []);
    assert_eq!(decide(&mut leader, 25_000, 25_000).len(), 1);
}

// Two hosts are too busy → the busier one first, however low its id.
#[test]
fn busiest_first() {
    for (a, b, first) in [(90, 95, 3), (95, 90, 2), (90, 90, 2)] {
        let hosts = vec![(2, with(a, &[10, 11])), (3, with(b, &[12, 13])), (4, with(0, &[]))];
        let mut leader = leader(hosts);
        leader.placement = Placement::Random;
        assert_eq!(taken(&decide(&mut leader, 0, 3_000)), [(3_000, host(first))]);
    }
}

// The holder does not follow this leader → it would not obey, and is not asked.
#[test]
fn holder_follows() {
    let mut leader = leader(vec![(2, with(90, &[10, 11])), (3, with(0, &[]))]);
    leader.follows = |n| n != 2;
    assert_eq!(decide(&mut leader, 0, 60_000), []);
}

// Slow heartbeats → above the high mark for ten of them, not for three seconds only.
#[test]
fn ten_heartbeats() {
    let mut leader = leader(vec![(2, with(90, &[10, 11, 12])), (3, with(0, &[]))]);
    leader.heartbeat = Duration::from_secs(1);
    assert_eq!(taken(&decide(&mut leader, 0, 11_000)), [(10_000, host(2))]);
}
