//! Other settings for a group that runs.
//!
//! Nothing that stays as it was is touched. What others count on is changed in an order that is
//! safe whatever is lost on the way, and however the other hosts are set meanwhile:
//!
//! - A lease that becomes shorter is shortened in the data plane before a heartbeat says so.
//! - A lease or an interval that becomes longer is said in each heartbeat at once, and used only
//!   after the timeout that held before: whoever still hears this host has been told by then, and
//!   whoever has not counts it as dead anyway.
//! - Each heartbeat says how long its sender may answer after it. A host is not dead before that
//!   has passed, however short the timeout of the one that judges it ([`Group::patience`]).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use rais_common::time::Time;

use super::{Action, Group, Limits, Phase, Reason, Role, Settings};

/// How this host keeps time, which others count on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pace {
    /// Interval between heartbeats.
    pub heartbeat: Duration,
    /// How long it may answer after a heartbeat.
    pub lease: Duration,
    /// From when on it may be slower, as the settings say. None: it is as they say.
    slower_from: Option<Time>,
}

impl Pace {
    /// As the settings say.
    pub const fn of(settings: &Settings) -> Self {
        Self { heartbeat: settings.heartbeat, lease: settings.lease, slower_from: None }
    }

    /// Takes what became quicker at once, and what became slower after `timeout`.
    fn change(&mut self, now: Time, settings: &Settings, timeout: Duration) {
        self.heartbeat = self.heartbeat.min(settings.heartbeat);
        self.lease = self.lease.min(settings.lease);
        let slower = self.heartbeat < settings.heartbeat || self.lease < settings.lease;
        self.slower_from = slower.then(|| self.slower_from.unwrap_or(now).max(now) + timeout);
    }
}

impl Group {
    /// Other settings of the same group on the same host, from now on.
    pub(super) fn reconfigure(&mut self, now: Time, new: Settings, out: &mut Vec<Action>) {
        if (&new.name, new.host) != (&self.settings.name, self.settings.host) {
            // Another group: for the caller to start. Nothing of it makes sense here.
            return;
        }
        let old = std::mem::replace(&mut self.settings, new);
        if self.phase == Phase::Joining {
            self.joining_until = self.joining_until.minus(old.timeout) + self.settings.timeout;
        }
        self.holdings.limit(Limits::of(&self.settings));
        self.pace.change(now, &self.settings, old.timeout);
        self.shorten_lease(now, out);
        for address in old.addresses().difference(&self.settings.addresses()) {
            let own = self.members.iter().any(|(_, peer)| peer.info.prefers(*address));
            if !own {
                self.database.withdraw(*address, now);
            }
        }
        // What has changed is said at once, and with it that the lease is another.
        self.next_heartbeat = now;
        self.changed = true;
        // Who others have to be told of is the same; whom this host keeps may not be.
        self.members.compare_anew();
        self.telling.lists_changed();
        if self.settings.role == Role::Observer && old.role == Role::Member {
            self.holdings.release_all(now, Reason::Operator, out);
        }
        self.refresh_database(now, out);
    }

    /// Once others know that this host is slower, it is.
    pub(super) fn keep_pace(&mut self, now: Time) {
        if self.pace.slower_from.is_some_and(|from| now >= from) {
            self.pace = Pace::of(&self.settings);
        }
    }

    /// Answers no longer than a heartbeat sent now would allow.
    fn shorten_lease(&mut self, now: Time, out: &mut Vec<Action>) {
        let Some(sent_until) = self.sent_until else { return };
        self.sent_until = Some(sent_until.min(now + self.pace.lease));
        let until = self.lease(now);
        if until < self.lease_until {
            self.lease_until = until;
            out.push(Action::Shorten(until));
        }
    }

    /// How long others that hear this host have to wait before it may be counted as dead: what a
    /// heartbeat sent now says of it.
    pub(super) fn promised_lease(&self) -> Duration {
        self.pace.lease.max(self.settings.lease)
    }

    /// How long a host may still be acting on what it heard, whatever its own timeout: this host's
    /// timeout, or longer where another host in sight answers longer.
    pub(super) fn patience(&self) -> Duration {
        let longest = self.members.longest_lease().saturating_add(self.settings.heartbeat);
        self.settings.timeout.max(longest)
    }
}

impl Settings {
    /// The addresses that this host calls its own or the group's.
    pub(super) fn addresses(&self) -> BTreeSet<IpAddr> {
        self.preferred.union(&self.floating).copied().collect()
    }
}
