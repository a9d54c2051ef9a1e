//! When a message arrived, on the clock that leases are measured on.
//!
//! The kernel stamps datagrams with the wall clock, which may be set at any moment. A message must
//! never look older than it is: its sender would be taken for dead while its lease still lives.
//! Looking younger only delays.

use rais_common::time::Time;

use crate::clock;

/// Both clocks at about the same moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    /// Nanoseconds since 1970.
    pub(super) wall: u64,
    /// Since boot.
    pub(super) boot: Time,
}

impl Clocks {
    /// Now. The wall clock is read first: should this thread lose the processor in between, the
    /// message looks younger, not older.
    pub(super) fn read() -> Self {
        let wall = clock::wall_nanos();
        Self { wall, boot: clock::now() }
    }

    /// How far the wall clock is ahead. The times of this century fit.
    fn ahead(self) -> i128 {
        i128::from(self.wall) - i128::from(self.boot.as_nanos())
    }
}

/// When a datagram arrived that the kernel stamped with `stamp`, nanoseconds since 1970, and that
/// was read at `now` from a socket that was empty after `empty`.
///
/// If the wall clock was set between the two, the stamp may be of before or after that; of the two
/// answers the later one is right or too late. In any case the datagram arrived after the socket
/// was seen empty, and not after now.
pub(super) fn time(stamp: u64, empty: Clocks, now: Clocks) -> Time {
    let ahead = empty.ahead().min(now.ahead());
    let boot = i128::from(stamp) - ahead;
    let arrived = Time::from_nanos(u64::try_from(boot.max(0)).unwrap_or(u64::MAX));
    arrived.max(empty.boot).min(now.boot)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const YEAR_2026: u64 = 1_770_000_000 * SECOND;

    /// Both clocks `boot` seconds after boot, the wall clock wrong by `wrong` seconds.
    fn clocks(boot: u64, wrong: i64) -> Clocks {
        let wall = (YEAR_2026 + boot * SECOND).saturating_add_signed(wrong * 1_000_000_000);
        Clocks { wall, boot: seconds(boot) }
    }

    fn seconds(seconds: u64) -> Time {
        Time::from_nanos(seconds * SECOND)
    }

    #[test]
    fn with_a_steady_clock_the_stamp_counts() {
        let stamp = clocks(104, 0).wall;
        assert_eq!(time(stamp, clocks(100, 0), clocks(110, 0)), seconds(104));
    }

    #[test]
    fn a_clock_set_before_or_after_the_arrival_makes_nothing_look_older() {
        for wrong in [-10_000_000, -1000, -5, 5, 1000, 10_000_000] {
            let (empty, now) = (clocks(100, 0), clocks(110, wrong));
            for stamp in [clocks(104, 0).wall, clocks(104, wrong).wall] {
                let at = time(stamp, empty, now);
                assert!(at >= seconds(104), "{at:?} with a clock wrong by {wrong} s");
                assert!(at <= seconds(110), "{at:?} with a clock wrong by {wrong} s");
            }
        }
    }

    #[test]
    fn a_clock_set_forward_after_the_arrival_does_not_age_it() {
        let stamp = clocks(104, 0).wall;
        assert_eq!(time(stamp, clocks(100, 0), clocks(110, 3600)), seconds(104));
    }

    #[test]
    fn nothing_arrived_before_the_socket_was_empty_or_after_now() {
        let (empty, now) = (clocks(100, 0), clocks(110, 0));
        assert_eq!(time(0, empty, now), seconds(100));
        assert_eq!(time(clocks(99, 0).wall, empty, now), seconds(100));
        assert_eq!(time(clocks(111, 0).wall, empty, now), seconds(110));
        assert_eq!(time(u64::MAX, empty, now), seconds(110));
    }

    #[test]
    fn a_wall_clock_before_1970_and_boot_is_no_trouble() {
        let (empty, now) =
            (Clocks { wall: 0, ..clocks(100, 0) }, Clocks { wall: 0, ..clocks(110, 0) });
        assert_eq!(time(0, empty, now), seconds(110));
    }
}
