//! What the XDP program counts for a real agent: exactly what a client sent, by name in `bpftool`
//! and in the agent's status, and the load that follows from it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rais::clock;
use rais_common::maps::{STATE_OPEN, Traffic};
use rais_tests::netns::{Host, entry_address};
use rais_tests::trial::{LIMIT, Trial, id, service};
use rais_tests::wait::{self, pause};
use serde_json::Value;

/// A port on which the host listens.
const OPEN: u16 = 4_000;
/// One on which it does not.
const CLOSED: u16 = 4_001;
/// Ethernet, IPv4 and UDP header.
const UDP_HEADERS: usize = 14 + 20 + 8;
/// A connection's first segment: Ethernet, IPv4 and TCP header, and the 20 bytes of options that
/// Linux sends (segment size, selective acknowledgement, timestamps, window scale).
const SYN: usize = 14 + 20 + 40;

fn number(entry: &Value, path: &str) -> u64 {
    entry.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("no {path} in {entry}"))
}

/// The values of an entry of a per-CPU map.
fn values(entry: &Value) -> &[Value] {
    entry["values"].as_array().unwrap_or_else(|| panic!("not of each CPU: {entry}"))
}

/// What `bpftool` shows in `TRAFFIC` for the address that floats, all CPUs together.
fn dumped(host: &Host) -> Traffic {
    let dumped = host.dump("TRAFFIC").unwrap();
    let entry = dumped.iter().find(|e| entry_address(e).unwrap() == service(0)).unwrap();
    let sum = |field: &str| values(entry).iter().map(|cpu| number(cpu, field)).sum();
    Traffic {
        packets: sum("/value/packets"),
        bytes: sum("/value/bytes"),
        connections: sum("/value/connections"),
    }
}

/// What the agent's status shows for it.
fn shown(host: &Host) -> Traffic {
    let listed = host.listed(service(0)).unwrap();
    let (packets, bytes, connections) = (listed.packets, listed.bytes, listed.connections);
    Traffic { packets, bytes, connections }
}

