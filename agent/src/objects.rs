//! What says whether this host can provide the service, and how busy it is.
//!
//! Each test runs by itself, at its interval and with its deadline; together those of a group are
//! the host's health in it. Loads are sampled every second; the fullest one is the host's load.
//!
//! Groups of one agent that ask for the same share it: a [`Pool`] finds what runs already, so that
//! a program is started once and a server asked once, however many groups want to know. What the
//! verdicts mean is up to each group, by its own `rise` and `fall`. An object ends when the last
//! [`Objects`] that has a part in it is dropped.

mod cpu;
mod dns;
mod file;
mod health;
mod http;
mod interface;
mod load_script;
mod loads;
mod pool;
mod pressure;
mod proc_file;
mod run;
mod script;
mod tcp;
mod traffic;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rais_common::time::Time;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::clock;
use crate::config::checked;
use crate::group::Event;

use health::{Health, Wanted};
use run::Subscription;

pub use cpu::Cpu;
pub use dns::Dns;
pub use file::File;
pub use health::TestStatus;
pub use http::Http;
pub use interface::Interface;
pub use load_script::LoadScript;
pub use pool::Pool;
pub use pressure::Pressure;
pub use run::Run;
pub use script::Script;
pub use tcp::Tcp;
pub use traffic::{Counted, ReadTraffic, Traffic};

/// What a test found: a word for people in either case.
pub type Verdict = Result<String, String>;

/// Something that can be tested.
pub trait TestObject: Send + Sync + 'static {
    /// Tests once. At the deadline of the test the future is dropped, which must end whatever it
    /// began.
    fn run(&self) -> Pin<Box<dyn Future<Output = Verdict> + Send + '_>>;

    /// Tests once, with `limit` as the deadline. One that knows more about what it was doing than
    /// that there was no result says so, by a method of its own in place of this one.
    fn run_within(&self, limit: Duration) -> Pin<Box<dyn Future<Output = Verdict> + Send + '_>> {
        Box::pin(async move {
            let verdict = tokio::time::timeout(limit, self.run()).await;
            verdict.unwrap_or_else(|_late| Err(late(limit)))
        })
    }
}

/// What is said where a deadline has passed.
fn late(limit: Duration) -> String {
    format!("no result within {limit:?}")
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

/// Load and capacity, in one unit; or in words why there is no answer.
type Sample = Result<(u32, u32), String>;

/// Something that can be more or less busy.
pub trait LoadObject: Send + 'static {
    /// Load and capacity at `now`, in one unit. A capacity of 0 counts as full. Called once a
    /// second; must not wait.
    ///
    /// # Errors
    /// In words; the object is left out of the load until it has an answer again.
    fn sample(&mut self, now: Time) -> Result<(u32, u32), String>;
}

/// A group's part in a test that runs, see [`Pool::test`].
#[derive(Debug)]
pub struct Test {
    /// Name, unique in the group.
    pub name: String,
    /// So many successes in a row make a failing test pass. 0 counts as 1.
    pub rise: u32,
    /// So many failures in a row make a passing test fail. 0 counts as 1.
    pub fall: u32,
    /// Where the verdicts come from.
    pub run: Arc<Run>,
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

/// The objects of one group: its part in those that run. Dropping it ends this part, and what
/// nobody else has a part in.
#[derive(Debug)]
pub struct Objects {
    board: Arc<Board>,
    tests: Vec<Part>,
    loads: JoinSet<()>,
}

/// A test of the group.
#[derive(Debug)]
struct Part {
    name: String,
    /// See [`Health::want`].
    number: u64,
    subscription: Subscription,
}

impl Objects {
    /// Takes part in these tests, and samples these loads on `runtime`.
    ///
    /// [`Event::Health`] is sent when the combined result, or which tests fail, changes. It is
    /// first sent as soon as it is known: at once where there are no tests (OK), with the first
    /// failure, or when every test has passed. Until then the host is not OK. The first result
    /// of a test counts at once, whatever `rise` and `fall`; where the test runs already, its
    /// latest one is the first.
    ///
    /// [`Event::Load`] is sent when the load or the capacity changed since the last second. Where
    /// no load object has an answer, nothing is sent.
    pub fn start(
        runtime: &Handle,
        tests: Vec<Test>,
        loads: Vec<Box<dyn LoadObject>>,
        events: Arc<dyn Fn(Event) + Send + Sync>,
    ) -> Self {
        let board = Arc::new(Board { health: Mutex::new(Health::new()), events });
        let mut objects = Self { board, tests: Vec::new(), loads: JoinSet::new() };
        objects.test(tests);
        objects.sample(runtime, loads);
        objects
    }

    /// Takes part in these tests from now on. What is known of those it takes part in already, by
    /// the same name, is kept. While a new one has no result, the group is told nothing.
    pub fn test(&mut self, tests: Vec<Test>) {
        let goes_on = |part: &Part, test: &Test| {
            part.name == test.name && Arc::ptr_eq(part.subscription.run(), &test.run)
        };
        let wanted = tests.iter().map(|test| Wanted {
            number: self.tests.iter().find(|part| goes_on(part, test)).map(|part| part.number),
            name: test.name.clone(),
            rise: test.rise,
            fall: test.fall,
        });
        let wanted = wanted.collect();
        let numbers = self.board.lock().want(wanted, clock::now());
        // Where there are no tests, that is said first.
        self.board.report();
        let mut before = std::mem::take(&mut self.tests);
        for (Test { name, run, .. }, number) in tests.into_iter().zip(numbers) {
            let place = before.iter().position(|part| part.number == number);
            self.tests.push(if let Some(place) = place {
                before.swap_remove(place)
            } else {
                let board = Arc::clone(&self.board);
                let take = move |verdict| board.result(number, verdict);
                Part { name, number, subscription: Run::subscribe(run, take) }
            });
        }
    }

    /// Samples these loads on `runtime`, besides those that are sampled already.
    fn sample(&mut self, runtime: &Handle, loads: Vec<Box<dyn LoadObject>>) {
        if !loads.is_empty() {
            let events = Arc::clone(&self.board.events);
            self.loads.spawn_on(loads::sample(loads, loads::INTERVAL, events), runtime);
        }
    }

    /// Samples these loads in the place of all others. Without any, there is no load. `objects` is
    /// locked for an instant only.
    pub async fn resample(
        objects: &Mutex<Self>,
        runtime: &Handle,
        loads: Vec<Box<dyn LoadObject>>,
    ) {
        let lock = || objects.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut lock().loads);
        // Nothing of theirs may come after what the others say.
        before.shutdown().await;
        if loads.is_empty() {
            let events = Arc::clone(&lock().board.events);
            events(Event::Load { load: 0, capacity: 1 });
        }
        lock().sample(runtime, loads);
    }

    /// How each test stands, in the order they were given.
    #[must_use]
    pub fn tests(&self) -> Vec<TestStatus> {
        self.board.lock().status()
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
    fn lock(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn result(&self, number: u64, verdict: Verdict) {
        let mut health = self.lock();
        health.result(number, verdict, clock::now());
        self.send(&mut health);
    }

    fn report(&self) {
        self.send(&mut self.lock());
    }

    /// Sent under the lock, so that no older result overtakes a newer one.
    fn send(&self, health: &mut Health) {
        if let Some((ok, detail)) = health.change() {
            (self.events)(Event::Health { ok, detail });
        }
    }
}

#[cfg(test)]
mod tests;
