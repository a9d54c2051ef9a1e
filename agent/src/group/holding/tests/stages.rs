//! What each stage means to others: whether the address is there, is listed, and for how long.

use super::*;

// stage → whether the address is there, and whether it is listed
#[test]
fn there_and_listed() {
    assert!(!holdings(false).has(addr(1)) && !holdings(false).any_listed());
    for (stage, listed) in [
        (Stage::Configuring, true),
        (Stage::Ready, true),
        (Stage::Starting, true),
        (Stage::Online, true),
        (Stage::Stopping, true),
        (Stage::Clearing, false),
    ] {
        let holdings = brought_to(stage, true);
        assert!(holdings.has(addr(1)) && !holdings.has(addr(2)), "{stage:?}");
        assert_eq!(holdings.any_listed(), listed, "{stage:?}");
    }
}

// Taken over from another host, in place at 5 → that one has two limits to let go; without one to
// wait for, the limit of the acquisition stays.
#[test]
fn how_long_a_prepared_host_waits() {
    let limit = u64::try_from(LIMIT.as_millis()).unwrap();
    for (partner, until) in [(Some(partner(2)), 5 + 2 * limit), (None, limit)] {
        let mut holdings = holdings(false);
        let mut out = Vec::new();
        holdings.acquire(at(0), addr(1), Assignment { partner, ..assigned(7) }, &mut out);
        holdings.configured(at(5), addr(1), 7, Ok(()), &mut out);
        holdings.tick(at(until - 1), &mut out);
        assert_eq!(stage_of(&holdings), Some(Stage::Ready));
        out.clear();
        holdings.tick(at(until), &mut out);
        assert_eq!(stage_of(&holdings), Some(Stage::Clearing));
        assert_eq!(words(&out), ["fence", "deconfigure", "acquire failed"]);
    }
}

// Opened after it was awaited → that changes what is listed, with a script or without one. One that
// was listed as being acquired already → nothing changes before the script has ended.
#[test]
fn opening_is_told_if_it_shows() {
    for (partner, scripts, changed) in
        [(Some(partner(2)), true, true), (Some(partner(2)), false, true), (None, true, false)]
    {
        let mut holdings = holdings(scripts);
        let out = &mut Vec::new();
        holdings.acquire(at(0), addr(1), Assignment { partner, ..assigned(7) }, out);
        holdings.configured(at(0), addr(1), 7, Ok(()), out);
        holdings.take_changed();
        holdings.open(at(0), addr(1), out);
        assert_eq!(!holdings.take_changed().is_empty(), changed, "{partner:?} {scripts}");
    }
    // Something else has changed in the same turn.
    let mut both = brought_to(Stage::Ready, true);
    both.take_changed();
    both.acquire(at(0), addr(2), assigned(8), &mut Vec::new());
    both.open(at(0), addr(1), &mut Vec::new());
    assert_eq!(both.take_changed(), BTreeSet::from([addr(2)]));
}

// Other limits → for what begins from then on.
#[test]
fn limits_from_now_on() {
    let mut holdings = brought_to(Stage::Online, false);
    let script = Limits { action: LIMIT, acquire_script: false, release_script: true };
    holdings.limit(script);
    let mut out = Vec::new();
    holdings.release(at(0), addr(1), ordered(None), &mut out);
    assert_eq!(words(&out), ["release script"]);
}

// Handed over at 0 → for a minute what comes is sent on; then that ends, once.
#[test]
fn sending_on_ends_once() {
    let mut holdings = brought_to(Stage::Online, false);
    let mut out = Vec::new();
    holdings.release(at(0), addr(1), ordered(Some(partner(2))), &mut out);
    holdings.tick(at(250), &mut out);
    holdings.deconfigured(at(260), addr(1), 7, Ok(()), &mut out);
    out.clear();
    for (now, expected) in [(59_999, vec![]), (60_000, vec!["forget"]), (60_001, vec![])] {
        holdings.tick(at(now), &mut out);
        assert_eq!(words(&out), expected, "{now}");
        out.clear();
    }
}
