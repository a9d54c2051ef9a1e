//! Services that real agents test: what ceases to work gives the addresses away, and has them back
//! once it works again.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use nix::sys::signal::kill;
use nix::unistd::Pid;
use rais_tests::netns::Host;
use rais_tests::scripts::Scripts;
use rais_tests::trial::{LIMIT, Trial, id, service};
use rais_tests::wait;

/// What a server does now: one of these.
const WORKS: u8 = 0;
const FAILS: u8 = 1;
const IS_SILENT: u8 = 2;

/// A server in a host's namespace whose work can be changed. It ends with the test's process.
#[derive(Clone, Default)]
struct Server(Arc<AtomicU8>);

impl Server {
    fn now(&self, work: u8) {
        self.0.store(work, Ordering::SeqCst);
    }

    fn work(&self) -> u8 {
        self.0.load(Ordering::SeqCst)
    }

    /// Answers each request with status 200 or 500.
    fn http(host: &Host) -> Self {
        let server = Self::default();
        let listener = host.inside(|| TcpListener::bind("127.0.0.1:8080").unwrap()).unwrap();
        let own = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                own.answer_http(stream).ok();
            }
        });
        server
    }

    fn answer_http(&self, mut stream: std::net::TcpStream) -> std::io::Result<()> {
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte)?;
            request.push(byte[0]);
        }
        let status = if self.work() == WORKS { "200 OK" } else { "500 Internal Server Error" };
        let head = "Content-Length: 2\r\nConnection: close\r\n\r\nhi";
        stream.write_all(format!("HTTP/1.1 {status}\r\n{head}").as_bytes())
    }

    /// Answers each question with 192.0.2.1, with SERVFAIL, or not at all.
    fn dns(host: &Host) -> Self {
        let server = Self::default();
        let socket = host.inside(|| UdpSocket::bind("127.0.0.1:53").unwrap()).unwrap();
        let own = server.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                if own.work() != IS_SILENT {
                    let answer = dns_answer(&buffer[..length], own.work() == WORKS);
                    socket.send_to(&answer, from).unwrap();
                }
            }
        });
        server
    }
}

/// The answer to a question that ends with it (RFC 1035, 4.1).
fn dns_answer(question: &[u8], works: bool) -> Vec<u8> {
    let mut answer = question.to_vec();
    // QR and RD; RA and the code: 0 is NOERROR, 2 is SERVFAIL.
    (answer[2], answer[3]) = (0x81, if works { 0x80 } else { 0x82 });
    if works {
        answer[7] = 1;
        // The name of the question, type A, class IN, a minute, four bytes.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
    }
    answer
}

/// A section for a test object that decides at once.
fn test(name: &str, kind: &str, keys: &str) -> String {
    format!(
        "[[group.test]]\nname = \"{name}\"\nkind = \"{kind}\"\n{keys}\ninterval = \"50ms\"\n\
         timeout = \"400ms\"\nrise = 2\nfall = 2\n"
    )
}

/// Two hosts; the second, with the addresses 2 and 12, tests something that works by now.
struct Pair {
    trial: Trial,
}

impl Pair {
    const HOME: [(u8, u8); 3] = [(1, 1), (2, 2), (12, 2)];
    const AWAY: [(u8, u8); 3] = [(1, 1), (2, 1), (12, 1)];

    /// `serve` begins what is tested.
    fn new<T>(extra: &str, serve: impl FnOnce(&Host) -> T) -> (Self, T) {
        let mut trial = Trial::new().unwrap();
        trial.start(1, &[1], "").unwrap();
        let server = serve(trial.add(2).unwrap());
        let config = trial.config(2, &[2, 12], extra).unwrap();
        trial.host(2).start_agent(&config).unwrap();
        trial.settle(&Self::HOME).unwrap();
        (Self { trial }, server)
    }

