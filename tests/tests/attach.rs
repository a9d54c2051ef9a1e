//! The BPF data plane on a real interface: a veth pair between two network namespaces that belong
//! to threads of the test and go with them. Needs root; says so where it cannot run, and fails
//! where `CI=true`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod lab;

use std::fs::File;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use aya::maps::{Array, Map, MapData};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns};
use rais::config::checked::{Interface, XdpMode};
use rais::data_plane::DataPlane;
use rais::data_plane::bpf::{Attachment, BpfError, BpfPlane, Mode, Proof, Stale, clean, prove};
use rais_common::maps::{FilterWord, filter_bit, mapped};

use lab::{Lab, SERVICE, in_a_while, interface, ip, service};

/// Where this version of the layouts is pinned.
const SCHEMA_DIR: &str = "v3";

// Input: an address on the interface, which the kernel would answer for. Output: silence unless
// open and leased, also after the lease's end and with the agent gone; then a new agent takes over.
#[test]
fn arp_is_answered_only_while_the_lease_lives() {
    Lab::run(|lab| {
        let service0 = interface("service0");
        let stale = Stale { address: service(), ifindex: service0.index };
        let plane = lab.open();
        let attached = plane.attach(&service0, XdpMode::Auto).unwrap();
        assert_eq!((attached.mode, attached.adopted), (Mode::Generic, false));
        assert_eq!(plane.take_over().unwrap(), []);

        let mut group = plane.group(3, &service0).unwrap();
        group.fence(service()).unwrap();
        ip(&format!("addr add {SERVICE}/32 dev service0"));
        assert!(!lab.answered(), "fenced");
        group.open(service()).unwrap();
        assert!(!lab.answered(), "open, never leased");
        group.lease(in_a_while()).unwrap();
        assert!(lab.answered(), "open and leased");
        group.fence(service()).unwrap();
        assert!(!lab.answered(), "fenced again");

        group.open(service()).unwrap();
        let end = rais::clock::now() + Duration::from_secs(2);
        group.lease(end).unwrap();
        assert_eq!(plane.reader(3, &service0).unwrap().lease_deadline().unwrap(), end);
        assert!(lab.answered(), "leased for a moment");
        drop((group, plane));
        while rais::clock::now() < end {
            lab.answered();
        }
        assert!(!lab.answered(), "lapsed, agent gone");

        // The dead agent's lease is long, the new one ends it.
        let plane = lab.open();
        plane.group(3, &service0).unwrap().lease(in_a_while()).unwrap();
        assert!(lab.answered());
        assert_eq!(plane.take_over().unwrap(), [stale]);
        assert!(!lab.answered(), "taken over");
        let attached = plane.attach(&service0, XdpMode::Auto).unwrap();
        assert_eq!((attached.mode, attached.adopted), (Mode::Generic, true));
        plane.group(3, &service0).unwrap().lease(in_a_while()).unwrap();
        assert!(!lab.answered(), "fenced by the take-over");
        plane.remove(&[stale]).unwrap();
        plane.remove(&[stale]).unwrap();
        assert!(lab.answered(), "the kernel answers for what is no longer ours");
        assert_eq!(plane.take_over().unwrap(), []);
    });
}

// Input: pings and a connection attempt, open and fenced. Output: counted, and then not.
#[test]
fn traffic_is_counted_and_fenced() {
    Lab::run(|lab| {
        let service0 = interface("service0");
        let plane = lab.open();
        plane.attach(&service0, XdpMode::Auto).unwrap();
        ip(&format!("addr add {SERVICE}/32 dev service0"));
        let mut group = plane.group(0, &service0).unwrap();
        let reader = plane.reader(0, &service0).unwrap();
        group.lease(in_a_while()).unwrap();
        group.open(service()).unwrap();
        let ping = ["ping", "-c", "3", "-i", "0.01", "-W", "1", "-s", "56", SERVICE];
        assert!(lab.on_client(&ping).status.success());
        let traffic = reader.traffic(service()).unwrap();
        assert_eq!((traffic.packets, traffic.bytes, traffic.connections), (3, 3 * 98, 0));
        // Nobody listens: one SYN, one reset.
        lab.on_client(&["bash", "-c", &format!("exec 3<>/dev/tcp/{SERVICE}/80")]);
        let traffic = reader.traffic(service()).unwrap();
        assert_eq!((traffic.packets, traffic.connections), (4, 1));

        group.fence(service()).unwrap();
        assert!(!lab.on_client(&ping).status.success());
        assert_eq!(reader.traffic(service()).unwrap(), traffic);
        assert_eq!(reader.counters().unwrap().fenced, 3);
        group.forget(service()).unwrap();
        assert_eq!(reader.traffic(service()).unwrap().packets, 0);
    });
}

