//! Stage and event → actions, in order.
#![allow(clippy::wildcard_enum_match_arm, reason = "tests look at a few actions of many")]

mod many;
mod stages;

use std::net::Ipv4Addr;

use super::super::Phases;
use super::*;

const LIMIT: Duration = Duration::from_secs(10);

fn addr(n: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 78, 0, n))
}

fn at(ms: u64) -> Time {
    Time::from_nanos(ms * 1_000_000)
}

fn holdings(scripts: bool) -> Holdings {
    Holdings::new(Limits { action: LIMIT, acquire_script: scripts, release_script: scripts })
}

/// Host 1 gives it, host 9 had it.
fn assigned(epoch: u64) -> Assignment {
    Assignment { epoch, reason: Reason::Unserved, from: Some(host(9)), by: host(1), partner: None }
}

fn host(n: u8) -> HostId {
    HostId(IpAddr::V4(Ipv4Addr::new(10, 77, 0, n)))
}

/// Host 1 wants it elsewhere.
fn ordered(heir: Option<Partner>) -> Release {
    Release { reason: Reason::Failback, by: Some(host(1)), heir }
}

fn partner(n: u8) -> Partner {
    Partner { host: host(n), mac: [2, 0, 0, 0, 0, n] }
}

fn failed() -> Result<(), String> {
    Err("no".to_owned())
}

/// What a list of actions does, as words.
fn words(actions: &[Action]) -> Vec<&'static str> {
    actions
        .iter()
        .map(|action| match action {
            Action::Fence(_) => "fence",
            Action::Open { .. } => "open",
            Action::Forget(_) => "forget",
            Action::Stage { .. } => "stage",
            Action::Forward { leased: true, .. } => "forward",
            Action::Forward { leased: false, .. } => "leave",
            Action::Measure { .. } => "measure",
            Action::Configure { .. } => "configure",
            Action::Deconfigure { .. } => "deconfigure",
            Action::RunScript { script: AddressScript::Acquire, .. } => "acquire script",
            Action::RunScript { script: AddressScript::Release, .. } => "release script",
            Action::Announce(_) => "announce",
            Action::Report(Report::Acquired { .. }) => "acquired",
            Action::Report(Report::AcquireFailed { .. }) => "acquire failed",
            Action::Report(Report::Released { .. }) => "released",
            Action::Report(Report::ReleaseFailed { .. }) => "release failed",
            _ => "other",
        })
        .collect()
}

/// An address at a stage, reached the usual way at time 0.
fn brought_to(stage: Stage, scripts: bool) -> Holdings {
    let mut holdings = holdings(scripts);
    let out = &mut Vec::new();
    holdings.acquire(at(0), addr(1), assigned(7), out);
    if stage == Stage::Configuring {
        return holdings;
    }
    holdings.configured(at(0), addr(1), 7, Ok(()), out);
    if stage == Stage::Ready {
        return holdings;
    }
    holdings.open(at(0), addr(1), out);
    if stage == Stage::Starting {
        return holdings;
    }
    holdings.measured(at(0), addr(1), 7, out);
    holdings.script_ended(at(0), AddressScript::Acquire, addr(1), 7, Ok(()), out);
    match stage {
        Stage::Stopping => {
            holdings.release(at(0), addr(1), Release::by_itself(Reason::Failback), out);
        }
        Stage::Clearing => {
            holdings.withdraw_all(at(0), Reason::LeaseLapsed, out);
        }
        _ => {}
    }
    holdings
}

fn stage_of(holdings: &Holdings) -> Option<Stage> {
    holdings.held.get(&addr(1)).map(|h| h.stage)
}

