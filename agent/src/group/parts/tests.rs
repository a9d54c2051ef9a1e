//! Sets of addresses → their slices, their sums and what they take.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::super::{AddressState, Phase};
use super::*;

fn host(n: u8) -> HostId {
    HostId(IpAddr::V4(Ipv4Addr::new(10, 77, 0, n)))
}

fn addr(n: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 78, 0, n))
}

/// An address of 17 bytes.
fn long(n: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n))
}

fn many(n: u32) -> impl Iterator<Item = IpAddr> {
    (0..n).map(|n| IpAddr::V4((0x0a4e_0000 + n).into()))
}

fn plain(address: IpAddr) -> Listed {
    Listed { address, preferred: true, refused: false, served: None }
}

fn set(addresses: impl Iterator<Item = IpAddr>) -> BTreeMap<IpAddr, Listed> {
    addresses.map(|address| (address, plain(address))).collect()
}

fn info() -> HostInfo {
    HostInfo {
        control_addresses: vec![addr(1), long(1)],
        mac: [0; 6],
        ok: true,
        quiesced: false,
        phase: Phase::Member,
        leader: Some(host(1)),
        load: 300,
        capacity: 70_000,
        preferred: vec![addr(2), addr(4)],
        served: vec![Served { address: addr(2), state: AddressState::Online, epoch: 300 }],
        refused: vec![addr(3), addr(4), long(3)],
    }
}

// number → bytes on the wire
#[test]
fn numbers() {
    for (n, bytes) in [
        (0, 1),
        (250, 1),
        (251, 3),
        (0xffff, 3),
        (0x1_0000, 5),
        (0xffff_ffff, 5),
        (0x1_0000_0000, 9),
        (u64::MAX, 9),
    ] {
        assert_eq!(number(n), bytes, "{n}");
    }
}

// What is said → the bytes it takes, each part of another length than the next.
#[test]
fn lengths() {
    let second = Duration::from_secs(1);
    let known = Known { id: HostId(long(1)), boot: 70_000, sequence: 1 << 40, age: second };
    assert_eq!(known_len(&known), 17 + 5 + 9 + 3);
    let record = Record {
        address: long(1),
        preferred: Some(host(1)),
        age: second,
        epoch: 70_000,
        withdrawn: false,
    };
    assert_eq!(record_len(&record), 17 + 2 + 5 + 3 + 5);
    assert_eq!(record_len(&Record { preferred: None, ..record }), 17 + 2 + 3 + 5);
    assert_eq!(standing_len(&info()), (5 + 17) + 5 + 3 + 5 + 14);
    assert_eq!(standing_len(&HostInfo { leader: None, ..info() }), (5 + 17) + 3 + 5 + 14);
    assert_eq!(lists_len(&info()), (5 + 5) + (5 + 5 + 17) + (5 + 1 + 3) + 6);
    assert_eq!(listed_len(&plain(long(1))), 17 + 2);
    let served = Some((AddressState::Online, 300));
    assert_eq!(listed_len(&Listed { served, ..plain(long(1)) }), 17 + 2 + 1 + 3);
}

// Each address is in one slice, whose addresses are a range of the finest; where there are some to
// each slice, none is empty.
#[test]
fn slices() {
    for bits in 0..=MOST_BITS {
        let mut seen = BTreeSet::new();
        for address in many(1_000) {
            let slice = Slice { bits, index: index(address, bits) };
            assert!(u32::from(slice.index) < 1 << bits);
            assert!(slice.has(address));
            assert!(!Slice { index: slice.index ^ 1, ..slice }.has(address));
            let width = 1 << (MOST_BITS - bits);
            let first = u32::from(slice.first());
            assert!((first..first + width).contains(&finest(address).into()), "{bits}");
            seen.insert(slice.index);
        }
        assert!(bits > 5 || seen.len() == 1 << bits, "{bits}: {}", seen.len());
    }
}

