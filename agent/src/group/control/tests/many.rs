//! Thousands of addresses that want a host at once.

use super::*;

const MANY: u32 = 5_000;

fn numbered(n: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(Ipv4Addr::new(10, 80, 0, 0).to_bits() + n))
}

fn acquired(decisions: &[Decision]) -> BTreeSet<IpAddr> {
    let acquired = decisions.iter().filter(|d| matches!(d, Decision::Acquire { .. }));
    acquired.map(Decision::address).collect()
}

// Nobody holds 5,000 → in one turn 1,024 are given to a host, and it is known that there are more;
// with those served, the next turns give out the rest, each address once.
#[test]
fn so_many_go_in_one_turn() {
    let mut leader = Leader::new(vec![(2, info(&[])), (3, info(&[]))]);
    for n in 0..MANY {
        leader.database.claim(numbered(n), None, at(0), |_| true);
    }
    let mut served = info(&[]);
    for (turn, expected) in [1_024, 1_024, 1_024, 1_024, 904].into_iter().enumerate() {
        let decisions = if turn == 0 { leader.decide(at(0)) } else { leader.go_on() };
        let given = acquired(&decisions);
        assert_eq!((given.len(), leader.control.unfinished()), (expected, turn < 4));
        let online = |&address: &IpAddr| Served { address, state: AddressState::Online, epoch: 1 };
        served.served.extend(given.iter().map(online));
        leader.hear(vec![(2, served.clone()), (3, info(&[]))]);
    }
    assert_eq!(leader.decide(at(0)), []);
    while leader.control.unfinished() {
        assert_eq!(leader.go_on(), []);
    }
}

// A host with 5,000 leaves → as many are to be handed over in one turn; each is handed over for the
// same reason, in its turn.
#[test]
fn a_host_with_many_leaves() {
    let mut leader = Leader::new(Vec::new());
    for n in 0..MANY {
        leader.database.claim(numbered(n), None, at(0), |_| true);
    }
    let mut left: BTreeSet<IpAddr> = (0..MANY).map(numbered).collect();
    let mut taker = info(&[]);
    while !left.is_empty() {
        let online = |&address: &IpAddr| Served { address, state: AddressState::Online, epoch: 1 };
        let served = left.iter().map(online).collect();
        let leaving = HostInfo { phase: Phase::Leaving, served, ..info(&[]) };
        leader.hear(vec![(2, leaving), (3, taker.clone())]);
        let decisions = if taker.served.is_empty() { leader.decide(at(0)) } else { leader.go_on() };
        let given = acquired(&decisions);
        assert_eq!(given.len(), left.len().min(1_024));
        assert_eq!(leader.control.unfinished(), given.len() < left.len());
        let reason = |d: &Decision| matches!(d, Decision::Acquire { reason: Reason::Shutdown, .. });
        assert!(decisions.iter().all(reason));
        left.retain(|address| !given.contains(address));
        let online = |&address: &IpAddr| Served { address, state: AddressState::Online, epoch: 2 };
        taker.served.extend(given.iter().map(online));
    }
}

// 5,000 are looked at, of which none wants anything: 2,048 in a turn. One that is behind them, or
// before, comes to want a host meanwhile → it is given one when it is looked at, in this sweep or
// in the next, which follows at once; that one is the last.
#[test]
fn looked_at_in_turn() {
    for (wanting, turn) in [(4_500, 2), (2_500, 4), (10, 3)] {
        let mut leader = Leader::new(Vec::new());
        let online = |n| Served { address: numbered(n), state: AddressState::Online, epoch: 1 };
        let all = HostInfo { served: (0..MANY).map(online).collect(), ..info(&[]) };
        let few = HostInfo {
            served: (0..MANY).filter(|&n| n != wanting).map(online).collect(),
            ..info(&[])
        };
        for n in 0..MANY {
            leader.database.claim(numbered(n), None, at(0), |_| true);
        }
        leader.hear(vec![(2, all)]);
        assert_eq!(leader.decide(at(0)), []);
        assert_eq!(leader.go_on(), []);
        leader.hear(vec![(2, few)]);
        let mut given = vec![acquired(&leader.decide(at(0)))];
        while leader.control.unfinished() {
            given.push(acquired(&leader.go_on()));
        }
        let at_turn = given.iter().position(|some| some.contains(&numbered(wanting)));
        assert_eq!(at_turn.map(|n| n + 2), Some(turn), "{wanting}");
        assert_eq!(given.len(), 1 + 3, "{wanting}");
    }
}

/// Host 2 has this many, all but the first ones still on their way.
fn acquiring(count: u32, online: u32) -> Vec<(u8, HostInfo)> {
    let mut info = info(&[]);
    info.served = (0..count)
        .map(|n| Served {
            address: numbered(n),
            state: if n < online { AddressState::Online } else { AddressState::Acquiring },
            epoch: 1,
        })
        .collect();
    vec![(2, info)]
}

// One after the other comes online, every 15 s, and 20 are too long → of many none is stuck before
// nothing has come on for so long; of few all others are.
#[test]
fn the_last_of_many_are_not_stuck() {
    for (count, stuck) in [(256, 254), (300, 0)] {
        let mut leader = Leader::new(acquiring(count, 0));
        for n in 0..count {
            leader.database.claim(numbered(n), None, at(0), |_| true);
        }
        assert_eq!(leader.orders(at(0)), []);
        let mut online = 0;
        for now in [15_000, 30_000] {
            online += 1;
            leader.hear(acquiring(count, online));
            let released = leader.orders(at(now));
            assert!(released.iter().all(|order| *order == (RELEASE, 2, Reason::Stuck)));
            assert_eq!(released.len(), if now > 20_000 { stuck } else { 0 }, "{count}");
        }
        if stuck == 0 {
            assert_eq!(leader.orders(at(49_999)).len(), 0);
            assert_eq!(leader.orders(at(50_000)).len(), 298);
        }
    }
}
