//! With real scripts and an interface that does what it is told.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::Notify;

use super::*;

/// An interface that writes down what happens, and holds every request until it is let go.
#[derive(Default)]
struct Fake {
    log: Mutex<Vec<String>>,
    hold: Option<Notify>,
}

impl Fake {
    async fn carry_out(&self, what: &str, address: IpAddr) {
        self.log.lock().unwrap().push(format!("{what} {address} begins"));
        if let Some(hold) = &self.hold {
            hold.notified().await;
        }
        self.log.lock().unwrap().push(format!("{what} {address} ends"));
    }
}

impl Netlink for Arc<Fake> {
    async fn apply(&self, changes: Vec<Change>) -> Vec<Result<(), AddressError>> {
        let each = changes.into_iter().map(async |Change { add, place, address }| {
            self.carry_out(if add { "add" } else { "remove" }, address).await;
            if add && address == ADDRESSES[3] {
                let source = std::io::Error::from_raw_os_error(libc::ENODEV);
                return Err(AddressError::Add { address, place, source });
            }
            Ok(())
        });
        futures_util::future::join_all(each).await
    }
}

const ADDRESSES: [IpAddr; 4] = [
    IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2)),
    IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 3)),
    IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 4)),
];

/// A room, what came out of it, and a directory for its scripts.
struct Bench {
    room: Scripts,
    events: mpsc::Receiver<Event>,
    directory: PathBuf,
}

