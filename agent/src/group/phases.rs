//! Where the time of a change goes: from the silence of a holder to the address online elsewhere.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::time::Duration;

use rais_common::time::Time;
use serde::Serialize;

use super::table::Span;

/// One part of the time that a change of an address takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangePhase {
    /// From the last message heard of the former holder until it was judged dead.
    Silence,
    /// From when the leader found the address unserved until its order left. It waits for the
    /// others to follow it, for orders still on their way, for the preferred host to join, or for
    /// any host that can take the address.
    Decision,
    /// From the order until the address is in place: fenced, and on the interface.
    Configure,
    /// In place, until no other host in sight lists the address. Left out where none did.
    Wait,
    /// Until the data plane answers and the address was announced.
    Open,
    /// The acquire or release script, with the time it waited for its turn.
    Script,
    /// Until the data plane answers no more.
    Withdraw,
    /// Until the address is off the interface.
    Deconfigure,
}

impl ChangePhase {
    /// The word for it in events.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Silence => "silence",
            Self::Decision => "decision",
            Self::Configure => "configure",
            Self::Wait => "wait",
            Self::Open => "open",
            Self::Script => "script",
            Self::Withdraw => "withdraw",
            Self::Deconfigure => "deconfigure",
        }
    }
}

/// The phases of one change, in the order in which they began, without a gap between them. One
/// that passed in two parts is counted together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Phases(Vec<(ChangePhase, Duration)>);

impl Phases {
    /// Each phase and how long it took.
    pub fn iter(&self) -> impl Iterator<Item = (ChangePhase, Duration)> {
        self.0.iter().copied()
    }

    /// From the beginning of the first phase to the end of the last.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.0.iter().map(|(_, span)| *span).sum()
    }

    /// The last phase. Of a change that failed: the one in which it did.
    #[must_use]
    pub fn last(&self) -> Option<ChangePhase> {
        self.0.last().map(|(phase, _)| *phase)
    }

    /// None has passed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, phase: ChangePhase, span: Duration) {
        match self.0.iter_mut().find(|(known, _)| *known == phase) {
            Some((_, so_far)) => *so_far += span,
            None => self.0.push((phase, span)),
        }
    }
}

impl<const N: usize> From<[(ChangePhase, Duration); N]> for Phases {
    fn from(phases: [(ChangePhase, Duration); N]) -> Self {
        Self(phases.to_vec())
    }
}

/// Measures the phases of a change under way.
#[derive(Clone, Debug)]
pub(super) struct Stopwatch {
    /// When the phase under way began.
    since: Time,
    phases: Phases,
}

impl Stopwatch {
    pub fn new(now: Time) -> Self {
        Self { since: now, phases: Phases::default() }
    }

    /// A phase ends, the next begins.
    pub fn lap(&mut self, now: Time, phase: ChangePhase) {
        self.phases.add(phase, now.since(self.since));
        self.since = self.since.max(now);
    }

    /// Whether no time has passed in the phase under way.
    pub fn is_at_start(&self, now: Time) -> bool {
        now <= self.since
    }

    /// The phase that ended last.
    pub fn last(&self) -> Option<ChangePhase> {
        self.phases.last()
    }

    /// What has passed.
    pub fn into_phases(self) -> Phases {
        self.phases
    }
}

/// How a host fell silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fall {
    /// When it was judged dead.
    pub judged: Time,
    /// For how long it had been silent then.
    pub silence: Duration,
}

/// Since when addresses have been unserved, as far as this leader knows.
#[derive(Clone, Debug, Default)]
pub(super) struct Unserved(BTreeMap<IpAddr, Time>);

impl Unserved {
    /// Of the addresses of a span these, and only these, are unserved now; ascending.
    pub fn update(&mut self, now: Time, span: Span, unserved: impl Iterator<Item = IpAddr>) {
        let mut before = self.0.extract_if(span, |_, _| true).peekable();
        let mut found = Vec::new();
        for address in unserved {
            while before.next_if(|&(earlier, _)| earlier < address).is_some() {}
            let known = before.next_if(|&(same, _)| same == address);
            found.push((address, known.map_or(now, |(_, since)| since)));
        }
        before.for_each(drop);
        self.0.extend(found);
    }

