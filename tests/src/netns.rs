//! Real hosts: network namespaces joined by a bridge, all of them gone afterwards.
//!
//! ```text
//!   rais-<bed>-h1     rais-<bed>-h2     rais-<bed>-client
//!       eth0              eth0               eth0            10.77.0.N/24, or fd77::N/64
//!        |                 |                  |
//!     h1-eth0           h2-eth0          client-eth0         ports of br0 in rais-<bed>-sw
//! ```
//!
//! A host may have an `eth1` as well ([`Bed::second_network`]), 10.78.0.N/24, on a bridge `br1`
//! that is not joined to the first.
//!
//! Faults of the network are rules on the bridge: the hosts' own carrier stays up, and no one is
//! told. Processes share this machine's mount namespace (`nsenter --net`, not `ip netns exec`), so
//! that what an agent pins outlives it.
//!
//! A bed is of one family of addresses ([`Family`]) and knows none of the other.
//!
//! A bed is named after the process that made it. Its namespaces, processes, mounts and files go
//! when it is dropped, and [`sweep`] takes away those of processes that did not get to it.

mod host;
mod leftovers;
mod look;
mod native;
mod process;

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};

pub use host::{AgentConfig, Host, unit};
pub use leftovers::{bystander, clean_up_on_signal, sweep};
pub use look::{Attached, entry_address};
pub use process::{Watch, binary, watch, watch_closely};

use crate::family::{Family, last_byte};
use process::{output, run_with_input};

/// A bridge, and room for hosts. See the module.
#[derive(Debug)]
pub struct Bed {
    id: String,
    dir: PathBuf,
    family: Family,
}

/// The rules that cuts are made of.
const RULES: &str = "table bridge rais {
    set mute { type ifname; }
    set deaf { type ifname; }
    set blocked { type ifname . ifname; }
    chain forward {
        type filter hook forward priority 0; policy accept;
        iifname @mute drop
        oifname @deaf drop
        iifname . oifname @blocked drop
    }
}";

impl Bed {
    /// An empty bed of IPv4. Takes away what dead processes left first.
    ///
    /// # Errors
    /// Not root, or a tool or a feature of the kernel is missing.
    pub fn new() -> Result<Self> {
        Self::with(Family::V4)
    }

