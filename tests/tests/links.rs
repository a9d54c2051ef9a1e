//! Service interfaces that are made of others: bridges, bonds, VLAN devices, macvlans. Real ones,
//! with a client behind them. What this kernel has no devices for is said on standard error.
//! Needs root; says so where it cannot run, and fails where `CI=true`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod lab;

use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use aya::EbpfLoader;
use aya::programs::links::FdLink;
use aya::programs::{Xdp, XdpMode as AyaMode};
use rais::config::checked::{Interface, XdpMode};
use rais::data_plane::DataPlane;
use rais::data_plane::bpf::{Attachment, Mode, OBJECT, clean};
use rais_common::time::Time;
use rais_tests::netns::binary;
use rais_tests::wait;

use lab::{CLIENT, Lab, SERVICE, in_a_while, interface, ip, service};

const SERVICE_6: &str = "fd77::101";
const LIMIT: Duration = Duration::from_secs(10);

/// A service interface, and where the client is on its network.
struct Link {
    name: &'static str,
    client: &'static str,
    /// Why it runs the program in generic mode, at the beginning.
    why: &'static str,
}

/// What the kernel says of an interface that has no native mode.
const NO_NATIVE: &str =
    "there is no native mode: `bpf_link_create` failed: Operation not supported";

impl Link {
    /// Gives both ends addresses, and waits until they hear each other.
    fn up(&self, lab: &Lab) {
        ip(&format!("addr add 10.77.0.1/24 dev {}", self.name));
        ip(&format!("addr add fd77::1/64 dev {} nodad", self.name));
        ip(&format!("link set {} up", self.name));
        lab.client_ip(&format!("addr add {CLIENT}/24 dev {}", self.client));
        lab.client_ip(&format!("addr add fd77::9/64 dev {} nodad", self.client));
        lab.client_ip(&format!("link set {} up", self.client));
        let heard = || Ok(lab.reaches("10.77.0.1", 1).then_some(()));
        wait::until(&format!("{} to pass packets", self.name), LIMIT, heard).unwrap();
    }

    /// Everything that a service interface is good for, and that native mode is refused.
    fn serves(&self, lab: &Lab) {
        let link = interface(self.name);
        let plane = lab.open();
        let error = plane.attach(&link, XdpMode::Native).unwrap_err().to_string();
        let start = format!("{} cannot run an XDP program in native mode: ", self.name);
        assert!(error.starts_with(&start), "{error}");
        assert!(error.ends_with("; try `xdp_mode = \"auto\"` or \"generic\""), "{error}");
        assert!(!error.contains('\n'), "{error}");
        eprintln!("{error}");
        for wanted in [XdpMode::Generic, XdpMode::Auto] {
            clean(&lab.bpf_dir).unwrap();
            detached(self.name);
            let Attachment { mode, why, adopted, .. } = lab.open().attach(&link, wanted).unwrap();
            assert_eq!((mode, adopted), (Mode::Generic, false));
            assert_eq!(why.is_some(), wanted == XdpMode::Auto, "{why:?}");
            assert!(why.is_none_or(|why| why.starts_with(self.why)), "{}", self.why);
        }
        for address in [SERVICE, SERVICE_6] {
            self.holds(lab, &link, address.parse().unwrap());
        }
    }