// order → fenced before it is configured; in place → nothing yet; nobody else lists it → open,
// announced, and with a script not online before it has ended
#[test]
fn acquire() {
    for scripts in [false, true] {
        let mut holdings = holdings(scripts);
        let mut out = Vec::new();
        holdings.acquire(at(0), addr(1), assigned(7), &mut out);
        assert_eq!(words(&out), ["fence", "configure"]);
        assert_eq!(holdings.served()[0].state, AddressState::Acquiring);
        out.clear();
        holdings.configured(at(1), addr(1), 7, Ok(()), &mut out);
        assert_eq!(words(&out), Vec::<&str>::new());
        assert_eq!(holdings.ready(), [addr(1)]);
        assert_eq!(holdings.served()[0].state, AddressState::Acquiring);
        holdings.open(at(1), addr(1), &mut out);
        if scripts {
            assert_eq!(words(&out), ["open", "announce", "measure", "acquire script"]);
            assert_eq!(holdings.served()[0].state, AddressState::Acquiring);
            out.clear();
            holdings.script_ended(at(2), AddressScript::Acquire, addr(1), 7, Ok(()), &mut out);
            assert_eq!(words(&out), ["acquired"]);
        } else {
            assert_eq!(words(&out), ["open", "announce", "measure"]);
            assert_eq!(holdings.served()[0].state, AddressState::Online);
            out.clear();
            holdings.measured(at(2), addr(1), 7, &mut out);
            assert_eq!(words(&out), ["acquired"]);
            holdings.measured(at(3), addr(1), 7, &mut out);
            assert_eq!(words(&out), ["acquired"], "once");
        }
        assert_eq!(holdings.served()[0].state, AddressState::Online);
        assert_eq!(holdings.epoch(addr(1)), Some(7));
    }
}

// Something fails while acquiring → fenced first, taken away, refused, no release script.
#[test]
fn acquire_fails() {
    type Failure = fn(&mut Holdings, &mut Vec<Action>);
    let failures: [(Stage, Failure); 3] = [
        (Stage::Configuring, |h, out| h.configured(at(1), addr(1), 7, failed(), out)),
        (Stage::Starting, |h, out| h.open_failed(at(1), addr(1), 7, "no".to_owned(), out)),
        (Stage::Starting, |h, out| {
            h.script_ended(at(1), AddressScript::Acquire, addr(1), 7, failed(), out);
        }),
    ];
    for (stage, failure) in failures {
        let mut holdings = brought_to(stage, true);
        let mut out = Vec::new();
        failure(&mut holdings, &mut out);
        assert_eq!(words(&out), ["fence", "deconfigure", "acquire failed"]);
        assert_eq!(holdings.served(), []);
        assert_eq!(holdings.refused(at(1)), [addr(1)]);
    }
}

/// The one report among these actions.
fn report(actions: &[Action]) -> Report {
    let mut reports = actions.iter().filter_map(|action| match action {
        Action::Report(report) => Some(report.clone()),
        _ => None,
    });
    let report = reports.next().unwrap();
    assert_eq!(reports.next(), None);
    report
}

fn phases<const N: usize>(spans: [(ChangePhase, u64); N]) -> Phases {
    Phases::from(spans.map(|(phase, ms)| (phase, Duration::from_millis(ms))))
}

// order at 10; in place at 13; nobody else lists it, at once or at 53; opened and announced 1 ms
// later, the script 20 ms after that → the phases. Without a script there is no such phase.
#[test]
fn phases_of_an_acquisition() {
    let open = |scripts, open_at| {
        let (mut holdings, mut out) = (holdings(scripts), Vec::new());
        holdings.acquire(at(10), addr(1), assigned(7), &mut out);
        holdings.configured(at(13), addr(1), 7, Ok(()), &mut out);
        holdings.open(at(open_at), addr(1), &mut out);
        holdings.measured(at(open_at + 1), addr(1), 7, &mut out);
        let script = AddressScript::Acquire;
        holdings.script_ended(at(open_at + 21), script, addr(1), 7, Ok(()), &mut out);
        report(&out)
    };
    let acquired = |phases| {
        let (address, reason) = (addr(1), Reason::Unserved);
        let (from, by) = (Some(host(9)), Some(host(1)));
        Report::Acquired { address, epoch: 7, reason, from, by, phases }
    };
    let script = (ChangePhase::Script, 20);
    let (configure, opened) = ((ChangePhase::Configure, 3), (ChangePhase::Open, 1));
    let wait = (ChangePhase::Wait, 40);
    assert_eq!(open(false, 13), acquired(phases([configure, opened])));
    assert_eq!(open(false, 53), acquired(phases([configure, wait, opened])));
    assert_eq!(open(true, 13), acquired(phases([configure, opened, script])));
    assert_eq!(open(true, 53), acquired(phases([configure, wait, opened, script])));
    assert_eq!(phases([configure, wait, opened, script]).total(), Duration::from_millis(64));
}

