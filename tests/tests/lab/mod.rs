//! A host and a client to try the data plane between: network namespaces of threads of the test,
//! which go with them. Needs root; says so where it cannot run, and fails where `CI=true`.

#![allow(dead_code, reason = "each test file uses its part")]

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use rais::config::checked::Interface;
use rais::data_plane::bpf::BpfPlane;
use rais_common::time::Time;

/// The address that is served.
pub const SERVICE: &str = "10.77.0.101";
/// The client's own.
pub const CLIENT: &str = "10.77.0.9";

/// A host and a client, each in a network namespace.
pub struct Lab {
    /// Where the host's bpffs is to be; seen by the host's thread only.
    pub bpf_dir: PathBuf,
    /// The client's network namespace.
    pub client: PathBuf,
    _end_client: SyncSender<()>,
}

impl Lab {
    /// Runs `test` as the host, with a cable `service0` to the client.
    pub fn run(test: fn(&Lab)) {
        Self::run_apart(move |lab| {
            lab.cable("service0");
            test(lab);
        });
    }

    /// Runs `test` as the host, without a cable to the client.
    pub fn run_apart(test: impl FnOnce(&Lab) + Send + 'static) {
        if !nix::unistd::geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "CI must run as root");
            eprintln!("SKIPPED, NOT TESTED: network namespaces need root");
            return;
        }
        let host: JoinHandle<()> = std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
            // Mounts made here stay here, and end with the thread.
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
            mount(Some("tmpfs"), "/mnt", Some("tmpfs"), MsFlags::empty(), none).unwrap();
            let (end_client, wait) = sync_channel(0);
            let (tell, told) = sync_channel(1);
            std::thread::spawn(move || {
                unshare(CloneFlags::CLONE_NEWNET).unwrap();
                tell.send(nix::unistd::gettid()).unwrap();
                // Ends once the lab is dropped.
                assert!(wait.recv().is_err());
            });
            let id = told.recv().unwrap();
            let lab = Lab {
                bpf_dir: PathBuf::from("/mnt/bpf"),
                client: PathBuf::from(format!("/proc/{}/task/{id}/ns/net", std::process::id())),
                _end_client: end_client,
            };
            test(&lab);
        });
        if let Err(panic) = host.join() {
            std::panic::resume_unwind(panic);
        }
    }

    /// A veth pair with addresses: `name` here, `client0` there.
    pub fn cable(&self, name: &str) {
        self.wire(name, "client0");
        ip(&format!("addr add 10.77.0.1/24 dev {name}"));
        self.on_client(&["ip", "addr", "add", &format!("{CLIENT}/24"), "dev", "client0"]);
    }

    /// A veth pair, up and without addresses: `name` here, `there` at the client.
    pub fn wire(&self, name: &str, there: &str) {
        let id = self.client.ancestors().nth(2).unwrap().file_name().unwrap().to_str().unwrap();
        ip(&format!("link add {name} type veth peer name {there} netns {id}"));
        ip(&format!("link set {name} up"));
        self.on_client(&["ip", "link", "set", there, "up"]);
    }

    /// Runs a command as the client.
    pub fn on_client(&self, command: &[&str]) -> Output {
        let mut nsenter = Command::new("nsenter");
        nsenter.arg(format!("--net={}", self.client.display())).args(command);
        nsenter.output().unwrap()
    }

    /// Whether anybody answers the client's ARP request for the service address.
    pub fn answered(&self) -> bool {
        self.answered_on("client0")
    }

    /// As [`answered`](Self::answered), from another interface of the client's.
    pub fn answered_on(&self, interface: &str) -> bool {
        self.on_client(&["arping", "-f", "-c", "1", "-w", "1", "-I", interface, SERVICE])
            .status
            .success()
    }

    /// The maps and links of the host.
    pub fn open(&self) -> BpfPlane {
        BpfPlane::open(&self.bpf_dir).unwrap()
    }
}

/// Runs `ip` as the host.
pub fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {output:?}");
}

/// An interface of this thread's network namespace.
pub fn interface(name: &str) -> Interface {
    let output = Command::new("ip").args(["-j", "link", "show", name]).output().unwrap();
    let links: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let digits = links[0]["address"].as_str().unwrap().split(':');
    let mac: Vec<u8> = digits.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    Interface {
        name: name.to_owned(),
        index: u32::try_from(links[0]["ifindex"].as_u64().unwrap()).unwrap(),
        mac: mac.try_into().unwrap(),
        addresses: Vec::new(),
    }
}

/// [`SERVICE`]
pub fn service() -> IpAddr {
    SERVICE.parse().unwrap()
}

/// The end of a lease that outlives the test.
pub fn in_a_while() -> Time {
    rais::clock::now() + Duration::from_mins(10)
}
