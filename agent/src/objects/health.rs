//! From the results of single runs to the health of a host.

use rais_common::time::Time;

use super::Verdict;

/// How a test stands, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestStatus {
    /// Its name.
    pub name: String,
    /// It passes. False until its first result.
    pub passing: bool,
    /// When that last changed, or the test began.
    pub since: Time,
    /// What its last run said.
    pub detail: String,
}

/// All tests of a group.
#[derive(Debug)]
pub(super) struct Health {
    tests: Vec<State>,
    /// The number of the next test.
    next: u64,
    /// What was said last.
    told: Option<Told>,
}

/// What others are told: whether all is well, and if not which tests fail (by number).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    ok: bool,
    failing: Vec<u64>,
}

/// A test that is wanted.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Its number, where it goes on; none for a new one.
    pub number: Option<u64>,
    pub name: String,
    pub rise: u32,
    pub fall: u32,
}

/// One test.
#[derive(Debug)]
struct State {
    /// Never given twice.
    number: u64,
    status: TestStatus,
    rise: u32,
    fall: u32,
    /// It had a result.
    known: bool,
    /// How many results in a row speak against `status.passing`.
    against: u32,
}

impl Health {
    /// Of no tests.
    pub(super) fn new() -> Self {
        Self { tests: Vec::new(), next: 0, told: None }
    }

    /// These are the tests from now on. What is known of those that go on is kept; new ones have
    /// no result. Returns their numbers, in this order.
    pub(super) fn want(&mut self, tests: Vec<Wanted>, now: Time) -> Vec<u64> {
        let mut before = std::mem::take(&mut self.tests);
        for Wanted { number, name, rise, fall } in tests {
            let place = before.iter().position(|test| Some(test.number) == number);
            let state = match place.map(|place| before.swap_remove(place)) {
                Some(state) => State { rise, fall, ..state },
                None => State::new(self.next, name, (rise, fall), now),
            };
            self.next = self.next.max(state.number + 1);
            self.tests.push(state);
        }
        self.tests.iter().map(|test| test.number).collect()
    }

    /// Takes the result of a run of the test of this number, if it is still wanted.
    pub(super) fn result(&mut self, number: u64, verdict: Verdict, now: Time) {
        if let Some(test) = self.tests.iter_mut().find(|test| test.number == number) {
            test.result(verdict, now);
        }
    }

    /// How each test stands.
    pub(super) fn status(&self) -> Vec<TestStatus> {
        self.tests.iter().map(|test| test.status.clone()).collect()
    }

    /// Whether all is well and why not, if there is something to be told that was not told yet.
    pub(super) fn change(&mut self) -> Option<(bool, String)> {
        let failing = self.tests.iter().filter(|test| test.known && !test.status.passing);
        let failing: Vec<u64> = failing.map(|test| test.number).collect();
        if failing.is_empty() && self.tests.iter().any(|test| !test.known) {
            return None;
        }
        let told = Told { ok: failing.is_empty(), failing };
        if self.told.as_ref() == Some(&told) {
            return None;
        }
        let detail = self.detail(&told);
        let ok = told.ok;
        self.told = Some(told);
        Some((ok, detail))
    }

    fn detail(&self, told: &Told) -> String {
        if told.ok {
            return if self.tests.is_empty() { "no tests" } else { "all tests pass" }.to_owned();
        }
        let failing: Vec<String> = self
            .tests
            .iter()
            .filter(|test| told.failing.contains(&test.number))
            .map(|test| format!("{}: {}", test.status.name, test.status.detail))
            .collect();
        failing.join("; ")
    }
}

impl State {
    fn new(number: u64, name: String, (rise, fall): (u32, u32), now: Time) -> Self {
        let detail = "no result yet".to_owned();
        let status = TestStatus { name, passing: false, since: now, detail };
        Self { number, status, rise, fall, known: false, against: 0 }
    }

    fn result(&mut self, verdict: Verdict, now: Time) {
        let (passed, detail) = match verdict {
            Ok(detail) => (true, detail),
            Err(detail) => (false, detail),
        };
        self.status.detail = detail;
        if !self.known {
            // There is nothing that a single result could be a mere exception to.
            self.known = true;
            self.turn(passed, now);
        } else if passed == self.status.passing {
            self.against = 0;
        } else {
            self.against = self.against.saturating_add(1);
            let needed = if passed { self.rise } else { self.fall };
            if self.against >= needed {
                self.turn(passed, now);
            }
        }
    }

