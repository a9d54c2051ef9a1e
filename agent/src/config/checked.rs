//! The configuration as the agent uses it: everything resolved, everything valid.

mod daemon;
mod name_service;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use domain::base::{Name, Rtype};
use hyper::Uri;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};

use crate::group::{HostId, Settings};

pub use daemon::{Daemon, SocketAccess};
pub use name_service::{
    Delegate, NameBackend, NameServer, NameService, TsigAlgorithm, TsigKey, UpdatedServer, ZoneFile,
};

/// A whole configuration file. Only [`super::load`] makes one.
#[derive(Clone, Debug)]
pub struct Config {
    /// What concerns the agent as a whole.
    pub agent: Agent,
    /// The groups, in the order of the file; the position is the group's slot in `LEASES`.
    pub groups: Vec<Group>,
}

/// `[agent]`
#[derive(Clone, Debug)]
pub struct Agent {
    /// This host, in every group: `host_id`, or the first control address of the first group.
    pub host: HostId,
    /// Where `rais.sock` lives.
    pub run_dir: PathBuf,
    /// Where the BPF link and maps are pinned, below `v<schema>/`.
    pub bpf_dir: PathBuf,
    /// Where what has to outlive a reboot is kept.
    pub state_dir: PathBuf,
    /// What answers for the addresses.
    pub data_plane: DataPlaneKind,
    /// How the XDP program is attached.
    pub xdp_mode: XdpMode,
    /// Whether the XDP program logs what is rare.
    pub log_packets: bool,
    /// `SCHED_FIFO` and locked memory for the protocol threads where permitted.
    pub realtime: bool,
    /// Where metrics are served over HTTP.
    pub metrics: Option<SocketAddr>,
    /// Socket, privileges and log of the process.
    pub daemon: Daemon,
}

/// `data_plane`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataPlaneKind {
    /// The XDP program.
    Xdp,
    /// The kernel itself, where there is no BPF.
    Kernel,
}

impl DataPlaneKind {
    /// The word for it, in the file and in the status.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Xdp => "xdp",
            Self::Kernel => "kernel",
        }
    }
}

/// `xdp_mode`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// Native where it is known to work, else generic.
    Auto,
    /// In the driver, or not at all.
    Native,
    /// In the kernel's common path.
    Generic,
}

/// A network interface as found on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// Its own addresses, IPv4 before IPv6, in the kernel's order; link-local IPv6 ones last.
    /// Service addresses that an agent has put there, this one or one that was killed, are none:
    /// of IPv6 addresses the kernel lists the latest first.
    pub addresses: Vec<IpAddr>,
}

/// One `[[group]]`.
#[derive(Clone, Debug)]
pub struct Group {
    /// What the decision maker needs.
    pub settings: Settings,
    /// Multicast address and UDP port.
    pub address: SocketAddr,
    /// Where control messages go and come.
    pub control_interfaces: Vec<Interface>,
    /// Where clients are.
    pub service_interface: Interface,
    /// How addresses are held.
    pub address_mode: AddressMode,
    /// How messages are protected.
    pub seal: Seal,
    /// `[[group.test]]`
    pub tests: Vec<Test>,
    /// `[[group.load]]`
    pub loads: Vec<Load>,
    /// `[group.scripts]`
    pub scripts: Scripts,
    /// `[group.dns]`
    pub dns: Option<NameService>,
    /// `[group.traps]`
    pub traps: Option<Traps>,
}

/// `address_mode` and `prearm`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressMode {
    /// On the service interface.
    Interface,
    /// As local routes on `lo`.
    Route {
        /// Every host has the routes of all addresses of the group beforehand, so that taking one
        /// over is a matter of the data plane alone.
        prearm: bool,
    },
}

/// How messages are protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seal {
    /// Sealed with the first, opened with any. Never empty.
    Keys(Vec<Key>),
    /// In clear, for trying things out; said in every status.
    Insecure,
}

/// A group key: 32 bytes that never appear in a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(pub [u8; 32]);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// One test object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// Name, unique in the group.
    pub name: String,
    /// What is tested.
    pub kind: TestKind,
    /// Time between the starts of two runs.
    pub interval: Duration,
    /// A run that takes longer is a failure.
    pub timeout: Duration,
    /// So many successes in a row make a failing test pass. At least 1.
    pub rise: u32,
    /// So many failures in a row make a passing test fail. At least 1.
    pub fall: u32,
}

/// What is tested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TestKind {
    /// A TCP connection can be made (`address = "127.0.0.1:8080"`).
    Tcp(SocketAddr),
    /// A program exits with 0 (`command = "/path"` or `["/path", "arg"]`).
    Script(Vec<String>),
    /// A file is there.
    File {
        /// An absolute path.
        path: PathBuf,
        /// Text that has to be in it.
        contains: Option<String>,
        /// Longest time since it was modified.
        max_age: Option<Duration>,
    },
    /// A network interface has carrier and an address.
    Interface {
        /// Its name.
        name: String,
        /// The address it has to have; none: any.
        address: Option<IpAddr>,
    },
    /// A web server answers as it should.
    Http(Box<Http>),
    /// A name server answers as it should.
    Dns(Dns),
}

