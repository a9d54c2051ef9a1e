//! The demonstration: three hosts, a client that never stops asking, and one fault after another.

mod faults;
mod table;

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result};

pub use faults::{Row, run_all};
pub use table::{Median, medians, table};

use crate::family::{Family, last_byte};
use crate::netns::{AgentConfig, Bed, Host, Watch, binary, watch};
use crate::probe::Report;
use crate::status::Status;
use crate::wait::pause;

/// Silence after which a host is dead to the others.
pub const TIMEOUT: Duration = Duration::from_millis(35);
/// Time between two heartbeats.
pub const HEARTBEAT: Duration = Duration::from_millis(10);
/// Fewest hosts among which addresses may be held. With 1, a host that is cut off takes every
/// address for itself, and when the cut heals two hosts answer until one hears the other.
pub const QUORUM: u32 = 2;
/// How long the client is watched after a fault. An address that is not back by then is lost.
pub const OBSERVED: Duration = Duration::from_secs(2);
/// How long anything that should happen may take before the demonstration gives up.
const LIMIT: Duration = Duration::from_secs(15);
/// Late answers, and the watch's own window, need this long to be in.
const SETTLING: Duration = Duration::from_millis(300);

/// Hosts, client and bridge. Everything goes when it is dropped.
#[derive(Debug)]
pub struct Demo {
    watch: Watch,
    /// The hosts; the position is the number less one.
    pub hosts: Vec<Host>,
    client: Host,
    family: Family,
    bed: Bed,
}

impl Demo {
    /// Three hosts with agents and services, each address online where it belongs. All addresses are
    /// of this family.
    ///
    /// # Errors
    /// The bed cannot be made, or the agents do not agree in time.
    pub fn start(family: Family) -> Result<Self> {
        let bed = Bed::with(family)?;
        let client = bed.host("client", 50)?;
        let mut hosts = Vec::new();
        for number in 1..=3 {
            hosts.push(start_host(&bed, number)?);
        }
        let watch = watch(&client, &watched(family, 3))?;
        let mut demo = Self { watch, hosts, client, family, bed };
        demo.wait_home()?;
        demo.mark()?;
        Ok(demo)
    }

    /// The address that belongs to no host in particular.
    #[must_use]
    pub const fn floating(&self) -> IpAddr {
        self.family.service(0)
    }

    /// Adds the fourth host, which nobody was told about.
    ///
    /// # Errors
    /// It does not start.
    pub fn add_fourth(&mut self) -> Result<()> {
        self.hosts.push(start_host(&self.bed, 4)?);
        Ok(())
    }

    /// Stops the fourth host again, forgets it and no longer watches its address.
    ///
    /// # Errors
    /// Its agent does not end on SIGTERM.
    pub fn remove_fourth(&mut self) -> Result<()> {
        if self.hosts.len() < 4 {
            return Ok(());
        }
        let Some(mut host) = self.hosts.pop() else { return Ok(()) };
        host.terminate_agent()?;
        host.wait_agent_end(LIMIT)?;
        self.bed.remove_host(host)?;
        self.watch_hosts(3)?;
        self.wait_home()
    }

    /// Watches the floating address and those of so many hosts from here on.
    ///
    /// # Errors
    /// The watch does not start.
    pub fn watch_hosts(&mut self, hosts: u8) -> Result<()> {
        self.watch = watch(&self.client, &watched(self.family, hosts))?;
        self.mark()
    }

    /// Waits until every host has the address it prefers and somebody has the floating one.
    ///
    /// # Errors
    /// That takes too long.
    pub fn wait_home(&mut self) -> Result<()> {
        let want: Vec<_> = self.hosts.iter().map(|h| (preferred(h), h.address())).collect();
        let floating = self.floating();
        for host in &mut self.hosts {
            host.wait_status("every address to be where it belongs", LIMIT, |status| {
                let home =
                    |(address, holder): &(IpAddr, IpAddr)| status.holder(*address) == Some(*holder);
                want.iter().all(home) && status.holder(floating).is_some()
            })?;
        }
        Ok(())
    }

    /// The position of the host that has the floating address.
    ///
    /// # Errors
    /// No host knows.
    pub fn holder_of_floating(&self) -> Result<usize> {
        let status = self.status()?;
        let holder = status.holder(self.floating()).context("nobody has the floating one")?;
        let found = self.hosts.iter().position(|host| host.address() == holder);
        found.with_context(|| format!("{holder} is no host of the demonstration"))
    }