    fn turn(&mut self, passing: bool, now: Time) {
        self.against = 0;
        if self.status.passing != passing {
            self.status.passing = passing;
            self.status.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    fn health(tests: &[(&str, u32, u32)]) -> Health {
        let mut health = Health::new();
        health.want(tests.iter().map(|&test| wanted(None, test)).collect(), at(0));
        health
    }

    fn wanted(number: Option<u64>, (name, rise, fall): (&str, u32, u32)) -> Wanted {
        Wanted { number, name: name.to_owned(), rise, fall }
    }

    /// A result of either kind.
    fn run(passed: bool) -> Verdict {
        if passed { Ok("fine".to_owned()) } else { Err("refused".to_owned()) }
    }

    #[test]
    fn without_tests_all_is_well() {
        let mut health = health(&[]);
        assert_eq!(health.change(), Some((true, "no tests".to_owned())));
        assert_eq!(health.change(), None);
    }

    #[test]
    fn nothing_is_told_before_every_test_passed_once() {
        let mut health = health(&[("a", 3, 3), ("b", 3, 3)]);
        assert_eq!(health.change(), None);
        health.result(0, run(true), at(1));
        assert_eq!(health.change(), None);
        health.result(1, run(true), at(2));
        assert_eq!(health.change(), Some((true, "all tests pass".to_owned())));
    }

    #[test]
    fn a_first_failure_is_told_at_once_and_needs_rise() {
        let mut health = health(&[("a", 2, 3), ("b", 2, 3)]);
        health.result(0, run(false), at(1));
        assert_eq!(health.change(), Some((false, "a: refused".to_owned())));
        health.result(1, run(true), at(1));
        health.result(0, run(true), at(2));
        assert_eq!(health.change(), None);
        health.result(0, run(true), at(3));
        assert_eq!(health.change(), Some((true, "all tests pass".to_owned())));
    }

    #[test]
    fn rise_and_fall_count_results_in_a_row() {
        let mut health = health(&[("a", 2, 3)]);
        // Result, and whether the test passes after it.
        let course = [
            (run(true), true),
            (run(false), true),
            (run(false), true),
            (run(true), true), // the row is broken
            (run(false), true),
            (run(false), true),
            (run(false), false),
            (run(true), false),
            (run(false), false), // again
            (run(true), false),
            (run(true), true),
        ];
        for (step, (verdict, passing)) in course.into_iter().enumerate() {
            health.result(0, verdict, at(step as u64));
            assert_eq!(health.status()[0].passing, passing, "step {step}");
        }
        assert_eq!(health.status()[0].since, at(10));
    }

    // A test that goes on keeps its standing and its row; one that is gone says nothing any more;
    // a new one that has no result changes nothing.
    #[test]
    fn other_tests_are_wanted() {
        let mut health = health(&[("a", 1, 3), ("b", 1, 1)]);
        health.result(0, run(true), at(1));
        health.result(1, run(false), at(1));
        health.result(0, run(false), at(2));
        health.result(0, run(false), at(3));
        assert_eq!(health.change(), Some((false, "b: refused".to_owned())));

        let wanted = vec![wanted(None, ("c", 1, 1)), wanted(Some(0), ("a", 1, 3))];
        assert_eq!(health.want(wanted, at(4)), [2, 0]);
        assert_eq!(health.change(), None, "c is not known");
        health.result(2, run(true), at(5));
        assert_eq!(health.change(), Some((true, "all tests pass".to_owned())));
        health.result(1, run(false), at(6));
        assert_eq!(health.change(), None, "b is gone");
        health.result(0, run(false), at(7));
        assert_eq!(health.change(), Some((false, "a: refused".to_owned())), "the third in a row");
        assert_eq!((health.status()[1].since, health.status()[0].since), (at(7), at(5)));
    }

    #[test]
    fn another_failing_test_is_told_another_wording_is_not() {
        let mut health = health(&[("a", 1, 1), ("b", 1, 1)]);
        health.result(0, run(false), at(1));
        assert_eq!(health.change(), Some((false, "a: refused".to_owned())));
        health.result(0, Err("timed out".to_owned()), at(2));
        assert_eq!(health.change(), None);
        health.result(1, run(false), at(3));
        assert_eq!(health.change(), Some((false, "a: timed out; b: refused".to_owned())));
        health.result(0, run(true), at(4));
        assert_eq!(health.change(), Some((false, "b: refused".to_owned())));
    }
}
