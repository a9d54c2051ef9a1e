//! Heartbeats sent and acknowledged → what others have heard.

use std::hash::DefaultHasher;
use std::net::IpAddr;

use super::*;

fn at(ms: u64) -> Time {
    Time::from_nanos(ms * 1_000_000)
}

fn host(n: u8) -> HostId {
    HostId(IpAddr::from([10, 77, 0, n]))
}

const PAUSE: Duration = Duration::from_millis(6);

/// Heartbeats of boot 4, numbered by when they were sent.
fn sent(times: impl Iterator<Item = u64>) -> Sent {
    let mut sent = Sent::default();
    for time in times {
        sent.is_to_be((4, time));
        sent.was(at(time), PAUSE);
    }
    sent
}

// Numbers of messages that were handled → the newest heartbeat that was, too.
#[test]
fn what_was_handled() {
    let sent = sent([10, 110, 210].into_iter());
    for (number, heartbeat) in [
        ((4, 9), None),
        ((3, 500), None),
        ((4, 10), Some(10)),
        ((4, 209), Some(110)),
        ((4, 210), Some(210)),
        ((5, 1), Some(210)),
    ] {
        assert_eq!(sent.handled(number), heartbeat.map(at), "{number:?}");
    }
}

// Heartbeats at these times → those that are remembered: none that follows too soon, and of many
// the last 64.
#[test]
fn what_is_remembered() {
    let times = |sent: &Sent| sent.heartbeats.iter().map(|h| h.at).collect::<Vec<_>>();
    assert_eq!(times(&sent([10, 15, 16, 20, 22].into_iter())), [10, 16, 22].map(at));
    let last: Vec<Time> = (36..100).map(|n| at(n * 10)).collect();
    assert_eq!(times(&sent((0..100).map(|n| n * 10))), last);
}

#[test]
fn the_one_before() {
    let sent = sent([10, 110].into_iter());
    for (time, before) in [(10, None), (11, Some(10)), (110, Some(10)), (111, Some(110))] {
        assert_eq!(sent.before(at(time)), before.map(at), "{time}");
    }
}

// What a host has heard, one after the other → the newest counts; of a new boot only what that
// says.
#[test]
fn the_newest_counts() {
    let mut sent = Sent::default();
    for (boot, heard, newest) in [(1, 200, 200), (1, 100, 200), (2, 150, 150), (2, 300, 300)] {
        sent.note(host(1), boot, at(heard));
        assert_eq!(sent.heard_by(1), Some(at(newest)), "{boot} {heard}");
    }
    sent.note(host(2), 1, at(250));
    assert_eq!([0, 1, 2, 3].map(|n| sent.heard_by(n)), [None, Some(at(300)), Some(at(250)), None]);
}

// It is part of a state for the model checker only where there is a quorum.
#[test]
fn matters_with_a_quorum() {
    let hash = |matters, time| {
        let mut sent = sent(std::iter::once(time));
        sent.matters = matters;
        let mut hasher = DefaultHasher::new();
        sent.hash(&mut hasher);
        hasher.finish()
    };
    assert_ne!(hash(true, 10), hash(true, 20));
    assert_eq!(hash(false, 10), hash(false, 20));
}