// stage in which it fails at 9, having reached it at 0 → the last phase is that one
#[test]
fn phases_of_a_failure() {
    type Failure = fn(&mut Holdings, &mut Vec<Action>);
    let configure: Failure = |h, out| h.configured(at(9), addr(1), 7, failed(), out);
    let late: Failure = |h, out| h.tick(at(10_000), out);
    let open: Failure = |h, out| h.open_failed(at(9), addr(1), 7, "no".to_owned(), out);
    let script: Failure = |h, out| {
        h.measured(at(2), addr(1), 7, out);
        h.script_ended(at(9), AddressScript::Acquire, addr(1), 7, failed(), out);
    };
    let in_place = (ChangePhase::Configure, 0);
    for (stage, scripts, failure, expected) in [
        (Stage::Configuring, true, configure, phases([(ChangePhase::Configure, 9)])),
        (Stage::Ready, true, late, phases([in_place, (ChangePhase::Wait, 10_000)])),
        (Stage::Starting, true, open, phases([in_place, (ChangePhase::Open, 9)])),
        (
            Stage::Starting,
            true,
            script,
            phases([in_place, (ChangePhase::Open, 2), (ChangePhase::Script, 7)]),
        ),
        // Without a script it is listed as online by then.
        (Stage::Starting, false, open, phases([in_place, (ChangePhase::Open, 9)])),
    ] {
        let (mut holdings, mut out) = (brought_to(stage, scripts), Vec::new());
        failure(&mut holdings, &mut out);
        let Report::AcquireFailed { from, by, phases, .. } = report(&out) else {
            panic!("{stage:?}: {out:?}")
        };
        assert_eq!((from, by, phases), (Some(host(9)), Some(host(1)), expected), "{stage:?}");
        out.clear();
        holdings.measured(at(11_000), addr(1), 7, &mut out);
        holdings.deconfigured(at(11_000), addr(1), 7, Ok(()), &mut out);
        assert_eq!(words(&out), ["forget"], "it was never served");
    }
}

// The leader wants it at 5: the script until 25, the data plane closed at 26, off at 29.
#[test]
fn phases_of_a_release() {
    let script = (ChangePhase::Script, 20);
    let (withdraw, off) = ((ChangePhase::Withdraw, 1), (ChangePhase::Deconfigure, 3));
    for (scripts, expected) in
        [(false, phases([withdraw, off])), (true, phases([script, withdraw, off]))]
    {
        let mut holdings = brought_to(Stage::Online, scripts);
        let mut out = Vec::new();
        let begun = if scripts { 5 } else { 25 };
        holdings.release(at(begun), addr(1), ordered(None), &mut out);
        if scripts {
            holdings.script_ended(at(25), AddressScript::Release, addr(1), 7, Ok(()), &mut out);
        }
        holdings.measured(at(26), addr(1), 7, &mut out);
        holdings.deconfigured(at(29), addr(1), 7, Ok(()), &mut out);
        let (address, reason, by) = (addr(1), Reason::Failback, Some(host(1)));
        let released = Report::Released { address, epoch: 7, reason, by, phases: expected };
        assert_eq!(report(&out), released);
    }
}

// Withdrawn at once, at 5, from a stage → the script comes after; one that runs already is counted
// with the part before. This host decides it itself.
#[test]
fn phases_of_a_withdrawal() {
    let (withdraw, off) = ((ChangePhase::Withdraw, 1), (ChangePhase::Deconfigure, 3));
    for (stage, expected) in [
        (Stage::Online, phases([withdraw, (ChangePhase::Script, 19), off])),
        (Stage::Stopping, phases([(ChangePhase::Script, 24), withdraw, off])),
    ] {
        let mut holdings = brought_to(stage, true);
        let mut out = Vec::new();
        holdings.withdraw_all(at(5), Reason::LeaseLapsed, &mut out);
        holdings.measured(at(6), addr(1), 7, &mut out);
        holdings.script_ended(at(25), AddressScript::Release, addr(1), 7, Ok(()), &mut out);
        holdings.deconfigured(at(28), addr(1), 7, Ok(()), &mut out);
        let (address, reason) = (addr(1), Reason::LeaseLapsed);
        let released = Report::Released { address, epoch: 7, reason, by: None, phases: expected };
        assert_eq!(report(&out), released, "{stage:?}");
    }
}

