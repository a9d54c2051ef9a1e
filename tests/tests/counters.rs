//! The counters of addresses in the kernel's maps, some of which are made before anybody has the
//! address. Needs root; says so where it cannot run, and fails where `CI=true`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use aya::maps::{HashMap, Map, MapData, MapError, PerCpuHashMap, PerCpuValues};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use rais::config::checked::Interface;
use rais::data_plane::DataPlane;
use rais::data_plane::bpf::{BpfPlane, Stale};
use rais_common::maps::{MAX_ADDRESSES, ServiceEntry, ServiceKey, Traffic};
use rais_common::time::Time;
use rais_tests::wait;

const DIR: &str = "/mnt/bpf";
const IFINDEX: u32 = 77;

/// Runs `test` on a thread that has mounts of its own, which end with it.
fn alone(test: fn(&BpfPlane)) {
    if !nix::unistd::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "CI must run as root");
        eprintln!("SKIPPED, NOT TESTED: BPF maps need root");
        return;
    }
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        mount(Some("tmpfs"), "/mnt", Some("tmpfs"), MsFlags::empty(), none).unwrap();
        test(&BpfPlane::open(Path::new(DIR)).unwrap());
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn interface() -> Interface {
    Interface { name: "none0".to_owned(), index: IFINDEX, mac: [2; 6], addresses: Vec::new() }
}

fn v4(n: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a4e_0000 + n).into()
}

fn v6(n: u16) -> IpAddr {
    Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, n).into()
}

fn key(address: IpAddr) -> ServiceKey {
    let v6 = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    ServiceKey { address: v6.octets(), ifindex: IFINDEX }
}

fn map(name: &str) -> MapData {
    MapData::from_pin(Path::new(DIR).join("v3").join(name)).unwrap()
}

fn traffic() -> PerCpuHashMap<MapData, ServiceKey, Traffic> {
    Map::PerCpuHashMap(map("TRAFFIC")).try_into().unwrap()
}

/// What has counters.
fn counted() -> BTreeSet<ServiceKey> {
    traffic().keys().collect::<Result<_, _>>().unwrap()
}

/// What is in the map of addresses.
fn held() -> BTreeSet<ServiceKey> {
    let map = map("SERVICE_ADDRS");
    let held: HashMap<_, ServiceKey, ServiceEntry> = Map::HashMap(map).try_into().unwrap();
    held.keys().collect::<Result<_, _>>().unwrap()
}

fn set(addresses: &[IpAddr]) -> BTreeSet<ServiceKey> {
    addresses.iter().map(|&address| key(address)).collect()
}

// Made for two → they are counted, and nothing is held; one that is opened and forgotten keeps its
// counters, at zero, and another loses them; with the group all go.
#[test]
fn made_beforehand() {
    alone(|plane| {
        let mut group = plane.group(0, &interface()).unwrap();
        group.count_beforehand(&[v4(1), v6(1)]).unwrap();
        group.count_beforehand(&[v6(1)]).unwrap();
        assert_eq!((counted(), held()), (set(&[v4(1), v6(1)]), set(&[])));
        assert_eq!([v4(1), v6(1), v4(2)].map(|a| group.is_prepared(a)), [true, true, false]);

        group.open_all(&[v4(1), v4(2)]).unwrap();
        assert_eq!((counted(), held()), (set(&[v4(1), v6(1), v4(2)]), set(&[v4(1), v4(2)])));
        let seen = Traffic { packets: 7, bytes: 700, connections: 1 };
        let cpus = aya::util::nr_cpus().unwrap();
        let seen = PerCpuValues::try_from(vec![seen; cpus]).unwrap();
        traffic().insert(key(v4(1)), seen, 0).unwrap();
        let reader = plane.reader(0, &interface()).unwrap();
        assert!(reader.traffic(v4(1)).unwrap().packets >= 7);
        group.forget(v4(1)).unwrap();
        group.forget(v4(2)).unwrap();
        assert_eq!((counted(), held()), (set(&[v4(1), v6(1)]), set(&[])));
        assert_eq!(reader.traffic(v4(1)).unwrap(), Traffic::default());
        assert_eq!([v4(1), v4(2)].map(|a| group.is_prepared(a)), [true, false]);

        drop(group);
        assert_eq!(counted(), set(&[]));
    });
}

