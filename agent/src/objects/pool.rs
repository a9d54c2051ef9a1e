//! What runs in an agent, to be found by those who want the same.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;

use super::loads::SharedLoad;
use super::{LoadObject, Object, Run, Test};
use crate::config::checked;

/// The objects that run for the groups of an agent. Groups may come and go: what a group wants and
/// another has already is shared, and an object ends with the last group that wants it.
#[derive(Debug)]
pub struct Pool {
    runtime: Handle,
    tests: Mutex<Shelf<TestSettings, Run>>,
    loads: Mutex<Shelf<checked::Load, SharedLoad>>,
}

/// What makes two tests the same. What they are called, and how many results in a row count, is
/// each group's own.
#[derive(Debug, PartialEq, Eq)]
struct TestSettings {
    kind: checked::TestKind,
    interval: Duration,
    timeout: Duration,
}

impl Pool {
    /// Nothing runs yet. What will, does so on `runtime`.
    #[must_use]
    pub fn new(runtime: &Handle) -> Self {
        Self { runtime: runtime.clone(), tests: Mutex::default(), loads: Mutex::default() }
    }

    /// A part in this test: in the one that runs with the same kind, settings, interval and
    /// timeout, else in a new one.
    #[must_use]
    pub fn test(&self, test: checked::Test) -> Test {
        self.test_by(test, Object::from)
    }

    /// As [`test`](Self::test), with another way to make its object.
    pub(super) fn test_by(
        &self,
        test: checked::Test,
        make: impl FnOnce(checked::TestKind) -> Object,
    ) -> Test {
        let checked::Test { name, kind, interval, timeout, rise, fall } = test;
        let settings = TestSettings { kind: kind.clone(), interval, timeout };
        let start = || Run::start(&self.runtime, make(kind), interval, timeout);
        let mut tests = self.tests.lock().unwrap_or_else(PoisonError::into_inner);
        Test { name, rise, fall, run: tests.find_or(settings, start) }
    }

    /// The load object of these settings that another group has already, else what `make` makes.
    #[must_use]
    pub fn load(
        &self,
        load: &checked::Load,
        make: impl FnOnce() -> Box<dyn LoadObject>,
    ) -> Box<dyn LoadObject> {
        let mut loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        Box::new(loads.find_or(load.clone(), || Arc::new(SharedLoad::new(make()))))
    }
}

/// What is in use, by its settings.
#[derive(Debug)]
struct Shelf<K, T> {
    items: Vec<(K, Weak<T>)>,
}

impl<K, T> Default for Shelf<K, T> {
    fn default() -> Self {
        Self { items: Vec::new() }
    }
}

impl<K: PartialEq, T> Shelf<K, T> {
    fn find_or(&mut self, key: K, new: impl FnOnce() -> Arc<T>) -> Arc<T> {
        self.items.retain(|(_, item)| item.strong_count() > 0);
        let mut same = self.items.iter().filter(|(known, _)| *known == key);
        if let Some(found) = same.find_map(|(_, item)| item.upgrade()) {
            return found;
        }
        let made = new();
        self.items.push((key, Arc::downgrade(&made)));
        made
    }
}

#[cfg(test)]
mod tests;
