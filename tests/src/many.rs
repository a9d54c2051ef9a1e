//! Thousands of service addresses on two hosts, and a client that asks for all of them.

#![allow(clippy::indexing_slicing, reason = "frames are of the lengths that are asked for")]

mod sweep;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use rais::announce::PacketSocket;

use crate::netns::Host;
use crate::trial::{HEARTBEAT, TIMEOUT, Trial};
use crate::wait;

pub use sweep::Seen;
use sweep::Sweep;

/// How long thousands of addresses may take to be put in place: the kernel adds IPv6 ones to an
/// interface at some hundred a second.
const PATIENCE: Duration = Duration::from_mins(3);

/// For so many of the addresses the client asks while something happens, the first and the last
/// among them: asking for thousands keeps a small machine busier than taking them over.
const ASKED: usize = 256;

/// Where the agents serve their metrics.
const METRICS: &str = "127.0.0.1:9477";

/// How hosts hold addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// `address_mode = "interface"`
    Interface,
    /// `address_mode = "route"`
    Route,
    /// `prearm = true` besides
    Prearm,
}

/// What a group has, and how.
#[derive(Clone, Copy, Debug)]
pub struct Many {
    /// How many addresses, of which the group's hosts prefer none.
    pub count: usize,
    /// IPv6 ones.
    pub v6: bool,
    /// How they are held.
    pub mode: Mode,
    /// `heartbeat`
    pub heartbeat: Duration,
    /// `timeout`
    pub timeout: Duration,
}

impl Many {
    /// The address of this number, from 0.
    #[must_use]
    pub fn address(&self, number: usize) -> IpAddr {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        if self.v6 {
            let first = Ipv6Addr::new(0xfd77, 1, 0, 0, 0, 0, 1, 0).to_bits();
            Ipv6Addr::from_bits(first + u128::from(number)).into()
        } else {
            Ipv4Addr::from_bits(Ipv4Addr::new(10, 80, 0, 0).to_bits() + number).into()
        }
    }

    /// All addresses.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        (0..self.count).map(|number| self.address(number)).collect()
    }

    /// Those of them that a client asks for, evenly spread.
    fn asked(&self) -> Vec<IpAddr> {
        let asked = self.count.min(ASKED);
        let last = self.count.saturating_sub(1);
        (0..asked).map(|n| self.address(n * last / (asked - 1).max(1))).collect()
    }

    /// The configuration of a host that was added.
    ///
    /// # Errors
    /// There is no key.
    pub fn config(&self, trial: &Trial, number: u8) -> Result<String> {
        let last = self.address(self.count.saturating_sub(1));
        let mode = match self.mode {
            Mode::Interface => "interface\"",
            Mode::Route => "route\"",
            Mode::Prearm => "route\"\nprearm = true",
        };
        let config = trial
            .config(number, &[], "spread = false\n")?
            .replace("floating = []", &format!("floating = [\"{}-{last}\"]", self.address(0)))
            .replace("quorum = 1", &format!("quorum = 1\naddress_mode = \"{mode}"))
            .replace("[agent]\n", &format!("[agent]\nmetrics = \"{METRICS}\"\n"))
            .replace(
                &format!("heartbeat = \"{}us\"", HEARTBEAT.as_micros()),
                &format!("heartbeat = \"{}us\"", self.heartbeat.as_micros()),
            )
            .replace(
                &format!("timeout = \"{}us\"", TIMEOUT.as_micros()),
                &format!("timeout = \"{}us\"", self.timeout.as_micros()),
            );
        Ok(config)
    }

    /// Starts two hosts, of which the first has all addresses.
    ///
    /// # Errors
    /// One does not start, or does not take them.
    pub fn start(&self, trial: &mut Trial) -> Result<()> {
        for number in 1..=2 {
            let host = trial.add(number)?;
            host.run("sysctl", &["-qw", "net.ipv4.conf.all.arp_ignore=1"])?;
            let config = self.config(trial, number)?;
            trial.host(number).start_agent(&config)?;
            self.wait_online(trial.get(1))?;
        }
        let both = |status: &crate::status::Status| status.hosts() == 2;
        trial.host(2).wait_status("both hosts in sight", PATIENCE, both)?;
        if self.mode == Mode::Prearm {
            wait::until("all routes on the second host", PATIENCE, || {
                Ok((self.routes(trial.get(2))? == self.count).then_some(()))
            })?;
        }
        Ok(())
    }

    /// Waits until a host answers for all addresses.
    ///
    /// # Errors
    /// It does not.
    pub fn wait_online(&self, host: &Host) -> Result<()> {
        let size = u32::try_from(self.count)?;
        wait::until("all addresses to be online", PATIENCE, || {
            // The page has some lines for each address, and the agent has better things to do.
            wait::pause(Duration::from_millis(100).max(Duration::from_micros(10) * size));
            let acquired = metric(host, "rais_host_addresses");
            let all = f64::from(size);
            let acquired = acquired.is_ok_and(|acquired| acquired.contains(&all));
            Ok((acquired && online(host)? >= self.count).then_some(()))
        })
        .with_context(|| format!("{}: its agent's log ends:\n{}", host.name(), host.log_tail()))
    }

    /// How many local routes of the agent a host has.
    ///
    /// # Errors
    /// `ip` failed.
    pub fn routes(&self, host: &Host) -> Result<usize> {
        let family = if self.v6 { "-6" } else { "-4" };
        let protocol = rais_common::ADDRESS_MARK.to_string();
        let shown =
            host.run("ip", &[family, "route", "show", "table", "local", "proto", &protocol])?;
        Ok(shown.lines().count())
    }

    /// Has the client ask for addresses while something happens to the first host, until the second
    /// one has answered for each; then once for all there are.
    ///
    /// # Errors
    /// It does not.
    pub fn watch(
        &self,
        trial: &mut Trial,
        fault: impl FnOnce(&mut Trial) -> Result<()>,
    ) -> Result<Seen> {
        let (mac, index) = eth0(&trial.client)?;
        let (old, _) = eth0(trial.get(1))?;
        let (new, _) = eth0(trial.get(2))?;
        let ethertype = if self.v6 { 0x86dd } else { 0x0806 };
        let socket = trial.client.inside(|| PacketSocket::open(index, ethertype))??;
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let sweep = Sweep::new(&socket, mac, old, new, self.asked());
            let sweeping = scope.spawn(|| sweep.run(&stop));
            wait::pause(Duration::from_millis(300));
            let done = fault(trial);
            let end = rais::clock::now() + PATIENCE;
            while !sweeping.is_finished() && rais::clock::now() < end && done.is_ok() {
                wait::pause(Duration::from_millis(10));
            }
            stop.store(true, Ordering::Relaxed);
            let Ok(seen) = sweeping.join() else { bail!("the sweep panicked") };
            done?;
            let mut seen = seen?;
            let sweep = Sweep::new(&socket, mac, old, new, self.addresses());
            seen.both += sweep.confirm(PATIENCE)?;
            Ok(seen)
        })
    }
}

