//! Groups that share, with objects that count.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};

use rais_common::time::Time;
use tokio::sync::mpsc;

use super::*;
use crate::clock;
use crate::group::Event;
use crate::objects::{Objects, TestObject, Verdict, WatchObject};

const LONG: Duration = Duration::from_secs(20);
const INTERVAL: Duration = Duration::from_millis(20);

/// A test of a group's configuration.
fn configured(name: &str, command: &str, rise: u32, fall: u32) -> checked::Test {
    checked::Test {
        name: name.to_owned(),
        kind: checked::TestKind::Script(vec![command.to_owned()]),
        interval: INTERVAL,
        timeout: LONG,
        rise,
        fall,
    }
}

/// What the runs of counting objects have in common.
#[derive(Default)]
struct Counter {
    made: AtomicU32,
    runs: AtomicU32,
    /// From this run on they fail; 0: none does.
    fails_from: AtomicU32,
}

impl Counter {
    /// Objects that count themselves and their runs here.
    fn make(self: &Arc<Self>) -> impl FnOnce(checked::TestKind) -> Object + use<> {
        let counter = Arc::clone(self);
        move |_kind| {
            counter.made.fetch_add(1, Ordering::SeqCst);
            Object::Asked(Box::new(Counting(counter)))
        }
    }

    fn made(&self) -> u32 {
        self.made.load(Ordering::SeqCst)
    }

    fn runs(&self) -> u32 {
        self.runs.load(Ordering::SeqCst)
    }
}

/// Says at which run it is.
struct Counting(Arc<Counter>);

impl TestObject for Counting {
    fn run(&self) -> Pin<Box<dyn Future<Output = Verdict> + Send + '_>> {
        let run = self.0.runs.fetch_add(1, Ordering::SeqCst) + 1;
        let fails_from = self.0.fails_from.load(Ordering::SeqCst);
        let failed = fails_from > 0 && run >= fails_from;
        let said = format!("run {run}");
        Box::pin(async move { if failed { Err(said) } else { Ok(said) } })
    }
}

/// A group with these tests.
struct Group {
    objects: Objects,
    events: mpsc::Receiver<Event>,
}

impl Group {
    fn new(tests: Vec<Test>) -> Self {
        let (sender, events) = mpsc::channel(100);
        let sink = Arc::new(move |event| drop(sender.try_send(event)));
        Self { objects: Objects::start(&Handle::current(), tests, Vec::new(), sink), events }
    }