    /// Answers, counts, hears a claim, falls silent and drops what comes, by the lease alone.
    fn holds(&self, lab: &Lab, link: &Interface, address: IpAddr) {
        let plane = lab.open();
        let text = address.to_string();
        let mut group = plane.group(0, link).unwrap();
        let reader = plane.reader(0, link).unwrap();
        let before = reader.counters().unwrap();
        let length = if address.is_ipv4() { 32 } else { 128 };
        let options = if address.is_ipv4() { "" } else { " nodad" };
        group.fence(address).unwrap();
        ip(&format!("addr add {text}/{length} dev {}{options}", self.name));
        group.lease(in_a_while()).unwrap();
        group.open(address).unwrap();

        lab.client_ip(&format!("neigh flush dev {}", self.client));
        assert!(lab.reaches(&text, 3), "{text} under a lease");
        let traffic = reader.traffic(address).unwrap();
        // An IPv6 client that is asked for its hardware address says it to the service address.
        let most = if address.is_ipv4() { 3 } else { 5 };
        assert!((3..=most).contains(&traffic.packets), "{text}: {traffic:?}");
        assert_eq!(traffic.connections, 0);
        let live = reader.counters().unwrap();
        let answered = |c: &rais_common::maps::Counters| c.arp_answered + c.nd_answered;
        let refused = |c: &rais_common::maps::Counters| c.arp_refused + c.nd_refused;
        assert!(answered(&live) > answered(&before), "by the kernel? {live:?}");
        assert_eq!((live.fenced, refused(&live)), (before.fenced, refused(&before)));
        if address.is_ipv4() {
            self.hears_a_claim(lab, link);
        }

        group.lease(Time::ZERO).unwrap();
        assert!(!lab.reaches(&text, 1), "{text} after its lease: traffic");
        let over = reader.counters().unwrap();
        assert!(over.fenced > live.fenced, "{over:?}");
        lab.client_ip(&format!("neigh flush dev {}", self.client));
        assert!(!lab.reaches(&text, 1), "{text} after its lease: question");
        let asked = reader.counters().unwrap();
        assert!(refused(&asked) > refused(&live), "{asked:?}");
        assert_eq!(answered(&asked), answered(&live));
        assert_eq!(reader.traffic(address).unwrap(), traffic);
        ip(&format!("addr del {text}/{length} dev {}", self.name));
        group.forget(address).unwrap();
    }

    fn hears_a_claim(&self, lab: &Lab, link: &Interface) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let conflict = runtime.block_on(async {
            let mut conflicts = lab.open().conflicts().unwrap();
            lab.client_ip(&format!("addr add {SERVICE}/32 dev {}", self.client));
            let claim = ["arping", "-U", "-c", "1", "-w", "1", "-I", self.client, SERVICE];
            // A bond of LACP that is not settled yet loses some.
            for _ in 0..10 {
                lab.on_client(&claim);
                let soon = tokio::time::timeout(Duration::from_millis(100), conflicts.next());
                if let Ok(conflict) = soon.await {
                    return Some(conflict.unwrap());
                }
            }
            None
        });
        let conflict = conflict.expect("a claim");
        lab.client_ip(&format!("addr del {SERVICE}/32 dev {}", self.client));
        assert_eq!((conflict.address, conflict.ifindex), (service(), link.index));
    }
}

impl Lab {
    fn client_ip(&self, arguments: &str) {
        let words: Vec<&str> = ["ip"].into_iter().chain(arguments.split(' ')).collect();
        let output = self.on_client(&words);
        assert!(output.status.success(), "client: ip {arguments}: {output:?}");
    }

    /// Whether the client gets answers to that many pings.
    fn reaches(&self, address: &str, count: u32) -> bool {
        let count = count.to_string();
        let ping = ["ping", "-n", "-q", "-c", &count, "-i", "0.01", "-W", "0.3", address];
        self.on_client(&ping).status.success()
    }
}

/// Waits until the kernel has let go of a program whose link is gone.
fn detached(name: &str) {
    let shown = || {
        let output = Command::new("ip").args(["link", "show", name]).output()?;
        Ok((!String::from_utf8_lossy(&output.stdout).contains("xdp")).then_some(()))
    };
    wait::until("the program to be off", LIMIT, shown).unwrap();
}

/// Whether this kernel has interfaces of a kind; where not, that is said past the harness, which
/// keeps to itself what a good test prints.
fn has(kind: &str, arguments: &str) -> bool {
    let add = format!("link add rais-try type {kind} {arguments}");
    let output = Command::new("ip").args(add.split_whitespace()).output().unwrap();
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        ip("link del rais-try");
        return true;
    }
    // Where something else is wrong, such as a missing lower device, the kind is known.
    if !why.contains("Unknown device type") && !why.contains("Operation not supported") {
        return true;
    }
    let text = format!("\n*** NOT TESTED: this kernel has no devices of kind {kind}. ***\n\n");
    std::io::stderr().write_all(text.as_bytes()).unwrap();
    false
}

