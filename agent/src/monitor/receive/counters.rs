//! What the receive room has seen, readable while it works.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::group::Body;
use crate::wire::Refusals;

/// Counters of one group's control sockets, all interfaces together.
#[derive(Debug, Default)]
pub struct ReceiveCounters {
    /// Datagrams that were refused, by reason.
    pub refusals: Refusals,
    infos: AtomicU64,
    acquires: AtomicU64,
    releases: AtomicU64,
    moves: AtomicU64,
    parts: AtomicU64,
    dropped: AtomicU64,
    overflows: AtomicU64,
    errors: AtomicU64,
}

impl ReceiveCounters {
    /// Messages handed on, by type.
    #[must_use]
    pub fn messages(&self) -> [(&'static str, u64); 5] {
        [
            ("info", self.infos.load(Ordering::Relaxed)),
            ("acquire", self.acquires.load(Ordering::Relaxed)),
            ("release", self.releases.load(Ordering::Relaxed)),
            ("move", self.moves.load(Ordering::Relaxed)),
            ("part", self.parts.load(Ordering::Relaxed)),
        ]
    }

    /// Messages among them that were lost because the driver's inbox was full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Datagrams that were lost because a socket's receive buffer was full. Known once a later
    /// one is read.
    #[must_use]
    pub fn overflows(&self) -> u64 {
        self.overflows.load(Ordering::Relaxed)
    }

    /// Times a socket failed to be read.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    pub(super) fn count(&self, body: &Body) {
        let counter = match body {
            Body::Info(_) => &self.infos,
            Body::Acquire(_) => &self.acquires,
            Body::Release(_) => &self.releases,
            Body::Move(_) | Body::MoveRefused(_) => &self.moves,
            Body::Part(_) | Body::Ask(_) => &self.parts,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_overflow(&self, datagrams: u32) {
        self.overflows.fetch_add(datagrams.into(), Ordering::Relaxed);
    }

    pub(super) fn count_error(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }
}
