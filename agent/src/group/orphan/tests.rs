//! What the database makes of claims, records and the passing of time.

use std::net::Ipv4Addr;

use super::*;

const YEAR: Duration = Duration::from_hours(365 * 24);

fn host(n: u8) -> HostId {
    HostId(IpAddr::V4(Ipv4Addr::new(10, 77, 0, n)))
}

fn addr(n: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 78, 0, n))
}

fn secs(n: u64) -> Time {
    Time::from_nanos(n * 1_000_000_000)
}

fn record(preferred: Option<u8>, age: Duration, epoch: u64) -> Record {
    Record { address: addr(9), preferred: preferred.map(host), age, epoch, withdrawn: false }
}

fn claimed(seen: Time) -> Database {
    let mut database = Database::default();
    database.claim(addr(9), Some(host(2)), seen, |_| true);
    database
}

// last seen s, now n, timeout t → gone exactly when n - s >= t
#[test]
fn expiry() {
    for (seen, now, timeout, valid) in [
        (0, 9, 10, true),
        (0, 10, 10, false),
        (5, 14, 10, true),
        (5, 15, 10, false),
        (20, 10, 10, true),
    ] {
        let mut database = claimed(secs(seen));
        database.expire(secs(now), Duration::from_secs(timeout));
        assert_eq!(database.get(addr(9)).is_some(), valid, "{seen} {now} {timeout}");
    }
}

// Nothing of it expires for long → what changes that is seen at once: another timeout, another
// address, one that is taken out of the group.
#[test]
fn expiry_after_changes() {
    let span = Duration::from_secs;
    let kept = |database: &Database| database.iter().map(|(a, _)| a).collect::<Vec<_>>();
    let year = span(365 * 86_400);
    let quiet = || {
        let mut database = claimed(secs(100));
        database.expire(secs(100), year);
        database.expire(secs(101), year);
        database
    };
    let mut database = quiet();
    database.expire(secs(110), span(10));
    assert!(kept(&database).is_empty());

    let mut database = quiet();
    database.claim(addr(8), None, secs(50), |_| true);
    database.expire(secs(50) + year, year);
    assert_eq!(kept(&database), [addr(9)]);
    database.expire(secs(100) + year, year);
    assert!(kept(&database).is_empty());

    let mut database = quiet();
    database.withdraw(addr(9), secs(102));
    database.expire(secs(102) + REMEMBERED, year);
    assert!(kept(&database).is_empty());
}

// At the ends of time → no overflow, nothing vanishes early.
#[test]
fn extremes() {
    for (seen, now, timeout, valid) in [
        (Time::ZERO, Time::END, Duration::MAX, true),
        (Time::ZERO, Time::END, Duration::from_nanos(u64::MAX), false),
        (Time::END, Time::ZERO, Duration::from_nanos(1), true),
        (Time::END, Time::END, Duration::from_nanos(1), true),
        (Time::ZERO, Time::ZERO, Duration::ZERO, false),
    ] {
        let mut database = claimed(seen);
        database.expire(now, timeout);
        assert_eq!(database.get(addr(9)).is_some(), valid, "{seen:?} {now:?} {timeout:?}");
    }
    let mut database = Database::default();
    database.merge(
        &record(Some(2), Duration::from_nanos(u64::MAX), 1),
        secs(1),
        Duration::MAX,
        |_| true,
    );
    assert_eq!(database.get(addr(9)).map(|e| e.seen), Some(Time::ZERO));
}

// The preferred host is seen again → the timer starts anew. An older sighting → changes nothing.
#[test]
fn reset_by_return() {
    let mut database = claimed(secs(0));
    database.claim(addr(9), Some(host(2)), secs(8), |_| true);
    database.claim(addr(9), Some(host(2)), secs(3), |_| true);
    database.expire(secs(17), Duration::from_secs(10));
    assert_eq!(database.get(addr(9)).map(|e| e.seen), Some(secs(8)));
}