// Input: a bridge with two ports; then a hardware address given to it. Output: it serves.
#[test]
fn a_bridge() {
    Lab::run_apart(|lab| {
        lab.wire("port0", "client0");
        lab.wire("port1", "client1");
        ip("link add br0 type bridge");
        ip("link set port0 master br0");
        ip("link set port1 master br0");
        let link = Link { name: "br0", client: "client0", why: NO_NATIVE };
        link.up(lab);
        link.serves(lab);
    });
}

// Input: a macvlan or ipvlan. Output: refused as long as the kernel answers ARP on its lower device;
// then it serves.
#[test]
fn a_macvlan() {
    for kind in ["macvlan mode bridge", "ipvlan mode l2"] {
        Lab::run_apart(move |lab| {
            if !has(kind.split(' ').next().unwrap(), "") {
                return;
            }
            lab.wire("lower0", "client0");
            ip(&format!("link add link lower0 name upper0 type {kind}"));
            lab.wire("control0", "client9");
            ip("addr add 10.78.0.1/24 dev control0");
            let error = refused(lab, "upper0");
            assert!(error.ends_with("; set net.ipv4.conf.lower0.arp_ignore=1\n"), "{error}");
            fs::write("/proc/sys/net/ipv4/conf/lower0/arp_ignore", "1").unwrap();
            accepted(lab, "upper0");
            let link = Link { name: "upper0", client: "client0", why: NO_NATIVE };
            link.up(lab);
            link.serves(lab);
        });
    }
}

// Input: a VLAN of a cable. Output: it serves.
#[test]
fn a_vlan() {
    Lab::run_apart(|lab| {
        if !has("vlan", "id 7") {
            return;
        }
        lab.wire("trunk0", "client0");
        ip("link add link trunk0 name trunk0.7 type vlan id 7");
        lab.client_ip("link add link client0 name client0.7 type vlan id 7");
        let link = Link { name: "trunk0.7", client: "client0.7", why: NO_NATIVE };
        link.up(lab);
        link.serves(lab);
    });
}

/// All modes but `broadcast`, in which everything comes twice.
const BOND_MODES: [&str; 6] =
    ["active-backup", "balance-rr", "balance-xor", "802.3ad", "balance-tlb", "balance-alb"];

/// A bond with two members on each side.
fn bond(lab: &Lab, mode: &str) -> Link {
    lab.wire("member0", "client0");
    lab.wire("member1", "client1");
    let options = if mode == "802.3ad" { " lacp_rate fast" } else { "" };
    ip(&format!("link add bond0 type bond mode {mode} miimon 10{options}"));
    if ["active-backup", "balance-tlb", "balance-alb"].contains(&mode) {
        lab.client_ip("link add both type bridge");
    } else {
        lab.client_ip(&format!("link add both type bond mode {mode} miimon 10{options}"));
    }
    for number in ["0", "1"] {
        ip(&format!("link set member{number} down"));
        ip(&format!("link set member{number} master bond0"));
        lab.client_ip(&format!("link set client{number} down"));
        lab.client_ip(&format!("link set client{number} master both"));
        lab.client_ip(&format!("link set client{number} up"));
    }
    let link =
        Link { name: "bond0", client: "both", why: "a bond has its members run the program" };
    link.up(lab);
    link
}

// Input: bonds, in each mode; the active member of one loses its link. Output: each serves, and
// goes on.
#[test]
fn a_bond() {
    for mode in BOND_MODES {
        Lab::run_apart(move |lab| {
            if !has("bond", "") {
                return;
            }
            let link = bond(lab, mode);
            eprintln!("{mode}");
            link.serves(lab);
            if mode != "active-backup" {
                return;
            }
            let bond0 = interface("bond0");
            let plane = lab.open();
            plane.attach(&bond0, XdpMode::Auto).unwrap();
            let mut group = plane.group(0, &bond0).unwrap();
            group.lease(in_a_while()).unwrap();
            group.open(service()).unwrap();
            ip(&format!("addr add {SERVICE}/32 dev bond0"));
            assert!(lab.answered_on("both"));
            ip("link set member0 down");
            let answered = || Ok(lab.answered_on("both").then_some(()));
            wait::until("the other member", LIMIT, answered).unwrap();
            let traffic = plane.reader(0, &bond0).unwrap();
            assert!(lab.reaches(SERVICE, 3), "by the other member");
            assert_eq!(traffic.traffic(service()).unwrap().packets, 3);
        });
    }
}

