//! Parts of a host's lists → whether they are whole.

use super::super::parts::{Told, index};
use super::*;

const T: Duration = Duration::from_millis(350);

fn host(n: u32) -> HostId {
    HostId(IpAddr::V4((0x0a4d_0000 + n).into()))
}

fn at(ms: u64) -> Time {
    Time::from_nanos(ms * 1_000_000)
}

fn addr(n: u32) -> IpAddr {
    IpAddr::V4((0x0a4e_0000 + n).into())
}

fn plain(n: u32) -> Listed {
    Listed { address: addr(n), preferred: true, refused: false, served: None }
}

fn set(n: u32) -> BTreeMap<IpAddr, Listed> {
    (0..n).map(|n| (addr(n), plain(n))).collect()
}

/// Host 1 says these slices.
fn say(staging: &mut Staging, boot: u64, told: &Told, slices: &[u16]) {
    for (slice, entries) in told.slices(slices) {
        staging.part(host(1), boot, slice, &entries);
    }
}

fn is_whole(staging: &mut Staging, boot: u64, told: &Told) -> bool {
    staging.whole(host(1), boot, told.sum(), at(0)).map(|(set, _)| set) == Some(&told.set())
}

// All slices, one after the other → whole with the last. One changes, and one is empty now → whole
// again when both are said. A new start of the host → nothing of that is known.
#[test]
fn whole_when_all_is_said() {
    let told = Told::new(set(300), 3);
    let mut staging = Staging::default();
    for n in 0..8 {
        assert!(!is_whole(&mut staging, 4, &told), "{n}");
        say(&mut staging, 4, &told, &[n]);
    }
    assert!(is_whole(&mut staging, 4, &told));
    say(&mut staging, 4, &told, &[2]);
    assert!(is_whole(&mut staging, 4, &told), "said twice");
    let same = |staging: &mut Staging| staging.whole(host(1), 4, told.sum(), at(0)).unwrap().1;
    assert!(same(&mut staging));
    let emptied = (Slice { bits: 3, index: 2 }, Vec::new());
    staging.part(host(1), 4, emptied.0, &emptied.1);
    assert!(!is_whole(&mut staging, 4, &told));
    say(&mut staging, 4, &told, &[2]);
    assert!(same(&mut staging), "in between it was not whole");

    let mut other = set(300);
    let emptied = index(addr(0), 3);
    let changed = (emptied + 1) % 8;
    other.retain(|&address, _| index(address, 3) != emptied);
    let last = other.values_mut().rfind(|l| index(l.address, 3) == changed);
    last.unwrap().refused = true;
    let other = Told::new(other, 3);
    assert!(!is_whole(&mut staging, 4, &other));
    say(&mut staging, 4, &other, &[changed]);
    assert!(!is_whole(&mut staging, 4, &other));
    say(&mut staging, 4, &other, &[emptied]);
    assert!(is_whole(&mut staging, 4, &other));
    assert!(!is_whole(&mut staging, 5, &other), "it has started anew");
    say(&mut staging, 5, &other, &(0..8).collect::<Vec<_>>());
    assert!(is_whole(&mut staging, 5, &other));
    staging.forget(host(1));
    assert!(!is_whole(&mut staging, 5, &other));
}

// What is said twice in a part counts once; what does not belong to the slice does not count.
#[test]
fn nonsense_counts_for_nothing() {
    let told = Told::new(set(100), 2);
    let mut staging = Staging::default();
    for (slice, mut entries) in told.slices(&[0, 1, 2, 3]) {
        entries.extend_from_within(..);
        entries.extend((1_000..1_100).map(plain).filter(|l| !slice.has(l.address)));
        staging.part(host(1), 4, slice, &entries);
    }
    assert!(is_whole(&mut staging, 4, &told));
}

