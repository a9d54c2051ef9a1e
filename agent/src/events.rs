//! The record of what happened: who moved what, when, why, and how long it took.

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rais_common::maps::MAX_ADDRESSES;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::sync::watch;

use crate::clock;
use crate::group::Reason;

/// How many records an [`EventLog`] keeps, and how many more for each service address: an order,
/// an acquisition and a release.
pub const KEPT: usize = 4_096;
const KEPT_EACH: usize = 3;

/// Something that happened. What does not apply is left out of the JSON form.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// Position in the agent's log, from 1, ascending without gaps. Given by [`EventLog::push`].
    pub seq: u64,
    /// When, RFC 3339, UTC: see [`rfc3339`].
    pub time: String,
    /// Name of the group.
    pub group: String,
    /// What, such as `acquired`, `released`, `leader`, `host-down`.
    pub kind: String,
    /// The service address it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The host that had it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<IpAddr>,
    /// The host that has it, or that the event is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<IpAddr>,
    /// Why, one of the words of [`crate::group::Reason::word`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Number of the assignment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// The host that decided it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<IpAddr>,
    /// More, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// How long it took, in milliseconds: the sum of `phases`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<f64>,
    /// How long each phase of it took.
    #[serde(skip_serializing_if = "PhaseTimes::is_empty")]
    pub phases: PhaseTimes,
    /// The phase in which it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_in: Option<String>,
}

/// Phases by the words of [`crate::group::ChangePhase::word`], each with its milliseconds, in the
/// order in which they passed. In JSON one object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PhaseTimes(pub Vec<(String, f64)>);

impl PhaseTimes {
    /// There are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Milliseconds of one phase.
    #[must_use]
    pub fn get(&self, phase: &str) -> Option<f64> {
        self.0.iter().find(|(word, _)| word == phase).map(|(_, ms)| *ms)
    }
}

impl Serialize for PhaseTimes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(phase, ms)| (phase, ms)))
    }
}

impl<'de> Deserialize<'de> for PhaseTimes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(InOrder)
    }
}

/// Reads an object without changing its order.
struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = PhaseTimes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("milliseconds by phase")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PhaseTimes, A::Error> {
        let mut times = Vec::new();
        while let Some(time) = map.next_entry()? {
            times.push(time);
        }
        Ok(PhaseTimes(times))
    }
}

impl fmt::Display for PhaseTimes {
    /// Nothing, or all of them in parentheses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (phase, ms)) in self.0.iter().enumerate() {
            write!(f, "{}{phase} {ms:.1}", if i == 0 { " (" } else { ", " })?;
        }
        if self.is_empty() { Ok(()) } else { f.write_str(")") }
    }
}

impl fmt::Display for Event {
    /// One line for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.time, self.group, self.kind)?;
        let before_host = if self.address.is_some() { " to" } else { "" };
        if let Some(address) = self.address {
            write!(f, " {address}")?;
        }
        if let Some(host) = self.from {
            write!(f, " from {host}")?;
        }
        if let Some(host) = self.to {
            write!(f, "{before_host} {host}")?;
        }
        if let Some(epoch) = self.epoch {
            write!(f, " epoch {epoch}")?;
        }
        if let Some(host) = self.decided_by {
            write!(f, ", decided by {host}")?;
        }
        if let Some(reason) = &self.reason {
            match Reason::from_word(reason) {
                Some(known) => write!(f, " because {} ({known})", known.explained())?,
                None => write!(f, " ({reason})")?,
            }
        }
        match (self.took_ms, &self.failed_in) {
            (Some(took), None) => write!(f, ", in {took:.1} ms{}", self.phases)?,
            (Some(took), Some(phase)) => {
                write!(f, ", in its phase {phase} after {took:.1} ms{}", self.phases)?;
            }
            (None, _) => {}
        }
        if let Some(detail) = &self.detail {
            write!(f, ": {}", crate::status::one_line(detail))?;
        }
        Ok(())
    }
}