impl Bench {
    fn new(name: &str, fake: &Arc<Fake>, scripts: &[(&str, &str)], timeout: Duration) -> Self {
        let directory =
            std::env::temp_dir().join(format!("rais-scripts-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = |which: &str| {
            let (_, text) = scripts.iter().find(|(name, _)| *name == which)?;
            Some(script(&directory, which, text))
        };
        let surroundings = Surroundings {
            group: "web".to_owned(),
            host: HostId(IpAddr::from([10, 77, 0, 1])),
            interface: "eth0".to_owned(),
            place: Place::Interface(2),
            scripts: checked::Scripts {
                acquire: path("acquire"),
                release: path("release"),
                test_failed: path("test_failed"),
                cannot_assign: path("cannot_assign"),
                timeout,
            },
        };
        let (sender, events) = mpsc::channel(1000);
        let sink = Arc::new(move |event| sender.try_send(event).unwrap());
        let room = Scripts::start(&Handle::current(), surroundings, Arc::clone(fake), sink);
        Self { room, events, directory }
    }

    async fn event(&mut self) -> Event {
        tokio::time::timeout(Duration::from_secs(20), self.events.recv()).await.unwrap().unwrap()
    }

    fn run(&self, script: AddressScript, address: IpAddr, epoch: u64) {
        self.room.submit(Job::Script { script, address, epoch, reason: Reason::Failback }).unwrap();
    }

    /// Waits until a notice, of whose end nothing tells, has made the file `last`.
    async fn wait_last(&self) {
        let end = crate::clock::now() + LONG;
        while !self.directory.join("last").exists() {
            assert!(crate::clock::now() < end);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// The lines of the file that the scripts write to.
    fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.directory).unwrap();
    }
}

/// Writes an executable script, which finds its own directory in `$dir`. A program of its own does
/// it: were the file open for writing here, a child that another test is just starting would have
/// it open too, and the script could not be run ("text file busy").
fn script(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    let text = format!("#!/bin/sh\ndir={}\n{text}\n", directory.display());
    let status = std::process::Command::new("sh")
        .args(["-c", r#"printf %s "$1" > "$2" && chmod 755 "$2""#, "sh", &text])
        .arg(&path)
        .status()
        .unwrap();
    assert!(status.success());
    path
}

/// Writes down what a script is told.
const ENVIRONMENT: &str = "env | grep ^RAIS_ | sort > $dir/log";

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn results_come_back_with_their_epoch() {
    let fake = Arc::new(Fake::default());
    let mut bench = Bench::new("results", &fake, &[], LONG);
    bench.room.submit(Job::Configure { address: ADDRESSES[0], epoch: 7 }).unwrap();
    let event = bench.event().await;
    let Event::Configured { address, epoch: 7, result: Ok(()) } = event else {
        panic!("{event:?}")
    };
    assert_eq!(address, ADDRESSES[0]);

    bench.room.submit(Job::Configure { address: ADDRESSES[3], epoch: 8 }).unwrap();
    let event = bench.event().await;
    let Event::Configured { epoch: 8, result: Err(e), .. } = event else { panic!("{event:?}") };
    assert!(e.starts_with("add 192.0.2.4 to interface 2: No such device"), "{e}");

    bench.room.submit(Job::Deconfigure { address: ADDRESSES[0], epoch: 9 }).unwrap();
    let event = bench.event().await;
    assert!(matches!(event, Event::Deconfigured { epoch: 9, result: Ok(()), .. }), "{event:?}");

    bench.run(AddressScript::Acquire, ADDRESSES[0], 10);
    let event = bench.event().await;
    let Event::ScriptEnded { script: AddressScript::Acquire, epoch: 10, result: Ok(()), .. } =
        event
    else {
        panic!("none is configured: nothing to fail: {event:?}")
    };
}

#[tokio::test]
async fn one_address_waits_for_itself_only() {
    let fake = Arc::new(Fake { hold: Some(Notify::new()), ..Fake::default() });
    let mut bench = Bench::new("order", &fake, &[], LONG);
    let [first, second, ..] = ADDRESSES;
    bench.room.submit(Job::Configure { address: first, epoch: 1 }).unwrap();
    bench.room.submit(Job::Deconfigure { address: first, epoch: 1 }).unwrap();
    bench.room.submit(Job::Configure { address: second, epoch: 1 }).unwrap();
    // Both addresses are under way, the second job of the first is not.
    while fake.log.lock().unwrap().len() < 2 {
        tokio::task::yield_now().await;
    }
    for _ in 0..3 {
        fake.hold.as_ref().unwrap().notify_one();
        tokio::task::yield_now().await;
    }
    let Event::Together(both) = bench.event().await else { panic!("told one by one") };
    assert_eq!(both.len(), 2);
    bench.event().await;
    let log = fake.log.lock().unwrap().clone();
    assert_eq!(log[..2], ["add 192.0.2.1 begins", "add 192.0.2.2 begins"]);
    let of_first: Vec<&String> = log.iter().filter(|l| l.contains("192.0.2.1")).collect();
    assert_eq!(
        of_first,
        [
            "add 192.0.2.1 begins",
            "add 192.0.2.1 ends",
            "remove 192.0.2.1 begins",
            "remove 192.0.2.1 ends"
        ]
    );
}

#[tokio::test]
async fn scripts_of_one_address_follow_each_other() {
    let fake = Arc::new(Fake::default());
    let text = "echo begin $RAIS_EPOCH >> $dir/log; sleep 0.02; echo end $RAIS_EPOCH >> $dir/log";
    let mut bench = Bench::new("sequence", &fake, &[("acquire", text)], LONG);
    for epoch in 1..=3 {
        bench.run(AddressScript::Acquire, ADDRESSES[0], epoch);
    }
    for _ in 1..=3 {
        bench.event().await;
    }
    assert_eq!(bench.lines(), ["begin 1", "end 1", "begin 2", "end 2", "begin 3", "end 3"]);
}

#[tokio::test]
async fn scripts_of_different_addresses_run_side_by_side() {
    let fake = Arc::new(Fake::default());
    // Each waits until it sees the other: one after the other, both would run into the deadline.
    let text = "touch $dir/$RAIS_ADDRESS; \
        while [ ! -e $dir/192.0.2.1 ] || [ ! -e $dir/192.0.2.2 ]; do sleep 0.01; done";
    let mut bench = Bench::new("parallel", &fake, &[("release", text)], Duration::from_secs(5));
    bench.run(AddressScript::Release, ADDRESSES[0], 1);
    bench.run(AddressScript::Release, ADDRESSES[1], 1);
    for _ in 0..2 {
        let event = bench.event().await;
        assert!(matches!(event, Event::ScriptEnded { result: Ok(()), .. }), "{event:?}");
    }
}

#[tokio::test]
async fn hanging_scripts_do_not_hold_up_the_interface() {
    let fake = Arc::new(Fake::default());
    let mut bench = Bench::new("hanging", &fake, &[("acquire", "exec sleep 1000")], LONG);
    for last in 0..=u8::MAX {
        bench.run(AddressScript::Acquire, IpAddr::from([198, 51, 100, last]), 1);
    }
    bench.room.submit(Job::Configure { address: ADDRESSES[0], epoch: 1 }).unwrap();
    let event = bench.event().await;
    assert!(matches!(event, Event::Configured { result: Ok(()), .. }), "{event:?}");
}

#[tokio::test]
async fn a_script_past_its_deadline_is_killed_and_its_address_goes_on() {
    let fake = Arc::new(Fake::default());
    let limit = Duration::from_millis(200);
    let mut bench = Bench::new("deadline", &fake, &[("acquire", "exec sleep 1000")], limit);
    bench.run(AddressScript::Acquire, ADDRESSES[0], 1);
    bench.room.submit(Job::Deconfigure { address: ADDRESSES[0], epoch: 1 }).unwrap();
    let event = bench.event().await;
    let Event::ScriptEnded { result: Err(e), .. } = event else { panic!("{event:?}") };
    assert!(e.ends_with("acquire took longer than 200ms and was killed"), "{e}");
    let event = bench.event().await;
    assert!(matches!(event, Event::Deconfigured { result: Ok(()), .. }), "{event:?}");
}

#[tokio::test]
async fn a_code_a_signal_and_a_missing_program_are_told_apart() {
    let fake = Arc::new(Fake::default());
    let acquire = "echo no room >&2; [ $RAIS_EPOCH = 1 ] && exit 3; kill -KILL $$";
    let scripts = [("acquire", acquire), ("release", "true")];
    let mut bench = Bench::new("ends", &fake, &scripts, LONG);
    std::fs::remove_file(bench.directory.join("release")).unwrap();
    let cases = [
        (AddressScript::Acquire, "acquire exited with 3: no room"),
        (AddressScript::Acquire, "acquire was ended by signal 9: no room"),
        (AddressScript::Release, "release could not be started: No such file or directory"),
    ];
    for (epoch, (script, expected)) in (1..).zip(cases) {
        bench.run(script, ADDRESSES[0], epoch);
        let event = bench.event().await;
        let Event::ScriptEnded { result: Err(e), .. } = event else { panic!("{event:?}") };
        assert!(e.contains(expected), "{e}");
    }
}

#[tokio::test]
async fn environment_of_an_address_script() {
    for (script, name) in [(AddressScript::Acquire, "acquire"), (AddressScript::Release, "release")]
    {
        let fake = Arc::new(Fake::default());
        let mut bench = Bench::new(&format!("env-{name}"), &fake, &[(name, ENVIRONMENT)], LONG);
        bench.run(script, ADDRESSES[0], 12);
        bench.event().await;
        assert_eq!(
            bench.lines(),
            [
                "RAIS_ADDRESS=192.0.2.1",
                "RAIS_EPOCH=12",
                &format!("RAIS_EVENT={name}"),
                "RAIS_GROUP=web",
                "RAIS_HOST=10.77.0.1",
                "RAIS_INTERFACE=eth0",
                "RAIS_REASON=failback",
            ]
        );
    }
}

// A notice is about no assignment: it has no epoch, and about the whole host no address.
#[tokio::test]
async fn environment_of_a_notice() {
    let detail = "http: refused".to_owned();
    for (name, notice, reason, address) in [
        ("test_failed", Notice::TestFailed { detail }, "http: refused", None),
        (
            "cannot_assign",
            Notice::CannotAssign(ADDRESSES[0]),
            "no host can take it",
            Some("RAIS_ADDRESS=192.0.2.1"),
        ),
    ] {
        let fake = Arc::new(Fake::default());
        let text = format!("{ENVIRONMENT}; touch $dir/last");
        let bench = Bench::new(&format!("env-{name}"), &fake, &[(name, &text)], LONG);
        bench.room.submit(Job::Notice(notice)).unwrap();
        bench.wait_last().await;
        let (event, reason) = (format!("RAIS_EVENT={name}"), format!("RAIS_REASON={reason}"));
        let rest = ["RAIS_GROUP=web", "RAIS_HOST=10.77.0.1", "RAIS_INTERFACE=eth0", &reason];
        let expected: Vec<&str> = address.into_iter().chain([&*event]).chain(rest).collect();
        assert_eq!(bench.lines(), expected);
    }
}

#[tokio::test]
async fn notices_run_in_order_and_apart_from_addresses() {
    let fake = Arc::new(Fake::default());
    let failed = "sleep 0.05; echo $RAIS_EVENT $RAIS_REASON >> $dir/log; exit 1";
    let cannot = "echo $RAIS_EVENT $RAIS_ADDRESS >> $dir/log; touch $dir/last";
    let scripts = [("test_failed", failed), ("cannot_assign", cannot)];
    let bench = Bench::new("notices", &fake, &scripts, LONG);
    let detail = "http: refused".to_owned();
    bench.room.submit(Job::Notice(Notice::TestFailed { detail })).unwrap();
    bench.room.submit(Job::Notice(Notice::CannotAssign(ADDRESSES[0]))).unwrap();
    bench.wait_last().await;
    assert_eq!(bench.lines(), ["test_failed http: refused", "cannot_assign 192.0.2.1"]);
}

#[tokio::test]
async fn a_full_room_says_so_and_never_waits() {
    let fake = Arc::new(Fake::default());
    let bench = Bench::new("full", &fake, &[], LONG);
    // On this runtime of one thread nothing is taken out while this test does not wait.
    let job = Job::Configure { address: ADDRESSES[0], epoch: 1 };
    for _ in 0..QUEUE_LIMIT {
        bench.room.submit(job.clone()).unwrap();
    }
    assert_eq!(bench.room.submit(job), Err(Full));
}