    async fn health(&mut self) -> (bool, String) {
        let event = tokio::time::timeout(LONG, self.events.recv()).await.unwrap().unwrap();
        let Event::Health { ok, detail } = event else { panic!("{event:?}") };
        (ok, detail)
    }
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = clock::now() + LONG;
    while !done() {
        assert!(clock::now() < end, "{what}: not within {LONG:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The run in a detail such as `app: run 7`.
fn run_in(detail: &str) -> u32 {
    detail.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn groups_that_want_the_same_share_one_run_and_judge_it_by_themselves() {
    let pool = Pool::new(&Handle::current());
    let counter = Arc::<Counter>::default();
    let quick = pool.test_by(configured("app", "check", 1, 1), counter.make());
    let slow = pool.test_by(configured("shop", "check", 9, 4), counter.make());
    assert!(Arc::ptr_eq(&quick.run, &slow.run));
    let (mut quick, mut slow) = (Group::new(vec![quick]), Group::new(vec![slow]));
    // The first verdict counts at once, in either.
    assert_eq!(quick.health().await, (true, "all tests pass".to_owned()));
    assert_eq!(slow.health().await, (true, "all tests pass".to_owned()));

    let from = counter.runs() + 2;
    counter.fails_from.store(from, Ordering::SeqCst);
    let (ok, detail) = quick.health().await;
    assert!(!ok && detail.starts_with("app: run "), "{detail}");
    assert_eq!(run_in(&detail), from);
    let (ok, detail) = slow.health().await;
    assert!(!ok && detail.starts_with("shop: run "), "{detail}");
    assert_eq!(run_in(&detail), from + 3, "the fourth failure in a row, of one row of runs");

    counter.fails_from.store(0, Ordering::SeqCst);
    assert!(quick.health().await.0);
    let [quick, slow] = [&quick, &slow].map(|group| group.objects.tests().remove(0));
    assert_eq!((quick.name.as_str(), slow.name.as_str()), ("app", "shop"));
    assert!(quick.passing && !slow.passing, "{quick:?} {slow:?}");
    assert_eq!(counter.made(), 1);
}

#[tokio::test]
async fn what_differs_is_not_shared() {
    let pool = Pool::new(&Handle::current());
    let counter = Arc::<Counter>::default();
    let test = || configured("app", "check", 1, 1);
    let others = [
        checked::Test { interval: INTERVAL * 2, ..test() },
        checked::Test { timeout: LONG * 2, ..test() },
        configured("app", "another", 1, 1),
    ];
    let one = pool.test_by(test(), counter.make());
    let others = others.map(|other| pool.test_by(other, counter.make()));
    assert!(others.iter().all(|other| !Arc::ptr_eq(&one.run, &other.run)));
    assert_eq!(counter.made(), 4);
}

#[tokio::test]
async fn an_object_ends_with_its_last_group_and_begins_with_the_next() {
    let pool = Pool::new(&Handle::current());
    let counter = Arc::<Counter>::default();
    let test = || pool.test_by(configured("app", "check", 1, 1), counter.make());
    let (mut first, mut second) = (Group::new(vec![test()]), Group::new(vec![test()]));
    assert!(first.health().await.0 && second.health().await.0);
    drop(first.objects);
    let mark = counter.runs();
    until("it goes on for the second", || counter.runs() > mark + 3).await;
    // Whoever has left hears nothing more: its end of the queue is gone.
    assert!(first.events.recv().await.is_none());
    drop(second.objects);
    until("it is gone", || Arc::strong_count(&counter) == 1).await;

    let mut third = Group::new(vec![test()]);
    assert!(third.health().await.0);
    assert_eq!(counter.made(), 2);
}

/// Says once that all is well.
struct Once(bool);

impl WatchObject for Once {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Verdict> + Send + '_>> {
        let first = !std::mem::replace(&mut self.0, true);
        Box::pin(
            async move { if first { Ok("up".to_owned()) } else { std::future::pending().await } },
        )
    }
}

#[tokio::test]
async fn a_group_that_comes_later_has_the_latest_verdict_at_once() {
    let pool = Pool::new(&Handle::current());
    // What is watched says nothing more for an hour.
    let test = || checked::Test { interval: LONG * 180, ..configured("link", "check", 3, 3) };
    let make = |_kind| Object::Watched(Box::new(Once(false)));
    let mut first = Group::new(vec![pool.test_by(test(), make)]);
    assert!(first.health().await.0);
    let second = Group::new(vec![pool.test_by(test(), make)]);
    assert!(second.objects.tests()[0].passing);
    assert_eq!(second.objects.tests()[0].detail, "up");
}

/// Says how often it was sampled.
struct CountSamples(u32);

impl LoadObject for CountSamples {
    fn sample(&mut self, _: Time) -> Result<(u32, u32), String> {
        self.0 += 1;
        if self.0 == 3 { Err("lost".to_owned()) } else { Ok((self.0, 100)) }
    }
}

#[tokio::test]
async fn a_load_is_sampled_once_for_all_groups() {
    let pool = Pool::new(&Handle::current());
    let count = || -> Box<dyn LoadObject> { Box::new(CountSamples(0)) };
    let cpu = checked::Load::Cpu { capacity: 1_000 };
    let mut groups = [pool.load(&cpu, count), pool.load(&cpu, count)];
    // The second group samples 0.4 s after the first one, later 0.7 s.
    let mut at = |group: usize, ms: u64| {
        groups[group].sample(Time::ZERO + Duration::from_millis(ms)).map(|(load, _)| load)
    };
    let said = [
        (at(0, 5_000), at(1, 5_400)),
        (at(0, 6_000), at(1, 6_400)),
        (at(0, 7_000), at(1, 7_400)),
        (at(0, 8_000), at(1, 8_700)),
        (at(0, 9_000), at(1, 9_700)),
    ];
    let lost = || Err("lost".to_owned());
    let expected =
        [(Ok(1), Ok(1)), (Ok(2), Ok(2)), (lost(), lost()), (Ok(4), Ok(5)), (Ok(5), Ok(6))];
    assert_eq!(said, expected);

    let other = checked::Load::Cpu { capacity: 500 };
    let mut other = pool.load(&other, count);
    assert_eq!(other.sample(Time::ZERO + Duration::from_secs(9)), Ok((1, 100)));
    drop(groups);
    let mut again = pool.load(&cpu, count);
    assert_eq!(again.sample(Time::ZERO + Duration::from_secs(9)), Ok((1, 100)), "a new one");
}
