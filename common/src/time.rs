//! The one notion of time: nanoseconds since boot.

use core::fmt;
use core::ops::Add;
use core::time::Duration;

/// A point in time: nanoseconds of `CLOCK_BOOTTIME`, the clock that `bpf_ktime_get_boot_ns` reads
/// in the XDP program. Unlike `CLOCK_MONOTONIC` it goes on while the machine is suspended, so a
/// lease also lapses in a machine that slept.
///
/// Arithmetic saturates: a time that cannot be represented is the end of time, never a panic.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "user", derive(serde::Serialize, serde::Deserialize))]
pub struct Time(u64);

impl Time {
    /// The moment of boot, before every other time.
    pub const ZERO: Self = Self(0);
    /// Later than every time a clock will show.
    pub const END: Self = Self(u64::MAX);

    /// The time `nanos` nanoseconds after boot.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since boot.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero where it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The time `span` earlier, not before boot.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(span)))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}s", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

/// The whole span in nanoseconds; spans beyond 584 years count as that long.
fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