// Entries that differ in anything have sums of their own; the same everywhere, whatever version
// runs there (calculated apart from this program).
#[test]
fn sums_of_entries() {
    use AddressState::{Acquiring, Online, Prepared, Preparing, Releasing};
    let states = [Acquiring, Online, Releasing, Preparing, Prepared];
    let served = states.into_iter().flat_map(|state| [1, 2, 300].map(|epoch| Some((state, epoch))));
    let served: Vec<_> = served.chain([None]).collect();
    let mut all = BTreeSet::new();
    let mut count = 0;
    for address in [addr(1), addr(2), long(1)] {
        for flags in 0..4 {
            for &served in &served {
                let (preferred, refused) = (flags & 1 > 0, flags & 2 > 0);
                all.insert(listed_sum(&Listed { address, preferred, refused, served }));
                count += 1;
            }
        }
    }
    assert_eq!(all.len(), count);
    for (preferred, refused, served, sum) in [
        (true, false, Some((Online, 7)), 0x68fe_54e0_51c1_f533),
        (false, true, None, 0x15ea_c626_6923_f057),
        (true, true, Some((Prepared, (3 << 60) + 9)), 0xf3ce_1b54_a2f5_2c2f),
    ] {
        assert_eq!(listed_sum(&Listed { address: addr(1), preferred, refused, served }), sum);
    }
    assert_eq!(record_sum(addr(1), Some(host(5)), 7), 0x8b20_0652_0ce2_2ffa);
    assert_eq!(record_sum(addr(1), None, 0), 0xc33c_e90b_4d10_d65a);
}

// A host's lists → a set → the same lists.
#[test]
fn lists_are_a_set() {
    let set = listed(&info());
    assert_eq!(set.len(), 4);
    assert_eq!(set.get(&addr(4)).map(|l| (l.preferred, l.refused)), Some((true, true)));
    let empty = HostInfo { preferred: vec![], served: vec![], refused: vec![], ..info() };
    let mut filled = empty;
    fill(&mut filled, &set);
    assert_eq!(filled, info());
}

// Addresses → as many slices as make each fit a part, and no fewer than before; all of them
// together are the set, and their sums its sum.
#[test]
fn a_set_is_cut_to_fit() {
    let told = Told::new(set(many(1_000)), 0);
    assert!((3..=5).contains(&told.bits), "{}", told.bits);
    assert_eq!(Told::new(set(many(10)), 0).bits, 0);
    assert_eq!(Told::new(set(many(10)), 3).bits, 3);
    let all: Vec<u16> = (0..1 << told.bits).collect();
    let slices = told.slices(&all);
    assert_eq!(slices.len(), all.len());
    let length =
        |(_, entries): &(Slice, Vec<Listed>)| entries.iter().map(listed_len).sum::<usize>();
    assert!(slices.iter().all(|slice| length(slice) <= PART_ROOM));
    let pairs = slices.chunks(2).map(|pair| pair.iter().map(length).sum::<usize>());
    assert!(pairs.max() > Some(PART_ROOM), "no finer than need be");
    let entries = slices.iter().flat_map(|(slice, entries)| {
        assert!(slice.bits == told.bits && entries.iter().all(|l| slice.has(l.address)));
        entries.iter().map(|l| (l.address, *l))
    });
    let entries: BTreeMap<_, _> = entries.collect();
    assert_eq!((told.len(), &entries), (1_000, &set(many(1_000))));
    let digest = entries.values().fold(0_u64, |all, l| all.wrapping_add(listed_sum(l)));
    assert_eq!(told.sum(), Sum { bits: told.bits, digest });
    let none = told.slices(&[]);
    assert!(none.is_empty());
}