// Input: the program on a bond in native mode, brought there past the agent. Output: it knows none
// of the addresses, hence the refusals; the agent does not adopt it.
#[test]
fn a_bond_in_native_mode_would_not_be_fenced() {
    Lab::run_apart(|lab| {
        if !has("bond", "") {
            return;
        }
        bond(lab, "active-backup");
        let bond0 = interface("bond0");
        let plane = lab.open();
        let mut group = plane.group(0, &bond0).unwrap();
        group.fence(service()).unwrap();
        ip(&format!("addr add {SERVICE}/32 dev bond0"));
        attach_natively(lab, &bond0);
        assert!(lab.answered_on("both"), "by the kernel, although it is fenced");
        for wanted in [XdpMode::Auto, XdpMode::Native, XdpMode::Generic] {
            let error = plane.attach(&bond0, wanted).unwrap_err().to_string();
            assert!(error.contains("`rais clean` takes off what is there"), "{error}");
        }
        clean(&lab.bpf_dir).unwrap();
        detached("bond0");
        lab.open().attach(&bond0, XdpMode::Auto).unwrap();
        lab.open().group(0, &bond0).unwrap().fence(service()).unwrap();
        assert!(!lab.answered_on("both"), "fenced in generic mode");
    });
}

fn attach_natively(lab: &Lab, interface: &Interface) {
    let dir = lab.bpf_dir.join("v3");
    let mut loader = EbpfLoader::new();
    for name in ["SERVICE_ADDRS", "FILTER", "LEASES", "TRAFFIC", "COUNTERS", "EVENTS"] {
        loader.map_pin_path(name, dir.join(name));
    }
    let mut object = loader.load(OBJECT).unwrap();
    let program: &mut Xdp = object.program_mut("rais_xdp").unwrap().try_into().unwrap();
    program.load().unwrap();
    let id = program.attach_to_if_index(interface.index, AyaMode::Driver).unwrap();
    let link: FdLink = program.take_link(id).unwrap().try_into().unwrap();
    link.pin(dir.join(format!("link-{}", interface.name))).unwrap();
}

/// The agent's program with a configuration for this service interface, on the host.
fn rais(lab: &Lab, command: &str, service_interface: &str) -> Command {
    let dir = lab.bpf_dir.with_file_name("agent");
    fs::create_dir_all(&dir).unwrap();
    let path = dir.join("rais.toml");
    let config = format!(
        "[agent]\nrun_dir = \"{dir}\"\nbpf_dir = \"{bpf}\"\n\
         [[group]]\nname = \"web\"\naddress = \"239.77.0.1:7077\"\n\
         control_interfaces = [\"control0\"]\nservice_interface = \"{service_interface}\"\n\
         insecure = true\nfloating = [\"{SERVICE}\"]\n",
        dir = dir.display(),
        bpf = lab.bpf_dir.display(),
    );
    fs::write(&path, config).unwrap();
    let mut rais = Command::new(binary("rais").unwrap());
    rais.args([command, "--config"]).arg(path).env_remove("RUST_LOG").stdin(Stdio::null());
    rais
}

