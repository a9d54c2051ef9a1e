//! Candidates or holders → the one chosen.

use std::net::Ipv4Addr;

use super::*;

fn host(n: u8) -> HostId {
    HostId(IpAddr::V4(Ipv4Addr::new(10, 77, 0, n)))
}

fn addr(n: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 78, 0, n))
}

fn candidate(n: u8, utilisation: u64, addresses: usize) -> Candidate {
    Candidate { host: host(n), utilisation, addresses }
}

fn least(candidates: &[Candidate]) -> Option<HostId> {
    choose(addr(1), candidates, Placement::LeastUtilised, &mut Random::new(0))
}

// load, capacity → thousandths in use
#[test]
fn utilisation_in_thousandths() {
    for (load, capacity, expected) in [
        (0, 100, 0),
        (50, 100, 500),
        (100, 100, 1_000),
        (150, 100, 1_500),
        (1, 3, 333),
        (u32::MAX, 1, 4_294_967_295_000),
        (u32::MAX, u32::MAX, 1_000),
        (0, 0, u64::MAX),
        (1, 0, u64::MAX),
    ] {
        assert_eq!(utilisation(load, capacity, THOUSANDTHS), expected, "{load}/{capacity}");
    }
}

// Nobody → nobody. Lowest utilisation first; about the same → fewest addresses; a capacity of 0 →
// last, but better than nobody.
#[test]
fn least_utilised() {
    assert_eq!(least(&[]), None);
    assert_eq!(least(&[candidate(1, 60, 0), candidate(2, 10, 50)]), Some(host(2)));
    assert_eq!(least(&[candidate(1, 10, 2), candidate(2, 10, 1)]), Some(host(2)));
    assert_eq!(least(&[candidate(1, 10, 2), candidate(2, 59, 1)]), Some(host(2)));
    assert_eq!(least(&[candidate(1, 10, 2), candidate(2, 60, 1)]), Some(host(1)));
    let full = candidate(1, utilisation(0, 0, THOUSANDTHS), 0);
    assert_eq!(least(&[full, candidate(2, 5_000, 9)]), Some(host(2)));
    assert_eq!(least(&[full]), Some(host(1)));
}

// A tie in everything → a hash of address and host: the same in whatever order they are listed,
// and not always the same host.
#[test]
fn ties_do_not_depend_on_order() {
    let mut chosen = std::collections::BTreeSet::new();
    for n in 0..50 {
        let mut candidates: Vec<Candidate> = (1..=4).map(|n| candidate(n, 0, 0)).collect();
        let first = choose(addr(n), &candidates, Placement::LeastUtilised, &mut Random::new(0));
        for _ in 0..4 {
            candidates.rotate_left(1);
            let again = choose(addr(n), &candidates, Placement::LeastUtilised, &mut Random::new(9));
            assert_eq!(first, again);
        }
        chosen.extend(first);
    }
    assert_eq!(chosen.len(), 4);
}

// Random: the same seed → the same picks, whatever the order; every candidate is picked at times.
#[test]
fn random_is_seeded() {
    let picks = |seed, rotate: usize| -> Vec<Option<HostId>> {
        let mut random = Random::new(seed);
        let mut candidates: Vec<Candidate> =
            (1..=4).map(|n| candidate(n, u64::from(n), 0)).collect();
        candidates.rotate_left(rotate);
        (0..40).map(|n| choose(addr(n), &candidates, Placement::Random, &mut random)).collect()
    };
    assert_eq!(picks(7, 0), picks(7, 3));
    assert_ne!(picks(7, 0), picks(8, 0));
    assert!((1..=4).all(|n| picks(7, 0).contains(&Some(host(n)))));
    assert_eq!(choose(addr(1), &[], Placement::Random, &mut Random::new(7)), None);
    assert_eq!(Random::new(1).below(0), 0);
}

// Holders (epoch, preferred, spare) → the one that keeps it; the order plays no part.
#[test]
fn keeper_of_several() {
    let holder = |n, epoch, preferred, spare| Holder { host: host(n), epoch, preferred, spare };
    assert_eq!(keeper(addr(1), &[]), None);
    for (a, b) in [
        (holder(1, 2, false, false), holder(2, 1, true, false)),
        (holder(1, 1, true, false), holder(2, 1, false, true)),
        (holder(1, 1, false, true), holder(2, 1, false, false)),
        (holder(1, u64::MAX, false, false), holder(2, u64::MAX - 1, true, true)),
    ] {
        assert_eq!(keeper(addr(1), &[a, b]), Some(a.host));
        assert_eq!(keeper(addr(1), &[b, a]), Some(a.host));
    }
    let (a, b) = (holder(1, 1, false, false), holder(2, 1, false, false));
    assert_eq!(keeper(addr(1), &[a, b]), keeper(addr(1), &[b, a]));
}

// Numbers that all hosts have to come to, whatever version they run: the first of `SplitMix64` from
// 0, as its authors give them; and calculated apart from this program.
#[test]
fn the_same_everywhere() {
    assert_eq!(mix(0x9e37_79b9_7f4a_7c15), 0xe220_a839_7b1d_cdaf);
    assert_eq!(mix(0x3c6e_f372_fe94_f82a), 0x6e78_9e6a_a1b9_65f4);
    assert_eq!(hash(addr(1)), 0x526b_37e3_953b_c8c6);
    assert_eq!(hash("2001:db8::1".parse().unwrap()), 0x216d_ba65_aa6c_0c57);
    assert_eq!(affinity(addr(1), host(5)), 0x935b_b795_f240_3653);
}