// A record of another host → the younger sighting and the higher epoch win; one as old as the
// timeout → not taken up.
#[test]
fn merge() {
    let mut database = claimed(secs(100));
    database.merge(&record(Some(3), Duration::from_secs(30), 7), secs(110), YEAR, |_| true);
    let entry = *database.get(addr(9)).unwrap();
    assert_eq!((entry.preferred, entry.seen, entry.epoch), (Some(host(2)), secs(100), 7), "older");
    database.merge(&record(Some(3), Duration::from_secs(1), 5), secs(110), YEAR, |_| true);
    let entry = *database.get(addr(9)).unwrap();
    assert_eq!((entry.preferred, entry.seen, entry.epoch), (Some(host(3)), secs(109), 7));
    database.merge(&record(None, Duration::ZERO, 0), secs(200), YEAR, |_| true);
    assert_eq!(database.get(addr(9)).unwrap().preferred, Some(host(3)), "not made floating");

    let mut database = Database::default();
    database.merge(&record(Some(2), YEAR, 1), secs(0), YEAR, |_| true);
    assert_eq!(database.iter().count(), 0);
}

// old preference, new claim, old one still claims → preference, and both if both claim it, the one
// that stands first
#[test]
fn claims() {
    for (old, new, still, preferred, twice) in [
        (None, Some(3), false, Some(3), None),
        (Some(2), None, true, Some(2), None),
        (Some(2), None, false, None, None),
        (Some(2), Some(3), true, Some(2), Some([2, 3])),
        (Some(3), Some(2), true, Some(2), Some([2, 3])),
        (Some(2), Some(3), false, Some(3), None),
        (Some(2), Some(2), true, Some(2), None),
    ] {
        let mut database = Database::default();
        database.claim(addr(9), old.map(host), secs(0), |_| true);
        let stands = database.claim(addr(9), new.map(host), secs(0), |_| still);
        let entry = database.get(addr(9)).unwrap();
        assert_eq!(
            (entry.preferred, stands),
            (preferred.map(host), twice.map(|both| both.map(host)))
        );
    }
}

// Epochs only rise; of unknown addresses nothing is remembered.
#[test]
fn epochs() {
    let mut database = claimed(secs(0));
    database.assigned(addr(9), 5);
    database.assigned(addr(9), 4);
    database.served(addr(9), host(3), 3);
    assert_eq!(database.epoch(addr(9)), 5);
    assert_eq!(database.get(addr(9)).unwrap().last_holder, Some(host(3)));
    database.assigned(addr(8), 5);
    assert_eq!(database.epoch(addr(8)), 0);
}

// What is told of an address: its age at that moment.
#[test]
fn records() {
    let mut database = claimed(secs(10));
    database.assigned(addr(9), 3);
    assert_eq!(database.records(secs(14)), [record(Some(2), Duration::from_secs(4), 3)]);
}

// The last host that had it has taken it out → what others have heard of it since decides.
#[test]
fn what_was_taken_out_of_the_group() {
    const TIMEOUT: Duration = Duration::from_secs(1);
    let mut database = Database::default();
    database.claim(addr(9), Some(host(3)), secs(100), |_| true);
    let before = database.sum();
    database.withdraw(addr(9), secs(100));
    assert_ne!(database.sum(), before, "others ask for the news");
    let stands = |database: &Database, now| database.get(addr(9)).unwrap().stands(now, TIMEOUT);
    assert!(stands(&database, secs(101)) && !stands(&database, secs(102)));
    let told = database.records(secs(103));
    assert_eq!((told[0].withdrawn, told[0].age), (true, Duration::from_secs(3)));

    // Who knew it before believes that, and who claims it is believed.
    let mut other = Database::default();
    other.claim(addr(9), Some(host(3)), secs(90), |_| true);
    other.merge(&told[0], secs(103), YEAR, |_| false);
    assert_eq!(other.sum(), database.sum());
    assert!(!stands(&other, secs(103)));
    other.merge(&record(None, Duration::from_mins(1), 0), secs(104), YEAR, |_| true);
    assert!(!stands(&other, secs(104)), "old news");
    other.claim(addr(9), None, secs(105), |_| false);
    assert!(stands(&other, secs(200)));
    database.merge(&other.records(secs(105))[0], secs(105), YEAR, |_| false);
    assert!(stands(&database, secs(200)));
    assert_eq!(database.get(addr(9)).unwrap().preferred, None, "it floats now");

    // It is forgotten after a day.
    database.withdraw(addr(9), secs(1_000));
    database.expire(secs(1_000) + REMEMBERED, YEAR);
    assert_eq!((database.len(), database.sum().digest), (0, 0));
    let late = Record { withdrawn: true, ..record(None, REMEMBERED, 0) };
    database.merge(&late, secs(1_000) + REMEMBERED, YEAR, |_| false);
    assert_eq!(database.len(), 0);
}