/// Sends datagrams with payloads of these sizes to the address that floats; all of them arrive at
/// the host.
fn send_datagrams(trial: &Trial, sizes: &[usize]) {
    let sink = trial.get(1).inside(|| UdpSocket::bind(("0.0.0.0", OPEN)).unwrap()).unwrap();
    sink.set_read_timeout(Some(LIMIT)).unwrap();
    let socket = trial.client.inside(|| UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
    let mut buffer = [0_u8; 2_000];
    for &size in sizes {
        socket.send_to(&vec![0; size], (service(0), OPEN)).unwrap();
        let (received, from) = sink.recv_from(&mut buffer).unwrap();
        assert_eq!((received, from.ip()), (size, trial.client.address()));
    }
}

/// Tries so often to connect to a port on which nobody listens: each time one segment.
fn knock(trial: &Trial, times: usize) {
    let to = SocketAddr::from((service(0), CLOSED));
    for _ in 0..times {
        let refused = trial.client.inside(|| TcpStream::connect_timeout(&to, LIMIT)).unwrap();
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
}

/// One host that has the address that floats, and no traffic yet.
fn one_host(extra: &str) -> Trial {
    let mut trial = Trial::new().unwrap();
    trial.floating = vec![0];
    trial.start(1, &[], extra).unwrap();
    trial.settle(&[(0, 1)]).unwrap();
    trial
}

#[test]
fn traffic_is_counted_to_the_byte() {
    let trial = one_host("");
    let host = trial.get(1);
    assert_eq!((dumped(host), shown(host)), (Traffic::default(), Traffic::default()));

    let sizes: Vec<usize> = (0..40).map(|n| 1 + n * 37).collect();
    send_datagrams(&trial, &sizes);
    let bytes = sizes.iter().map(|size| size + UDP_HEADERS).sum::<usize>() as u64;
    let expected = Traffic { packets: 40, bytes, connections: 0 };
    assert_eq!((dumped(host), shown(host)), (expected, expected));

    knock(&trial, 7);
    let bytes = bytes + 7 * SYN as u64;
    let expected = Traffic { packets: 47, bytes, connections: 7 };
    assert_eq!((dumped(host), shown(host)), (expected, expected));

    // Whole connections: more segments than one, still one connection each.
    let listener = host.inside(|| TcpListener::bind(("0.0.0.0", OPEN)).unwrap()).unwrap();
    let to = SocketAddr::from((service(0), OPEN));
    for _ in 0..5 {
        let client = trial.client.inside(|| TcpStream::connect_timeout(&to, LIMIT)).unwrap();
        drop((client.unwrap(), listener.accept().unwrap()));
    }
    let counted = shown(host);
    assert_eq!(counted.connections, 12);
    assert!(counted.packets >= 47 + 5 * 2, "{counted:?}");
}

#[test]
fn ipv4_alone_is_traffic() {
    let trial = one_host("");
    let address = service(0).to_string();
    trial.client.run("arping", &["-q", "-c", "3", "-w", "5", "-I", "eth0", &address]).unwrap();
    let host = trial.get(1);
    assert_eq!((dumped(host), shown(host)), (Traffic::default(), Traffic::default()));
    let counters = host.group().unwrap().data_plane.counters;
    assert!(counters["arp_asked"] >= 3 && counters["arp_answered"] == counters["arp_asked"]);
}

#[test]
fn bpftool_shows_every_map_by_name() {
    let trial = one_host("");
    send_datagrams(&trial, &[100]);
    let host = trial.get(1);
    let ifindex = host.run("cat", &["/proc/net/dev_snmp6/eth0"]).unwrap();
    let ifindex: u64 =
        ifindex.lines().next().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap();

    let entries = host.dump("SERVICE_ADDRS").unwrap();
    let [entry] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!(entry_address(entry).unwrap(), service(0));
    assert_eq!(number(entry, "/key/ifindex"), ifindex);
    assert_eq!(number(entry, "/value/group_slot"), 0);
    assert_eq!(number(entry, "/value/state"), u64::from(STATE_OPEN));
    let mac: Vec<String> = entry
        .pointer("/value/mac")
        .and_then(Value::as_array)
        .unwrap()
        .iter()
        .map(|byte| format!("{:02x}", byte.as_u64().unwrap()))
        .collect();
    let link = host.run("ip", &["link", "show", "dev", "eth0"]).unwrap();
    assert!(link.contains(&mac.join(":")), "{mac:?} is not in {link}");

    let leases = host.dump("LEASES").unwrap();
    let until = number(&leases[0], "/value/until");
    let now = clock::now().as_nanos();
    assert!(until.abs_diff(now) < 1_000_000_000, "the lease ends at {until}, now it is {now}");
    assert!(leases[1..].iter().all(|lease| number(lease, "/value/until") == 0));

    let traffic = host.dump("TRAFFIC").unwrap();
    assert_eq!(traffic.len(), 1);
    assert_eq!(number(&traffic[0], "/key/ifindex"), ifindex);

    let counters = host.dump("COUNTERS").unwrap();
    let [counters] = counters.as_slice() else { panic!("{counters:?}") };
    let shown = host.group().unwrap().data_plane.counters;
    assert_eq!(shown.len(), 12, "{shown:?}");
    for (name, &count) in &shown {
        let field = format!("/value/{name}");
        let sum: u64 = values(counters).iter().map(|cpu| number(cpu, &field)).sum();
        assert_eq!(sum, count, "{name}");
    }
    assert!(shown["arp_answered"] > 0, "{shown:?}");
}

/// Runs `look` while the client sends a packet to the address that floats every two milliseconds.
fn under_traffic(trial: &Trial, look: impl FnOnce()) {
    let socket = trial.client.inside(|| UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let start = clock::now();
            for sent in 1_u64.. {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                socket.send_to(&[0; 64], (service(0), CLOSED)).unwrap();
                pause((start + Duration::from_millis(2 * sent)).since(clock::now()));
            }
        });
        // The sender ends even where looking panics.
        let looked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(look));
        ended.store(true, Ordering::Relaxed);
        looked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

#[test]
fn load_follows_the_traffic() {
    let load = "[[group.load]]\nkind = \"traffic\"\nunit = \"packets\"\ncapacity = 1000\n";
    let mut trial = one_host(load);
    trial.start(2, &[], load).unwrap();
    trial.settle(&[(0, 1)]).unwrap();

    let of = |group: &rais::status::Group, number: u8| {
        group.hosts.iter().find(|host| host.id == id(number)).map(|host| (host.load, host.capacity))
    };
    under_traffic(&trial, || {
        // Samples are a second apart; the first may be of half of one.
        trial
            .get(2)
            .wait_group("the load of the host that serves", LIMIT, |group| {
                matches!(of(group, 1), Some((425..=575, 1_000)))
            })
            .unwrap();
        assert_eq!(of(&trial.get(2).group().unwrap(), 2), Some((0, 1_000)));
    });
    wait::until("the load to be gone", LIMIT, || {
        Ok((of(&trial.get(2).group()?, 1) == Some((0, 1_000))).then_some(()))
    })
    .unwrap();
}