/// A wall-clock time ([`crate::clock::wall_nanos`]) as RFC 3339 in UTC, to the microsecond.
#[must_use]
pub fn rfc3339(wall_nanos: u64) -> String {
    // Within u64 every count of nanoseconds since 1970 is a valid timestamp (until 2554).
    jiff::Timestamp::from_nanosecond(i128::from(wall_nanos))
        .map_or_else(|e| e.to_string(), |time| format!("{time:.6}"))
}

/// The last events. Writers never wait for readers: a reader that is too slow misses
/// events and is told how many.
#[derive(Debug)]
pub struct EventLog {
    /// See [`EventLog::id`].
    id: u64,
    most: usize,
    kept: Mutex<VecDeque<Arc<Event>>>,
    /// Sequence number of the latest event.
    latest: watch::Sender<u64>,
}

impl Default for EventLog {
    fn default() -> Self {
        Self::for_addresses(0)
    }
}

/// Part of the log.
#[derive(Debug)]
pub struct Page {
    /// The events, oldest first.
    pub events: Vec<Arc<Event>>,
    /// How many there were before them that are no longer kept.
    pub missed: u64,
}

impl EventLog {
    /// An empty log, of [`KEPT`] events.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty log for groups with so many service addresses, which may all move at once: more
    /// than [`KEPT`] events.
    #[must_use]
    pub fn for_addresses(addresses: usize) -> Self {
        Self {
            id: clock::wall_nanos(),
            most: KEPT + KEPT_EACH * addresses.min(MAX_ADDRESSES as usize),
            kept: Mutex::default(),
            latest: watch::Sender::new(0),
        }
    }

    /// Tells this log from that of an agent that ran before or will run later: sequence numbers
    /// of different logs have nothing to do with each other.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Adds `event`, whose sequence number it sets, and wakes those who follow. Takes a lock that
    /// is held only for copying pointers; the oldest event gives way.
    pub fn push(&self, mut event: Event) {
        let seq = {
            let mut kept = self.lock();
            event.seq = kept.back().map_or(1, |last| last.seq.saturating_add(1));
            let seq = event.seq;
            if kept.len() >= self.most {
                kept.pop_front();
            }
            kept.push_back(Arc::new(event));
            seq
        };
        // Two writers may come here in either order.
        self.latest.send_if_modified(|latest| {
            let newer = seq > *latest;
            *latest = seq.max(*latest);
            newer
        });
    }

    /// At most `limit` events after the one numbered `after`.
    #[must_use]
    pub fn after(&self, after: u64, limit: usize) -> Page {
        let kept = self.lock();
        let oldest = kept.front().map_or(after.saturating_add(1), |event| event.seq);
        let skipped = after.saturating_add(1).saturating_sub(oldest);
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        Page {
            missed: oldest.saturating_sub(after.saturating_add(1)),
            events: kept.iter().skip(skipped).take(limit).cloned().collect(),
        }
    }

