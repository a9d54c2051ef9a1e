//! With real sockets and programs.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::loads::{fuller, fullest, sample};
use super::*;

fn test(name: &str, object: impl TestObject) -> Test {
    test_within(name, Duration::from_millis(100), object)
}

fn test_within(name: &str, timeout: Duration, object: impl TestObject) -> Test {
    let object = Object::Asked(Box::new(object));
    let run = Run::start(&Handle::current(), object, Duration::from_millis(10), timeout);
    Test { name: name.to_owned(), rise: 1, fall: 1, run }
}

fn start(tests: Vec<Test>, loads: Vec<Box<dyn LoadObject>>) -> (Objects, mpsc::Receiver<Event>) {
    let (sender, events) = mpsc::channel(100);
    // After the end of a test nobody listens.
    let sink = Arc::new(move |event| drop(sender.try_send(event)));
    (Objects::start(&Handle::current(), tests, loads, sink), events)
}

async fn event(events: &mut mpsc::Receiver<Event>) -> Event {
    tokio::time::timeout(Duration::from_secs(20), events.recv()).await.unwrap().unwrap()
}

async fn health(events: &mut mpsc::Receiver<Event>) -> (bool, String) {
    let event = event(events).await;
    let Event::Health { ok, detail } = event else { panic!("{event:?}") };
    (ok, detail)
}

#[tokio::test]
async fn without_tests_a_host_is_ok_at_once() {
    let (_objects, mut events) = start(Vec::new(), Vec::new());
    assert!(matches!(events.try_recv(), Ok(Event::Health { ok: true, .. })));
}

#[tokio::test]
async fn tcp_follows_the_listener() {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (objects, mut events) = start(vec![test("web", Tcp::new(address))], Vec::new());
    assert_eq!(health(&mut events).await, (true, "all tests pass".to_owned()));
    assert!(objects.tests()[0].detail.starts_with(&format!("connected to {address} in ")));
    drop(listener);
    let (ok, detail) = health(&mut events).await;
    assert!(!ok);
    assert!(
        detail.starts_with(&format!("web: connect to {address}: Connection refused")),
        "{detail}"
    );
    assert!(!objects.tests()[0].passing);
}

#[tokio::test]
async fn script_says_what_it_said() {
    let command = |script: &str| ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    let tests = vec![test("good", Script::new(command("echo 3 replicas")))];
    let (objects, mut events) = start(tests, Vec::new());
    assert!(health(&mut events).await.0);
    assert_eq!(objects.tests()[0].detail, "3 replicas");

    let tests = vec![test("bad", Script::new(command("echo no replica; exit 2")))];
    let (_objects, mut events) = start(tests, Vec::new());
    assert_eq!(health(&mut events).await, (false, "bad: /bin/sh exited with 2: no replica".into()));

    let (_objects, mut events) = start(vec![test("empty", Script::new(Vec::new()))], Vec::new());
    assert!(!health(&mut events).await.0);
}

#[tokio::test]
async fn a_hung_script_says_how_far_it_got() {
    let script = "echo first; seq 10000; echo asking the replica >&2; exec sleep 1000";
    let hung = Script::new(["/bin/sh", "-c", script].map(str::to_owned).to_vec());
    let tests = vec![test_within("hung", Duration::from_millis(500), hung)];
    let (_objects, mut events) = start(tests, Vec::new());
    let (ok, detail) = health(&mut events).await;
    assert!(!ok && detail.starts_with("hung: no result within 500ms: "), "{detail}");
    assert!(detail.ends_with("\n10000\nasking the replica"), "{detail}");
    assert!(detail.len() < 5_000, "{}", detail.len());
}

