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
        let given = acquired(&leader.decide(at(0)));
        assert_eq!((given.len(), leader.control.unfinished()), (expected, turn < 4));
        let online = |&address: &IpAddr| Served { address, state: AddressState::Online, epoch: 1 };
        served.served.extend(given.iter().map(online));
        leader.hear(vec![(2, served.clone()), (3, info(&[]))]);
    }
    assert_eq!(leader.decide(at(0)), []);
    assert!(!leader.control.unfinished());
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
        let decisions = leader.decide(at(0));
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