    /// An empty bed of a family: its hosts have no address of the other. Takes away what dead
    /// processes left first.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with(family: Family) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        if !nix::unistd::geteuid().is_root() {
            bail!("network namespaces need root");
        }
        sweep();
        let id = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let bed = Self { dir: leftovers::directory(&id), id, family };
        bed.mount().context("mounting a bpffs for the bed")?;
        bed.make_switch().context("making the bed's bridge")?;
        Ok(bed)
    }

    /// Its name: the process id and a number.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Adds a host with the address of this number on `eth0`, and no other.
    ///
    /// # Errors
    /// The name or the number is taken, or `ip` failed.
    pub fn host(&self, name: &str, number: u8) -> Result<Host> {
        let netns = self.netns(name);
        let address = self.family.host(number);
        let with_prefix = format!("{address}/{}", self.family.prefix());
        let port = port(name);
        let switch = self.netns("sw");
        ip(&["netns", "add", &netns])?;
        quiet_ipv6(&netns)?;
        ip(&[
            "link", "add", "eth0", "netns", &netns, "type", "veth", "peer", "name", &port, "netns",
            &switch,
        ])?;
        ip(&["-n", &switch, "link", "set", &port, "master", "br0", "up"])?;
        ip(&["-n", &netns, "link", "set", "lo", "up"])?;
        ip(&["-n", &netns, "address", "add", &with_prefix, "dev", "eth0"])?;
        ip(&["-n", &netns, "link", "set", "eth0", "up"])?;
        let dir = self.dir.join(name);
        fs::create_dir_all(dir.join("run"))?;
        Ok(Host::new(&self.id, name, netns, address, dir, self.dir.join("bpf").join(name)))
    }

    /// Gives a host an `eth1` on a network of its own, with the number it has on the first.
    ///
    /// # Errors
    /// It has one, or `ip` failed.
    pub fn second_network(&self, host: &Host) -> Result<()> {
        let number = last_byte(host.address());
        let port = port_on(host.name(), "eth1");
        let (netns, switch) = (host.netns(), self.netns("sw"));
        ip(&[
            "link", "add", "eth1", "netns", netns, "type", "veth", "peer", "name", &port, "netns",
            &switch,
        ])?;
        ip(&["-n", &switch, "link", "set", &port, "master", "br1", "up"])?;
        ip(&["-n", netns, "address", "add", &format!("10.78.0.{number}/24"), "dev", "eth1"])?;
        ip(&["-n", netns, "link", "set", "eth1", "up"])
    }

    /// Cuts a host off one of its networks in both directions, silently.
    ///
    /// # Errors
    /// `nft` failed.
    pub fn cut_from(&self, host: &Host, interface: &str) -> Result<()> {
        self.cut_port(&port_on(host.name(), interface))
    }

    /// Ends a host's processes and takes its namespace away.
    ///
    /// # Errors
    /// `ip` failed.
    pub fn remove_host(&self, host: Host) -> Result<()> {
        let (netns, port) = (host.netns().to_owned(), port(host.name()));
        drop(host);
        // The pair first: a namespace takes its interfaces away only some time after its name.
        ip(&["-n", &self.netns("sw"), "link", "delete", &port])?;
        ip(&["netns", "delete", &netns])
    }

    /// Cuts a host off in both directions, silently.
    ///
    /// # Errors
    /// `nft` failed.
    pub fn cut(&self, host: &Host) -> Result<()> {
        self.cut_port(&port(host.name()))
    }

    fn cut_port(&self, port: &str) -> Result<()> {
        self.nft(&format!(
            "add element bridge rais mute {{ {port:?} }}; add element bridge rais deaf {{ {port:?} }}"
        ))
    }

    /// What the host sends is lost; it still hears the others.
    ///
    /// # Errors
    /// `nft` failed.
    pub fn mute(&self, host: &Host) -> Result<()> {
        self.nft(&format!("add element bridge rais mute {{ {:?} }}", port(host.name())))
    }

    /// What is sent to the host is lost; the others still hear it.
    ///
    /// # Errors
    /// `nft` failed.
    pub fn deafen(&self, host: &Host) -> Result<()> {
        self.nft(&format!("add element bridge rais deaf {{ {:?} }}", port(host.name())))
    }

    /// What `from` sends no longer reaches `to`.
    ///
    /// # Errors
    /// `nft` failed.
    pub fn block(&self, from: &Host, to: &Host) -> Result<()> {
        let (from, to) = (port(from.name()), port(to.name()));
        self.nft(&format!("add element bridge rais blocked {{ {from:?} . {to:?} }}"))
    }

    /// Parts one host from others, in both directions and at one instant. Whoever is not named
    /// reaches all of them.
    ///
    /// # Errors
    /// `nft` failed.
    pub fn part(&self, one: &Host, others: &[&Host]) -> Result<()> {
        let one = port(one.name());
        let pairs: Vec<String> = others
            .iter()
            .map(|other| port(other.name()))
            .flat_map(|other| [format!("{one:?} . {other:?}"), format!("{other:?} . {one:?}")])
            .collect();
        self.nft(&format!("add element bridge rais blocked {{ {} }}", pairs.join(", ")))
    }

    /// Undoes every cut.
    ///
    /// # Errors
    /// `nft` failed.
    pub fn heal(&self) -> Result<()> {
        self.nft(
            "flush set bridge rais mute; flush set bridge rais deaf; flush set bridge rais blocked",
        )
    }

    /// The group key of the bed's hosts, made by `rais keygen` when first asked for.
    ///
    /// # Errors
    /// There is no `rais`, or the file cannot be written.
    pub fn key_file(&self) -> Result<PathBuf> {
        let path = self.dir.join("group.key");
        if !path.exists() {
            let key = output(std::process::Command::new(binary("rais")?).arg("keygen"))?;
            let mut options = fs::OpenOptions::new();
            let mut file = options.write(true).create_new(true).mode(0o600).open(&path)?;
            std::io::Write::write_all(&mut file, key.as_bytes())?;
        }
        Ok(path)
    }

    /// Where the bed's files are.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn mount(&self) -> Result<()> {
        let bpf = self.dir.join("bpf");
        fs::create_dir_all(&bpf)?;
        nix::mount::mount(
            Some("bpf"),
            &bpf,
            Some("bpf"),
            nix::mount::MsFlags::empty(),
            Some("mode=0700"),
        )?;
        Ok(())
    }

    /// Bridges that forward at once and do not guess about multicast.
    fn make_switch(&self) -> Result<()> {
        let switch = self.netns("sw");
        ip(&["netns", "add", &switch])?;
        quiet_ipv6(&switch)?;
        for bridge in ["br0", "br1"] {
            let plain = ["type", "bridge", "stp_state", "0", "mcast_snooping", "0"];
            ip(&[&["-n", &switch, "link", "add", bridge], &plain[..]].concat())?;
            ip(&["-n", &switch, "link", "set", bridge, "up"])?;
        }
        self.nft(RULES)
    }

    /// Runs a program where the bridges are, to its end; its standard output.
    ///
    /// # Errors
    /// It could not be run, or failed.
    pub fn on_switch(&self, program: &str, arguments: &[&str]) -> Result<String> {
        output(process::in_netns(&self.netns("sw"), program).args(arguments))
    }

    fn nft(&self, rules: &str) -> Result<()> {
        run_with_input(process::in_netns(&self.netns("sw"), "nft").args(["-f", "-"]), rules)
    }

    fn netns(&self, name: &str) -> String {
        leftovers::netns(&self.id, name)
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        leftovers::remove(&self.id);
    }
}

/// The bridge's end of a host's `eth0`.
fn port(host: &str) -> String {
    port_on(host, "eth0")
}

/// The bridge's end of one of a host's interfaces.
fn port_on(host: &str, interface: &str) -> String {
    format!("{host}-{interface}")
}

fn ip(arguments: &[&str]) -> Result<()> {
    output(std::process::Command::new("ip").args(arguments)).map(drop)
}

/// IPv6 addresses are usable at once, and nobody looks for routers.
fn quiet_ipv6(netns: &str) -> Result<()> {
    output(process::in_netns(netns, "sysctl").args([
        "-qw",
        "net.ipv6.conf.all.accept_dad=0",
        "net.ipv6.conf.default.accept_dad=0",
        "net.ipv6.conf.default.router_solicitations=0",
        "net.ipv6.conf.default.accept_ra=0",
    ]))
    .map(drop)
}