// Results for another epoch, or that come too late → nothing.
#[test]
fn stale_results() {
    let out = &mut Vec::new();
    let mut holdings = brought_to(Stage::Configuring, true);
    holdings.configured(at(1), addr(1), 6, Ok(()), out);
    holdings.script_ended(at(1), AddressScript::Acquire, addr(1), 7, Ok(()), out);
    holdings.open_failed(at(1), addr(1), 7, String::new(), out);
    holdings.deconfigured(at(1), addr(1), 7, Ok(()), out);
    assert_eq!(stage_of(&holdings), Some(Stage::Configuring));
    let mut holdings = brought_to(Stage::Clearing, true);
    holdings.configured(at(1), addr(1), 7, Ok(()), out);
    holdings.script_ended(at(1), AddressScript::Release, addr(1), 7, Ok(()), out);
    holdings.deconfigured(at(1), addr(1), 6, Ok(()), out);
    holdings.open(at(1), addr(1), out);
    assert_eq!(stage_of(&holdings), Some(Stage::Clearing));
    assert_eq!(words(out), Vec::<&str>::new());
}

// stage, release script → what an order to release does at once
#[test]
fn release() {
    let clear = ["fence", "deconfigure", "measure"].as_slice();
    let after_script = ["fence", "release script", "deconfigure", "measure"].as_slice();
    for (stage, scripts, expected) in [
        (Stage::Configuring, true, clear),
        (Stage::Ready, true, clear),
        (Stage::Starting, true, after_script),
        (Stage::Online, false, clear),
        (Stage::Online, true, ["release script"].as_slice()),
        (Stage::Stopping, true, [].as_slice()),
        (Stage::Clearing, true, [].as_slice()),
    ] {
        let mut holdings = brought_to(stage, scripts);
        let mut out = Vec::new();
        holdings.release(at(1), addr(1), Release::by_itself(Reason::Failback), &mut out);
        assert_eq!(words(&out), expected, "{stage:?}");
    }
}

// The release script ended, well or badly → fenced, not listed, taken away; off → forgotten.
#[test]
fn release_ends() {
    for (result, expected) in [
        (Ok(()), ["fence", "deconfigure", "measure"].as_slice()),
        (failed(), ["release failed", "fence", "deconfigure", "measure"].as_slice()),
    ] {
        let mut holdings = brought_to(Stage::Stopping, true);
        assert_eq!(holdings.served()[0].state, AddressState::Releasing);
        let mut out = Vec::new();
        holdings.script_ended(at(1), AddressScript::Release, addr(1), 7, result, &mut out);
        assert_eq!(words(&out), expected);
        assert_eq!(holdings.served(), []);
        out.clear();
        holdings.deconfigured(at(2), addr(1), 7, Ok(()), &mut out);
        assert_eq!(words(&out), ["released", "forget"]);
        assert!(holdings.is_empty());
    }
}

// Withdrawing, from any stage that is listed → the fence comes first, for all at once; then the
// scripts. Not listed any more → nothing.
#[test]
fn withdraw() {
    for stage in [Stage::Configuring, Stage::Ready, Stage::Starting, Stage::Online, Stage::Stopping]
    {
        let mut holdings = brought_to(stage, true);
        let mut out = Vec::new();
        holdings.acquire(at(0), addr(2), assigned(1), &mut out);
        out.clear();
        assert_eq!(holdings.withdraw_all(at(1), Reason::LeaseLapsed, &mut out), 2);
        assert_eq!(out.first(), Some(&Action::Fence(vec![addr(1), addr(2)])), "{stage:?}");
        assert_eq!(holdings.served(), []);
        assert_eq!(holdings.withdraw_all(at(1), Reason::LeaseLapsed, &mut out), 0);
    }
}

// Listed again while it is being taken away → acquired anew; the end of the taking away is
// of no matter.
#[test]
fn acquire_while_clearing() {
    let mut holdings = brought_to(Stage::Clearing, false);
    let mut out = Vec::new();
    assert_eq!(holdings.epoch(addr(1)), None);
    holdings.acquire(at(1), addr(1), assigned(8), &mut out);
    holdings.deconfigured(at(2), addr(1), 7, Ok(()), &mut out);
    assert_eq!(words(&out), ["released", "fence", "configure"]);
    assert_eq!(stage_of(&holdings), Some(Stage::Configuring));
}

