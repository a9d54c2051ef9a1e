//! A service group of real agents to try something on: hosts on a bed, and a client.

#![allow(clippy::expect_used, clippy::missing_panics_doc, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::Result;

use crate::family::{Family, last_byte};
use crate::netns::{AgentConfig, Bed, Host, Watch, watch_closely};
use crate::probe::AddressReport;
use crate::wait::pause;

/// Time between two heartbeats.
pub const HEARTBEAT: Duration = Duration::from_millis(20);
/// Silence after which a host is dead. Ten heartbeats: a busy machine is no failure here.
pub const TIMEOUT: Duration = Duration::from_millis(200);
/// How long anything that should happen may take.
pub const LIMIT: Duration = Duration::from_secs(10);
/// Late answers, and the window of a watch, need this long to be in.
const SETTLING: Duration = Duration::from_millis(250);

/// A service address of a trial with IPv4: see [`Family::service`].
#[must_use]
pub const fn service(number: u8) -> IpAddr {
    Family::V4.service(number)
}

/// The id of a host of a trial with IPv4, by its number.
#[must_use]
pub const fn id(number: u8) -> IpAddr {
    Family::V4.host(number)
}

/// Hosts by number, and a client. Everything goes when it is dropped; where a test failed, the
/// agents' logs are shown before.
#[derive(Debug)]
pub struct Trial {
    /// The hosts, all of which answer echoes.
    pub hosts: BTreeMap<u8, Host>,
    /// `floating` of hosts that are started from now on.
    pub floating: Vec<u8>,
    /// `quorum` of hosts that are started from now on.
    pub quorum: u32,
    native: bool,
    family: Family,
    /// The client, which has no agent.
    pub client: Host,
    /// The bed.
    pub bed: Bed,
}

impl Trial {
    /// A client and no hosts, with IPv4.
    ///
    /// # Errors
    /// The bed cannot be made.
    pub fn new() -> Result<Self> {
        Self::with(Family::V4)
    }

    /// A client and no hosts. All addresses are of this family, those of control messages as well.
    ///
    /// # Errors
    /// The bed cannot be made.
    pub fn with(family: Family) -> Result<Self> {
        let bed = Bed::with(family)?;
        let client = bed.host("client", 50)?;
        let (hosts, floating) = (BTreeMap::new(), Vec::new());
        Ok(Self { hosts, floating, quorum: 1, native: false, family, client, bed })
    }

    /// Hosts that are added from now on run the XDP program in native mode.
    ///
    /// # Errors
    /// The client cannot be told to compute checksums.
    pub fn go_native(&mut self) -> Result<()> {
        self.native = true;
        self.client.compute_checksums()
    }

    /// A client and so many hosts, from number 1 on, whose agents are told the same: each has the
    /// address of its number.
    ///
    /// # Errors
    /// The bed refuses, or they do not get there within [`LIMIT`].
    pub fn of(hosts: u8, extra: &str) -> Result<Self> {
        let mut trial = Self::new()?;
        for number in 1..=hosts {
            trial.start(number, &[number], extra)?;
        }
        let homes: Vec<_> = (1..=hosts).map(|number| (number, number)).collect();
        trial.settle(&homes)?;
        Ok(trial)
    }

    /// Adds a host without an agent.
    ///
    /// # Errors
    /// The bed refuses.
    pub fn add(&mut self, number: u8) -> Result<&mut Host> {
        let mut host = self.bed.host(&format!("h{number}"), number)?;
        if self.native {
            self.bed.allow_native(&host)?;
        }
        host.start_service()?;
        Ok(self.hosts.entry(number).or_insert(host))
    }

    /// The configuration of a host that prefers these addresses. `extra` goes on in the section of
    /// the group.
    ///
    /// # Errors
    /// There is no key.
    pub fn config(&self, number: u8, preferred: &[u8], extra: &str) -> Result<String> {
        let list = |numbers: &[u8]| numbers.iter().map(|&n| self.family.service(n)).collect();
        let config = AgentConfig {
            heartbeat: HEARTBEAT,
            timeout: TIMEOUT,
            preferred: list(preferred),
            floating: list(&self.floating),
            quorum: self.quorum,
        };
        let text = config.toml(self.get(number), &self.bed.key_file()?) + extra;
        let mode = if self.native { "[agent]\nxdp_mode = \"native\"\n" } else { "[agent]\n" };
        Ok(text.replacen("[agent]\n", mode, 1))
    }

    /// Adds a host and starts its agent; see [`config`](Self::config).
    ///
    /// # Errors
    /// The bed refuses.
    pub fn start(&mut self, number: u8, preferred: &[u8], extra: &str) -> Result<()> {
        self.add(number)?;
        let config = self.config(number, preferred, extra)?;
        self.host(number).start_agent(&config)
    }

    /// The host of a number, which was added.
    pub fn host(&mut self, number: u8) -> &mut Host {
        self.hosts.get_mut(&number).expect("a host that was added")
    }

    /// The host of a number, which was added.
    #[must_use]
    pub fn get(&self, number: u8) -> &Host {
        self.hosts.get(&number).expect("a host that was added")
    }

    /// Waits until every running agent says of each address that this host has it, and that there
    /// are no hosts in sight but those that run.
    ///
    /// # Errors
    /// They do not within [`LIMIT`].
    pub fn settle(&mut self, homes: &[(u8, u8)]) -> Result<()> {
        let running: Vec<u8> =
            self.hosts.iter_mut().filter_map(|(&n, h)| h.agent_pid().map(|_| n)).collect();
        self.settle_among(&running, homes)
    }

    /// As [`settle`](Self::settle), among these hosts alone.
    ///
    /// # Errors
    /// They do not within [`LIMIT`].
    pub fn settle_among(&mut self, numbers: &[u8], homes: &[(u8, u8)]) -> Result<()> {
        let family = self.family;
        for &number in numbers {
            let what = format!("{homes:?} among {numbers:?}");
            self.host(number).wait_status(&what, LIMIT, |status| {
                let home = |&(address, host): &(u8, u8)| {
                    status.holder(family.service(address)) == Some(family.host(host))
                };
                status.hosts() == numbers.len() && homes.iter().all(home)
            })?;
        }
        Ok(())
    }

    /// Watches these addresses from the client.
    ///
    /// # Errors
    /// The watch does not start.
    pub fn watch(&self, addresses: &[u8]) -> Result<Eye> {
        self.watch_closely(addresses, &[])
    }

    /// As [`watch`](Self::watch), with more arguments for the probe.
    ///
    /// # Errors
    /// The watch does not start.
    pub fn watch_closely(&self, addresses: &[u8], how: &[&str]) -> Result<Eye> {
        let service = |&number: &u8| self.family.service(number);
        let addresses: Vec<IpAddr> = addresses.iter().map(service).collect();
        let mut eye = Eye(watch_closely(&self.client, &addresses, how)?);
        eye.look()?;
        Ok(eye)
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for host in self.hosts.values() {
                eprintln!("{}: its agent's log ends:\n{}", host.name(), host.log_tail());
            }
        }
    }
}

/// What the client sees, window by window.
#[derive(Debug)]
pub struct Eye(Watch);

impl Eye {
    /// Ends a window; what was seen in it, by the number of the address.
    ///
    /// # Errors
    /// The watch ended.
    pub fn look(&mut self) -> Result<BTreeMap<u8, AddressReport>> {
        pause(SETTLING);
        let report = self.0.report()?;
        let number = |seen: &AddressReport| Some(last_byte(seen.address?) - 100);
        Ok(report.addresses.into_iter().filter_map(|seen| Some((number(&seen)?, seen))).collect())
    }
}
