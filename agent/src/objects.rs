//! What says whether this host can provide the service, and how busy it is.
//!
//! Each test runs by itself, at its interval and with its deadline; together they are the host's
//! health. Loads are sampled every second; the fullest one is the host's load. Everything ends when
//! [`Objects`] is dropped.

mod cpu;
mod dns;
mod file;
mod health;
mod http;
mod interface;
mod load_script;
mod pressure;
mod proc_file;
mod script;
mod tcp;
mod traffic;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rais_common::time::Time;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::clock;
use crate::config::checked;
use crate::group::Event;

use health::Health;

pub use cpu::Cpu;
pub use dns::Dns;
pub use file::File;
pub use health::TestStatus;
pub use http::Http;
pub use interface::Interface;
pub use load_script::LoadScript;
pub use pressure::Pressure;
pub use script::Script;
pub use tcp::Tcp;
pub use traffic::{Counted, ReadTraffic, Traffic};

/// Time between two samples of the load.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// What a test found: a word for people in either case.
pub type Verdict = Result<String, String>;

/// Something that can be tested.
pub trait TestObject: Send + Sync + 'static {
    /// Tests once. At the deadline of the test the future is dropped, which must end whatever it
    /// began.
    fn run(&self) -> Pin<Box<dyn Future<Output = Verdict> + Send + '_>>;
}

/// Something that says by itself how it is.
pub trait WatchObject: Send + 'static {
    /// At first how it is, then how it is after the next change. The future may be dropped at any
    /// time, and no change may be lost by that.
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Verdict> + Send + '_>>;
}

/// What is tested, by how its results come about.
pub enum Object {
    /// It is asked every interval.
    Asked(Box<dyn TestObject>),
    /// It says so at once. Every interval without a change counts as the same result again.
    Watched(Box<dyn WatchObject>),
}

/// Something that can be more or less busy.
pub trait LoadObject: Send + 'static {
    /// Load and capacity at `now`, in one unit. A capacity of 0 counts as full. Called once a
    /// second; must not wait.
    ///
    /// # Errors
    /// In words; the object is left out of the load until it has an answer again.
    fn sample(&mut self, now: Time) -> Result<(u32, u32), String>;
}

/// A test object and when to run it.
pub struct Test {
    /// Name, unique in the group.
    pub name: String,
    /// Time between the starts of two runs; a run that takes longer leaves the next one out.
    pub interval: Duration,
    /// A run that takes longer is a failure; so is a watch that says nothing for so long at first.
    pub timeout: Duration,
    /// So many successes in a row make a failing test pass. 0 counts as 1.
    pub rise: u32,
    /// So many failures in a row make a passing test fail. 0 counts as 1.
    pub fall: u32,
    /// What is tested.
    pub object: Object,
}

impl From<checked::Test> for Test {
    fn from(test: checked::Test) -> Self {
        let checked::Test { name, kind, interval, timeout, rise, fall } = test;
        Self { name, interval, timeout, rise, fall, object: kind.into() }
    }
}

impl From<checked::TestKind> for Object {
    fn from(kind: checked::TestKind) -> Self {
        use checked::TestKind;
        match kind {
            TestKind::Tcp(address) => Self::Asked(Box::new(Tcp::new(address))),
            TestKind::Script(command) => Self::Asked(Box::new(Script::new(command))),
            TestKind::File { path, contains, max_age } => {
                Self::Asked(Box::new(File::new(path, contains, max_age)))
            }
            TestKind::Interface { name, address } => {
                Self::Watched(Box::new(Interface::new(name, address)))
            }
            TestKind::Http(http) => Self::Asked(Box::new(Http::new(*http))),
            TestKind::Dns(dns) => Self::Asked(Box::new(Dns::new(dns))),
        }
    }
}

/// Whether `text` is in `bytes`.
fn contains(bytes: &[u8], text: &[u8]) -> bool {
    text.is_empty() || bytes.windows(text.len()).any(|window| window == text)
}

/// Takes what the objects say. Called on the runtime's threads; must not wait.
type Events = Arc<dyn Fn(Event) + Send + Sync>;

/// The running objects of one group.
#[derive(Debug)]
pub struct Objects {
    board: Arc<Board>,
    _tasks: JoinSet<()>,
}

