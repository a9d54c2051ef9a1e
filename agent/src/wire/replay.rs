//! Which messages of one host were seen: a sliding window over its sequence numbers, as in
//! RFC 4303, 3.4.3.

/// How many sequence numbers back a message can still be told from a replay.
const WINDOW: u64 = 64;

/// What a sequence number is to the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The highest so far, or the first of a higher boot.
    Fresh,
    /// Within the window, not seen, older than the highest.
    Late,
    /// Within the window and seen.
    Duplicate,
    /// Before the window.
    Replayed,
    /// Of a lower boot.
    OldBoot,
}

/// The sequence numbers of one host that were seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    boot: u64,
    highest: u64,
    /// Bit i: `highest - i` was seen.
    seen: u64,
}

impl Window {
    /// The window after the first message of a host.
    pub(super) const fn new(boot: u64, sequence: u64) -> Self {
        Self { boot, highest: sequence, seen: 1 }
    }

    /// What this message would be; changes nothing.
    pub(super) const fn judge(&self, boot: u64, sequence: u64) -> Standing {
        if boot < self.boot {
            return Standing::OldBoot;
        }
        if boot > self.boot || sequence > self.highest {
            return Standing::Fresh;
        }
        match self.highest - sequence {
            back if back >= WINDOW => Standing::Replayed,
            back if self.seen >> back & 1 == 1 => Standing::Duplicate,
            _ => Standing::Late,
        }
    }

    /// Notes that this message was seen.
    pub(super) const fn note(&mut self, boot: u64, sequence: u64) {
        match self.judge(boot, sequence) {
            Standing::Fresh if boot > self.boot => *self = Self::new(boot, sequence),
            Standing::Fresh => {
                let ahead = sequence - self.highest;
                self.seen = if ahead < WINDOW { self.seen << ahead | 1 } else { 1 };
                self.highest = sequence;
            }
            Standing::Late => self.seen |= 1 << (self.highest - sequence),
            Standing::Duplicate | Standing::Replayed | Standing::OldBoot => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn boots_ascend() {
        let mut window = Window::new(5, 100);
        assert_eq!(window.judge(4, 101), Standing::OldBoot);
        assert_eq!(window.judge(6, 1), Standing::Fresh);
        window.note(6, 1);
        assert_eq!(window.judge(6, 1), Standing::Duplicate);
        assert_eq!(window.judge(5, 101), Standing::OldBoot);
    }

    #[test]
    fn the_window_holds_64() {
        let mut window = Window::new(1, 1);
        window.note(1, 64);
        assert_eq!(window.judge(1, 1), Standing::Duplicate);
        assert_eq!(window.judge(1, 2), Standing::Late);
        window.note(1, 65);
        assert_eq!(window.judge(1, 1), Standing::Replayed);
        assert_eq!(window.judge(1, 2), Standing::Late);
        window.note(1, 2);
        assert_eq!(window.judge(1, 2), Standing::Duplicate);
        window.note(1, u64::MAX);
        assert_eq!(window.judge(1, 65), Standing::Replayed);
        assert_eq!(window.judge(1, u64::MAX), Standing::Duplicate);
        assert_eq!(window.judge(1, u64::MAX - 63), Standing::Late);
        assert_eq!(window.judge(1, u64::MAX - 64), Standing::Replayed);
    }

    /// Against a model that remembers everything, on sequences that wander.
    #[test]
    fn agrees_with_a_set_of_all_that_was_seen() {
        let mut random = super::super::tests::Random(7);
        let mut seen = BTreeSet::from([1000_u64]);
        let mut window = Window::new(1, 1000);
        for _ in 0..100_000 {
            let highest = *seen.last().unwrap();
            let sequence = (highest + random.below(10)).saturating_sub(random.below(90)).max(1);
            let expected = if sequence > highest {
                Standing::Fresh
            } else if highest - sequence >= WINDOW {
                Standing::Replayed
            } else if seen.contains(&sequence) {
                Standing::Duplicate
            } else {
                Standing::Late
            };
            assert_eq!(window.judge(1, sequence), expected, "{sequence} after {highest}");
            window.note(1, sequence);
            if expected != Standing::Replayed {
                seen.insert(sequence);
            }
        }
    }
}
