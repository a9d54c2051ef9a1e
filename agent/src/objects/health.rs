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
    /// What was said last.
    told: Option<Told>,
}

/// What others are told: whether all is well, and if not which tests fail (by position).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    ok: bool,
    failing: Vec<usize>,
}

/// One test.
#[derive(Debug)]
struct State {
    status: TestStatus,
    rise: u32,
    fall: u32,
    /// It had a result.
    known: bool,
    /// How many results in a row speak against `status.passing`.
    against: u32,
}

impl Health {
    /// Of tests by name, rise and fall; none has a result.
    pub(super) fn new(tests: impl Iterator<Item = (String, u32, u32)>, now: Time) -> Self {
        let tests = tests.map(|(name, rise, fall)| {
            let detail = "no result yet".to_owned();
            let status = TestStatus { name, passing: false, since: now, detail };
            State { status, rise, fall, known: false, against: 0 }
        });
        Self { tests: tests.collect(), told: None }
    }

    /// Takes the result of a run of the test at this position.
    pub(super) fn result(&mut self, index: usize, verdict: Verdict, now: Time) {
        if let Some(test) = self.tests.get_mut(index) {
            test.result(verdict, now);
        }
    }

    /// How each test stands.
    pub(super) fn status(&self) -> Vec<TestStatus> {
        self.tests.iter().map(|test| test.status.clone()).collect()
    }

    /// Whether all is well and why not, if there is something to be told that was not told yet.
    pub(super) fn change(&mut self) -> Option<(bool, String)> {
        let failing = |(_, test): &(usize, &State)| test.known && !test.status.passing;
        let failing: Vec<usize> =
            self.tests.iter().enumerate().filter(failing).map(|(index, _)| index).collect();
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
        let failing: Vec<String> = told
            .failing
            .iter()
            .filter_map(|index| self.tests.get(*index))
            .map(|test| format!("{}: {}", test.status.name, test.status.detail))
            .collect();
        failing.join("; ")
    }
}

impl State {
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
        Health::new(tests.iter().map(|(n, rise, fall)| ((*n).to_owned(), *rise, *fall)), at(0))
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