    /// What has passed before the order for an address leaves now. `fall`: how its last holder
    /// fell silent, if it did.
    pub fn phases(&self, now: Time, address: IpAddr, fall: Option<Fall>) -> Phases {
        let mut phases = Phases::default();
        let Some(&found) = self.0.get(&address) else { return phases };
        // A leader elected after the fall found it later than it was. What was unserved before its
        // last holder fell silent, because nobody could take it, is not so for that.
        let fall = fall.filter(|fall| fall.judged <= found);
        if let Some(fall) = fall {
            phases.add(ChangePhase::Silence, fall.silence);
        }
        let since = fall.map_or(found, |fall| fall.judged);
        phases.add(ChangePhase::Decision, now.since(since));
        phases
    }
}

/// What was measured decides nothing: groups that differ in it alone are in the same state.
macro_rules! no_state {
    ($($measured:ty),*) => {$(
        impl Hash for $measured {
            fn hash<H: Hasher>(&self, _: &mut H) {}
        }
    )*};
}
no_state!(Phases, Stopwatch, Fall, Unserved);

#[cfg(test)]
mod tests {
    use super::super::table::ALL;
    use super::*;

    fn at(ms: u64) -> Time {
        Time::from_nanos(ms * 1_000_000)
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn phases_follow_each_other_without_a_gap() {
        let mut watch = Stopwatch::new(at(5));
        assert!(watch.is_at_start(at(5)) && !watch.is_at_start(at(6)));
        watch.lap(at(7), ChangePhase::Configure);
        // A time handed in late counts for nothing, and is not counted twice.
        watch.lap(at(6), ChangePhase::Open);
        watch.lap(at(17), ChangePhase::Script);
        let phases = watch.into_phases();
        let expected = [
            (ChangePhase::Configure, ms(2)),
            (ChangePhase::Open, ms(0)),
            (ChangePhase::Script, ms(10)),
        ];
        assert_eq!(phases, Phases::from(expected));
        assert_eq!((phases.total(), phases.last()), (ms(12), Some(ChangePhase::Script)));
    }

    // found unserved, last holder judged dead after a silence → what has passed at 1000
    #[test]
    fn before_the_order() {
        let address: IpAddr = [192, 0, 2, 1].into();
        let fall = |judged| Some(Fall { judged: at(judged), silence: ms(350) });
        let (silence, decision) = (ChangePhase::Silence, ChangePhase::Decision);
        for (found, fall, expected) in [
            (990, None, vec![(decision, ms(10))]),
            (990, fall(990), vec![(silence, ms(350)), (decision, ms(10))]),
            // Another host led when it fell.
            (990, fall(400), vec![(silence, ms(350)), (decision, ms(600))]),
            // Nobody could take it before.
            (400, fall(990), vec![(decision, ms(600))]),
        ] {
            let mut unserved = Unserved::default();
            unserved.update(at(found), ALL, [address].into_iter());
            unserved.update(at(995), ALL, [address].into_iter());
            assert_eq!(unserved.phases(at(1_000), address, fall), Phases(expected));
        }
    }

    // Each phase has a word of its own.
    #[test]
    fn words() {
        use ChangePhase::{
            Configure, Decision, Deconfigure, Open, Script, Silence, Wait, Withdraw,
        };
        let all = [Silence, Decision, Configure, Wait, Open, Script, Withdraw, Deconfigure];
        let words = [
            "silence",
            "decision",
            "configure",
            "wait",
            "open",
            "script",
            "withdraw",
            "deconfigure",
        ];
        assert_eq!(all.map(ChangePhase::word), words);
        let spans = Phases::from([(Silence, ms(1)), (Decision, ms(2))]);
        assert!(spans.iter().eq([(Silence, ms(1)), (Decision, ms(2))]));
        assert!(!spans.is_empty() && Phases::default().is_empty());
    }

    #[test]
    fn served_in_between_is_unserved_anew() {
        let address: IpAddr = [192, 0, 2, 1].into();
        let mut unserved = Unserved::default();
        unserved.update(at(1), ALL, [address].into_iter());
        unserved.update(at(2), ALL, std::iter::empty());
        assert!(unserved.phases(at(3), address, None).is_empty());
        unserved.update(at(3), ALL, [address].into_iter());
        let expected = Phases::from([(ChangePhase::Decision, ms(4))]);
        assert_eq!(unserved.phases(at(7), address, None), expected);
    }
}