    /// Tells of new events: its value is the number of the latest.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.latest.subscribe()
    }

    /// The events. A writer that panicked cannot have left them half changed.
    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Event>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str) -> Event {
        Event { kind: kind.to_owned(), ..Event::default() }
    }

    fn numbers(page: &Page) -> Vec<u64> {
        page.events.iter().map(|event| event.seq).collect()
    }

    #[test]
    fn pages_follow_each_other() {
        let log = EventLog::new();
        assert_eq!(log.after(0, 10).missed, 0);
        for _ in 0..5 {
            log.push(event("leader"));
        }
        assert_eq!(numbers(&log.after(0, 2)), [1, 2]);
        assert_eq!(numbers(&log.after(2, 10)), [3, 4, 5]);
        assert_eq!(log.after(2, 10).missed, 0);
        assert!(log.after(5, 10).events.is_empty());
        assert!(log.after(u64::MAX, 10).events.is_empty());
    }

    #[test]
    fn a_slow_reader_learns_how_much_it_missed() {
        let log = EventLog::new();
        for _ in 0..KEPT + 10 {
            log.push(event("leader"));
        }
        let page = log.after(3, KEPT * 2);
        assert_eq!((page.missed, page.events.len()), (7, KEPT));
        assert_eq!(page.events[0].seq, 11);

        let log = EventLog::for_addresses(10);
        for _ in 0..KEPT * 2 {
            log.push(event("leader"));
        }
        assert_eq!(log.after(0, usize::MAX).events.len(), KEPT + 30);
    }

    #[tokio::test]
    async fn followers_are_woken() {
        let log = EventLog::new();
        let mut follower = log.follow();
        log.push(event("leader"));
        follower.changed().await.unwrap();
        assert_eq!(*follower.borrow_and_update(), 1);
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(rfc3339(1_700_000_000_123_456_789), "2023-11-14T22:13:20.123456Z");
        assert!(rfc3339(u64::MAX).starts_with("2554-07-21T"));
    }

    #[test]
    fn one_line_for_people_and_no_nulls_for_programs() {
        let event = Event {
            seq: 7,
            time: rfc3339(0),
            group: "web".to_owned(),
            address: Some([10, 77, 0, 101].into()),
            from: Some([10, 77, 0, 1].into()),
            to: Some([10, 77, 0, 2].into()),
            decided_by: Some([10, 77, 0, 2].into()),
            epoch: Some(8),
            reason: Some("host-down".to_owned()),
            took_ms: Some(3.1),
            phases: phases(&[("script", 2.6), ("configure", 0.4), ("open", 0.1)]),
            ..event("acquired")
        };
        assert_eq!(
            event.to_string(),
            "1970-01-01T00:00:00.000000Z web acquired 10.77.0.101 from 10.77.0.1 to 10.77.0.2 \
             epoch 8, decided by 10.77.0.2 because its holder fell silent (host-down), in 3.1 ms \
             (script 2.6, configure 0.4, open 0.1)"
        );
        let json = serde_json::to_string(&event).unwrap();
        let in_order = r#""phases":{"script":2.6,"configure":0.4,"open":0.1}"#;
        assert!(json.contains(r#""epoch":8"#) && json.contains(in_order), "{json}");
        assert!(!json.contains("detail") && !json.contains("failed_in"), "{json}");
        assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event);
        let bare = serde_json::to_string(&Event::default()).unwrap();
        assert_eq!(bare, r#"{"seq":0,"time":"","group":"","kind":""}"#);
    }

    fn phases(times: &[(&str, f64)]) -> PhaseTimes {
        PhaseTimes(times.iter().map(|(phase, ms)| ((*phase).to_owned(), *ms)).collect())
    }

    #[test]
    fn what_failed_says_where_and_what_is_about_a_host_names_it() {
        let failed = Event {
            time: "T".to_owned(),
            group: "web".to_owned(),
            address: Some([10, 77, 0, 101].into()),
            to: Some([10, 77, 0, 2].into()),
            took_ms: Some(10_000.5),
            phases: phases(&[("configure", 0.4), ("script", 10_000.1)]),
            failed_in: Some("script".to_owned()),
            detail: Some("exit status: 1".to_owned()),
            ..event("acquire-failed")
        };
        assert_eq!(
            failed.to_string(),
            "T web acquire-failed 10.77.0.101 to 10.77.0.2, in its phase script after 10000.5 ms \
             (configure 0.4, script 10000.1): exit status: 1"
        );
        let json = serde_json::to_string(&failed).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), failed);
        let down = Event {
            address: None,
            took_ms: Some(351.0),
            phases: phases(&[("silence", 351.0)]),
            failed_in: None,
            detail: None,
            kind: "host-down".to_owned(),
            ..failed
        };
        assert_eq!(down.to_string(), "T web host-down 10.77.0.2, in 351.0 ms (silence 351.0)");
    }

    // A word of a later version stands as it is.
    #[test]
    fn reasons_are_told_in_words() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_word(reason.word()), Some(reason));
            let known = Event { reason: Some(reason.word().to_owned()), ..event("released") };
            let words = format!(" because {} ({})", reason.explained(), reason.word());
            assert!(known.to_string().ends_with(&words), "{known}");
        }
        let later = Event { reason: Some("tide".to_owned()), ..event("released") };
        assert!(later.to_string().ends_with("released (tide)"), "{later}");
    }
}