    /// `fail` ends what works → the second host says `detail`, releases everything and stays in
    /// sight as not OK; the first serves. What was said is returned.
    fn fails(&mut self, detail: &str, fail: impl FnOnce(&Host)) {
        let mut eye = self.trial.watch(&[2, 12]).unwrap();
        let mark = self.trial.get(2).last_event().unwrap();
        fail(self.trial.get(2));
        self.trial.settle(&Self::AWAY).unwrap();
        let host = self.trial.get(2);
        for number in [2, 12] {
            let events = host.wait_event(mark, "released", Some(service(number)), LIMIT).unwrap();
            let failed = events.iter().find(|event| event.kind == "test-failed").unwrap();
            let said = failed.detail.as_deref().unwrap();
            assert!(said.contains(&format!(": {detail}")), "{failed:?}");
            assert_eq!(events.last().unwrap().reason.as_deref(), Some("test-failed"));
        }
        let gone =
            || Ok((host.configured()?.is_empty() && host.entries()?.is_empty()).then_some(()));
        wait::until("the addresses to be gone", LIMIT, gone).unwrap();
        for number in [1, 2] {
            let seen = self.trial.get(number).group().unwrap();
            let oks: Vec<_> = seen.hosts.iter().map(|host| (host.id, host.ok)).collect();
            assert_eq!(oks, [(id(1), true), (id(2), false)], "h{number}");
        }
        let tested = host.group().unwrap().tests.remove(0);
        assert!(!tested.passing && tested.detail.contains(detail), "{tested:?}");
        let seen = eye.look().unwrap();
        for number in [2, 12] {
            let seen = &seen[&number];
            assert!(seen.answering && seen.last_host.as_deref() == Some("h1"), "{seen:?}");
            assert_eq!((seen.arp_doubled, seen.arp_handovers), (0, 1), "{seen:?}");
        }
    }

    /// `mend` has it work again → the addresses return.
    fn works_again(&mut self, mend: impl FnOnce(&Host)) {
        let mark = self.trial.get(2).last_event().unwrap();
        mend(self.trial.get(2));
        self.trial.settle(&Self::HOME).unwrap();
        let host = self.trial.get(2);
        let events = host.wait_event(mark, "acquired", Some(service(12)), LIMIT).unwrap();
        assert_eq!(events[0].kind, "test-passed", "{events:#?}");
        assert!(host.group().unwrap().tests[0].passing);
    }
}

#[test]
fn a_web_server_that_answers_500_loses_the_addresses_until_it_answers_200() {
    let extra = test("web", "http", "url = \"http://127.0.0.1:8080/health\"");
    let (mut pair, server) = Pair::new(&extra, Server::http);
    pair.fails("answered 500 Internal Server Error", |_| server.now(FAILS));
    pair.works_again(|_| server.now(WORKS));
}

#[test]
fn a_name_server_that_fails_or_falls_silent_loses_the_addresses_until_it_answers() {
    let keys = "server = \"127.0.0.1:53\"\nquery = \"www.example.org\"\nexpect = \"192.0.2.1\"";
    let (mut pair, server) = Pair::new(&test("names", "dns", keys), Server::dns);
    pair.fails("www.example.org A: SERVFAIL", |_| server.now(FAILS));
    pair.works_again(|_| server.now(WORKS));
    pair.fails("no result within 400ms", |_| server.now(IS_SILENT));
    pair.works_again(|_| server.now(WORKS));
}

#[test]
fn a_file_that_disappears_takes_the_addresses_along() {
    let files = Scripts::new().unwrap();
    let ready = files.path("ready");
    fs::write(&ready, "").unwrap();
    let extra = test("ready", "file", &format!("path = \"{}\"", ready.display()));
    let (mut pair, ()) = Pair::new(&extra, |_| ());
    pair.fails(&format!("{}: No such file", ready.display()), |_| fs::remove_file(&ready).unwrap());
    pair.works_again(|_| fs::write(&ready, "").unwrap());
}

#[test]
fn a_test_script_that_hangs_is_killed_with_all_it_started_and_holds_up_no_heartbeat() {
    let scripts = Scripts::new().unwrap();
    // The one in the background would outlive a script that is killed alone.
    let body = "if [ -e hang ]; then sleep 1000 & echo $! >> pids; echo $$ >> pids; wait; fi";
    let program = scripts.program("test", body).unwrap();
    let extra = test("script", "script", &format!("command = \"{}\"", program.display()));
    let (mut pair, ()) = Pair::new(&extra, |_| ());
    let before = pair.trial.get(2).group().unwrap().messages.sent;
    let mark = pair.trial.get(2).last_event().unwrap();
    pair.fails("no result within 400ms", |_| {
        fs::write(scripts.path("hang"), "").unwrap();
    });
    // Two deadlines passed. A host that had said nothing for half of one would have been lost.
    for number in [1, 2] {
        let events = pair.trial.get(number).events_after(mark).unwrap();
        let lost = |kind: &str| ["host-down", "lease-lapsed", "quorum-lost"].contains(&kind);
        assert!(events.iter().all(|event| !lost(&event.kind)), "h{number}: {events:#?}");
    }
    assert!(pair.trial.get(2).group().unwrap().messages.sent > before);
    fs::remove_file(scripts.path("hang")).unwrap();
    pair.works_again(|_| ());
    assert_none_left(&scripts.path("pids"));
}

