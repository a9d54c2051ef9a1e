//! Addresses and announcements on real interfaces: two network namespaces and a veth pair.
//!
//! Needs root. Without it the tests say so and do nothing, except under `CI=true`, where they fail.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::net::{IpAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use rais::addresses::{AddressError, Addresses, Change, Leased, Place};
use rais::announce::{Announcer, ArpForm, PacketSocket, gratuitous_arp, neighbour_advertisement};
use rais::clock;
use rais::config::checked::{Interface, Scripts as ScriptFiles};
use rais::config::facts::{Facts, Machine};
use rais::group::{Event, HostId};
use rais::monitor::scripts::{Job, Placing, Scripts, Surroundings};
use rais_common::time::Time;
use tokio::runtime::{Builder, Runtime};

const LONG: Duration = Duration::from_secs(10);

/// Whether this process may make network namespaces.
fn permitted() -> bool {
    if nix::unistd::Uid::effective().is_root() {
        return true;
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "this test needs root");
    eprintln!("\n*** NOT TESTED: network namespaces need root. ***\n");
    false
}

/// Runs a command that must succeed; returns what it printed.
fn run(command: &str) -> String {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Two hosts, `near` and `far`, joined by a veth pair; `eth0` in both.
struct Pair {
    near: String,
    far: String,
}

impl Pair {
    fn new(test: &str) -> Self {
        let name = |host| format!("rais-work-{}-{test}-{host}", std::process::id());
        let pair = Self { near: name("near"), far: name("far") };
        let (near, far) = (&pair.near, &pair.far);
        run(&format!("ip netns add {near}"));
        run(&format!("ip netns add {far}"));
        run(&format!("ip -n {near} link add eth0 type veth peer name eth0 netns {far}"));
        for host in [near, far] {
            run(&format!("ip -n {host} link set lo up"));
            run(&format!("ip -n {host} link set eth0 up"));
        }
        pair
    }

    /// Calls `f` on a thread within the namespace; threads it starts are within it too.
    fn within<T: Send>(namespace: &str, f: impl FnOnce() -> T + Send) -> T {
        let file = std::fs::File::open(format!("/run/netns/{namespace}")).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(OwnedFd::from(file), CloneFlags::CLONE_NEWNET).unwrap();
                f()
            });
            thread.join().unwrap()
        })
    }

    fn show(&self) -> String {
        run(&format!("ip -n {} -details -oneline address show dev eth0", self.near))
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for host in [&self.near, &self.far] {
            // While a failing test unwinds there may be nothing to delete.
            match Command::new("ip").args(["netns", "delete", host]).status() {
                Ok(status) if status.success() => {}
                other => eprintln!("ip netns delete {host}: {other:?}"),
            }
        }
    }
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn eth0() -> Interface {
    let found = nix::ifaddrs::getifaddrs().unwrap().find_map(|entry| {
        let link = *entry.address?.as_link_addr()?;
        (entry.interface_name == "eth0").then_some(link)
    });
    let link = found.expect("eth0 has a link-layer address");
    Interface {
        name: "eth0".to_owned(),
        index: u32::try_from(link.ifindex()).unwrap(),
        mac: link.addr().unwrap(),
        addresses: Vec::new(),
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn addresses_come_and_go_and_are_known_as_ours() {
    if !permitted() {
        return;
    }
    let pair = Pair::new("addr");
    run(&format!("ip -n {} address add 192.0.2.1/24 dev eth0", pair.near));
    run(&format!("ip -n {} address add 2001:db8::1/64 dev eth0 nodad", pair.near));
    let (four, six) = (ip("192.0.2.101"), ip("2001:db8::101"));
    Pair::within(&pair.near, || {
        let runtime = runtime();
        let index = eth0().index;
        let addresses = Addresses::connect(runtime.handle()).unwrap();
        runtime.block_on(async {
            assert_eq!(
                addresses.ours(Place::Interface(index)).await.unwrap(),
                Vec::<IpAddr>::new()
            );
            for address in [four, six] {
                addresses.add(Place::Interface(index), address).await.unwrap();
                UdpSocket::bind((address, 0)).expect("usable at once");
                addresses.add(Place::Interface(index), address).await.expect("it is there already");
            }
            assert_eq!(addresses.ours(Place::Interface(index)).await.unwrap(), [four, six]);
            assert_eq!(
                addresses.ours(Place::Interface(1)).await.unwrap(),
                Vec::<IpAddr>::new(),
                "those of lo"
            );
        });
        let shown = pair.show();
        let line = |address: &str| shown.lines().find(|l| l.contains(address)).expect("shown");
        assert!(line("192.0.2.101/32").contains("scope global"), "{shown}");
        assert!(line("2001:db8::101/128").contains("nodad"), "{shown}");
        assert!(line("2001:db8::101/128").contains("deprecated"), "no source of its own: {shown}");

        runtime.block_on(async {
            for address in [four, six] {
                addresses.remove(Place::Interface(index), address).await.unwrap();
                assert!(UdpSocket::bind((address, 0)).is_err(), "gone at once");
                addresses
                    .remove(Place::Interface(index), address)
                    .await
                    .expect("it is gone already");
            }
            let operators = [ip("192.0.2.1"), ip("2001:db8::1")];
            for address in operators {
                addresses
                    .remove(Place::Interface(index), address)
                    .await
                    .expect("not a host address: not there");
                UdpSocket::bind((address, 0)).expect("what the operator put there stays");
            }
            assert_eq!(
                addresses.ours(Place::Interface(index)).await.unwrap(),
                Vec::<IpAddr>::new()
            );
        });
    });
}

// Input: an interface with addresses of the operator's, one of them a host address, and others that
// an agent has put there since. Output: its own ones only, whichever the kernel lists first.
#[test]
fn an_interfaces_own_addresses_are_those_of_the_operator() {
    if !permitted() {
        return;
    }
    let pair = Pair::new("own");
    for own in ["192.0.2.1/24", "2001:db8::5/128 nodad", "2001:db8::1/64 nodad"] {
        run(&format!("ip -n {} address add {own} dev eth0", pair.near));
    }
    Pair::within(&pair.near, || {
        let own = || {
            let mut addresses = Machine.interface("eth0").unwrap().addresses;
            addresses.retain(|a| !matches!(a, IpAddr::V6(v6) if v6.is_unicast_link_local()));
            addresses
        };
        let before = own();
        assert_eq!(before, ["192.0.2.1", "2001:db8::1", "2001:db8::5"].map(ip));
        let (runtime, index) = (runtime(), eth0().index);
        let addresses = Addresses::connect(runtime.handle()).unwrap();
        for address in [ip("192.0.2.101"), ip("2001:db8::101")] {
            runtime.block_on(addresses.add(Place::Interface(index), address)).unwrap();
            assert_eq!(own(), before);
        }
        assert!(pair.show().contains("2001:db8::101/128"));
    });
}

// Input: IPv6 addresses, one by one and many together. Output: once they are said to be in place,
// packets to them are this host's. (The kernel answers before that is so.)
#[test]
fn an_address_in_place_takes_packets_in() {
    if !permitted() {
        return;
    }
    let pair = Pair::new("local");
    run(&format!("ip -n {} address add 2001:db8::1/64 dev eth0 nodad", pair.near));
    Pair::within(&pair.near, || {
        let (runtime, index) = (runtime(), eth0().index);
        let addresses = Addresses::connect(runtime.handle()).unwrap();
        let socket = UdpSocket::bind("[::]:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let port = socket.local_addr().unwrap().port();
        // What a host sends to itself is there when sending returns; what it does not take for its
        // own leaves, and never comes.
        let taken_in = |address: IpAddr| {
            let sent = socket.send_to(&[1], (address, port));
            sent.is_ok() && socket.recv(&mut [0]).is_ok()
        };
        let busy = AtomicBool::new(true);
        let late = std::thread::scope(|scope| {
            // Somebody else has the kernel change addresses all the time, one at a time.
            scope.spawn(|| {
                Pair::within(&pair.near, || {
                    let mut other = Leased::connect(index).unwrap();
                    let four: Vec<IpAddr> = (1..64).map(|n| ip(&format!("192.0.2.{n}"))).collect();
                    while busy.load(Ordering::Relaxed) {
                        other.put(&four, 100);
                        other.take(&four);
                    }
                });
            });
            let mut numbers = 0x100_u16..;
            let late = [1; 100].into_iter().chain([64]).map(|together| {
                let numbers = numbers.by_ref().take(together);
                let all: Vec<IpAddr> = numbers.map(|n| ip(&format!("2001:db8::{n:x}"))).collect();
                let place = Place::Interface(index);
                let add = |&address: &IpAddr| Change { add: true, place, address };
                let done = runtime.block_on(addresses.apply(all.iter().map(add).collect()));
                let late = all.iter().rev().filter(|&&address| !taken_in(address)).count();
                if done.iter().all(Result::is_ok) { late } else { together }
            });
            let late: usize = late.sum();
            busy.store(false, Ordering::Relaxed);
            late
        });
        assert_eq!(late, 0, "addresses were said to be in place too soon");
    });
}

#[test]
fn errors_name_address_and_interface() {
    if !permitted() {
        return;
    }
    let pair = Pair::new("err");
    Pair::within(&pair.near, || {
        let runtime = runtime();
        let addresses = Addresses::connect(runtime.handle()).unwrap();
        let (four, gone) = (ip("192.0.2.101"), Place::Interface(999));
        let error = runtime.block_on(addresses.add(gone, four)).unwrap_err();
        assert!(matches!(error, AddressError::Add { place, .. } if place == gone), "{error:?}");
        let expected = "add 192.0.2.101 to interface 999: No such device";
        assert!(error.to_string().starts_with(expected), "{error}");
        let error = runtime.block_on(addresses.remove(gone, four)).unwrap_err();
        assert!(matches!(error, AddressError::Remove { place, .. } if place == gone), "{error:?}");
    });
}

/// The next frame on `socket` that `wanted` accepts.
fn next_frame(socket: &PacketSocket, wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let end = clock::now() + LONG;
    let mut buffer = [0; 2048];
    while clock::now() < end {
        if let Some(length) = socket.recv(&mut buffer, Duration::from_millis(100)).unwrap()
            && wanted(&buffer[..length])
        {
            return buffer[..length].to_vec();
        }
    }
    panic!("no such frame within {LONG:?}");
}

#[test]
fn announcements_arrive_as_both_forms_of_arp_and_as_advertisement() {
    if !permitted() {
        return;
    }
    let pair = Pair::new("ann");
    let index = Pair::within(&pair.far, || eth0().index);
    let (arp, ipv6) = Pair::within(&pair.far, || {
        (PacketSocket::open(index, 0x0806).unwrap(), PacketSocket::open(index, 0x86dd).unwrap())
    });
    let (interface, announcer) = Pair::within(&pair.near, || {
        let interface = eth0();
        let announcer = Announcer::start(&interface, false).unwrap();
        (interface, announcer)
    });
    announcer.announce(vec![ip("192.0.2.101"), ip("2001:db8::101"), ip("192.0.2.102")], Time::END);
    // Each address once before any of them a second time.
    for form in [ArpForm::Request, ArpForm::Reply] {
        for last in [101, 102] {
            let address = [192, 0, 2, last].into();
            let frame = next_frame(&arp, |_| true);
            assert_eq!(frame, gratuitous_arp(form, interface.mac, address));
        }
    }
    // The kernel's own neighbour discovery is on the wire too.
    let expected = neighbour_advertisement(interface.mac, "2001:db8::101".parse().unwrap());
    assert_eq!(next_frame(&ipv6, |frame| frame == expected), expected);

    let end = clock::now() + LONG;
    while announcer.counters().sent < 5 && clock::now() < end {
        std::thread::yield_now();
    }
    let counters = announcer.counters();
    assert_eq!((counters.sent, counters.failed, counters.dropped), (5, 0, 0));

    // What was lost before its turn came is not announced.
    announcer.announce(vec![ip("192.0.2.101")], clock::now());
    while announcer.counters().dropped < 1 && clock::now() < end {
        std::thread::yield_now();
    }
    let counters = announcer.counters();
    assert_eq!((counters.sent, counters.failed, counters.dropped), (5, 0, 1));
}

/// The kernel of another machine is the judge of our checksum and options.
#[test]
fn neighbours_believe_the_announcements() {
    if !permitted() {
        return;
    }
    let pair = Pair::new("believe");
    run(&format!("ip -n {} address add 192.0.2.9/24 dev eth0", pair.far));
    run(&format!("ip -n {} address add 2001:db8::9/64 dev eth0 nodad", pair.far));
    // What the neighbour believed of the host that had the addresses before.
    for address in ["192.0.2.101", "2001:db8::101"] {
        let old = format!("{address} lladdr 02:00:00:00:00:01 dev eth0 nud stale");
        run(&format!("ip -n {} neighbour add {old}", pair.far));
    }
    let interface = Pair::within(&pair.near, || {
        let interface = eth0();
        let announcer = Announcer::start(&interface, false).unwrap();
        announcer.announce(vec![ip("192.0.2.101"), ip("2001:db8::101")], Time::END);
        interface
    });
    let mac = interface.mac.map(|byte| format!("{byte:02x}")).join(":");
    let end = clock::now() + LONG;
    loop {
        let shown = run(&format!("ip -n {} neighbour show dev eth0", pair.far));
        let believed = |address: &str| {
            shown.lines().any(|line| line.starts_with(&format!("{address} lladdr {mac}")))
        };
        if believed("192.0.2.101") && believed("2001:db8::101") {
            break;
        }
        assert!(clock::now() < end, "{shown}");
    }
}

#[test]
fn announcing_on_a_dead_interface_is_counted() {
    if !permitted() {
        return;
    }
    let pair = Pair::new("dead");
    let announcer = Pair::within(&pair.near, || Announcer::start(&eth0(), false).unwrap());
    run(&format!("ip -n {} link set eth0 down", pair.near));
    announcer.announce(vec![ip("192.0.2.101"); 3], Time::END);
    let end = clock::now() + LONG;
    while announcer.counters().failed < 3 {
        assert!(clock::now() < end, "{:?}", announcer.counters());
        std::thread::yield_now();
    }
    let missing = Interface { index: 999, ..Pair::within(&pair.near, eth0) };
    assert!(Pair::within(&pair.near, || Announcer::start(&missing, false)).is_err());
}

/// An address that is to be taken over waits for this.
#[test]
fn an_idle_room_configures_at_once() {
    const ROUNDS: u64 = 200;
    if !permitted() {
        return;
    }
    let pair = Pair::new("room");
    for address in [ip("192.0.2.101"), ip("2001:db8::101")] {
        let (mut configure, mut deconfigure) = Pair::within(&pair.near, || times(address, ROUNDS));
        for (what, times) in [("configure", &mut configure), ("deconfigure", &mut deconfigure)] {
            times.sort_unstable();
            let (median, last) = (times[times.len() / 2], times[times.len() - 1]);
            println!(
                "{what} {address}: median {median:?}, 99 % {:?}, most {last:?}",
                times[times.len() * 99 / 100]
            );
            // A bound for slow and busy machines; the printed figures say more.
            assert!(median < Duration::from_millis(20), "{what} {address}: {median:?}");
        }
    }
}

/// A whole host's addresses move in one go, with more jobs than run at once.
#[test]
fn a_thousand_addresses_come_and_go_together() {
    if !permitted() {
        return;
    }
    let pair = Pair::new("many");
    Pair::within(&pair.near, || {
        let runtime = runtime();
        let all: Vec<IpAddr> =
            (0..1000_u32).map(|i| std::net::Ipv4Addr::from_bits(0x0a4d_0101 + i).into()).collect();
        let addresses = Addresses::connect(runtime.handle()).unwrap();
        let (room, results) = room(&runtime, addresses.clone(), all.len());
        let carry_out = |job: fn(IpAddr) -> Job| {
            let begun = clock::now();
            for address in &all {
                room.submit(job(*address)).unwrap();
            }
            for _ in &all {
                result(&results).1.unwrap();
            }
            clock::now().since(begun)
        };
        let put = carry_out(|address| Job::Configure { address, epoch: 1 });
        let mut ours = runtime.block_on(addresses.ours(Place::Interface(eth0().index))).unwrap();
        ours.sort_unstable();
        assert_eq!(ours, all);
        let taken = carry_out(|address| Job::Deconfigure { address, epoch: 1 });
        assert!(
            runtime.block_on(addresses.ours(Place::Interface(eth0().index))).unwrap().is_empty()
        );
        println!("1,000 IPv4 addresses: put in place in {put:?}, taken off in {taken:?}");
    });
}

/// A room on `eth0` without scripts, and what comes out of it with the time it did.
fn room(
    runtime: &Runtime,
    addresses: Addresses,
    limit: usize,
) -> (Scripts, Receiver<(Time, Event)>) {
    let interface = eth0();
    let surroundings = Surroundings {
        group: "web".to_owned(),
        host: HostId(ip("10.77.0.1")),
        interface: interface.name,
        place: Place::Interface(interface.index),
        scripts: ScriptFiles::default(),
    };
    let (sender, events) = sync_channel(limit);
    let sink = Arc::new(move |event| {
        let now = clock::now();
        let all = if let Event::Together(all) = event { all } else { vec![event] };
        for event in all {
            sender.try_send((now, event)).unwrap();
        }
    });
    let placing = Placing::Here(addresses);
    (Scripts::start(runtime.handle(), surroundings, placing, sink), events)
}

/// What the next job came to, and when.
fn result(events: &Receiver<(Time, Event)>) -> (Time, Result<(), String>) {
    let (at, event) = events.recv_timeout(LONG).unwrap();
    let (Event::Configured { result, .. } | Event::Deconfigured { result, .. }) = event else {
        panic!("{event:?}")
    };
    (at, result)
}

/// From handing in the job to the event, so many times each: putting in place, taking off.
fn times(address: IpAddr, rounds: u64) -> (Vec<Duration>, Vec<Duration>) {
    let runtime = runtime();
    let addresses = Addresses::connect(runtime.handle()).unwrap();
    let (room, events) = room(&runtime, addresses, 1);
    let measure = |job: Job| {
        let begun = clock::now();
        room.submit(job).unwrap();
        let (ended, result) = result(&events);
        result.unwrap();
        ended.since(begun)
    };
    (1..=rounds)
        .map(|epoch| {
            let configure = measure(Job::Configure { address, epoch });
            (configure, measure(Job::Deconfigure { address, epoch }))
        })
        .unzip()
}
