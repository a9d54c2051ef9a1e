//! When it is a leader's turn to decide.
//!
//! In a group of few addresses that is whenever something has changed, and at each tick, for what
//! may be due by now. To go through thousands each time would leave no time for heartbeats.

use std::time::Duration;

use rais_common::time::Time;

use super::control::LOOKED_AT;
use super::{Event, Group, Phase};

/// A group that has more addresses pauses in between.
pub(super) const FEW: usize = 256;

/// Pauses after a turn, for each address that was looked at in it.
const DECIDE_PAUSE: Duration = Duration::from_micros(1);

/// Where a turn came to decisions and not to its end, it goes on after a heartbeat divided by this:
/// what has arrived meanwhile comes first.
const DECIDED_PAUSES: u32 = 64;

/// Pauses once all addresses were looked at, for each of them: until something that has changed is
/// reason enough to begin anew; and until a tick is.
const SWEEP_PAUSE: Duration = Duration::from_micros(4);
const REVIEW_PAUSE: Duration = Duration::from_micros(10);

/// A pause for each of so many addresses.
fn each(pause: Duration, addresses: usize) -> Duration {
    pause * u32::try_from(addresses).unwrap_or(u32::MAX)
}

impl Group {
    /// It is this host's turn to give orders, or to refuse to.
    pub(super) fn may_decide(&self, now: Time) -> bool {
        let due = self.is_stirred() && now >= self.decide_from;
        let leads = self.leads() && self.phase == Phase::Member;
        due && leads && (!self.quorum_met || self.hears_quorum(now))
    }

    /// Something has changed that a decision may hang on, or not all of it was looked at yet.
    pub(super) fn is_stirred(&self) -> bool {
        self.stirred || self.control.unfinished()
    }

    /// Whether a leader's decision may hang on this event. What a message changes it says itself:
    /// most heartbeats change nothing. That one of this host's own has left is no reason to go
    /// through the table once more.
    pub(super) fn stirs(&self, now: Time, event: &Event) -> bool {
        if matches!(event, Event::Tick) {
            return now >= self.review_from;
        }
        !matches!(event, Event::HeartbeatSent { .. } | Event::Received { .. })
    }

    /// What is to be decided now cannot wait for the pause to end.
    pub(super) fn stir_at_once(&mut self, now: Time) {
        self.stirred = true;
        self.decide_from = now;
        if self.database.len() > FEW {
            self.control.hurry();
        }
    }

    /// When to decide again after a turn in which a leader looked at some addresses or all, and
    /// whether it came to decisions.
    pub(super) fn pause_to_decide(&mut self, now: Time, decided: bool) {
        let addresses = self.database.len();
        if addresses <= FEW {
            (self.decide_from, self.review_from) = (now, now);
        } else if self.control.is_amid() && decided {
            self.decide_from = now + self.settings.heartbeat / DECIDED_PAUSES;
        } else if self.control.is_amid() || self.control.hurries() {
            self.decide_from = now + each(DECIDE_PAUSE, addresses.min(LOOKED_AT));
        } else {
            self.decide_from = now + each(SWEEP_PAUSE, addresses);
            self.review_from = now + each(REVIEW_PAUSE, addresses);
        }
    }

    /// When to try again after a turn in which it was not for this host to decide. That changes with
    /// time: at the next tick, not at once.
    pub(super) fn pause_to_be_leader(&mut self, now: Time) {
        let addresses = self.database.len();
        let pause = each(DECIDE_PAUSE, addresses.min(LOOKED_AT));
        self.decide_from = if addresses <= FEW { now } else { now + pause };
        self.review_from = now;
        self.control.begin_anew();
    }
}