    /// The host at a position.
    ///
    /// # Errors
    /// There is none.
    pub fn host(&mut self, index: usize) -> Result<&mut Host> {
        self.hosts.get_mut(index).context("no such host")
    }

    /// What the first agent that answers says.
    ///
    /// # Errors
    /// None answers.
    pub fn status(&self) -> Result<Status> {
        for host in &self.hosts {
            if let Some(status) = host.status()? {
                return Ok(status);
            }
        }
        anyhow::bail!("no agent answers")
    }

    /// Cuts a host off, silently.
    ///
    /// # Errors
    /// The bridge does not take the rule.
    pub fn cut(&self, index: usize) -> Result<()> {
        self.bed.cut(self.hosts.get(index).context("no such host")?)
    }

    /// Undoes every cut.
    ///
    /// # Errors
    /// The bridge does not take the rule.
    pub fn heal(&self) -> Result<()> {
        self.bed.heal()
    }

    /// Begins a new window of the watch.
    ///
    /// # Errors
    /// The watch ended.
    pub fn mark(&mut self) -> Result<()> {
        pause(SETTLING);
        self.watch.report().map(drop)
    }

    /// What the client saw since the last mark, once late answers are in.
    ///
    /// # Errors
    /// The watch ended.
    pub fn seen(&mut self) -> Result<Report> {
        pause(SETTLING);
        self.watch.report()
    }

    /// Who serves what, as the first agent that answers says: a line an address.
    ///
    /// # Errors
    /// No agent answers.
    pub fn holders(&self) -> Result<String> {
        let mut text = String::new();
        for address in self.status()?.groups.iter().flat_map(|group| &group.addresses) {
            let holders = address.holders.iter().map(|id| self.name(*id)).collect::<Vec<_>>();
            let belongs = address.preferred.map_or_else(|| "nobody".into(), |id| self.name(id));
            writeln!(
                text,
                "  {:<14} {:<9} on {:<8} belongs to {belongs}",
                address.address.to_string(),
                address.state,
                holders.join(", ")
            )?;
        }
        Ok(text)
    }

    /// What to try while it runs.
    pub fn print_hints(&self) {
        let rais = binary("rais").unwrap_or_default();
        let rais = rais.display();
        println!("\nIt goes on until Ctrl-C. To try, in another terminal, as root:\n");
        for host in &self.hosts {
            println!("  {rais} status --socket {}", host.socket().display());
        }
        let Some(host) = self.hosts.first() else { return };
        println!("  {rais} events --socket {} --follow", host.socket().display());
        println!("  {rais} quiesce --socket {}", host.socket().display());
        for map in ["SERVICE_ADDRS", "LEASES", "COUNTERS"] {
            println!("  bpftool map dump pinned {}/v*/{map}", host.bpf_dir().display());
        }
        let (netns, floating) = (self.client.netns(), self.floating());
        println!("  nsenter --net=/run/netns/{netns} ping {floating}");
        match self.family {
            Family::V4 => println!("  nsenter --net=/run/netns/{netns} arping -I eth0 {floating}"),
            Family::V6 => println!("  nsenter --net=/run/netns/{netns} ip -6 neighbour"),
        }
        println!("\nLogs and configurations: {}/h*/", self.bed.dir().display());
    }

    /// A host's name by its id.
    fn name(&self, id: IpAddr) -> String {
        let found = self.hosts.iter().find(|host| host.address() == id);
        found.map_or_else(|| id.to_string(), |host| host.name().to_owned())
    }
}

/// The address that belongs to a host: 10.77.0.100 and its number, or `fd77::64` and its number.
#[must_use]
pub const fn preferred(host: &Host) -> IpAddr {
    let own = host.address();
    Family::of(own).service(last_byte(own))
}

/// The floating address and those of so many hosts.
fn watched(family: Family, hosts: u8) -> Vec<IpAddr> {
    (0..=hosts).map(|number| family.service(number)).collect()
}

fn start_host(bed: &Bed, number: u8) -> Result<Host> {
    let mut host = bed.host(&format!("h{number}"), number)?;
    host.start_service()?;
    let config = AgentConfig {
        heartbeat: HEARTBEAT,
        timeout: TIMEOUT,
        preferred: vec![preferred(&host)],
        floating: vec![Family::of(host.address()).service(0)],
        quorum: QUORUM,
    };
    host.start_agent(&config.toml(&host, &bed.key_file()?))?;
    Ok(host)
}
