//! Why datagrams are not handed on, and how often.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::group::HostId;

/// Why a datagram was not handed on. None of them changes anything but counters.
///
/// In a sealed group the reasons from [`Malformed`](Self::Malformed) on are given only after the
/// seal was verified, apart from headers that break the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Shorter than header and seal.
    #[error("truncated datagram")]
    Truncated,
    /// Longer than [`MAX_MESSAGE`](super::MAX_MESSAGE).
    #[error("datagram too long")]
    Oversized,
    /// Not a message of this protocol.
    #[error("not a rais message")]
    Magic,
    /// Of another version of the protocol.
    #[error("another wire version")]
    Version,
    /// Of another group.
    #[error("another group's message")]
    Group,
    /// In clear, while this host has keys for the group.
    #[error("not sealed")]
    Unsealed,
    /// Sealed, while this host has no key for the group.
    #[error("sealed, and there is no key here")]
    Sealed,
    /// The seal fits no key of the group: forged, damaged, or a key that this host lacks.
    #[error("forged, or sealed with an unknown key")]
    Forged,
    /// Breaks a rule of the format.
    #[error("malformed message")]
    Malformed,
    /// Seen already: the copy that came over another control network.
    #[error("duplicate")]
    Duplicate(
        /// The host that sent it.
        HostId,
    ),
    /// Not seen, but overtaken by a later message of the same host.
    #[error("overtaken by a later message")]
    Late(
        /// The host that sent it.
        HostId,
    ),
    /// So far behind the host's latest message that no network can have held it.
    #[error("replayed")]
    Replayed,
    /// Of an earlier start of the host.
    #[error("from an earlier start of its sender")]
    OldBoot,
    /// This host's own message.
    #[error("this host's own message")]
    Own,
    /// Another host, or an earlier start of this one, uses this host's id.
    #[error("another host has this host's id")]
    IdClash,
    /// From a host that was not heard before, while the table of hosts is full.
    #[error("too many hosts")]
    TooManySources,
}

/// Words for the reasons, in the order of [`Refusal::index`].
const WORDS: [&str; 16] = [
    "truncated",
    "oversized",
    "magic",
    "version",
    "group",
    "unsealed",
    "sealed",
    "forged",
    "malformed",
    "duplicate",
    "late",
    "replayed",
    "old-boot",
    "own",
    "id-clash",
    "too-many-sources",
];

impl Refusal {
    const fn index(self) -> usize {
        match self {
            Self::Truncated => 0,
            Self::Oversized => 1,
            Self::Magic => 2,
            Self::Version => 3,
            Self::Group => 4,
            Self::Unsealed => 5,
            Self::Sealed => 6,
            Self::Forged => 7,
            Self::Malformed => 8,
            Self::Duplicate(_) => 9,
            Self::Late(_) => 10,
            Self::Replayed => 11,
            Self::OldBoot => 12,
            Self::Own => 13,
            Self::IdClash => 14,
            Self::TooManySources => 15,
        }
    }

    /// The word for it in status and metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        WORDS.get(self.index()).copied().unwrap_or_default()
    }
}

/// How many datagrams were refused, by reason. May be read while another thread counts.
#[derive(Debug, Default)]
pub struct Refusals([AtomicU64; WORDS.len()]);

impl Refusals {
    /// Counts one.
    pub fn count(&self, reason: Refusal) {
        if let Some(counter) = self.0.get(reason.index()) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many were refused for this reason. The host of a duplicate or late message does not
    /// matter.
    #[must_use]
    pub fn get(&self, reason: Refusal) -> u64 {
        self.0.get(reason.index()).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    /// Every reason's word and count, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        WORDS.iter().zip(&self.0).map(|(word, counter)| (*word, counter.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_counter_and_a_word_of_its_own() {
        let source = HostId(std::net::Ipv4Addr::LOCALHOST.into());
        let all = [
            Refusal::Truncated,
            Refusal::Oversized,
            Refusal::Magic,
            Refusal::Version,
            Refusal::Group,
            Refusal::Unsealed,
            Refusal::Sealed,
            Refusal::Forged,
            Refusal::Malformed,
            Refusal::Duplicate(source),
            Refusal::Late(source),
            Refusal::Replayed,
            Refusal::OldBoot,
            Refusal::Own,
            Refusal::IdClash,
            Refusal::TooManySources,
        ];
        let refusals = Refusals::default();
        for (times, reason) in all.iter().enumerate() {
            for _ in 0..times {
                refusals.count(*reason);
            }
        }
        let counted: Vec<_> = refusals.iter().collect();
        assert_eq!(counted.len(), all.len());
        for (times, (reason, (word, count))) in all.iter().zip(counted).enumerate() {
            assert_eq!((reason.word(), refusals.get(*reason)), (word, count));
            assert_eq!(count, times as u64);
        }
    }
}