// The sums of all slices are the sum of the whole, which tells each change of what has to be the
// same everywhere.
#[test]
fn sums_of_the_database() {
    let all = |database: &Database, bits| {
        let sums = database.sums(bits);
        assert_eq!(sums.len(), 1 << bits);
        sums.into_iter().fold(0_u64, u64::wrapping_add)
    };
    let mut database = Database::default();
    for n in 0..100 {
        database.claim(addr(n), None, secs(0), |_| true);
    }
    let mut digests = vec![database.sum().digest];
    let changes: [fn(&mut Database); 4] = [
        |database| {
            database.claim(addr(1), Some(host(2)), secs(0), |_| true);
        },
        |database| database.assigned(addr(1), 7),
        |database| database.withdraw(addr(1), secs(0)),
        |database| {
            database.claim(addr(200), None, secs(1), |_| true);
        },
    ];
    for change in changes {
        change(&mut database);
        digests.push(database.sum().digest);
    }
    database.expire(secs(10), Duration::from_secs(10));
    assert_eq!(database.len(), 1);
    digests.push(database.sum().digest);
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), 6, "each another");
    for bits in [0, 3, 16] {
        assert_eq!(all(&database, bits), database.sum().digest);
    }
}

// An address that was not known → known as it is said. One that is → what is said of the same
// moment changes its epoch alone.
#[test]
fn merged_as_it_is_said() {
    let mut database = Database::default();
    let said = Record { withdrawn: true, ..record(Some(3), Duration::from_secs(1), 7) };
    database.merge(&said, secs(10), YEAR, |_| false);
    let entry =
        Entry { preferred: Some(host(3)), epoch: 7, withdrawn: true, ..Entry::new(secs(9)) };
    assert_eq!(database.get(addr(9)), Some(&entry));
    database.merge(&record(None, Duration::from_secs(2), 8), secs(11), YEAR, |_| false);
    assert_eq!(database.get(addr(9)), Some(&Entry { epoch: 8, ..entry }));
    database.merge(&record(None, Duration::from_secs(1), 8), secs(11), YEAR, |_| false);
    let later = Entry { preferred: None, epoch: 8, ..Entry::new(secs(10)) };
    assert_eq!(database.get(addr(9)), Some(&later));
}

// More addresses than a group may have → not kept.
#[test]
fn limit() {
    let mut database = Database::default();
    for n in 0..65_537_u32 {
        database.claim(IpAddr::V4(n.into()), None, secs(0), |_| true);
    }
    assert_eq!(database.len(), 65_536);
}

// States that differ in it alone are not taken for one by the model checker.
#[test]
fn is_part_of_a_state() {
    let hash = |epoch| {
        let mut database = claimed(secs(0));
        database.assigned(addr(9), epoch);
        let mut hasher = std::hash::DefaultHasher::new();
        database.hash(&mut hasher);
        std::hash::Hasher::finish(&hasher)
    };
    assert_ne!(hash(1), hash(2));
    assert_eq!(hash(1), hash(1));
}
