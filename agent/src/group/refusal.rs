//! Addresses that this host tried to take and could not: refused for a while, longer each time.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use rais_common::time::Time;

/// First and longest time for which an address that could not be taken is refused.
const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_mins(10);

#[derive(Clone, Copy, Debug, Hash)]
struct Refusal {
    until: Time,
    span: Duration,
}

#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Refusals(BTreeMap<IpAddr, Refusal>);

impl Refusals {
    /// Addresses not to be assigned to this host now, ascending.
    pub fn at(&self, now: Time) -> Vec<IpAddr> {
        self.0.iter().filter(|(_, r)| now < r.until).map(|(&address, _)| address).collect()
    }

    /// An address could not be taken: twice as long as the last time.
    pub fn add(&mut self, now: Time, address: IpAddr) {
        let last = self.0.get(&address);
        let span = last.map_or(FIRST, |refusal| (refusal.span * 2).min(LONGEST));
        self.0.insert(address, Refusal { until: now + span, span });
    }

    /// An address could be taken.
    pub fn forget(&mut self, address: IpAddr) {
        self.0.remove(&address);
    }

    /// What was refused is remembered as long again, should it fail once more.
    pub fn tick(&mut self, now: Time) {
        self.0.retain(|_, refusal| now < refusal.until + refusal.span);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails at 0, and again so many seconds after the refusal has ended → refused for how long.
    #[test]
    fn remembered_for_as_long_again() {
        let address = IpAddr::from([10, 78, 0, 1]);
        let secs = Duration::from_secs;
        for (after, span) in [(0, 20), (9, 20), (10, 10), (60, 10)] {
            let mut refusals = Refusals::default();
            refusals.add(Time::ZERO, address);
            let now = Time::ZERO + secs(10 + after);
            refusals.tick(now);
            assert!(refusals.at(now).is_empty());
            refusals.add(now, address);
            assert_eq!(refusals.at(now + secs(span - 1)), [address], "{after}");
            assert!(refusals.at(now + secs(span)).is_empty(), "{after}");
        }
    }
}