// Input: another machine announces our address. Output: the waiting task learns of it.
#[test]
fn a_claim_reaches_the_agent() {
    Lab::run(|lab| {
        let service0 = interface("service0");
        let plane = lab.open();
        plane.attach(&service0, XdpMode::Auto).unwrap();
        let mut group = plane.group(0, &service0).unwrap();
        group.lease(in_a_while()).unwrap();
        group.open(service()).unwrap();
        lab.on_client(&["ip", "addr", "add", &format!("{SERVICE}/32"), "dev", "client0"]);
        let announce = ["arping", "-U", "-c", "1", "-w", "1", "-I", "client0", SERVICE];
        // Before anybody listens: dropped, it may have been meant for an earlier agent.
        lab.on_client(&announce);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let conflict = runtime.block_on(async {
            let mut conflicts = plane.conflicts().unwrap();
            lab.on_client(&announce);
            let first = conflicts.next().await.unwrap();
            let limit = Duration::from_millis(50);
            let second = tokio::time::timeout(limit, conflicts.next()).await;
            assert!(second.is_err(), "{second:?}");
            first
        });
        assert_eq!((conflict.address, conflict.ifindex), (service(), service0.index));
        let output = lab.on_client(&["ip", "-br", "link", "show", "client0"]);
        let mac = conflict.mac.map(|byte| format!("{byte:02x}")).join(":");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains(&mac), "{mac} is not in: {text}");
    });
}

// Input: an interface with somebody else's program, here that of another agent. Output: left alone.
#[test]
fn a_foreign_program_is_not_touched() {
    Lab::run(|lab| {
        let service0 = interface("service0");
        lab.open().attach(&service0, XdpMode::Generic).unwrap();
        let other = BpfPlane::open(Path::new("/mnt/other")).unwrap();
        for mode in [XdpMode::Auto, XdpMode::Native, XdpMode::Generic] {
            let error = other.attach(&service0, mode).unwrap_err();
            let BpfError::Foreign { interface, program, id } = &error else { panic!("{error}") };
            assert_eq!((interface.as_str(), program.as_str()), ("service0", "rais_xdp"));
            let shown = Command::new("ip").args(["link", "show", "service0"]).output().unwrap();
            let shown = String::from_utf8(shown.stdout).unwrap();
            assert!(shown.contains(&format!("prog/xdp id {id} ")), "{id} is not in: {shown}");
        }
        assert_eq!(clean(Path::new("/mnt/other")).unwrap().len(), 7, "six maps and a directory");
        assert!(lab.open().attach(&service0, XdpMode::Auto).unwrap().adopted);
    });
}

// Input: the interface is deleted and created again, or renamed. Output: a new link where the old
// one is dead; the same one under the new name.
#[test]
fn a_link_follows_its_interface() {
    Lab::run(|lab| {
        let plane = lab.open();
        let first = plane.attach(&interface("service0"), XdpMode::Auto).unwrap();
        ip("link del service0");
        lab.cable("service0");
        let second = plane.attach(&interface("service0"), XdpMode::Auto).unwrap();
        assert_eq!((first.adopted, second.adopted), (false, false));
        assert!(lab.bpf_dir.join(SCHEMA_DIR).join("link-service0").exists());

        ip("link set service0 down");
        ip("link set service0 name eth0.7");
        let renamed = plane.attach(&interface("eth0.7"), XdpMode::Auto).unwrap();
        assert!(renamed.adopted);
        assert!(!lab.bpf_dir.join(SCHEMA_DIR).join("link-service0").exists());
        assert!(lab.bpf_dir.join(SCHEMA_DIR).join("link-eth0:7").exists());
    });
}

