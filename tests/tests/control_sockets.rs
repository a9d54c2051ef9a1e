//! The control sockets on real interfaces: two hosts, each a network namespace, joined by two
//! networks. Needs root.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::mpsc::{Receiver as Inbox, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, setns};
use rais::clock;
use rais::config::checked::{Interface, Key, Seal};
use rais::group::{Body, Event, HostId, Message, Order};
use rais::monitor::receive::{ReceiveThread, Receiver};
use rais::monitor::transmit::{Sent, Transmitter};
use rais::wire::{Decoder, Encoder, GroupTag, MAX_MESSAGE, Refusal};
use rais_common::time::Time;

const V4: &str = "239.77.0.1:7077";
const V6: &str = "[ff15::77]:7077";
const LIMIT: Duration = Duration::from_secs(5);

/// Two namespaces, `a` with host 1 and `b` with host 2, with the interfaces `c0` and `c1` each.
struct Hosts {
    name: String,
}

impl Hosts {
    /// None, loudly, where that cannot be made; a failure where it must be.
    fn new(test: &str) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "these tests must run as root");
            eprintln!("NOT TESTED: network namespaces need root");
            return None;
        }
        let hosts = Self { name: format!("rais-wire-{}-{test}", std::process::id()) };
        for side in ["a", "b"] {
            ip(&format!("netns add {}", hosts.namespace(side)));
        }
        let (a, b) = (hosts.namespace("a"), hosts.namespace("b"));
        for net in [0, 1] {
            ip(&format!("-n {a} link add c{net} type veth peer name c{net} netns {b}"));
            for (host, side) in [(1, "a"), (2, "b")] {
                hosts.inside(side, || {
                    let dad = format!("/proc/sys/net/ipv6/conf/c{net}/accept_dad");
                    fs::write(dad, "0").unwrap();
                });
                let side = hosts.namespace(side);
                ip(&format!("-n {side} addr add 10.7{net}.0.{host}/24 dev c{net}"));
                ip(&format!("-n {side} addr add fd00:7{net}::{host}/64 dev c{net} nodad"));
                ip(&format!("-n {side} link set c{net} up"));
            }
        }
        for side in ["a", "b"] {
            eventually("the interfaces work", || hosts.inside(side, has_ipv6_multicast));
        }
        Some(hosts)
    }

    fn namespace(&self, side: &str) -> String {
        format!("{}-{side}", self.name)
    }

    /// Runs `work` in one of the namespaces; sockets it makes stay there.
    fn inside<T: Send>(&self, side: &str, work: impl FnOnce() -> T + Send) -> T {
        let path = format!("/run/netns/{}", self.namespace(side));
        std::thread::scope(|scope| {
            let enter_and_work = || {
                setns(File::open(path).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
                // /proc/sys/net follows the thread's namespace by itself.
                work()
            };
            scope.spawn(enter_and_work).join().unwrap()
        })
    }

    fn transmitter(&self, side: &str, group: &str) -> Transmitter {
        self.inside(side, || Transmitter::open(group.parse().unwrap(), &interfaces(side)).unwrap())
    }

    fn receiver(&self, side: &str, group: &str) -> Receiver {
        let group: SocketAddr = group.parse().unwrap();
        let decoder = Decoder::new(GroupTag::new("web", group), host(side), 0, &seal());
        self.inside(side, || Receiver::open(group, &interfaces(side), decoder).unwrap())
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for side in ["a", "b"] {
            let namespace = self.namespace(side);
            drop(Command::new("ip").args(["netns", "delete", &namespace]).status());
        }
    }
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

/// Whether IPv6 is up on the calling thread's control interfaces, which follows their being set
/// up some time later.
fn has_ipv6_multicast() -> bool {
    let routes = fs::read_to_string("/proc/thread-self/net/ipv6_route").unwrap();
    let to = |name| routes.lines().any(|line| line.starts_with("ff00") && line.ends_with(name));
    to("c0") && to("c1")
}

/// The calling thread's control interfaces.
fn interfaces(side: &str) -> Vec<Interface> {
    let last = if side == "a" { 1 } else { 2 };
    let one = |net: u8| {
        let name = format!("c{net}");
        let index = if_nametoindex(name.as_str()).unwrap();
        let addresses = vec![IpAddr::from([10, 70 + net, 0, last])];
        Interface { name, index, mac: [0; 6], addresses }
    };
    vec![one(0), one(1)]
}

fn host(side: &str) -> HostId {
    HostId(IpAddr::from([10, 70, 0, if side == "a" { 1 } else { 2 }]))
}

fn seal() -> Seal {
    Seal::Keys(vec![Key([7; 32])])
}

fn encoder(group: &str) -> Encoder {
    Encoder::new(GroupTag::new("web", group.parse().unwrap()), host("a"), &seal()).unwrap()
}

fn message(sequence: u64) -> Message {
    let body = Body::Acquire(Order { to: host("b"), entries: Vec::new() });
    Message { source: host("a"), boot: 1, sequence, body }
}

/// What a receive thread on host 2 hands on.
struct Listener {
    receiver: Arc<Mutex<Receiver>>,
    inbox: Inbox<Event>,
    _thread: ReceiveThread,
}

impl Listener {
    fn new(hosts: &Hosts, group: &str, name: &str, room: usize) -> Self {
        let receiver = Arc::new(Mutex::new(hosts.receiver("b", group)));
        let (sender, inbox) = sync_channel(room);
        let thread = ReceiveThread::spawn(name, Arc::clone(&receiver), false, move |event| {
            sender.try_send(event).is_ok()
        })
        .unwrap();
        Self { receiver, inbox, _thread: thread }
    }

    fn next(&self) -> (Time, Message) {
        received(self.inbox.recv_timeout(LIMIT).unwrap())
    }

    fn refused(&self, reason: Refusal) -> u64 {
        self.receiver.lock().unwrap().counters().refusals.get(reason)
    }
}

fn received(event: Event) -> (Time, Message) {
    let Event::Received { at, message } = event else { panic!("another event") };
    (at, message)
}

/// Asks again and again, for a thing that tells nobody when it changes.
#[allow(clippy::disallowed_methods, reason = "there is no event to wait for")]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = clock::now() + LIMIT;
    while !holds() {
        assert!(clock::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Lets time pass in which nothing must arrive.
fn silence(inbox: &Inbox<Event>, span: Duration) {
    assert_eq!(inbox.recv_timeout(span).err(), Some(RecvTimeoutError::Timeout));
}

fn crosses_both_networks(test: &str, group: &str) {
    let Some(hosts) = Hosts::new(test) else { return };
    let (mut encoder, mut transmitter) = (encoder(group), hosts.transmitter("a", group));
    let listener = Listener::new(&hosts, group, test, 16);
    let mut own = hosts.receiver("a", group);
    for sequence in 1..=5 {
        let before = clock::now();
        let sent = transmitter.send(encoder.encode(&message(sequence)).unwrap());
        assert_eq!(sent, Sent { interfaces_ok: 2, errors: 0 });
        let (at, got) = listener.next();
        assert_eq!(got, message(sequence));
        assert!(before <= at && at <= clock::now(), "{before:?}, {at:?}");
    }
    let source = host("a");
    eventually("the copies", || listener.refused(Refusal::Duplicate(source)) == 5);
    silence(&listener.inbox, Duration::from_millis(20));

    let receiver = listener.receiver.lock().unwrap();
    let heard: Vec<_> =
        receiver.heard().map(|(id, times)| (id, times.collect::<Vec<_>>())).collect();
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0].0, source);
    let names: Vec<_> =
        heard[0].1.iter().filter(|(_, at)| at.is_some()).map(|(name, _)| *name).collect();
    assert_eq!(names, ["c0", "c1"]);
    assert_eq!(
        receiver.counters().messages(),
        [("info", 0), ("acquire", 5), ("release", 0), ("move", 0), ("part", 0)]
    );
    drop(receiver);

    let drained = own.drain(&mut |_| panic!("heard itself"));
    assert_eq!((drained.datagrams, drained.empty), (0, true));
}

#[test]
fn a_message_crosses_both_networks_and_counts_once_ipv4() {
    crosses_both_networks("four", V4);
}

#[test]
fn a_message_crosses_both_networks_and_counts_once_ipv6() {
    crosses_both_networks("six", V6);
}

#[test]
fn a_message_that_waited_is_as_old_as_it_is() {
    let Some(hosts) = Hosts::new("wait") else { return };
    let (mut encoder, mut transmitter) = (encoder(V4), hosts.transmitter("a", V4));
    let mut receiver = hosts.receiver("b", V4);
    let before = clock::now();
    transmitter.send(encoder.encode(&message(1)).unwrap());
    let after = clock::now();
    eventually("time passes", || clock::now() > after + Duration::from_secs(2));
    let mut events = Vec::new();
    let drained = receiver.drain(&mut |event| events.push(event));
    assert_eq!((drained.datagrams, drained.empty), (2, true));
    let (at, got) = received(events.pop().unwrap());
    assert_eq!(got, message(1));
    assert!(before <= at, "{at:?} is before {before:?}");
    assert!(at < after + Duration::from_secs(1), "{at:?} is long after {after:?}");
}

#[test]
fn what_is_not_for_the_group_is_not_read_and_what_is_not_of_it_is_counted() {
    let Some(hosts) = Hosts::new("noise") else { return };
    let mut receiver = hosts.receiver("b", V4);
    hosts.inside("a", || {
        let socket = UdpSocket::bind("10.70.0.1:0").unwrap();
        let route = "route add 239.0.0.0/8 dev c0";
        ip(&format!("-n {} {route}", hosts.namespace("a")));
        // Unicast, another group's port, another group's address: not read.
        for to in ["10.70.0.2:7077", "239.77.0.1:7078", "239.77.0.2:7077"] {
            drop(socket.send_to(b"stray", to));
        }
        for length in [10, 100, MAX_MESSAGE + 1_000] {
            socket.send_to(&vec![0; length], V4).unwrap();
        }
    });
    let mut datagrams = 0;
    eventually("the noise", || {
        datagrams += receiver.drain(&mut |_| panic!("noise was taken for a message")).datagrams;
        datagrams == 3
    });
    let counters = receiver.counters();
    let counted: Vec<_> = counters.refusals.iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(counted, [("truncated", 1), ("oversized", 1), ("magic", 1)]);
    assert_eq!(receiver.drain(&mut |_| ()).datagrams, 0);
}

#[test]
fn what_finds_no_room_in_the_inbox_is_counted() {
    let Some(hosts) = Hosts::new("full") else { return };
    let (mut encoder, mut transmitter) = (encoder(V4), hosts.transmitter("a", V4));
    let listener = Listener::new(&hosts, V4, "full", 1);
    for sequence in 1..=3 {
        transmitter.send(encoder.encode(&message(sequence)).unwrap());
    }
    let counters = listener.receiver.lock().unwrap().counters();
    eventually("the loss", || counters.dropped() == 2);
    assert_eq!(listener.next().1, message(1));
}

/// Nanoseconds the thread of this name has spent on a processor.
fn processor_time(thread: &str) -> u64 {
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let path = task.unwrap().path();
        let Ok(name) = fs::read_to_string(path.join("comm")) else { continue };
        if name.trim_end() == thread {
            let times = fs::read_to_string(path.join("schedstat")).unwrap();
            return times.split(' ').next().unwrap().parse().unwrap();
        }
    }
    panic!("no thread {thread}")
}

