//! Load object: traffic of the service addresses, from cumulative counters.

use rais_common::maps;
use rais_common::time::Time;

use super::LoadObject;
use crate::config::checked::TrafficUnit;

/// Reads what was counted since some beginning, all service addresses of the group together. An
/// address that leaves takes its share with it, so the sum may go back.
pub trait ReadTraffic: Send + 'static {
    /// The counters now. Called once a second; must not wait.
    ///
    /// # Errors
    /// In words.
    fn read(&mut self) -> Result<maps::Traffic, String>;
}

impl<F> ReadTraffic for F
where
    F: FnMut() -> Result<maps::Traffic, String> + Send + 'static,
{
    fn read(&mut self) -> Result<maps::Traffic, String> {
        self()
    }
}

/// The rate over the time since the last sample. It is 0 at the first sample, and where the
/// counter went back.
pub struct Traffic<R> {
    counters: R,
    unit: TrafficUnit,
    capacity: u32,
    last: Option<(Time, u64)>,
}

impl<R: ReadTraffic> Traffic<R> {
    /// Measures in this unit a second. `capacity` is what counts as full, in the same unit.
    pub const fn new(counters: R, unit: TrafficUnit, capacity: u32) -> Self {
        Self { counters, unit, capacity, last: None }
    }
}

impl<R: ReadTraffic> LoadObject for Traffic<R> {
    fn sample(&mut self, now: Time) -> Result<(u32, u32), String> {
        let traffic = self.counters.read().map_err(|e| format!("traffic: {e}"))?;
        let count = match self.unit {
            TrafficUnit::Bytes => traffic.bytes,
            TrafficUnit::Packets => traffic.packets,
            TrafficUnit::Connections => traffic.connections,
        };
        let load = self.last.map_or(0, |(then, before)| {
            rate(count.saturating_sub(before), now.since(then).as_nanos())
        });
        self.last = Some((now, count));
        Ok((load, self.capacity))
    }
}

/// So many in so many nanoseconds, a second; as much as can be said where it is more than that.
fn rate(count: u64, nanos: u128) -> u32 {
    let second = u128::from(count).saturating_mul(1_000_000_000);
    second.checked_div(nanos).map_or(0, |rate| u32::try_from(rate).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn traffic(count: u64) -> maps::Traffic {
        maps::Traffic { packets: count, bytes: count * 1000, connections: count / 10 }
    }

    /// The loads at these times for these counters.
    fn loads(unit: TrafficUnit, samples: &[(u64, u64)]) -> Vec<u32> {
        let counts: Vec<u64> = samples.iter().map(|(_, count)| *count).collect();
        let mut counts = counts.into_iter();
        let read = move || counts.next().map(traffic).ok_or_else(String::new);
        let mut object = Traffic::new(read, unit, 500);
        samples
            .iter()
            .map(|(millis, _)| {
                let now = Time::ZERO + Duration::from_millis(*millis);
                let (load, capacity) = object.sample(now).unwrap();
                assert_eq!(capacity, 500);
                load
            })
            .collect()
    }

    #[test]
    fn rate_is_a_difference_over_the_time_it_took() {
        let samples = [(5000, 70), (6000, 170), (6500, 220), (8500, 220)];
        assert_eq!(loads(TrafficUnit::Packets, &samples), [0, 100, 100, 0]);
        assert_eq!(loads(TrafficUnit::Bytes, &samples), [0, 100_000, 100_000, 0]);
        assert_eq!(loads(TrafficUnit::Connections, &samples), [0, 10, 10, 0]);
    }

    #[test]
    fn a_counter_that_went_back_is_no_traffic() {
        let samples = [(0, 1000), (1000, 10), (2000, 30)];
        assert_eq!(loads(TrafficUnit::Packets, &samples), [0, 0, 20]);
    }

    #[test]
    fn extremes() {
        assert_eq!(rate(1, 0), 0, "no time has passed");
        assert_eq!(rate(u64::MAX, 1), u32::MAX);
        let samples = [(0, 0), (1, u64::MAX / 1000)];
        assert_eq!(loads(TrafficUnit::Bytes, &samples), [0, u32::MAX]);
    }

    #[test]
    fn a_reader_that_fails_is_told() {
        let mut object = Traffic::new(|| Err("gone".to_owned()), TrafficUnit::Bytes, 1);
        assert_eq!(object.sample(Time::ZERO), Err("traffic: gone".to_owned()));
    }
}