// Input: every mode. Output: the mode in force, which stays when another is asked for later.
#[test]
fn the_mode_in_force_is_reported() {
    Lab::run(|lab| {
        let service0 = interface("service0");
        for (wanted, mode) in [
            (XdpMode::Auto, Mode::Generic),
            (XdpMode::Native, Mode::Native),
            (XdpMode::Generic, Mode::Generic),
        ] {
            let plane = lab.open();
            let attached = plane.attach(&service0, wanted).unwrap();
            assert_eq!((attached.mode, attached.adopted), (mode, false));
            assert_eq!(attached.why.is_some(), wanted == XdpMode::Auto, "{attached:?}");
            let adopted = plane.attach(&service0, XdpMode::Auto).unwrap();
            assert_eq!((adopted.mode, adopted.adopted), (mode, true));
            assert_eq!(adopted.why.is_some(), mode == Mode::Generic, "{adopted:?}");
            assert!(!clean(&lab.bpf_dir).unwrap().is_empty());
        }
        // Native is not to be had on loopback: asked for, it is an error; else it is generic.
        let loopback = Interface { name: "lo".into(), index: 1, mac: [0; 6], addresses: vec![] };
        let plane = lab.open();
        let error = plane.attach(&loopback, XdpMode::Native).unwrap_err();
        assert!(matches!(error, BpfError::Mode { mode: "native", .. }), "{error}");
        let attached = plane.attach(&loopback, XdpMode::Auto).unwrap();
        assert_eq!((attached.mode, attached.adopted), (Mode::Generic, false));
    });
}

// Input: a driver that takes no frames to send, one that does, and one that has nowhere to put them.
// Output: which is which; auto takes the generic mode and says why, and replies leave.
#[test]
fn native_mode_is_proved() {
    Lab::run(|lab| {
        // A veth, whose other end runs no program.
        let service0 = interface("service0");
        let plane = lab.open();
        plane.attach(&service0, XdpMode::Native).unwrap();
        assert!(matches!(prove(&service0), Proof::Lost(_)), "{:?}", prove(&service0));
        let mut group = plane.group(0, &service0).unwrap();
        group.open(service()).unwrap();
        group.lease(in_a_while()).unwrap();
        assert!(!lab.answered(), "in native mode, insisted upon");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                setns(File::open(&lab.client).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
                let other = BpfPlane::open(Path::new("/mnt/other")).unwrap();
                other.attach(&interface("client0"), XdpMode::Native).unwrap();
            });
        });
        assert_eq!(prove(&service0), Proof::Leaves);
        assert!(lab.answered(), "now the other end takes it");

        clean(&lab.bpf_dir).unwrap();
        let plane = lab.open();
        let Attachment { mode, why, .. } = plane.attach(&service0, XdpMode::Auto).unwrap();
        assert_eq!(mode, Mode::Generic);
        assert!(why.unwrap().starts_with("a veth sends replies in native mode only where"));
        let mut group = plane.group(0, &service0).unwrap();
        group.open(service()).unwrap();
        group.lease(in_a_while()).unwrap();
        assert!(lab.answered(), "in generic mode");

        // A tap that nobody has opened.
        ip("tuntap add dev tap0 mode tap");
        ip("link set tap0 up");
        let tap0 = interface("tap0");
        let Attachment { mode, why, .. } = plane.attach(&tap0, XdpMode::Auto).unwrap();
        println!("tap0: {why:?}");
        assert_eq!(mode, Mode::Generic);
        let why = why.unwrap();
        assert!(why.starts_with("no replies would leave in native mode: the driver "), "{why}");
    });
}

// Input: clean, with and without something there. Output: what was removed, and nothing is left.
#[test]
fn clean_removes_everything() {
    Lab::run(|lab| {
        assert_eq!(clean(&lab.bpf_dir).unwrap(), Vec::<PathBuf>::new());
        let service0 = interface("service0");
        lab.open().attach(&service0, XdpMode::Auto).unwrap();
        let mut removed = clean(&lab.bpf_dir).unwrap();
        removed.sort();
        let names = [
            "",
            "COUNTERS",
            "EVENTS",
            "FILTER",
            "LEASES",
            "SERVICE_ADDRS",
            "TRAFFIC",
            "link-service0",
        ];
        let expected = names.map(|name| lab.bpf_dir.join(SCHEMA_DIR).join(name));
        assert_eq!(removed, expected);
        let shown = Command::new("ip").args(["link", "show", "service0"]).output().unwrap();
        let shown = String::from_utf8(shown.stdout).unwrap();
        assert!(!shown.contains("xdp"), "{shown}");
        assert_eq!(clean(&lab.bpf_dir).unwrap(), Vec::<PathBuf>::new());
    });
}