/// How much of a CPU the agent of a host uses while nothing happens, over a second.
///
/// # Errors
/// It does not run.
pub fn idle(host: &mut Host) -> Result<f64> {
    let pid = host.agent_pid().context("no agent")?;
    let (begun, before) = (rais::clock::now(), ran(pid)?);
    wait::pause(Duration::from_secs(1));
    let ran = ran(pid)?.saturating_sub(before);
    Ok(ran.as_secs_f64() / rais::clock::now().since(begun).as_secs_f64())
}

/// How long the threads of a process have run.
fn ran(pid: u32) -> Result<Duration> {
    let mut all = Duration::ZERO;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // Time on a CPU, in nanoseconds, comes first.
        let text = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        let nanos = text.split(' ').next().context("no time")?.parse()?;
        all += Duration::from_nanos(nanos);
    }
    Ok(all)
}

/// The hardware address and the index of a host's `eth0`.
///
/// # Errors
/// `ip` failed.
pub fn eth0(host: &Host) -> Result<([u8; 6], u32)> {
    let text = host.run("ip", &["-j", "link", "show", "dev", "eth0"])?;
    let shown: serde_json::Value = serde_json::from_str(&text)?;
    let digits = shown.pointer("/0/address").and_then(|v| v.as_str()).context("no address")?;
    let mac: Vec<u8> =
        digits.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect::<Result<_, _>>()?;
    let index = shown.pointer("/0/ifindex").and_then(serde_json::Value::as_u64);
    let mac = <[u8; 6]>::try_from(mac).ok().context("not six bytes")?;
    Ok((mac, u32::try_from(index.context("no index")?)?))
}

/// How heartbeats of a host have been since its start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beats {
    /// On schedule.
    pub sent: f64,
    /// Of them, later than 5 ms.
    pub late: f64,
    /// Of them, later than 10 ms.
    pub very_late: f64,
    /// Not sent, or too late.
    pub missed: f64,
    /// How often the lease was lost.
    pub lapsed: f64,
}

/// The heartbeats of a host.
///
/// # Errors
/// It serves no metrics.
pub fn beats(host: &Host) -> Result<Beats> {
    let one = |name: &str| Ok::<f64, anyhow::Error>(metric(host, name)?.iter().sum());
    let within = |bound: &str| {
        let name =
            format!("rais_heartbeat_lateness_seconds_bucket{{le=\"{bound}\",group=\"demo\"}}");
        one(&name)
    };
    let sent = one("rais_heartbeat_lateness_seconds_count")?;
    Ok(Beats {
        sent,
        late: sent - within("0.005")?,
        very_late: sent - within("0.01")?,
        missed: one("rais_heartbeats_missed_total")?,
        lapsed: one("rais_events_total{group=\"demo\",kind=\"lease-lapsed\"}")?,
    })
}

/// How many addresses are online somewhere, as far as a host knows.
fn online(host: &Host) -> Result<usize> {
    let states = series(host, "rais_address_state{")?;
    Ok(states.iter().filter(|line| line.contains("state=\"online\"} 1")).count())
}

/// The values of all series that begin so on the metrics page of a host.
fn metric(host: &Host, name: &str) -> Result<Vec<f64>> {
    let lines = series(host, name)?;
    Ok(lines.iter().filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect())
}

/// All lines that begin so on the metrics page of a host.
fn series(host: &Host, name: &str) -> Result<Vec<String>> {
    let address: SocketAddr = METRICS.parse()?;
    let mut stream = host.inside(|| TcpStream::connect(address))??;
    stream.set_read_timeout(Some(Duration::from_mins(1)))?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page.lines().filter(|line| line.starts_with(name)).map(str::to_owned).collect())
}