/// The one line with which `rais check` and `rais run` refuse a service interface.
fn refused(lab: &Lab, service_interface: &str) -> String {
    let [check, run] = ["check", "run"].map(|command| {
        let Output { status, stdout, stderr } =
            rais(lab, command, service_interface).output().unwrap();
        let text = String::from_utf8(stderr).unwrap();
        assert_eq!((status.code(), stdout.len()), (Some(2), 0), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        text
    });
    assert_eq!(check, run);
    eprint!("{check}");
    check
}

fn accepted(lab: &Lab, service_interface: &str) {
    let output = rais(lab, "check", service_interface).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

// Input: interfaces that belong to others, and ones that only seem to. Output: the former are
// refused, with what to write instead.
#[test]
fn an_interface_of_anothers_is_refused() {
    Lab::run_apart(|lab| {
        lab.wire("control0", "client9");
        ip("addr add 10.78.0.1/24 dev control0");
        lab.wire("eth0", "client0");
        accepted(lab, "eth0");
        for (kind, arguments, what) in [
            ("bridge", "", "a port of the bridge `over0`"),
            ("bond", "mode active-backup", "a member of the bond `over0`"),
            ("team", "", "a member of the team `over0`"),
            ("vrf", "table 77", ""),
        ] {
            if !has(kind, arguments) {
                continue;
            }
            ip(format!("link add over0 type {kind} {arguments}").trim_end());
            ip("link set eth0 down");
            ip("link set eth0 master over0");
            if what.is_empty() {
                accepted(lab, "eth0");
            } else {
                let expected = format!(
                    ": `service_interface`: `eth0` is {what}, which takes in all that comes there; \
                     write service_interface = \"over0\"\n"
                );
                let error = refused(lab, "eth0");
                assert!(error.ends_with(&expected), "{error}");
                accepted(lab, "over0");
            }
            ip("link del over0");
            accepted(lab, "eth0");
            if kind == "bond" {
                ip("link add over0 type bond mode active-backup fail_over_mac active");
                let error = refused(lab, "over0");
                assert!(error.ends_with("fail_over_mac none or follow\n"), "{error}");
                ip("link del over0");
            }
        }
        for (kind, arguments, refuses) in [
            ("vlan", "id 7", false),
            ("macvlan", "mode bridge", false),
            ("macvlan", "mode passthru", true),
            ("macvtap", "mode passthru", true),
            ("ipvlan", "mode l2", false),
        ] {
            if !has(kind, arguments) {
                continue;
            }
            ip(&format!("link add link eth0 name over0 type {kind} {arguments}"));
            if refuses {
                let error = refused(lab, "eth0");
                assert!(error.contains("`eth0` is the lower device of `over0`, "), "{error}");
            } else {
                accepted(lab, "eth0");
            }
            ip("link del over0");
        }
    });
}

/// An agent that ends with the test.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

// Input: an agent whose service interface is a bridge, under `xdp_mode = "auto"`. Output: it serves,
// and the status has mode and reason; a port of its own is refused.
#[test]
fn an_agent_on_a_bridge() {
    Lab::run_apart(|lab| {
        lab.wire("control0", "client9");
        ip("addr add 10.78.0.1/24 dev control0");
        lab.wire("port0", "client0");
        ip("link add br0 type bridge");
        ip("link set port0 master br0");
        Link { name: "br0", client: "client0", why: NO_NATIVE }.up(lab);
        let log = fs::File::create("/mnt/agent.log").unwrap();
        let _agent = Agent(rais(lab, "run", "br0").stderr(log).spawn().unwrap());
        let socket = lab.bpf_dir.with_file_name("agent").join("rais.sock");
        let status = || {
            let mut status = Command::new(binary("rais")?);
            let output = status.args(["status", "--json", "--socket"]).arg(&socket).output()?;
            let status: serde_json::Value = match output.status.code() {
                Some(0) => serde_json::from_slice(&output.stdout)?,
                _ => return Ok(None),
            };
            let group = &status["groups"][0];
            let online = group["addresses"][0]["state"] == "online";
            Ok(online.then(|| group["data_plane"].clone()))
        };
        let plane = wait::until("the address to be online", LIMIT, status);
        let log = || fs::read_to_string("/mnt/agent.log").unwrap();
        let plane = plane.unwrap_or_else(|error| panic!("{error}: {}", log()));
        assert_eq!((&plane["mode"], &plane["interface"]), (&"generic".into(), &"br0".into()));
        assert!(plane["note"].as_str().unwrap().starts_with(NO_NATIVE), "{plane}");
        assert!(lab.answered(), "{}", log());
        assert!(lab.reaches(SERVICE, 3), "{}", log());
    });
}
