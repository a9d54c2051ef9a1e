//! The only reader of clocks.

use std::time::Duration;

use rais_common::time::Time;

/// Now, on the clock that leases are measured on (`CLOCK_BOOTTIME`). Reading it does not fail on
/// Linux; a failure would read as the end of time, at which every lease has lapsed.
#[must_use]
pub fn now() -> Time {
    read(nix::time::ClockId::CLOCK_BOOTTIME).map_or(Time::END, Time::from_nanos)
}

/// Nanoseconds since 1970, for people, boot epochs and the kernel's receive timestamps. It may
/// jump.
#[must_use]
pub fn wall_nanos() -> u64 {
    read(nix::time::ClockId::CLOCK_REALTIME).unwrap_or(0)
}

/// Nanoseconds that this thread has had on a core, for measurements.
#[must_use]
pub fn on_core_nanos() -> u64 {
    read(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap_or(0)
}

/// Time since the machine booted without the time it was suspended (`CLOCK_MONOTONIC`): what the
/// service manager wants to be told.
#[must_use]
pub fn monotonic() -> Duration {
    Duration::from_nanos(read(nix::time::ClockId::CLOCK_MONOTONIC).unwrap_or(0))
}

/// The clock in nanoseconds, where it can be read and is not negative.
fn read(clock: nix::time::ClockId) -> Option<u64> {
    let t = clock.now().ok()?;
    let seconds = u64::try_from(t.tv_sec()).ok()?;
    let nanos = u64::try_from(t.tv_nsec()).ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
}