/// `kind = "http"`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// With scheme and authority, and no user in it.
    pub url: Uri,
    /// The name or address in it, an IPv6 address without its brackets.
    pub host: String,
    /// The port in it, or its scheme's.
    pub port: u16,
    /// For `https`.
    pub tls: Option<Tls>,
    /// Answers with one of these pass.
    pub status: Vec<RangeInclusive<u16>>,
    /// Text that has to be in the body.
    pub body_contains: Option<String>,
}

/// How a server has to prove who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Whom its certificate has to be for.
    pub name: ServerName<'static>,
    /// Whom to believe.
    pub trust: Trust,
}

/// Whose certificates count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Those this machine trusts.
    Machine,
    /// These authorities (`ca_file`).
    Authorities(Vec<CertificateDer<'static>>),
    /// Any certificate will do (`insecure_tls = true`).
    Anyone,
}

/// `kind = "dns"`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// The name server.
    pub server: SocketAddr,
    /// What it is asked for.
    pub name: Name<Vec<u8>>,
    /// Type of the records.
    pub rtype: Rtype,
    /// The address that has to be among them, of the family the type is for.
    pub expect: Option<IpAddr>,
}

/// One load object. Each has a capacity: what counts as full, in the unit of the measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Load {
    /// Traffic of all service addresses of the group here, a second.
    Traffic {
        /// What is counted.
        unit: TrafficUnit,
        /// So many a second.
        capacity: u32,
    },
    /// Busy time of all CPUs.
    Cpu {
        /// In thousandths of the time.
        capacity: u32,
    },
    /// Time in which work waited for a resource.
    Pressure {
        /// What it waited for.
        resource: PressureResource,
        /// In thousandths of the time.
        capacity: u32,
    },
    /// What a program says.
    Script(LoadScript),
}

/// A load object of `kind = "script"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadScript {
    /// `command = "/path"` or `["/path", "arg"]`
    pub command: Vec<String>,
    /// Time between the starts of two runs.
    pub interval: Duration,
    /// A run that takes longer is killed.
    pub timeout: Duration,
    /// Where the program does not say it.
    pub capacity: Option<u32>,
}

/// `resource` of a pressure load object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PressureResource {
    /// A CPU to run on.
    Cpu,
    /// Memory that has to be freed or read back first.
    Memory,
    /// A disk.
    Io,
}

impl PressureResource {
    /// Where the kernel says how long work waited for it.
    #[must_use]
    pub const fn file(self) -> &'static str {
        match self {
            Self::Cpu => "/proc/pressure/cpu",
            Self::Memory => "/proc/pressure/memory",
            Self::Io => "/proc/pressure/io",
        }
    }
}

/// `unit` of a traffic load object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrafficUnit {
    /// Bytes a second.
    Bytes,
    /// Packets a second.
    Packets,
    /// New TCP connections a second.
    Connections,
}

/// `[group.scripts]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scripts {
    /// Run after an address was opened.
    pub acquire: Option<PathBuf>,
    /// Run before an address is withdrawn.
    pub release: Option<PathBuf>,
    /// Run when the tests begin to fail.
    pub test_failed: Option<PathBuf>,
    /// Run when an address cannot be assigned.
    pub cannot_assign: Option<PathBuf>,
    /// Deadline of each; past it the process group is killed.
    pub timeout: Duration,
}

/// `[group.traps]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traps {
    /// Where notifications are sent.
    pub destinations: Vec<SocketAddr>,
    /// Receivers acknowledge each, and it is repeated until they do.
    pub inform: bool,
    /// How receivers know who sends.
    pub security: TrapSecurity,
}

/// `version` of notifications, and what goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrapSecurity {
    /// SNMPv2c, with this community.
    Community(Secret),
    /// Version 3: signed and encrypted.
    User(Box<TrapUser>),
}

/// A user of SNMP version 3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrapUser {
    /// Its name.
    pub name: String,
    /// How messages are signed.
    pub auth: TrapAuth,
    /// The password for that, at least 8 bytes.
    pub auth_secret: Secret,
    /// How messages are encrypted.
    pub privacy: TrapPrivacy,
    /// The password for that, at least 8 bytes.
    pub privacy_secret: Secret,
}

/// `auth`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrapAuth {
    /// HMAC-SHA-256 (RFC 7860).
    Sha256,
    /// HMAC-SHA-512 (RFC 7860).
    Sha512,
}

/// `privacy`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrapPrivacy {
    /// AES-128 (RFC 3826).
    Aes128,
    /// AES-256.
    Aes256,
}

/// A text that never appears in a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