// A stage lasts longer than its limit → ended; taking away → tried again.
#[test]
fn overdue() {
    for (stage, limit, expected) in [
        (Stage::Configuring, 10_000, ["fence", "deconfigure", "acquire failed"].as_slice()),
        (Stage::Ready, 10_000, &["fence", "deconfigure", "acquire failed"]),
        (Stage::Starting, 10_000, &["announce", "fence", "deconfigure", "acquire failed"]),
        (
            Stage::Stopping,
            10_000,
            &["announce", "release failed", "fence", "deconfigure", "measure"],
        ),
        // The script that goes before it may take as long again.
        (Stage::Clearing, 20_000, &["released", "deconfigure"]),
    ] {
        let mut holdings = brought_to(stage, true);
        let mut early = Vec::new();
        holdings.tick(at(limit - 1), &mut early);
        let mut early = words(&early);
        early.retain(|&word| word != "announce");
        assert!(early.is_empty(), "{stage:?}: {early:?}");
        let mut holdings = brought_to(stage, true);
        let mut out = Vec::new();
        holdings.tick(at(limit), &mut out);
        assert_eq!(words(&out), expected, "{stage:?}");
    }
}

// Taking away fails → reported, tried again after a second, until it works.
#[test]
fn deconfigure_again() {
    let mut holdings = brought_to(Stage::Clearing, false);
    let mut out = Vec::new();
    holdings.deconfigured(at(5), addr(1), 7, failed(), &mut out);
    assert_eq!(words(&out), ["released", "release failed"]);
    out.clear();
    holdings.tick(at(1_004), &mut out);
    assert!(out.is_empty());
    holdings.tick(at(1_005), &mut out);
    assert_eq!(words(&out), ["deconfigure"]);
    assert!(!holdings.is_empty());
    out.clear();
    holdings.deconfigured(at(1_010), addr(1), 7, Ok(()), &mut out);
    assert_eq!(words(&out), ["forget"], "released is said once");
}

// Opened at 0 → announced again at these milliseconds, and no more.
#[test]
fn announcements() {
    let mut holdings = brought_to(Stage::Online, false);
    let mut announced = Vec::new();
    for ms in (0..60_000).step_by(100) {
        let mut out = Vec::new();
        holdings.tick(at(ms), &mut out);
        if !out.is_empty() {
            assert_eq!(out, [Action::Announce(vec![addr(1)])]);
            announced.push(ms);
        }
    }
    assert_eq!(announced, [100, 300, 700, 1_100, 1_600, 3_200, 6_400, 12_800]);
    holdings.announce_again(at(60_000), |address| address == addr(2));
    let mut out = Vec::new();
    holdings.tick(at(60_000), &mut out);
    assert!(out.is_empty(), "another address");
    // Others claim the address all the time → it is announced ten times a second, and no more.
    for ms in 60_000..61_000 {
        holdings.announce_again(at(ms), |address| address == addr(1));
        holdings.tick(at(ms), &mut out);
    }
    assert_eq!(words(&out), ["announce"; 10]);
}

// Fenced → never announced.
#[test]
fn fenced_is_not_announced() {
    for stage in [Stage::Configuring, Stage::Ready, Stage::Clearing] {
        let mut holdings = brought_to(stage, false);
        let mut out = Vec::new();
        holdings.announce_again(at(1), |_| true);
        holdings.tick(at(1), &mut out);
        assert!(out.is_empty(), "{stage:?}");
    }
}

// failures in a row → refused for so many seconds; at most ten minutes. A success → from the
// start again.
#[test]
fn refusal_backs_off() {
    let mut holdings = holdings(false);
    let out = &mut Vec::new();
    let mut now = at(0);
    let try_it = |holdings: &mut Holdings, now: Time, result, out: &mut Vec<Action>| {
        holdings.acquire(now, addr(1), assigned(7), out);
        holdings.configured(now, addr(1), 7, result, out);
        holdings.open(now, addr(1), out);
        holdings.measured(now, addr(1), 7, out);
    };
    for seconds in [10, 20, 40, 80, 160, 320, 600, 600] {
        try_it(&mut holdings, now, failed(), out);
        let until = now + Duration::from_secs(seconds);
        assert_eq!(holdings.refused(until.minus(Duration::from_nanos(1))), [addr(1)]);
        assert!(holdings.refused(until).is_empty());
        holdings.tick(until, out);
        now = until;
    }
    try_it(&mut holdings, now, Ok(()), out);
    holdings.withdraw_all(now, Reason::LeaseLapsed, out);
    try_it(&mut holdings, now, failed(), out);
    assert!(holdings.refused(now + Duration::from_secs(10)).is_empty());
}

