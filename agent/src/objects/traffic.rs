//! Load object: traffic of the service addresses, from cumulative counters.

use std::collections::BTreeMap;
use std::net::IpAddr;

use rais_common::maps;
use rais_common::time::Time;

use super::LoadObject;
use crate::config::checked::TrafficUnit;

/// What was counted for each service address of a group since the host took it.
pub type Counted = BTreeMap<IpAddr, maps::Traffic>;

/// Reads the counters.
pub trait ReadTraffic: Send + 'static {
    /// The counters now. Called once a second; must not wait.
    ///
    /// # Errors
    /// In words.
    fn read(&mut self) -> Result<Counted, String>;
}

impl<F> ReadTraffic for F
where
    F: FnMut() -> Result<Counted, String> + Send + 'static,
{
    fn read(&mut self) -> Result<Counted, String> {
        self()
    }
}

/// The rate over the time since the last sample, all addresses together; 0 at the first sample.
/// Each address is compared with itself: one that left with all it had counted is no sign that
/// the others have less to do.
pub struct Traffic<R> {
    counters: R,
    unit: TrafficUnit,
    capacity: u32,
    last: Option<(Time, BTreeMap<IpAddr, u64>)>,
}

impl<R: ReadTraffic> Traffic<R> {
    /// Measures in this unit a second. `capacity` is what counts as full, in the same unit.
    pub const fn new(counters: R, unit: TrafficUnit, capacity: u32) -> Self {
        Self { counters, unit, capacity, last: None }
    }

    const fn pick(&self, traffic: maps::Traffic) -> u64 {
        match self.unit {
            TrafficUnit::Bytes => traffic.bytes,
            TrafficUnit::Packets => traffic.packets,
            TrafficUnit::Connections => traffic.connections,
        }
    }
}

impl<R: ReadTraffic> LoadObject for Traffic<R> {
    fn sample(&mut self, now: Time) -> Result<(u32, u32), String> {
        let counted = self.counters.read().map_err(|e| format!("traffic: {e}"))?;
        let counts: BTreeMap<IpAddr, u64> =
            counted.into_iter().map(|(address, traffic)| (address, self.pick(traffic))).collect();
        let load = self.last.as_ref().map_or(0, |(then, before)| {
            let more = counts.iter().map(|(address, &count)| {
                // Less than before: it left and came back, and began anew.
                let before = before.get(address).filter(|&&before| before <= count);
                count - before.copied().unwrap_or(0)
            });
            rate(more.fold(0, u64::saturating_add), now.since(*then).as_nanos())
        });
        self.last = Some((now, counts));
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

    fn address(n: u8) -> IpAddr {
        IpAddr::from([10, 77, 0, n])
    }

    /// The loads at these times for these counters.
    fn loads(unit: TrafficUnit, samples: &[(u64, u64)]) -> Vec<u32> {
        let counts: Vec<u64> = samples.iter().map(|(_, count)| *count).collect();
        let mut counts = counts.into_iter();
        let read = move || {
            let count = counts.next().ok_or_else(String::new)?;
            Ok(Counted::from([(address(1), traffic(count))]))
        };
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
    fn a_counter_that_began_anew() {
        let samples = [(0, 1000), (1000, 10), (2000, 30)];
        assert_eq!(loads(TrafficUnit::Packets, &samples), [0, 10, 20]);
    }

    // Address 1 leaves with all it counted, and comes back → the rate is that of what is there.
    #[test]
    fn addresses_come_and_go() {
        let counted = [
            vec![(1, 5_000), (2, 100)],
            vec![(1, 5_300), (2, 200)],
            vec![(2, 300)],
            vec![(1, 70), (2, 400)],
        ];
        let mut counted = counted.into_iter();
        let read = move || {
            let now = counted.next().ok_or_else(String::new)?;
            Ok(now.into_iter().map(|(n, count)| (address(n), traffic(count))).collect())
        };
        let mut object = Traffic::new(read, TrafficUnit::Packets, 500);
        let at = |second| Time::ZERO + Duration::from_secs(second);
        let loads: Vec<u32> = (0..4).map(|n| object.sample(at(n)).unwrap().0).collect();
        assert_eq!(loads, [0, 400, 100, 170]);
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
        let mut object =
            Traffic::new(|| Err::<Counted, _>("gone".to_owned()), TrafficUnit::Bytes, 1);
        assert_eq!(object.sample(Time::ZERO), Err("traffic: gone".to_owned()));
    }
}
