//! When the neighbours are told again where an address is.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use rais_common::time::Time;

/// The pauses between announcements of an address, in milliseconds. So close together at first
/// that a neighbour learns of it within two seconds though it, or a switch, loses the first four or
/// lets few through; once after the second in which receivers may ignore a change (Linux
/// `locktime`); then rarely, for those that were out of reach. Heartbeats that are further apart
/// make them longer.
const PAUSES: [u64; 8] = [100, 200, 400, 400, 500, 1_600, 3_200, 6_400];

/// The pause after so many others.
fn pause(before: usize) -> Option<Duration> {
    PAUSES.get(before).map(|&pause| Duration::from_millis(pause))
}

/// When one address is to be announced next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Announcing {
    at: Time,
    /// How often it was announced.
    before: usize,
    /// When it was last.
    last: Option<Time>,
}

/// It decides nothing: groups that differ in it alone are in the same state.
impl Hash for Announcing {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl Announcing {
    /// Not at all.
    pub const NEVER: Self = Self { at: Time::END, before: 0, last: None };

    /// At once and in the usual rhythm, from the beginning. Others that say something else as often
    /// do not make it more frequent than that is.
    pub fn restart(&mut self, now: Time) {
        let soonest = self.last.map_or(now, |last| last + pause(0).unwrap_or_default());
        *self = Self { at: now.max(soonest), before: 0, last: self.last };
    }

    /// Whether it is to be announced now; counts as done then.
    pub fn is_due(&mut self, now: Time) -> bool {
        let due = now >= self.at;
        if due {
            self.at = pause(self.before).map_or(Time::END, |pause| now + pause);
            self.before += 1;
            self.last = Some(now);
        }
        due
    }
}