#[tokio::test]
async fn a_hung_test_fails_at_its_deadline_and_again() {
    let hung = Script::new(["/bin/sleep", "1000"].map(str::to_owned).to_vec());
    let mut hung = test_within("hung", Duration::from_millis(50), hung);
    hung.fall = 3;
    let runs = Arc::new(Mutex::new(0));
    let quick = test("quick", Count(Arc::clone(&runs)));
    let (_objects, mut events) = start(vec![hung, quick], Vec::new());
    assert_eq!(health(&mut events).await, (false, "hung: no result within 50ms".to_owned()));
    let before = *runs.lock().unwrap();
    let end = clock::now() + Duration::from_secs(20);
    while *runs.lock().unwrap() < before + 10 {
        assert!(clock::now() < end, "a hung test holds up another");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Counts its runs.
struct Count(Arc<Mutex<u32>>);

impl TestObject for Count {
    fn run(&self) -> Pin<Box<dyn Future<Output = Verdict> + Send + '_>> {
        *self.0.lock().unwrap() += 1;
        Box::pin(async { Ok("counted".to_owned()) })
    }
}

/// Says what it is told to say.
struct Told(mpsc::Receiver<Verdict>);

impl WatchObject for Told {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Verdict> + Send + '_>> {
        Box::pin(async {
            match self.0.recv().await {
                Some(verdict) => verdict,
                None => std::future::pending().await,
            }
        })
    }
}

/// A watch that is told what to say.
fn watched(interval: Duration, rise: u32, fall: u32) -> (Test, mpsc::Sender<Verdict>) {
    let (sender, verdicts) = mpsc::channel(10);
    let object = Object::Watched(Box::new(Told(verdicts)));
    let timeout = Duration::from_millis(50);
    let run = Run::start(&Handle::current(), object, interval, timeout);
    (Test { name: "link".to_owned(), rise, fall, run }, sender)
}

#[tokio::test]
async fn a_change_counts_at_once() {
    let (test, says) = watched(Duration::from_hours(1), 1, 1);
    says.send(Ok("there".to_owned())).await.unwrap();
    let (objects, mut events) = start(vec![test], Vec::new());
    assert!(health(&mut events).await.0);
    assert_eq!(objects.tests()[0].detail, "there");
    says.send(Err("gone".to_owned())).await.unwrap();
    assert_eq!(health(&mut events).await, (false, "link: gone".to_owned()));
    says.send(Ok("there".to_owned())).await.unwrap();
    assert!(health(&mut events).await.0);
}

#[tokio::test]
async fn no_change_is_the_same_result_each_interval() {
    let interval = Duration::from_millis(20);
    let (test, says) = watched(interval, 3, 1);
    let begun = clock::now();
    let (_objects, mut events) = start(vec![test], Vec::new());
    assert_eq!(health(&mut events).await, (false, "link: no result within 50ms".to_owned()));
    assert!(clock::now().since(begun) >= Duration::from_millis(50));
    let begun = clock::now();
    says.send(Ok("there".to_owned())).await.unwrap();
    assert!(health(&mut events).await.0);
    assert!(clock::now().since(begun) >= interval * 2, "the third result");
}

