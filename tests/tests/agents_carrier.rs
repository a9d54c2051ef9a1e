//! A service interface that loses its link while the hosts still hear each other over another
//! network: the host says so itself, and nobody waits for it to fall silent.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::process::Command;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use rais::addresses::{Addresses, Place};
use rais::clock;
use rais::config::checked::{self, TestKind};
use rais::group::Event;
use rais::objects::{Objects, Pool};
use rais_tests::netns::{Bed, Host};
use rais_tests::trial::{LIMIT, Trial, service};
use tokio::runtime::{Builder, Runtime};

/// Runs `ip`, which must succeed.
fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "ip {arguments}: {error}");
}

/// Pulls the host's plug out of the bridge, or puts it back.
fn plug(bed: &Bed, host: &Host, state: &str) {
    ip(&format!("-n rais-{}-sw link set {}-eth0 {state}", bed.id(), host.name()));
}

/// A watched `eth0`, as in a configuration.
fn eth0(address: Option<&str>, rise: u32) -> checked::Test {
    checked::Test {
        name: "link".to_owned(),
        kind: TestKind::Interface {
            name: "eth0".to_owned(),
            address: address.map(|text| text.parse().unwrap()),
        },
        interval: Duration::from_millis(500),
        timeout: LIMIT,
        rise,
        fall: 1,
    }
}

/// Starts a test within the host's namespace.
fn start(host: &Host, test: checked::Test) -> (Runtime, Objects, Receiver<Event>) {
    let (sender, events) = sync_channel(100);
    let (runtime, objects) = host
        .inside(|| {
            let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
            let runtime = runtime.unwrap();
            let sink = std::sync::Arc::new(move |event| drop(sender.try_send(event)));
            let test = Pool::new(runtime.handle()).test(test);
            let objects = Objects::start(runtime.handle(), vec![test], Vec::new(), sink);
            (runtime, objects)
        })
        .unwrap();
    (runtime, objects, events)
}

fn health(events: &Receiver<Event>) -> (bool, String) {
    let event = events.recv_timeout(LIMIT).unwrap();
    let Event::Health { ok, detail } = event else { panic!("{event:?}") };
    (ok, detail)
}

fn fails(detail: &str) -> (bool, String) {
    (false, format!("link: {detail}"))
}

#[test]
fn an_interface_is_followed_through_all_it_can_go_through() {
    let bed = Bed::new().unwrap();
    let host = bed.host("h1", 1).unwrap();
    let netns = host.netns();
    let (runtime, objects, events) = start(&host, eth0(None, 1));
    let passes = (true, "all tests pass".to_owned());
    assert_eq!(health(&events), passes);
    assert_eq!(objects.tests()[0].detail, "eth0 has carrier and 10.77.0.1");

    plug(&bed, &host, "down");
    assert_eq!(health(&events), fails("eth0 has no carrier"));
    plug(&bed, &host, "up");
    assert_eq!(health(&events), passes);
    // An agent's own service address does not count.
    let add = || {
        let addresses = Addresses::connect(runtime.handle()).unwrap();
        let index = nix::net::if_::if_nametoindex("eth0").unwrap();
        runtime.block_on(addresses.add(Place::Interface(index), service(1))).unwrap();
    };
    host.inside(add).unwrap();
    ip(&format!("-n {netns} address delete 10.77.0.1/24 dev eth0"));
    assert_eq!(health(&events), fails("eth0 has no address"));
    ip(&format!("-n {netns} address add 10.77.0.9/24 dev eth0"));
    assert_eq!(health(&events), passes);
    ip(&format!("-n {netns} link set eth0 down"));
    assert_eq!(health(&events), fails("eth0 is down"));
    ip(&format!("-n {netns} link set eth0 up"));
    assert_eq!(health(&events), passes);
    ip(&format!("-n {netns} link set eth0 down"));
    assert_eq!(health(&events), fails("eth0 is down"));
    ip(&format!("-n {netns} link set eth0 name lan0"));
    ip(&format!("-n {netns} link set lan0 up"));
    let since = clock::now();
    while objects.tests()[0].detail != "there is no interface eth0" {
        assert!(clock::now().since(since) < LIMIT, "{:?}", objects.tests());
        std::thread::yield_now();
    }
    ip(&format!("-n {netns} link set lan0 down"));
    ip(&format!("-n {netns} link set lan0 name eth0"));
    ip(&format!("-n {netns} link set eth0 up"));
    assert_eq!(health(&events), passes);
}