// Input: the maps as `bpftool map dump` shows them. Output: fields by their names.
#[test]
fn the_maps_name_their_fields() {
    Lab::run(|lab| {
        let service0 = interface("service0");
        let plane = lab.open();
        plane.attach(&service0, XdpMode::Auto).unwrap();
        let mut group = plane.group(0, &service0).unwrap();
        group.open(service()).unwrap();
        for (map, fields) in [
            ("SERVICE_ADDRS", &["address", "ifindex", "group_slot", "state", "mac"][..]),
            ("TRAFFIC", &["address", "ifindex", "packets", "bytes", "connections"]),
            ("COUNTERS", &["arp_asked", "arp_answered", "nd_refused", "fenced", "events_lost"]),
            ("LEASES", &["until"]),
            ("FILTER", &["bits"]),
        ] {
            let pin = lab.bpf_dir.join(SCHEMA_DIR).join(map);
            let dump = Command::new("bpftool").args(["map", "dump", "pinned"]).arg(pin).output();
            let text = String::from_utf8(dump.unwrap().stdout).unwrap();
            for field in fields {
                assert!(text.contains(&format!("\"{field}\":")), "{field} is not in {map}: {text}");
            }
        }
    });
}

// Input: two groups whose addresses share a bit of the filter, come and go; then an agent that
// died with one of them. Output: the bit is set exactly while one has an entry.
#[test]
fn the_filter_shows_every_entry_and_no_more() {
    Lab::run(|lab| {
        let service0 = interface("service0");
        let bit_of = |address: Ipv4Addr| filter_bit(&mapped(address.octets()));
        let one = Ipv4Addr::new(10, 77, 0, 101);
        let mut others = (1..u32::MAX).map(Ipv4Addr::from).filter(|&a| a != one);
        let two = others.find(|&other| bit_of(other) == bit_of(one)).unwrap();
        let set = || {
            let pin = lab.bpf_dir.join(SCHEMA_DIR).join("FILTER");
            let map = Map::Array(MapData::from_pin(pin).unwrap());
            let map: Array<MapData, FilterWord> = map.try_into().unwrap();
            let words = map.iter().map(Result::unwrap).zip(0..);
            let bits = |(word, index): (FilterWord, u32)| {
                (0..64)
                    .filter(move |bit| word.bits >> bit & 1 == 1)
                    .map(move |bit| index * 64 + bit)
            };
            words.flat_map(bits).collect::<Vec<u32>>()
        };

        let plane = lab.open();
        assert_eq!(plane.take_over().unwrap(), []);
        let mut groups = [plane.group(0, &service0).unwrap(), plane.group(1, &service0).unwrap()];
        groups[0].fence(one.into()).unwrap();
        groups[0].open(one.into()).unwrap();
        groups[1].fence(two.into()).unwrap();
        assert_eq!(set(), [bit_of(one)]);
        groups[0].forget(one.into()).unwrap();
        assert_eq!(set(), [bit_of(one)]);
        groups[0].forget(one.into()).unwrap();
        groups[1].forget(two.into()).unwrap();
        assert_eq!(set(), Vec::<u32>::new());
        groups[1].fence(two.into()).unwrap();
        drop(groups);

        let plane = lab.open();
        let stale = plane.take_over().unwrap();
        assert_eq!(set(), [bit_of(one)]);
        plane.group(0, &service0).unwrap().open(one.into()).unwrap();
        plane.remove(&stale).unwrap();
        assert_eq!(set(), [bit_of(one)]);
        plane.group(0, &service0).unwrap().forget(one.into()).unwrap();
        assert_eq!(set(), Vec::<u32>::new());
    });
}

// Input: the object, loaded by a user with two capabilities. Output: the verifier takes it; other
// ways to reach a packet's bytes would need CAP_PERFMON as well.
#[test]
fn two_capabilities_suffice() {
    Lab::run(|_| {
        let object = Path::new("/mnt/object");
        std::fs::write(object, rais::data_plane::bpf::OBJECT).unwrap();
        let bpffs = Path::new("/mnt/user");
        std::fs::create_dir(bpffs).unwrap();
        let owner = Some("uid=65534,mode=0700");
        mount(Some("bpf"), bpffs, Some("bpf"), MsFlags::empty(), owner).unwrap();
        let two = "+bpf,+net_admin";
        let output = Command::new("setpriv")
            .args(["--reuid=65534", "--clear-groups", &format!("--bounding-set=-all,{two}")])
            .args([&format!("--inh-caps={two}"), &format!("--ambient-caps={two}")])
            .args(["bpftool", "prog", "load", "/mnt/object", "/mnt/user/program", "type", "xdp"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    });
}