// More addresses than one host may have, more hosts than there may be → not kept.
#[test]
fn limits() {
    let mut staging = Staging::default();
    let too_many: Vec<Listed> = (0..65_537).map(plain).collect();
    staging.part(host(1), 4, Slice { bits: 0, index: 0 }, &too_many);
    assert_eq!(staging.hosts[&host(1)].set.len(), 65_536);
    for n in 1..=4_097 {
        staging.part(host(n), 4, Slice { bits: 0, index: 0 }, &[plain(1)]);
    }
    assert_eq!(staging.hosts.len(), 4_096);
    assert!(!staging.hosts.contains_key(&host(4_097)));
    let told = Told::new(set(1), 0);
    say(&mut staging, 4, &told, &[0]);
    assert!(is_whole(&mut staging, 4, &told), "the first is still heard");
}

// Not whole → asked with the sums of what there is, not again before the pause is over; whole
// → the next question need not wait.
#[test]
fn questions() {
    let pause = Duration::from_millis(50);
    let told = Told::new(set(300), 3);
    let mut staging = Staging::default();
    assert_eq!(staging.question(host(1), told.sum(), at(0), pause), None, "never heard of");
    say(&mut staging, 4, &told, &[1, 2]);
    let mut sums = vec![0; 8];
    sums[1..=2].copy_from_slice(&told.sums[1..=2]);
    let rows = [(10, true), (11, false), (59, false), (60, true), (109, false), (110, true)];
    for (now, asks) in rows {
        let question = staging.question(host(1), told.sum(), at(now), pause);
        assert_eq!(question, asks.then(|| sums.clone()), "{now}");
    }
    say(&mut staging, 4, &told, &[0, 3, 4, 5, 6, 7]);
    assert!(is_whole(&mut staging, 4, &told));
    assert_eq!(staging.question(host(1), told.sum(), at(111), pause), Some(told.sums.clone()));
}

// Since when a host's lists have not been whole → awaited for the timeout; whole, or out of sight
// → no longer.
#[test]
fn awaited_for_the_timeout() {
    let told = Told::new(set(10), 0);
    let mut staging = Staging::default();
    assert!(!staging.awaits(at(0), T));
    for now in [100, 200] {
        assert!(staging.whole(host(1), 4, told.sum(), at(now)).is_none());
        assert!(staging.awaits(at(now), T));
    }
    assert!(staging.awaits(at(449), T));
    assert!(!staging.awaits(at(450), T));
    let mut forgotten = staging.clone();
    forgotten.forget(host(1));
    assert!(!forgotten.awaits(at(200), T));
    say(&mut staging, 4, &told, &[0]);
    assert!(is_whole(&mut staging, 4, &told));
    assert!(!staging.awaits(at(200), T));
}

// Heartbeats of a host of which nothing is known yet, with more of its lists before each, or not →
// until when it is awaited: for the timeout after more had come, but not for ever. One that was
// known is given the timeout once.
#[test]
fn awaited_while_more_arrives() {
    let told = Told::new(set(300), 5);
    let behind = |staging: &mut Staging, now| {
        assert!(staging.whole(host(1), 4, told.sum(), at(now)).is_none());
    };
    let until = |staging: &Staging, end: u64| {
        assert!(staging.awaits(at(end - 1), T) && !staging.awaits(at(end), T), "{end}");
    };
    let mut staging = Staging::default();
    behind(&mut staging, 0);
    until(&staging, 350);
    say(&mut staging, 4, &told, &[0]);
    behind(&mut staging, 200);
    behind(&mut staging, 300);
    until(&staging, 550);
    for n in 1..20_u16 {
        say(&mut staging, 4, &told, &[n]);
        behind(&mut staging, 1_000 * u64::from(n));
        until(&staging, (1_000 * u64::from(n)).min(32 * 350) + 350);
    }
    say(&mut staging, 4, &told, &(0..32).collect::<Vec<_>>());
    assert!(is_whole(&mut staging, 4, &told));
    staging.part(host(1), 4, Slice { bits: 5, index: 3 }, &[]);
    behind(&mut staging, 30_000);
    staging.part(host(1), 4, Slice { bits: 5, index: 4 }, &[]);
    behind(&mut staging, 30_300);
    until(&staging, 30_350);
}