#[test]
fn the_address_may_be_a_certain_one_and_a_return_needs_rise() {
    let bed = Bed::new().unwrap();
    let host = bed.host("h1", 1).unwrap();
    let netns = host.netns();
    let (_runtime, _objects, events) = start(&host, eth0(Some("10.77.0.2"), 2));
    assert_eq!(health(&events), fails("eth0 does not have 10.77.0.2"));
    let before = clock::now();
    ip(&format!("-n {netns} address add 10.77.0.2/24 dev eth0"));
    assert_eq!(health(&events), (true, "all tests pass".to_owned()));
    let took = clock::now().since(before);
    assert!(took >= Duration::from_millis(500), "passed after {took:?}, within an interval");
}

#[test]
fn a_burst_that_overruns_the_queue_is_not_missed() {
    let bed = Bed::new().unwrap();
    let host = bed.host("h1", 1).unwrap();
    let netns = host.netns();
    let (runtime, objects, events) = start(&host, eth0(None, 1));
    assert!(health(&events).0);
    // Meanwhile nothing runs on the runtime's only thread.
    let (resume, wait) = sync_channel::<()>(0);
    runtime.spawn(async move { wait.recv().unwrap() });
    let lines = (0..2000).map(|number| {
        let (high, low) = (number / 250, number % 250 + 1);
        format!("address add 10.78.{high}.{low}/32 dev lo\n")
    });
    let batch = lines.collect::<String>() + "link set eth0 down\n";
    let file = host.run_dir().join("batch");
    std::fs::write(&file, batch).unwrap();
    ip(&format!("-n {netns} -batch {}", file.display()));
    assert!(overrun(&host), "2000 events fit the queue");
    resume.send(()).unwrap();
    assert_eq!(health(&events), fails("eth0 is down"));
    assert_eq!(objects.tests()[0].detail, "eth0 is down");
    ip(&format!("-n {netns} link set eth0 up"));
    assert!(health(&events).0);
}

/// Whether a netlink socket in the host's namespace lost something.
fn overrun(host: &Host) -> bool {
    let table = || std::fs::read_to_string("/proc/thread-self/net/netlink").unwrap();
    let table = host.inside(table).unwrap();
    // sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode
    table.lines().skip(1).any(|line| line.split_whitespace().nth(8) != Some("0"))
}

#[test]
fn a_lost_link_hands_the_addresses_over_within_milliseconds() {
    let mut trial = Trial::new().unwrap();
    for number in [1, 2] {
        trial.add(number).unwrap();
    }
    // A network of their own for what the hosts tell each other.
    let [one, two] = [1, 2].map(|number| trial.get(number).netns().to_owned());
    ip(&format!("link add eth1 netns {one} type veth peer name eth1 netns {two}"));
    for (number, netns) in [(1, &one), (2, &two)] {
        ip(&format!("-n {netns} address add 10.79.0.{number}/24 dev eth1"));
        ip(&format!("-n {netns} link set eth1 up"));
    }
    let extra = "[[group.test]]\nname = \"link\"\nkind = \"interface\"\ninterface = \"eth0\"\n\
                 interval = \"100ms\"\n";
    for number in [1, 2] {
        let config = trial.config(number, &[number], extra).unwrap();
        let config = config
            .replace("control_interfaces = [\"eth0\"]", "control_interfaces = [\"eth1\"]")
            .replace("heartbeat = \"20000us\"", "heartbeat = \"100ms\"")
            .replace("timeout = \"200000us\"", "timeout = \"1s\"");
        assert!(config.contains("eth1") && config.contains("100ms") && config.contains("\"1s\""));
        trial.host(number).start_agent(&config).unwrap();
    }
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    let mut eye = trial.watch(&[1]).unwrap();
    let mark = trial.get(1).last_event().unwrap();

    plug(&trial.bed, trial.get(1), "down");
    trial.settle(&[(1, 2), (2, 2)]).unwrap();
    let events = trial.get(1).wait_event(mark, "released", Some(service(1)), LIMIT).unwrap();
    assert_eq!(events.last().unwrap().reason.as_deref(), Some("test-failed"), "{events:#?}");
    let seen = eye.look().unwrap();
    assert_eq!((seen[&1].arp_doubled, seen[&1].last_host.as_deref()), (0, Some("h2")), "{seen:?}");
    eprintln!("silence of {:.1} ms", seen[&1].outage_ms);
    // Far less than a heartbeat, and the machine may be busy.
    assert!(seen[&1].outage_ms < 90.0, "{seen:?}");

    plug(&trial.bed, trial.get(1), "up");
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
}