// What was told before → which slices are to be told.
#[test]
fn what_has_changed() {
    let first = many(1).next().unwrap_or(addr(0));
    let told = |addresses: BTreeMap<_, _>, bits| Told::new(addresses, bits);
    let all = told(set(many(300)), 4);
    let everything: Vec<u16> = (0..16).collect();
    assert_eq!(all.changed_since(None), everything);
    assert_eq!(all.changed_since(Some(&told(set(many(300)), 5))), everything, "cut otherwise");
    assert_eq!(all.changed_since(Some(&all)), [0; 0]);
    let mut changed = set(many(300));
    changed.insert(first, Listed { refused: true, ..plain(first) });
    assert_eq!(told(changed, 4).changed_since(Some(&all)), [index(first, 4)]);
    let one = told(set(many(1)), 4);
    let none = told(BTreeMap::new(), 4);
    assert_eq!(one.changed_since(None), [index(first, 4)], "who has nothing needs no empty ones");
    assert_eq!(none.changed_since(Some(&one)), [index(first, 4)], "it is empty now");
}

// An address comes, changes, stays as it is, goes → the slice that is to be told, and the set as if
// it had been told like this from the start.
#[test]
fn one_address_changes() {
    let mut all = set(many(300));
    let mut told = Told::new(all.clone(), 4);
    let other = long(7);
    for (address, listed, changes) in [
        (other, Some(plain(other)), true),
        (other, Some(Listed { refused: true, ..plain(other) }), true),
        (other, Some(Listed { refused: true, ..plain(other) }), false),
        (other, None, true),
        (other, None, false),
        (addr(0), None, true),
    ] {
        assert_eq!(told.change(address, listed), changes.then(|| index(address, 4)));
        match listed {
            Some(listed) => drop(all.insert(address, listed)),
            None => drop(all.remove(&address)),
        }
        let anew = Told::new(all.clone(), 4);
        assert_eq!((&told.slices, &told.sums), (&anew.slices, &anew.sums));
    }
}

// So many addresses of 19 bytes in one slice → whether it fits; the other slice does.
#[test]
fn a_slice_that_has_grown() {
    for (count, fits) in [(68, true), (69, false)] {
        let mut told = Told::new(BTreeMap::new(), 1);
        let ours = (0..).map(long).filter(|&address| index(address, 1) == 1);
        for address in ours.take(count) {
            assert_eq!(told.change(address, Some(plain(address))), Some(1));
        }
        assert_eq!((told.fits(&[0, 1]), told.fits(&[0])), (fits, true));
    }
}

#[test]
fn short_sums_are_the_lower_halves() {
    assert_eq!(short_sums(&[0x1_0000_0002, u64::MAX, 3]), [2, u32::MAX, 3]);
}

// The sums of some slices: all together are the sum of the set.
#[test]
fn sums_of_slices() {
    for bits in [0, 3, 16] {
        let entries = || many(300).map(|address| (address, record_sum(address, None, 1)));
        let sums = sums(entries(), bits);
        assert_eq!(sums.len(), 1 << bits);
        for (address, _) in entries() {
            let n = index(address, bits);
            let alike = entries().filter(|&(other, _)| index(other, bits) == n);
            let sum = alike.fold(0_u64, |all, (_, sum)| all.wrapping_add(sum));
            assert_eq!(sums[usize::from(n)], sum);
        }
    }
}

// lengths → parts; a datagram of 1,400 bytes has room for 1,296
#[test]
fn entries_are_packed() {
    let rows: [(&[usize], &[&[usize]]); 6] = [
        (&[], &[]),
        (&[1_296], &[&[1_296]]),
        (&[1_000, 296], &[&[1_000, 296]]),
        (&[1_000, 297], &[&[1_000], &[297]]),
        (&[600, 600, 600, 600, 96], &[&[600, 600], &[600, 600, 96]]),
        (&[2_000, 1], &[&[2_000], &[1]]),
    ];
    for (lengths, parts) in rows {
        assert_eq!(packed(lengths.to_vec(), |&length| length), parts);
    }
}

// addresses → bits of the slices of a database
#[test]
fn slices_of_a_database() {
    for (addresses, bits) in [(0, 0), (63, 0), (64, 1), (96, 2), (10_000, 9), (65_536, 11)] {
        assert_eq!(database_bits(addresses), bits, "{addresses}");
    }
}
