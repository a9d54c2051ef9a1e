//! When two states are the same: where no run that goes on from them can tell them apart.
//!
//! A group compares times with one another and with now, and message numbers of one boot with one
//! another: shifted all together they mean the same. So what is hashed is a time's distance from
//! now, and a message number's distance from the last one of that boot. Both are told from other
//! numbers by their size: times and boots begin where no other number gets, and a message number
//! follows its boot. A distance that lies further back than any deadline counts as that far.

use std::hash::{Hash, Hasher};

use super::host::FIRST_BOOT;
use super::setup::{BEGINNING, LONGEST, SETTLED, UNIT};
use super::world::World;

/// Further back than this nothing makes a difference: the longest pause, and then the longest
/// deadline of the group.
const LONG_AGO: u32 = LONGEST + 2 * SETTLED;

struct Canonical<'a> {
    world: &'a World,
    now: u64,
    /// The last number was this boot.
    boot: Option<u64>,
    sum: u64,
}

impl Canonical<'_> {
    /// The finaliser of `SplitMix64` on what was there and what comes.
    fn word(&mut self, word: u64) {
        let mut z = (self.sum ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.sum = z ^ (z >> 31);
        self.boot = None;
    }

    /// The last number sent under a boot.
    fn last(&self, boot: u64) -> u64 {
        let boot = boot - FIRST_BOOT;
        let host = usize::try_from(boot >> 32).ok().and_then(|host| self.world.hosts.get(host));
        let start = usize::try_from(boot & 0xffff_ffff).unwrap();
        host.and_then(|host| host.sent.get(start)).copied().unwrap_or(0)
    }
}

impl Hasher for Canonical<'_> {
    fn finish(&self) -> u64 {
        self.sum
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.word(n.into());
    }

    fn write_u32(&mut self, n: u32) {
        self.word(n.into());
    }

    fn write_isize(&mut self, n: isize) {
        self.word(n.cast_unsigned() as u64);
    }

    fn write_usize(&mut self, n: usize) {
        self.word(n as u64);
    }

    fn write_u64(&mut self, n: u64) {
        let boots = FIRST_BOOT..FIRST_BOOT << 1;
        let times = BEGINNING..BEGINNING << 2;
        if times.contains(&n) {
            let back = self.now.saturating_sub(n).min(nanos(LONG_AGO));
            self.word(n.saturating_sub(self.now) << 1 | back.reverse_bits());
        } else if boots.contains(&n) {
            self.word(n);
            self.boot = Some(n);
        } else if let Some(boot) = self.boot {
            let last = self.last(boot);
            self.word(last.wrapping_sub(n));
        } else {
            // Seconds that something lasted are bounded as times are; no other number gets there.
            self.word(n.min(UNIT.as_secs() * u64::from(LONG_AGO)));
        }
    }
}

fn nanos(units: u32) -> u64 {
    u64::try_from((UNIT * units).as_nanos()).unwrap()
}

impl World {
    /// The same for two states that are the same.
    pub(super) fn canonical(&self) -> u64 {
        let now = self.time().as_nanos();
        let mut sum = Canonical { world: self, now, boot: None, sum: 0 };
        for host in &self.hosts {
            host.group.hash(&mut sum);
            host.sent.len().hash(&mut sum);
            host.open.hash(&mut sum);
            host.underway.hash(&mut sum);
            host.lease.hash(&mut sum);
            host.socket.hash(&mut sum);
            (&host.own, &host.inbox, &host.jobs, &host.steps).hash(&mut sum);
            // Between turns it means nothing.
            (!host.steps.is_empty()).then_some(host.turn).hash(&mut sum);
            (host.paused, host.starts.map(|at| at.wrapping_sub(self.now))).hash(&mut sum);
            (host.ok, host.quiesced).hash(&mut sum);
        }
        for flying in &self.flying {
            (flying.from, flying.to, self.now - flying.sent, flying.late).hash(&mut sum);
            flying.message.hash(&mut sum);
        }
        for path in &self.paths {
            let gap = (path.missed > 1).then(|| self.now - path.heard);
            (path.missed, gap, path.excused.saturating_sub(self.now)).hash(&mut sum);
        }
        let quiet = (self.now - self.quiet).min(SETTLED);
        (self.backwards, self.faults, quiet, self.violation.is_some()).hash(&mut sum);
        sum.finish()
    }
}

impl Hash for World {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.canonical());
    }
}

impl PartialEq for World {
    fn eq(&self, other: &Self) -> bool {
        self.canonical() == other.canonical()
    }
}