/// Waits until none of the processes written down runs any more.
fn assert_none_left(pids: &Path) {
    let text = fs::read_to_string(pids).unwrap();
    let pids: Vec<i32> = text.lines().map(|line| line.parse().unwrap()).collect();
    assert!(pids.len() >= 4, "twice a script and what it started: {pids:?}");
    let runs = |pid: &i32| kill(Pid::from_raw(*pid), None).is_ok();
    wait::until("the processes to end", LIMIT, || Ok((!pids.iter().any(runs)).then_some(())))
        .unwrap();
}

// A host that joins, and one that leaves → every status shows its phase.
#[test]
fn the_status_says_who_is_joining_and_who_is_leaving() {
    let scripts = Scripts::new().unwrap();
    let release = scripts.program("release", "while [ ! -e go ]; do sleep 0.02; done").unwrap();
    let extra = format!("[group.scripts]\nrelease = \"{}\"\n", release.display());
    let mut trial = Trial::new().unwrap();
    let phase = |host: &Host, number: u8, wanted: rais::status::Phase| {
        host.wait_group(&format!("h{number} {wanted:?}"), LIMIT, |group| {
            group.hosts.iter().any(|host| host.id == id(number) && host.phase == wanted)
        })
        .unwrap()
    };
    trial.add(1).unwrap();
    // Long enough to be asked meanwhile.
    let slow = trial
        .config(1, &[1], &extra)
        .unwrap()
        .replace("timeout = \"200000us\"", "timeout = \"3s\"");
    trial.host(1).start_agent(&slow).unwrap();
    let group = phase(trial.get(1), 1, rais::status::Phase::Joining);
    assert_eq!(group.leader, None);
    let text = trial.get(1).ask(&["status"]).unwrap();
    assert!(text.contains("host 10.77.0.1: ok, joining, "), "{text}");
    let refused = trial.get(1).ask(&["move", "10.77.0.101", "10.77.0.1"]).unwrap_err().to_string();
    assert!(refused.contains("this host knows no leader; try again in a moment"), "{refused}");
    trial.settle(&[(1, 1)]).unwrap();
    phase(trial.get(1), 1, rais::status::Phase::Member);

    trial.start(2, &[2], "").unwrap();
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    trial.host(1).terminate_agent().unwrap();
    phase(trial.get(2), 1, rais::status::Phase::Leaving);
    let text = trial.get(2).ask(&["status"]).unwrap();
    assert!(text.contains("host 10.77.0.1: ok, leaving, "), "{text}");
    let refused = trial.get(2).ask(&["move", "10.77.0.102", "10.77.0.1"]).unwrap_err().to_string();
    assert!(refused.contains("that host is just joining or leaving"), "{refused}");
    fs::write(scripts.path("go"), "").unwrap();
    assert_eq!(trial.host(1).wait_agent_end(LIMIT).unwrap().code(), Some(0));
    trial.settle(&[(1, 2), (2, 2)]).unwrap();
}

// A release script that hangs, and two signals → the second ends the agent, which says so; its lease
// ends by itself.
#[test]
fn a_second_signal_ends_an_agent_at_once() {
    let scripts = Scripts::new().unwrap();
    let release = scripts.program("release", "echo $$ > pid; exec sleep 1000").unwrap();
    let mut trial = Trial::new().unwrap();
    let extra = format!("[group.scripts]\nrelease = \"{}\"\n", release.display());
    trial.start(1, &[1], &extra).unwrap();
    trial.start(2, &[2], "").unwrap();
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    trial.host(1).terminate_agent().unwrap();
    let begun = || Ok(scripts.path("pid").exists().then_some(()));
    wait::until("the release script", LIMIT, begun).unwrap();
    trial.host(1).terminate_agent().unwrap();
    assert_eq!(trial.host(1).wait_agent_end(LIMIT).unwrap().code(), Some(1));
    let log = trial.get(1).log_tail();
    assert!(log.contains("ended by a second signal, not everything is released"), "{log}");
    trial.settle(&[(1, 2), (2, 2)]).unwrap();
}
