//! Where others know what this host does not: lists and databases that do not fit a heartbeat are
//! asked for.

use std::time::Duration;

use rais_common::time::Time;

use super::{Action, Group, HostId, PartOf, Phase, Sum};

/// Questions about the database that bring nothing are asked less and less often: down to one in
/// so many heartbeats.
const RAREST: u32 = 64;

/// Whether this host's database is that of the others.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct CatchingUp {
    /// The host whose database was found to be another, and the sum of this host's own then.
    differs: Option<(HostId, u64)>,
    /// When to ask next.
    ask_at: Option<Time>,
    /// So many heartbeats lie between two questions.
    pause: u32,
}

impl CatchingUp {
    /// Whether a joining host has still something to learn before it takes part, for which it is
    /// given the timeout once more.
    pub fn is_behind(&self, now: Time, joining_until: Time, timeout: Duration) -> bool {
        self.differs.is_some() && now < joining_until + timeout
    }
}

impl Group {
    /// The lists of a host are not whole.
    pub(super) fn ask_lists(&mut self, now: Time, of: HostId, sum: Sum, out: &mut Vec<Action>) {
        let pause = self.settings.heartbeat / 2;
        if let Some(sums) = self.members.staging.question(of, sum, now, pause) {
            self.ask(of, PartOf::Lists, sum.bits, &sums, out);
        }
    }

    /// A member's database has this sum. It is compared with the leader's, and the leader's with
    /// everybody's. While addresses move they differ for a moment, which is no reason to ask;
    /// a host that joins asks at once.
    pub(super) fn compare_database(
        &mut self,
        now: Time,
        source: HostId,
        sum: Option<Sum>,
        out: &mut Vec<Action>,
    ) {
        let Some(sum) = sum else { return };
        let member = self.members.get(source).is_some_and(|p| p.info.phase == Phase::Member);
        if !member || !(self.leads() || self.leader == Some(source)) {
            return;
        }
        let own = self.database.sum();
        let state = &mut self.catching_up;
        let other = state.differs.map(|(host, _)| host).filter(|&host| host != source);
        if other.is_some_and(|host| self.members.get(host).is_some()) {
            // One at a time.
            return;
        }
        if own.digest == sum.digest {
            *state = CatchingUp::default();
            return;
        }
        let heartbeat = self.settings.heartbeat;
        if state.differs.is_none_or(|(_, then)| then != own.digest) {
            // The first time, or something has come of the last question.
            let jitter = self.random.below(usize::try_from(heartbeat.as_micros()).unwrap_or(1));
            let jitter = Duration::from_micros(u64::try_from(jitter).unwrap_or(0));
            let joining = self.phase == Phase::Joining;
            state.differs = Some((source, own.digest));
            state.ask_at = Some(if joining { now } else { now + heartbeat + jitter });
            state.pause = 1;
        }
        if state.ask_at.is_some_and(|at| now < at) {
            return;
        }
        state.ask_at = Some(now + heartbeat * state.pause);
        state.pause = (state.pause * 2).min(RAREST);
        let sums = self.database.sums(sum.bits);
        self.ask(source, PartOf::Database, sum.bits, &sums, out);
    }
}
