//! A test object that runs, for as many as want its verdicts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::{Object, TestObject, Verdict, WatchObject, late};

/// Takes verdicts. Called on the runtime's threads; must not wait.
type Take = Box<dyn Fn(Verdict) + Send>;

/// A test object that runs at its interval. It ends with the last owner of this.
#[derive(Debug)]
pub struct Run {
    takers: Arc<Takers>,
    _task: JoinSet<()>,
}

impl Run {
    /// Starts running it on `runtime`, the first time at once. `interval` is the time between the
    /// starts of two runs; a run that takes longer leaves the next one out. A run that takes longer
    /// than `timeout` is a failure; so is a watch that says nothing for so long at first.
    #[must_use]
    pub fn start(
        runtime: &Handle,
        object: Object,
        interval: Duration,
        timeout: Duration,
    ) -> Arc<Self> {
        let takers = Arc::new(Takers::default());
        let mut task = JoinSet::new();
        task.spawn_on(perform(object, interval, timeout, Arc::clone(&takers)), runtime);
        Arc::new(Self { takers, _task: task })
    }

    /// Has every verdict from now on given to `take`, the latest one at once if there is one, until
    /// the subscription is dropped. It may be called before this returns, never after that drop.
    pub(super) fn subscribe(
        run: Arc<Self>,
        take: impl Fn(Verdict) + Send + 'static,
    ) -> Subscription {
        let id = run.takers.add(Box::new(take));
        Subscription { run, id }
    }
}

/// A part in a test that runs.
#[derive(Debug)]
pub(super) struct Subscription {
    run: Arc<Run>,
    id: u64,
}

impl Subscription {
    /// The test.
    pub(super) const fn run(&self) -> &Arc<Run> {
        &self.run
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.run.takers.remove(self.id);
    }
}

/// Who wants the verdicts. They are given under the lock, so that whoever comes meanwhile gets each
/// one once, and in order.
#[derive(Default)]
struct Takers(Mutex<Taking>);

#[derive(Default)]
struct Taking {
    latest: Option<Verdict>,
    next: u64,
    takers: BTreeMap<u64, Take>,
}

impl Takers {
    fn give(&self, verdict: &Verdict) {
        let mut taking = self.lock();
        taking.latest = Some(verdict.clone());
        for take in taking.takers.values() {
            take(verdict.clone());
        }
    }

    fn add(&self, take: Take) -> u64 {
        let mut taking = self.lock();
        if let Some(latest) = &taking.latest {
            take(latest.clone());
        }
        let id = taking.next;
        taking.next += 1;
        taking.takers.insert(id, take);
        id
    }

    fn remove(&self, id: u64) {
        self.lock().takers.remove(&id);
    }

    fn lock(&self) -> MutexGuard<'_, Taking> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Takers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let taking = self.lock();
        let takers = taking.takers.len();
        f.debug_struct("Takers").field("latest", &taking.latest).field("takers", &takers).finish()
    }
}

/// Performs one test for ever.
async fn perform(object: Object, interval: Duration, timeout: Duration, takers: Arc<Takers>) {
    // An interval of nothing would never let go of the thread, and is refused by tokio.
    let interval = interval.max(Duration::from_millis(1));
    match object {
        Object::Asked(object) => ask(&*object, interval, timeout, &takers).await,
        Object::Watched(object) => watch(object, interval, timeout, &takers).await,
    }
}

async fn ask(object: &dyn TestObject, interval: Duration, timeout: Duration, takers: &Takers) {
    let mut turns = tokio::time::interval(interval);
    turns.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        turns.tick().await;
        takers.give(&object.run_within(timeout).await);
    }
}

async fn watch(
    mut object: Box<dyn WatchObject>,
    interval: Duration,
    timeout: Duration,
    takers: &Takers,
) {
    let first = tokio::time::timeout(timeout, object.next()).await;
    let mut verdict = first.unwrap_or_else(|_late| Err(late(timeout)));
    loop {
        takers.give(&verdict);
        if let Ok(news) = tokio::time::timeout(interval, object.next()).await {
            verdict = news;
        }
    }
}
