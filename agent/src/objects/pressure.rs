//! Load object: how much of the time work waits for the CPU, for memory or for a disk.

use rais_common::time::Time;

use super::LoadObject;
use super::proc_file::{self, ReadText};
use crate::config::checked::PressureResource;

/// Thousandths of the time since the last sample in which some task waited for the resource: the
/// kernel's pressure stall information (Documentation/accounting/psi.rst). It is 0 at the first
/// sample, and where the counter went back.
///
/// The total is read, not an average: `avg10` is low for seconds after pressure begins, and high
/// for seconds after it has gone, while addresses are placed by how hosts are now. All load objects
/// measure the last second.
pub struct Pressure {
    read: ReadText,
    file: &'static str,
    capacity: u32,
    last: Option<(Time, u64)>,
}

impl Pressure {
    /// Measures this machine. `capacity` is what counts as full, in thousandths.
    #[must_use]
    pub fn new(resource: PressureResource, capacity: u32) -> Self {
        let file = resource.file();
        Self { read: proc_file::reader(file), file, capacity, last: None }
    }
}

impl LoadObject for Pressure {
    fn sample(&mut self, now: Time) -> Result<(u32, u32), String> {
        let text = (self.read)()?;
        let total = total(&text).ok_or_else(|| format!("{}: no total is in it", self.file))?;
        let load = self.last.map_or(0, |(then, before)| {
            share(total.saturating_sub(before), now.since(then).as_micros())
        });
        self.last = Some((now, total));
        Ok((load, self.capacity))
    }
}

/// Microseconds in which some task waited, since the machine started.
fn total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    line.split_ascii_whitespace().find_map(|word| word.strip_prefix("total="))?.parse().ok()
}

/// Thousandths, at most all of them: the time is not taken at the very moment of the reading.
fn share(waited: u64, micros: u128) -> u32 {
    let thousandths = (u128::from(waited) * 1_000).checked_div(micros).unwrap_or(0);
    u32::try_from(thousandths.min(1_000)).unwrap_or(1_000)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn text(total: u64) -> String {
        format!(
            "some avg10=99.00 avg60=0.73 avg300=2.67 total={total}\n\
             full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"
        )
    }

    #[test]
    fn the_share_of_the_time_since_the_last_sample() {
        // Milliseconds, microseconds waited in all, thousandths.
        let course = [
            (0, 5_000_000, 0),
            (1_000, 5_250_000, 250),
            (3_000, 5_250_000, 0),
            (3_500, 5_750_000, 1_000),
            (4_000, 9_750_000, 1_000),
            (4_000, 9_750_001, 0),
            (5_000, 0, 0),
            (6_000, 1_000, 1),
            (7_000, u64::MAX, 1_000),
        ];
        let mut texts = course.map(|(_, total, _)| text(total)).into_iter();
        let mut pressure = Pressure::new(PressureResource::Io, 400);
        pressure.read = Box::new(move || Ok(texts.next().unwrap()));
        for (millis, total, load) in course {
            let now = Time::ZERO + Duration::from_millis(millis);
            assert_eq!(pressure.sample(now), Ok((load, 400)), "{millis} ms, {total}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_an_error_and_no_load() {
        assert_eq!(total(&text(12)), Some(12));
        for bad in ["", "full total=7", "some avg10=0.00", "some total=x", "some total=-1"] {
            assert_eq!(total(bad), None, "{bad}");
        }
        let mut pressure = Pressure::new(PressureResource::Memory, 1);
        pressure.read = Box::new(|| Ok("nothing".to_owned()));
        let error = pressure.sample(Time::ZERO).unwrap_err();
        assert_eq!(error, "/proc/pressure/memory: no total is in it");
    }
}
