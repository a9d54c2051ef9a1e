//! What is due for this host's addresses as time passes.

use std::net::IpAddr;
use std::time::Duration;

use rais_common::time::Time;

use super::super::phases::ChangePhase;
use super::super::turns::FEW;
use super::super::{Action, Report};
use super::{Holdings, Stage};

/// After what time taking an address away is tried again.
pub(super) const CLEAR_AGAIN: Duration = Duration::from_secs(1);

/// Of more than [`FEW`] addresses, what is due is looked for after a pause for each. The shortest
/// time there is for one to fall due is that of its next announcement, 100 ms.
const LOOK_PAUSE: Duration = Duration::from_micros(4);

impl Stage {
    /// It ends with a job that may have to wait until those of other addresses are done.
    const fn is_queued(self) -> bool {
        matches!(self, Self::Configuring | Self::Starting | Self::Stopping)
    }
}

impl Holdings {
    /// Announces these again, at once and in the usual rhythm: neighbours may have learned otherwise.
    pub fn announce_again(&mut self, now: Time, which: impl Fn(IpAddr) -> bool) {
        for (_, holding) in self.held.iter_mut().filter(|(a, h)| h.is_open() && which(**a)) {
            holding.announcing.restart(now);
        }
    }

    /// Sends the announcements that are due, ends what has lasted too long, tries again what did
    /// not work.
    pub fn tick(&mut self, now: Time, out: &mut Vec<Action>) {
        if now < self.look_from {
            return;
        }
        let pause = LOOK_PAUSE * u32::try_from(self.held.len()).unwrap_or(u32::MAX);
        self.look_from = if self.held.len() > FEW { now + pause } else { Time::ZERO };
        let mut due = Vec::new();
        for (&address, holding) in &mut self.held {
            if holding.is_open() && holding.announcing.is_due(now) {
                due.push(address);
            }
        }
        if !due.is_empty() {
            out.push(Action::Announce(due));
        }
        self.end_overdue(now, out);
        self.end_forwards(now, out);
        self.refused.tick(now);
    }

    /// Something that was to be done for an address has ended: where they are many, those that wait
    /// for the same are not overdue yet.
    pub(super) fn note_progress(&mut self, now: Time) {
        if self.held.len() > FEW {
            self.progress = now;
        }
    }

    fn end_overdue(&mut self, now: Time, out: &mut Vec<Action>) {
        // One of many may have to wait for the others.
        let comes_on = self.held.len() > FEW && now < self.progress + self.limits.action;
        let overdue: Vec<(IpAddr, Stage, u64)> = self
            .held
            .iter()
            .filter(|(_, h)| h.stage != Stage::Online && now >= h.deadline)
            .filter(|(_, h)| !comes_on || !h.stage.is_queued())
            .map(|(&address, h)| (address, h.stage, h.epoch))
            .collect();
        let limit = self.limits.action;
        for (address, stage, epoch) in overdue {
            match stage {
                Stage::Configuring | Stage::Ready | Stage::Starting => {
                    let error = format!("not acquired within {limit:?}");
                    self.fail(now, address, error, out);
                }
                Stage::Stopping => {
                    let error = format!("release script not done within {limit:?}");
                    out.push(Action::Report(Report::ReleaseFailed { address, epoch, error }));
                    self.lap(now, address, ChangePhase::Script);
                    self.let_go(now, address, out);
                }
                Stage::Draining => self.drained(now, address, out),
                Stage::Clearing => {
                    if let Some(holding) = self.held.get_mut(&address) {
                        holding.lap(now, ChangePhase::Deconfigure);
                        holding.report_released(address, out);
                        holding.deadline = now + limit;
                    }
                    out.push(Action::Deconfigure { address, epoch });
                }
                Stage::Online => {}
            }
        }
    }
}