impl Objects {
    /// Starts running these on `runtime`.
    ///
    /// [`Event::Health`] is sent when the combined result, or which tests fail, changes. It is
    /// first sent as soon as it is known: at once where there are no tests (OK), with the first
    /// failure, or when every test has passed. Until then the host is not OK. The first result
    /// of a test counts at once, whatever `rise` and `fall`.
    ///
    /// [`Event::Load`] is sent when the load or the capacity changed since the last second. Where
    /// no load object has an answer, nothing is sent.
    pub fn start(
        runtime: &Handle,
        tests: Vec<Test>,
        loads: Vec<Box<dyn LoadObject>>,
        events: Arc<dyn Fn(Event) + Send + Sync>,
    ) -> Self {
        let limits = tests.iter().map(|t| (t.name.clone(), t.rise, t.fall));
        let health = Health::new(limits, clock::now());
        let board = Arc::new(Board { health: Mutex::new(health), events: Arc::clone(&events) });
        board.report();
        let mut tasks = JoinSet::new();
        for (index, test) in tests.into_iter().enumerate() {
            tasks.spawn_on(perform(test, index, Arc::clone(&board)), runtime);
        }
        if !loads.is_empty() {
            tasks.spawn_on(sample(loads, SAMPLE_INTERVAL, events), runtime);
        }
        Self { board, _tasks: tasks }
    }

    /// How each test stands, in the order they were given.
    #[must_use]
    pub fn tests(&self) -> Vec<TestStatus> {
        self.board.health.lock().unwrap_or_else(PoisonError::into_inner).status()
    }
}

/// Where the tests of a group put their results.
struct Board {
    health: Mutex<Health>,
    events: Events,
}

impl std::fmt::Debug for Board {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Board").field("health", &self.health).finish_non_exhaustive()
    }
}

impl Board {
    fn result(&self, index: usize, verdict: Verdict) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        health.result(index, verdict, clock::now());
        self.send(&mut health);
    }

    fn report(&self) {
        self.send(&mut self.health.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Sent under the lock, so that no older result overtakes a newer one.
    fn send(&self, health: &mut Health) {
        if let Some((ok, detail)) = health.change() {
            (self.events)(Event::Health { ok, detail });
        }
    }
}

/// Performs one test for ever.
async fn perform(test: Test, index: usize, board: Arc<Board>) {
    // An interval of nothing would never let go of the thread, and is refused by tokio.
    let interval = test.interval.max(Duration::from_millis(1));
    let results = |verdict| board.result(index, verdict);
    match test.object {
        Object::Asked(object) => ask(&*object, interval, test.timeout, results).await,
        Object::Watched(object) => watch(object, interval, test.timeout, results).await,
    }
}

async fn ask(
    object: &dyn TestObject,
    interval: Duration,
    timeout: Duration,
    results: impl Fn(Verdict),
) {
    let mut turns = tokio::time::interval(interval);
    turns.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        turns.tick().await;
        let verdict = tokio::time::timeout(timeout, object.run()).await;
        results(verdict.unwrap_or_else(|_late| late(timeout)));
    }
}

async fn watch(
    mut object: Box<dyn WatchObject>,
    interval: Duration,
    timeout: Duration,
    results: impl Fn(Verdict),
) {
    let first = tokio::time::timeout(timeout, object.next()).await;
    let mut verdict = first.unwrap_or_else(|_late| late(timeout));
    loop {
        results(verdict.clone());
        if let Ok(news) = tokio::time::timeout(interval, object.next()).await {
            verdict = news;
        }
    }
}

fn late(timeout: Duration) -> Verdict {
    Err(format!("no result within {timeout:?}"))
}

/// Samples the loads for ever.
async fn sample(mut loads: Vec<Box<dyn LoadObject>>, interval: Duration, events: Events) {
    let mut turns = tokio::time::interval(interval);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = vec![false; loads.len()];
    let mut sent = None;
    loop {
        turns.tick().await;
        let samples: Vec<_> = loads.iter_mut().map(|load| load.sample(clock::now())).collect();
        for (sample, failing) in samples.iter().zip(&mut failing) {
            // Once per occurrence.
            if let Err(e) = sample
                && !*failing
            {
                tracing::warn!("load object: {e}");
            }
            *failing = sample.is_err();
        }
        let fullest = fullest(samples.into_iter().flatten());
        if let Some((load, capacity)) = fullest
            && sent != fullest
        {
            sent = fullest;
            events(Event::Load { load, capacity });
        }
    }
}

/// The pair of load and capacity with the highest utilisation; the first of equals.
fn fullest(samples: impl Iterator<Item = (u32, u32)>) -> Option<(u32, u32)> {
    samples.reduce(|first, second| if fuller(second, first) { second } else { first })
}

/// Whether `a` is fuller than `b`. Without capacity is as full as can be.
fn fuller(a: (u32, u32), b: (u32, u32)) -> bool {
    match (a.1, b.1) {
        (_, 0) => false,
        (0, _) => true,
        (a_capacity, b_capacity) => {
            u64::from(a.0) * u64::from(b_capacity) > u64::from(b.0) * u64::from(a_capacity)
        }
    }
}

#[cfg(test)]
mod tests;