#[test]
fn the_loss_of_an_interface_leaves_the_other_in_use() {
    let Some(hosts) = Hosts::new("loss") else { return };
    let (mut encoder, mut transmitter) = (encoder(V4), hosts.transmitter("a", V4));
    let listener = Listener::new(&hosts, V4, "loss", 16);
    let mut cross = |sequence, expected| {
        let sent = transmitter.send(encoder.encode(&message(sequence)).unwrap());
        assert_eq!(sent, expected);
        assert_eq!(listener.next().1, message(sequence));
    };
    let (both, one) = (Sent { interfaces_ok: 2, errors: 0 }, Sent { interfaces_ok: 1, errors: 1 });
    let a = hosts.namespace("a");
    cross(1, both);
    ip(&format!("-n {a} link set c0 down"));
    cross(2, one);
    ip(&format!("-n {a} link set c0 up"));
    cross(3, both);
    ip(&format!("-n {a} link delete c0"));
    cross(4, one);

    let before = processor_time("rais-rx-loss");
    silence(&listener.inbox, Duration::from_millis(300));
    let spent = processor_time("rais-rx-loss") - before;
    assert!(spent < 30_000_000, "{spent} ns while nothing happened");
    cross(5, one);
    let failed: Vec<_> =
        transmitter.counters().map(|(name, counters)| (name, counters.failed)).collect();
    assert_eq!(failed, [("c0", 3), ("c1", 0)]);
}

