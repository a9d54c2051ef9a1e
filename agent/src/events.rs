//! The record of what happened: who moved what, when, why, and how long it took.

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// How many records an [`EventLog`] keeps.
pub const KEPT: usize = 4_096;

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
    /// How long it took, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<f64>,
}

impl fmt::Display for Event {
    /// One line for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.time, self.group, self.kind)?;
        if let Some(address) = self.address {
            write!(f, " {address}")?;
        }
        for (word, value) in [("from", self.from), ("to", self.to), ("by", self.decided_by)] {
            if let Some(host) = value {
                write!(f, " {word} {host}")?;
            }
        }
        if let Some(epoch) = self.epoch {
            write!(f, " epoch {epoch}")?;
        }
        if let Some(reason) = &self.reason {
            write!(f, " ({reason})")?;
        }
        if let Some(took) = self.took_ms {
            write!(f, " in {took:.1} ms")?;
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

/// The last [`KEPT`] events. Writers never wait for readers: a reader that is too slow misses
/// events and is told how many.
#[derive(Debug)]
pub struct EventLog {
    kept: Mutex<VecDeque<Arc<Event>>>,
    /// Sequence number of the latest event.
    latest: watch::Sender<u64>,
}

impl Default for EventLog {
    fn default() -> Self {
        Self { kept: Mutex::default(), latest: watch::Sender::new(0) }
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
    /// An empty log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `event`, whose sequence number it sets, and wakes those who follow. Takes a lock that
    /// is held only for copying pointers; the oldest event gives way.
    pub fn push(&self, mut event: Event) {
        let seq = {
            let mut kept = self.lock();
            event.seq = kept.back().map_or(1, |last| last.seq.saturating_add(1));
            let seq = event.seq;
            if kept.len() >= KEPT {
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
            reason: Some("unserved".to_owned()),
            took_ms: Some(1.25),
            ..event("acquired")
        };
        assert_eq!(
            event.to_string(),
            "1970-01-01T00:00:00.000000Z web acquired 10.77.0.101 from 10.77.0.1 to 10.77.0.2 \
             by 10.77.0.2 epoch 8 (unserved) in 1.2 ms"
        );
        let json = serde_json::to_string(&event).unwrap();
        assert!(json.contains(r#""epoch":8"#) && !json.contains("detail"), "{json}");
        assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event);
    }
}
