//! Thousands of addresses.

use super::*;

fn address(n: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(0x0a50_0000 + n))
}

/// So many, ordered at 0.
fn acquiring(count: u32, scripts: bool) -> Holdings {
    let mut holdings = holdings(scripts);
    for n in 0..count {
        holdings.acquire(at(0), address(n), assigned(7), &mut Vec::new());
    }
    holdings
}

/// How many a tick ends.
fn ended(holdings: &mut Holdings, now: u64) -> usize {
    let mut out = Vec::new();
    holdings.tick(at(now), &mut out);
    words(&out).into_iter().filter(|&word| word == "acquire failed").count()
}

// Addresses that are held, and the microseconds after which they are looked through once more.
#[test]
fn many_are_looked_at_less_often() {
    for (count, pause) in [(256, 0), (257, 4 * 257), (10_000, 40_000)] {
        let mut holdings = acquiring(count, false);
        for n in 0..count {
            holdings.configured(at(0), address(n), 7, Ok(()), &mut Vec::new());
            holdings.open(at(0), address(n), &mut Vec::new());
        }
        let announced = |holdings: &mut Holdings, us| {
            let mut out = Vec::new();
            holdings.tick(at(0) + Duration::from_micros(us), &mut out);
            words(&out) == ["announce"]
        };
        assert!(!announced(&mut holdings, 99_999), "{count}");
        assert_eq!(announced(&mut holdings, 100_000), pause == 0, "{count}");
        assert!(pause == 0 || !announced(&mut holdings, 99_999 + pause - 1), "{count}");
        assert!(pause == 0 || announced(&mut holdings, 99_999 + pause), "{count}");
    }
}

// One after the other is put in place, every 5 s, the limit being 10 → of many none is overdue, and
// the rest is once nothing comes on any more; of few all that have not come are, after the limit.
#[test]
fn the_last_of_many_are_not_overdue() {
    for (count, expected) in [(256, [0, 254, 0, 0]), (300, [0, 0, 0, 297])] {
        let mut holdings = acquiring(count, false);
        let mut found = Vec::new();
        for (n, now) in [5_000, 10_000, 15_000].into_iter().enumerate() {
            let n = u32::try_from(n).unwrap();
            holdings.configured(at(now - 1), address(n), 7, Ok(()), &mut Vec::new());
            holdings.open(at(now - 1), address(n), &mut Vec::new());
            holdings.measured(at(now - 1), address(n), 7, &mut Vec::new());
            found.push(ended(&mut holdings, now));
        }
        found.push(ended(&mut holdings, 25_000));
        assert_eq!(found, expected, "{count}");
    }
}

// The same with scripts, of which some have ended.
#[test]
fn nor_are_the_last_of_many_scripts() {
    let mut holdings = acquiring(300, true);
    for n in 0..300 {
        holdings.configured(at(0), address(n), 7, Ok(()), &mut Vec::new());
        holdings.open(at(0), address(n), &mut Vec::new());
    }
    let (script, out) = (AddressScript::Acquire, &mut Vec::new());
    holdings.script_ended(at(9_000), script, address(0), 7, Ok(()), out);
    assert_eq!(ended(&mut holdings, 18_999), 0);
    assert_eq!(ended(&mut holdings, 19_100), 299);
}