// More than all groups together may have made beforehand → none of them, and it is no error; there
// is room again when a group has gone.
#[test]
fn as_far_as_there_is_room() {
    alone(|plane| {
        let mut first = plane.group(0, &interface()).unwrap();
        first.count_beforehand(&[v6(1), v6(2)]).unwrap();
        let mut second = plane.group(1, &interface()).unwrap();
        let all: Vec<IpAddr> = (0..MAX_ADDRESSES).map(v4).collect();
        second.count_beforehand(&all).unwrap();
        assert_eq!(counted(), set(&[v6(1), v6(2)]));
        drop(first);
        wait::until("memory for counters", Duration::from_mins(1), || {
            Ok(second.count_beforehand(&all).ok())
        })
        .unwrap();
        assert_eq!(counted().len(), all.len());
        // And as many can be held besides.
        let others: Vec<IpAddr> = (0..u16::MAX).map(v6).collect();
        second.open_all(&others).unwrap();
        assert_eq!(held().len(), others.len());
        wait::until("all to be counted", Duration::from_mins(1), || {
            second.lease(Time::from_nanos(1))?;
            Ok((counted().len() == all.len() + others.len()).then_some(()))
        })
        .unwrap();
    });
}

// The kernel has no room for counters of more addresses → what is opened is answered for all the
// same, and counted from the first lease after there is room again.
#[test]
fn counted_later() {
    alone(|plane| {
        let mut map = traffic();
        let cpus = aya::util::nr_cpus().unwrap();
        let zero = || PerCpuValues::try_from(vec![Traffic::default(); cpus]).unwrap();
        // It says so too where it has no memory at hand, and goes on to make some.
        let full = |error: &MapError| {
            matches!(error, MapError::SyscallError(e)
            if e.io_error.raw_os_error() == Some(nix::libc::E2BIG))
        };
        for n in 0.. {
            let mut inserted = || map.insert(key(v4(n)), zero(), 0);
            let done = wait::until("memory for counters", Duration::from_mins(1), || {
                let inserted = inserted();
                let full = inserted.as_ref().is_err_and(full);
                Ok((inserted.is_ok() || full).then_some(full))
            });
            if done.unwrap() {
                break;
            }
        }
        let mut group = plane.group(0, &interface()).unwrap();
        group.open_all(&[v6(1), v6(2)]).unwrap();
        group.lease(Time::from_nanos(1)).unwrap();
        assert_eq!(held(), set(&[v6(1), v6(2)]));
        assert!(counted().is_disjoint(&held()));
        (0..10).for_each(|n| map.remove(&key(v4(n))).unwrap());
        wait::until("its traffic to be counted", Duration::from_mins(1), || {
            group.lease(Time::from_nanos(1))?;
            Ok(counted().is_superset(&held()).then_some(()))
        })
        .unwrap();
    });
}

// An agent dies → what it had made beforehand goes when the next one takes over; what it held is
// counted on.
#[test]
fn of_an_agent_that_died() {
    alone(|plane| {
        let mut group = plane.group(0, &interface()).unwrap();
        group.count_beforehand(&[v4(1), v4(2)]).unwrap();
        group.open_all(&[v4(2), v4(3)]).unwrap();
        std::mem::forget(group);
        let next = BpfPlane::open(Path::new(DIR)).unwrap();
        let stale = |address| Stale { address, ifindex: IFINDEX };
        assert_eq!(next.take_over().unwrap(), [stale(v4(2)), stale(v4(3))]);
        assert_eq!(counted(), set(&[v4(2), v4(3)]));
    });
}
