//! How long this host may answer: the lease that a heartbeat brings, and what a quorum makes of it.
//!
//! Without a quorum the lease runs from the sending of the last heartbeat. With one it hangs on the
//! hosts that the quorum counts, and not on having heard them, but on what they have heard: those
//! whose heartbeats acknowledge one of this host's count it as alive for the timeout from then on.
//! Whoever takes over needs a quorum of its own, and needs to hear it right now. Two majorities have
//! a host in common, and that one tells the leader of the other side how long this host is to be
//! waited for.
//!
//! So the lease of a holder that is cut off with too few others ends before its addresses are given
//! away, however many of its heartbeats were lost before and however long it slept.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::time::Duration;

use rais_common::time::Time;

use super::membership::Peer;
use super::{Group, HostId, Info, Phase};

/// Most heartbeats remembered. One takes its place only if it was sent a sixteenth of an interval
/// after the one before, so that this is enough for several timeouts of the usual length.
const REMEMBERED: usize = 64;

/// When this host's heartbeats were sent, and which of them others have heard.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent {
    heartbeats: VecDeque<Heartbeat>,
    /// Boot and sequence of the last heartbeat that was to be sent.
    last: (u64, u64),
    /// Of each host its boot, and when the newest heartbeat was sent that it is known to have heard.
    heard: BTreeMap<HostId, (u64, Time)>,
    /// There is a quorum: without one nothing hangs on any of it.
    matters: bool,
}

impl Hash for Sent {
    fn hash<H: Hasher>(&self, state: &mut H) {
        if self.matters {
            (&self.heartbeats, self.last, &self.heard).hash(state);
        }
    }
}

#[derive(Clone, Copy, Debug, Hash)]
struct Heartbeat {
    /// Boot and sequence.
    number: (u64, u64),
    at: Time,
}

impl Sent {
    /// A heartbeat is to be sent.
    pub fn is_to_be(&mut self, number: (u64, u64)) {
        self.last = number;
    }

    /// The last one has left. `at`: the time was read before that.
    fn was(&mut self, at: Time, pause: Duration) {
        if self.heartbeats.back().is_some_and(|last| at < last.at + pause) {
            return;
        }
        if self.heartbeats.len() >= REMEMBERED {
            self.heartbeats.pop_front();
        }
        self.heartbeats.push_back(Heartbeat { number: self.last, at });
    }

    /// When the newest one was sent that whoever has handled message `number` has handled.
    fn handled(&self, number: (u64, u64)) -> Option<Time> {
        self.heartbeats.iter().rev().find(|sent| sent.number <= number).map(|sent| sent.at)
    }

    /// A host of this boot has heard what was sent then.
    fn note(&mut self, host: HostId, boot: u64, sent: Time) {
        let (known, newest) = self.heard.entry(host).or_insert((boot, sent));
        // One that has started anew has forgotten what it had heard.
        *newest = if *known == boot { sent.max(*newest) } else { sent };
        *known = boot;
    }

    /// The newest time such that `n` hosts (from 1) have heard what was sent then or later.
    fn heard_by(&self, n: usize) -> Option<Time> {
        let mut heard: Vec<Time> = self.heard.values().map(|&(_, sent)| sent).collect();
        heard.sort_unstable_by(|a, b| b.cmp(a));
        heard.get(n.checked_sub(1)?).copied()
    }

    /// When the last one was sent before `at`.
    fn before(&self, at: Time) -> Option<Time> {
        self.heartbeats.iter().rev().find(|sent| sent.at < at).map(|sent| sent.at)
    }
}

impl Group {
    /// The last heartbeat has left.
    pub(super) fn heartbeat_sent(&mut self, at: Time, lease_until: Time) {
        self.sent_until = Some(at + self.own_lease());
        self.lease_until = lease_until;
        self.sent.matters = self.others_needed() > 0;
        self.sent.was(at, self.settings.heartbeat / 16);
        // What was heard before means nothing any more.
        let long_ago = at.minus(self.settings.timeout * 2);
        self.sent.heard.retain(|_, &mut (_, sent)| sent >= long_ago);
    }

    /// Takes note of what the sender of `info`, received at `at`, has heard of this host.
    ///
    /// Where a heartbeat has no room for all the sender has heard, and does not name this host, it
    /// is taken to have heard what was sent before it spoke; its word being worth less, the lease
    /// is shorter by what covers the loss of one heartbeat.
    pub(super) fn note_heard(&mut self, source: HostId, boot: u64, info: &Info, at: Time) {
        let own = info.known.iter().find(|known| known.id == self.settings.host);
        let said = own.and_then(|known| self.sent.handled((known.boot, known.sequence)));
        let guessed = info.knows_more.then(|| self.sent.before(at)).flatten();
        let guessed = guessed.map(|sent| sent.minus(self.settings.heartbeat * 3 / 4));
        if let Some(sent) = said.max(guessed) {
            self.sent.note(source, boot, sent);
        }
    }

    /// How many others the quorum needs.
    fn others_needed(&self) -> usize {
        usize::try_from(self.settings.quorum.saturating_sub(1)).unwrap_or(usize::MAX)
    }

    /// How long this host may go on after a heartbeat. With a quorum it has to go on early enough
    /// for those who hear it again to say so in time (`hears_quorum`).
    fn own_lease(&self) -> Duration {
        let margin = if self.others_needed() == 0 { Duration::ZERO } else { self.margin() };
        self.pace.lease.saturating_sub(margin)
    }

    /// What a message takes on its way, there and back, and what clocks differ by: a quarter of a
    /// heartbeat, which is 7 % of the usual timeout.
    fn margin(&self) -> Duration {
        self.pace.heartbeat / 4
    }

    /// The lease that a heartbeat sent now brings.
    pub(super) fn lease(&self, now: Time) -> Time {
        let until = now + self.own_lease();
        match self.others_needed() {
            0 => until,
            n => {
                // A heartbeat longer than it was told, whatever the timeout is there.
                let counted = (self.pace.lease + self.pace.heartbeat).saturating_sub(self.margin());
                self.sent.heard_by(n).map_or(Time::ZERO, |sent| until.min(sent + counted))
            }
        }
    }

    /// The quorum is met, and has heard this host lately enough for a lease: where several hosts
    /// fall silent together, the first found dead is not to be replaced before the others are found
    /// dead too.
    pub(super) fn may_hold(&self, now: Time) -> bool {
        self.quorum_met && self.lease(now) > now
    }

    /// A quorum is heard right now. A leader that has lost half of its group from one moment to the
    /// next counts it for the timeout; but a host found dead meanwhile may be alive, and may have
    /// been heard over there. What it sent last here, and then slept for its whole lease, others
    /// have heard by now if it lives, and have said so.
    pub(super) fn hears_quorum(&self, now: Time) -> bool {
        let lately = now.minus(self.settings.heartbeat);
        let needed = self.others_needed();
        // One that has just started has heard nobody yet, and cannot say so.
        let counts = |peer: &Peer| peer.heard >= lately && peer.info.phase != Phase::Joining;
        let heard = self.members.iter().filter(|(_, peer)| counts(peer));
        heard.take(needed).count() == needed
    }

    /// A heartbeat of a host that the quorum hangs on was late or lost, so that the lease would run
    /// out before the next renewal; and now that host was heard.
    pub(super) fn lease_is_short(&self, now: Time) -> bool {
        self.lease_until < self.next_heartbeat
            && self.lease_until < self.lease(now)
            && self.holdings.any_listed()
    }
}

#[cfg(test)]
mod tests;