#[test]
fn what_the_interfaces_queue_drops_was_not_sent() {
    let Some(hosts) = Hosts::new("queue") else { return };
    for (group, what) in [(V4, "add"), (V6, "replace")] {
        let (mut encoder, mut transmitter) = (encoder(group), hosts.transmitter("a", group));
        let namespace = hosts.namespace("a");
        // One byte of room.
        let queue = format!("-n {namespace} qdisc {what} dev c0 root bfifo limit 1");
        assert!(Command::new("tc").args(queue.split(' ')).status().unwrap().success());
        let sent = transmitter.send(encoder.encode(&message(1)).unwrap());
        assert_eq!(sent, Sent { interfaces_ok: 1, errors: 1 });
    }
}

#[test]
fn what_the_receive_buffer_had_no_room_for_is_counted() {
    let Some(hosts) = Hosts::new("overflow") else { return };
    let (mut encoder, mut transmitter) = (encoder(V4), hosts.transmitter("a", V4));
    let mut receiver = hosts.receiver("b", V4);
    let counters = receiver.counters();
    let (mut read, mut sent, mut sequence) = (0, 0, 0);
    let mut drain = |read: &mut usize| {
        loop {
            let drained = receiver.drain(&mut |_| ());
            *read += drained.datagrams;
            if drained.empty {
                return;
            }
        }
    };
    // More than 8 MiB with their bookkeeping; then one more, which brings the news.
    for batch in [30_000, 1] {
        for _ in 0..batch {
            sequence += 1;
            sent += transmitter.send(encoder.encode(&message(sequence)).unwrap()).interfaces_ok;
        }
        eventually("all were read or lost", || {
            drain(&mut read);
            batch > 1 || u64::try_from(read).unwrap() + counters.overflows() == sent as u64
        });
    }
    assert!(counters.overflows() > 0);
}

#[test]
fn an_interface_that_is_not_there_is_named() {
    let Some(hosts) = Hosts::new("none") else { return };
    let group: SocketAddr = V4.parse().unwrap();
    hosts.inside("b", || {
        let mut interfaces = interfaces("b");
        interfaces[1].name = "c9".to_owned();
        let error = Transmitter::open(group, &interfaces).unwrap_err();
        assert_eq!(error.interface, "c9");
        let decoder = Decoder::new(GroupTag::new("web", group), host("b"), 0, &seal());
        let error = Receiver::open(group, &interfaces, decoder).unwrap_err();
        assert_eq!(error.interface, "c9");
        interfaces.truncate(1);
        interfaces[0].addresses.clear();
        let error = Transmitter::open(group, &interfaces).unwrap_err();
        assert_eq!(error.interface, "c0");
    });
}
