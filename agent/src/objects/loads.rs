//! How busy the host is: the fullest of a group's load objects.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rais_common::time::Time;
use tokio::time::MissedTickBehavior;

use super::{Events, LoadObject, Sample};
use crate::clock;
use crate::group::Event;

/// Time between two samples of the load.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// A load object for several groups. Each samples at its own time, the object is sampled once an
/// interval: what it said less than half of one ago is said again. Were it asked by each, what
/// counts since the last sample would count from another group's.
pub(super) struct SharedLoad {
    sampled: Mutex<Sampled>,
}

struct Sampled {
    object: Box<dyn LoadObject>,
    latest: Option<(Time, Sample)>,
}

impl SharedLoad {
    /// Nothing was sampled yet.
    pub(super) fn new(object: Box<dyn LoadObject>) -> Self {
        Self { sampled: Mutex::new(Sampled { object, latest: None }) }
    }
}

impl std::fmt::Debug for SharedLoad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedLoad").finish_non_exhaustive()
    }
}

impl LoadObject for Arc<SharedLoad> {
    fn sample(&mut self, now: Time) -> Sample {
        let mut sampled = self.sampled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, said)) = &sampled.latest
            && now.since(*at) < INTERVAL / 2
        {
            return said.clone();
        }
        let said = sampled.object.sample(now);
        sampled.latest = Some((now, said.clone()));
        said
    }
}

/// Samples the loads for ever.
pub(super) async fn sample(
    mut loads: Vec<Box<dyn LoadObject>>,
    interval: Duration,
    events: Events,
) {
    let mut turns = tokio::time::interval(interval);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = vec![false; loads.len()];
    let mut sent = None;
    loop {
        turns.tick().await;
        let samples: Vec<_> = loads.iter_mut().map(|load| load.sample(clock::now())).collect();
        for (sample, failing) in samples.iter().zip(&mut failing) {
            // Once per occurrence.
            if let Err(e) = sample
                && !*failing
            {
                tracing::warn!("load object: {e}");
            }
            *failing = sample.is_err();
        }
        let fullest = fullest(samples.into_iter().flatten());
        if let Some((load, capacity)) = fullest
            && sent != fullest
        {
            sent = fullest;
            events(Event::Load { load, capacity });
        }
    }
}

/// The pair of load and capacity with the highest utilisation; the first of equals.
pub(super) fn fullest(samples: impl Iterator<Item = (u32, u32)>) -> Option<(u32, u32)> {
    samples.reduce(|first, second| if fuller(second, first) { second } else { first })
}

/// Whether `a` is fuller than `b`. Without capacity is as full as can be.
pub(super) fn fuller(a: (u32, u32), b: (u32, u32)) -> bool {
    match (a.1, b.1) {
        (_, 0) => false,
        (0, _) => true,
        (a_capacity, b_capacity) => {
            u64::from(a.0) * u64::from(b_capacity) > u64::from(b.0) * u64::from(a_capacity)
        }
    }
}