// Taken over from a host that serves it → staged and not fenced; listed as waiting, until it is
// opened.
#[test]
fn taken_over() {
    let mut holdings = holdings(false);
    let mut out = Vec::new();
    let assignment = Assignment { partner: Some(partner(9)), ..assigned(7) };
    holdings.acquire(at(0), addr(1), assignment, &mut out);
    assert_eq!(words(&out), ["stage", "configure"]);
    assert_eq!(holdings.served()[0].state, AddressState::Preparing);
    assert_eq!(holdings.awaited(addr(1)), Some(host(9)));
    holdings.take_changed();
    holdings.configured(at(1), addr(1), 7, Ok(()), &mut out);
    assert_eq!(holdings.served()[0].state, AddressState::Prepared);
    assert_eq!(holdings.take_changed(), BTreeSet::from([addr(1)]), "to be told at once");
    out.clear();
    holdings.open(at(2), addr(1), &mut out);
    assert_eq!(words(&out), ["open", "announce", "measure"]);
    assert_eq!(holdings.served()[0].state, AddressState::Online);
    assert_eq!(holdings.awaited(addr(1)), None);
}

// Handed over → after the release script, where there is one, sent on and not listed; off the
// interface a while later; sent on until the minute is over, or without this agent once it ends.
#[test]
fn handed_over() {
    for scripts in [false, true] {
        let mut holdings = brought_to(Stage::Online, scripts);
        let mut out = Vec::new();
        holdings.release(at(1_000), addr(1), ordered(Some(partner(2))), &mut out);
        if scripts {
            assert_eq!(words(&out), ["release script"]);
            assert_eq!(holdings.served()[0].state, AddressState::Releasing);
            out.clear();
            let script = AddressScript::Release;
            holdings.script_ended(at(1_000), script, addr(1), 7, Ok(()), &mut out);
        }
        assert_eq!(words(&out), ["forward", "measure"]);
        assert_eq!((holdings.served(), holdings.is_empty()), (vec![], false));
        out.clear();
        holdings.tick(at(1_249), &mut out);
        assert_eq!(words(&out), Vec::<&str>::new());
        holdings.tick(at(1_250), &mut out);
        assert_eq!(words(&out), ["deconfigure"]);
        out.clear();
        holdings.deconfigured(at(1_251), addr(1), 7, Ok(()), &mut out);
        assert_eq!(words(&out), ["released"]);
        assert!(holdings.is_empty());
        out.clear();
        let mut ending = holdings.clone();
        ending.leave_forwards(&mut out);
        assert_eq!(words(&out), ["leave"]);
        out.clear();
        holdings.follow(addr(1), partner(2), &mut out);
        assert_eq!(words(&out), Vec::<&str>::new());
        holdings.follow(addr(1), partner(3), &mut out);
        assert_eq!(words(&out), ["forward"], "to who has it now");
        out.clear();
        holdings.tick(at(60_999), &mut out);
        assert_eq!(words(&out), Vec::<&str>::new());
        holdings.tick(at(61_000), &mut out);
        assert_eq!(words(&out), ["forget"]);
    }
}

// Comes back while it is sent on → no longer sent on, and not forgotten later. The lease ran out →
// fenced while it is on the interface, forgotten else.
#[test]
fn sending_on_ends() {
    let mut holdings = brought_to(Stage::Online, false);
    let mut out = Vec::new();
    holdings.release(at(0), addr(1), ordered(Some(partner(2))), &mut out);
    let mut back = holdings.clone();
    back.acquire(at(1), addr(1), assigned(8), &mut out);
    out.clear();
    back.end_all_forwards(&mut out);
    assert_eq!(words(&out), Vec::<&str>::new());
    let mut lapsed = holdings.clone();
    lapsed.end_all_forwards(&mut out);
    assert_eq!(words(&out), ["fence"]);
    holdings.tick(at(250), &mut out);
    holdings.deconfigured(at(250), addr(1), 7, Ok(()), &mut out);
    out.clear();
    holdings.end_all_forwards(&mut out);
    assert_eq!(words(&out), ["forget"]);
}