#[tokio::test]
async fn dropping_the_handle_stops_everything() {
    let runs = Arc::new(Mutex::new(0));
    let (objects, mut events) = start(vec![test("count", Count(Arc::clone(&runs)))], Vec::new());
    assert!(health(&mut events).await.0);
    drop(objects);
    // The sender goes with the handle, the object with its task, once that has stopped.
    while event_or_end(&mut events).await.is_some() {}
    let end = clock::now() + Duration::from_secs(20);
    while Arc::strong_count(&runs) > 1 {
        assert!(clock::now() < end, "the test goes on");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn event_or_end(events: &mut mpsc::Receiver<Event>) -> Option<Event> {
    tokio::time::timeout(Duration::from_secs(20), events.recv()).await.unwrap()
}

struct Samples(std::vec::IntoIter<Result<(u32, u32), String>>);

impl Samples {
    fn boxed(samples: &[Result<(u32, u32), &str>]) -> Box<dyn LoadObject> {
        let samples: Vec<_> = samples.iter().map(|s| s.map_err(str::to_owned)).collect();
        Box::new(Self(samples.into_iter()))
    }
}

impl LoadObject for Samples {
    fn sample(&mut self, _: Time) -> Result<(u32, u32), String> {
        self.0.next().unwrap_or_else(|| Err("over".to_owned()))
    }
}

#[tokio::test]
async fn the_fullest_load_is_sent_when_it_changes() {
    let first = Samples::boxed(&[Ok((10, 100)), Ok((10, 100)), Err("lost"), Ok((0, 100))]);
    let second = Samples::boxed(&[Ok((3, 10)), Ok((3, 10)), Ok((3, 11)), Ok((0, 0))]);
    let (sender, mut events) = mpsc::channel(100);
    let sink = Arc::new(move |event| sender.try_send(event).unwrap());
    let mut tasks = JoinSet::new();
    tasks.spawn(sample(vec![first, second], Duration::from_millis(5), sink));
    let mut loads = Vec::new();
    while loads.len() < 3 {
        let event = event(&mut events).await;
        let Event::Load { load, capacity } = event else { panic!("{event:?}") };
        loads.push((load, capacity));
    }
    assert_eq!(loads, [(3, 10), (3, 11), (0, 0)]);
}

#[tokio::test]
async fn a_script_that_hangs_holds_up_no_other_load() {
    let hung = checked::LoadScript {
        command: ["/bin/sleep", "1000"].map(str::to_owned).to_vec(),
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1000),
        capacity: Some(1),
    };
    let hung = Box::new(LoadScript::start(&Handle::current(), hung));
    let (sender, mut events) = mpsc::channel(100);
    let sink = Arc::new(move |event| drop(sender.try_send(event)));
    let samples = Arc::new(Mutex::new(0));
    let loads: Vec<Box<dyn LoadObject>> = vec![hung, Box::new(CountSamples(Arc::clone(&samples)))];
    let mut tasks = JoinSet::new();
    tasks.spawn(sample(loads, Duration::from_millis(5), sink));
    let first = event(&mut events).await;
    assert!(matches!(first, Event::Load { load: 0, capacity: 0 }), "{first:?}: not full");
    let end = clock::now() + Duration::from_secs(20);
    while *samples.lock().unwrap() < 10 {
        assert!(clock::now() < end, "a hung script holds up another load");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Counts its samples.
struct CountSamples(Arc<Mutex<u32>>);

impl LoadObject for CountSamples {
    fn sample(&mut self, _: Time) -> Result<(u32, u32), String> {
        *self.0.lock().unwrap() += 1;
        Ok((1, 1))
    }
}

/// Of any two the same one is fuller, whichever comes first, and the fullest of many is fuller
/// than none of them.
#[test]
fn the_order_of_objects_does_not_matter() {
    let numbers = [0, 1, 2, 999, 1_000, 1 << 16, u32::MAX / 2, u32::MAX - 1, u32::MAX];
    let all: Vec<_> = numbers.iter().flat_map(|&a| numbers.map(|b| (a, b))).collect();
    for &a in &all {
        assert!(!fuller(a, a), "{a:?}");
        assert_eq!(fullest([a].into_iter()), Some(a));
        for &b in &all {
            assert!(!(fuller(a, b) && fuller(b, a)), "{a:?} {b:?}");
            let ratio = |(load, capacity): (u32, u32)| f64::from(load) / f64::from(capacity);
            let expected = match (a.1, b.1) {
                (_, 0) => false,
                (0, _) => true,
                // Too near for this arithmetic to tell them apart.
                _ if (ratio(a) - ratio(b)).abs() < f64::EPSILON * ratio(a) => fuller(a, b),
                _ => ratio(a) > ratio(b),
            };
            assert_eq!(fuller(a, b), expected, "{a:?} {b:?}");
        }
    }
    let forwards = fullest(all.iter().copied()).unwrap();
    let backwards = fullest(all.iter().rev().copied()).unwrap();
    assert_eq!((forwards.1, backwards.1), (0, 0), "without capacity is fullest");
    let some = all.iter().copied().filter(|pair| pair.1 > 0);
    assert_eq!(fullest(some.clone()), Some((u32::MAX, 1)));
    assert_eq!(fullest(some.rev()), Some((u32::MAX, 1)));
}

#[test]
fn fullest_of_several() {
    assert_eq!(fullest(std::iter::empty()), None);
    assert_eq!(fullest([(1, 10), (2, 10), (1, 5)].into_iter()), Some((2, 10)), "first of equals");
    assert_eq!(fullest([(u32::MAX, 1), (0, 0)].into_iter()), Some((0, 0)));
    let most = (u32::MAX, u32::MAX - 1);
    assert_eq!(fullest([(u32::MAX, u32::MAX), most].into_iter()), Some(most));
}
