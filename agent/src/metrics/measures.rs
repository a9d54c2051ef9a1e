//! What one group's threads count and measure as they go.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Histogram;
use crate::events::Event;
use crate::group::Reason;

/// Kinds of events. They are on the page from the beginning: what appears only when it happens
/// first is no rise to a monitoring system.
const KINDS: [&str; 22] = [
    "acquire-failed",
    "acquire-ordered",
    "acquired",
    "boot-raised",
    "cannot-assign",
    "conflict",
    "host-down",
    "host-left",
    "host-up",
    "leader",
    "lease-lapsed",
    "no-leader",
    "preferred-twice",
    "quiesced",
    "quorum-lost",
    "quorum-met",
    "release-failed",
    "release-ordered",
    "released",
    "resumed",
    "test-failed",
    "test-passed",
];

/// Kinds of events in which an address comes to this host or goes, each for a reason.
const MOVES: [&str; 2] = ["acquired", "released"];

/// What one group's threads count and measure.
#[derive(Debug)]
pub struct Measures {
    /// How late heartbeats left: from when they were due. Those sent at once because something
    /// changed are not among them.
    pub lateness: Histogram,
    sent: AtomicU64,
    missed: AtomicU64,
    turns: AtomicU64,
    reports_dropped: AtomicU64,
    notices_dropped: AtomicU64,
    /// Written by the task that writes events down, not by the driver.
    events: Mutex<Events>,
}

/// What the events add up to.
#[derive(Debug)]
struct Events {
    kinds: BTreeMap<String, u64>,
    moves: BTreeMap<(String, String), u64>,
    changes: BTreeMap<String, Arc<Histogram>>,
    phases: BTreeMap<(String, String), Arc<Histogram>>,
}

impl Default for Measures {
    fn default() -> Self {
        let reasons = |kind: &str| {
            let kind = kind.to_owned();
            Reason::ALL.map(|reason| ((kind.clone(), reason.word().to_owned()), 0))
        };
        let events = Events {
            kinds: KINDS.iter().map(|kind| ((*kind).to_owned(), 0)).collect(),
            moves: MOVES.into_iter().flat_map(reasons).collect(),
            changes: BTreeMap::new(),
            phases: BTreeMap::new(),
        };
        Self {
            lateness: Histogram::default(),
            sent: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            turns: AtomicU64::new(0),
            reports_dropped: AtomicU64::new(0),
            notices_dropped: AtomicU64::new(0),
            events: Mutex::new(events),
        }
    }
}

impl Measures {
    /// A heartbeat left, and the lease was renewed.
    pub fn heartbeat_sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// A heartbeat left on no interface or too late, or the lease could not be renewed.
    pub fn heartbeat_missed(&self) {
        self.missed.fetch_add(1, Ordering::Relaxed);
    }

    /// The driver goes on.
    pub fn turn(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    /// Turns of the driver so far. It makes at least one in
    /// [`TURN`](crate::monitor::driver::TURN).
    #[must_use]
    pub fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// A report found no room.
    pub fn report_dropped(&self) {
        self.reports_dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// A notice script was left out.
    pub fn notice_dropped(&self) {
        self.notices_dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Heartbeats sent, and those that were not.
    #[must_use]
    pub fn heartbeats(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.missed.load(Ordering::Relaxed))
    }

    /// What found no room, by queue.
    #[must_use]
    pub fn dropped(&self) -> [(&'static str, u64); 2] {
        [
            ("reports", self.reports_dropped.load(Ordering::Relaxed)),
            ("notices", self.notices_dropped.load(Ordering::Relaxed)),
        ]
    }

    /// Counts an event, with its phases.
    pub fn event(&self, event: &Event) {
        let mut events = self.lock();
        *events.kinds.entry(event.kind.clone()).or_default() += 1;
        if let (true, Some(reason)) = (MOVES.contains(&event.kind.as_str()), &event.reason) {
            *events.moves.entry((event.kind.clone(), reason.clone())).or_default() += 1;
        }
        if let Some(took) = event.took_ms {
            events.changes.entry(event.kind.clone()).or_default().observe(span(took));
        }
        for (phase, took) in &event.phases.0 {
            let of = (event.kind.clone(), phase.clone());
            events.phases.entry(of).or_default().observe(span(*took));
        }
    }

    /// Events by kind.
    pub(super) fn kinds(&self) -> BTreeMap<String, u64> {
        self.lock().kinds.clone()
    }

    /// Addresses acquired and released, by kind and reason.
    pub(super) fn moves(&self) -> BTreeMap<(String, String), u64> {
        self.lock().moves.clone()
    }

    /// How long changes took, by kind.
    pub(super) fn changes(&self) -> BTreeMap<String, Arc<Histogram>> {
        self.lock().changes.clone()
    }

    /// How long their phases took, by kind and phase.
    pub(super) fn phases(&self) -> BTreeMap<(String, String), Arc<Histogram>> {
        self.lock().phases.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Events> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// So many milliseconds.
fn span(millis: f64) -> Duration {
    Duration::try_from_secs_f64(millis / 1e3).unwrap_or_default()
}
