//! How many questions a second an agent answers on one core, and what that does to its heartbeats.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use rais::clock;

use super::{Asker, Flood};
use crate::netns::Host;
use crate::trial::{LIMIT, Trial};
use crate::wait::{self, pause};

/// Where the agent that is asked serves its metrics.
const METRICS: &str = "127.0.0.1:9477";

/// Its core, and that of everybody else.
const ITS_OWN: usize = 0;
const OTHERS: usize = 1;

const SECTION: &str = "[group.dns]\nzone = 'web.example.net'\nname = 'www'\n";

/// What an agent has counted of its heartbeats.
#[derive(Clone, Debug, Default)]
struct Heartbeats {
    /// Upper bounds in seconds, as they are written, and how many were no later than that.
    buckets: Vec<(String, f64)>,
    missed: f64,
}

impl Heartbeats {
    fn read(host: &Host) -> Result<Self> {
        let address: SocketAddr = METRICS.parse()?;
        let mut stream = host.inside(|| TcpStream::connect_timeout(&address, LIMIT))??;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        let mut heartbeats = Self::default();
        for line in page.lines() {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            if name.starts_with("rais_heartbeat_lateness_seconds_bucket") {
                let bound = name.split("le=\"").nth(1).and_then(|rest| rest.split('"').next());
                heartbeats.buckets.push((bound.context("a bound")?.to_owned(), value.parse()?));
            } else if name.starts_with("rais_heartbeats_missed_total") {
                heartbeats.missed = value.parse()?;
            }
        }
        Ok(heartbeats)
    }

    /// In words: how many left since `before`, how many of them no later than some bounds, and how
    /// many not at all.
    fn since(&self, before: &Self) -> String {
        let pairs = self.buckets.iter().zip(&before.buckets);
        let counts: Vec<(&str, f64)> =
            pairs.map(|((bound, now), (_, then))| (bound.as_str(), now - then)).collect();
        let all = counts.last().map_or(0.0, |(_, count)| *count);
        let mut said = format!("{all} heartbeats, {} missed", self.missed - before.missed);
        for (bound, count) in &counts {
            let shown = ["0.00025", "0.001", "0.005", "0.025"].contains(bound);
            if shown && all > 0.0 {
                // Writing to a String does not fail.
                write!(said, "; {:.2} % within {bound} s", count / all * 100.0).ok();
            }
        }
        said
    }
}

/// Three agents, one of which has a core to itself and answers for the zone. Prints what it does.
///
/// # Errors
/// The bed refuses, or there is one core only.
pub fn measure(span: Duration) -> Result<()> {
    for floating in [1, 13] {
        let mut trial = Trial::new()?;
        trial.floating = (10..10 + floating).collect();
        for number in 1..=3 {
            trial.add(number)?;
            let config = trial.config(number, &[number], SECTION)?;
            let metrics = format!("[agent]\nmetrics = \"{METRICS}\"\n");
            trial.host(number).start_agent(&config.replacen("[agent]\n", &metrics, 1))?;
        }
        trial.settle(&[(1, 1), (2, 2), (3, 3)])?;
        let addresses = usize::from(3 + floating);
        let mut asker =
            Asker::new(&trial.client, Ipv4Addr::new(10, 77, 0, 1), "www.web.example.net")?;
        wait::until("all addresses", LIMIT, || {
            Ok(asker.ask()?.filter(|said| said.addresses.len() == addresses))
        })?;
        for number in 1..=3 {
            let pid = trial.host(number).agent_pid().context("an agent")?;
            pin(pid, if number == 1 { ITS_OWN } else { OTHERS })?;
        }
        let before = Heartbeats::read(trial.get(1))?;
        pause(span / 2);
        let quiet = Heartbeats::read(trial.get(1))?;
        println!("{addresses} addresses, nobody asks: {}", quiet.since(&before));
        let pid = trial.host(1).agent_pid().context("an agent")?;
        let (flood, share) = flood(&mut asker, pid, span)?;
        let busy = Heartbeats::read(trial.get(1))?;
        println!(
            "{addresses} addresses, {:.0} answers a second, {} lost, {} without an address; the \
             server's thread had {:.0} % of its core: {:.0} a second of its time\n    meanwhile {}",
            flood.rate(),
            flood.lost,
            flood.refused,
            share * 100.0,
            flood.rate() / share,
            busy.since(&quiet)
        );
        let down = trial.get(2).events()?.into_iter().filter(|e| e.kind == "host-down").count();
        println!("    the others took it for dead {down} times");
    }
    Ok(())
}

/// Asks from another core than the server's. The part of a core that the server's thread took.
fn flood(asker: &mut Asker, agent: u32, span: Duration) -> Result<(Flood, f64)> {
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut cores = CpuSet::new();
            cores.set(OTHERS)?;
            sched_setaffinity(Pid::from_raw(0), &cores)?;
            let (before, begin) = (processor_time(agent)?, clock::now());
            let flood = asker.flood(span)?;
            let took = clock::now().since(begin).as_secs_f64();
            Ok((flood, (processor_time(agent)? - before) / took))
        });
        asking.join().map_err(|_panic| anyhow::anyhow!("asking panicked"))?
    })
}

/// Moves all threads of a process to a core; those that they start follow.
fn pin(pid: u32, core: usize) -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core)?;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?.file_name().to_string_lossy().parse()?;
        sched_setaffinity(Pid::from_raw(task), &cores).context("two cores are needed")?;
    }
    Ok(())
}

/// What the threads that answer questions have had of a processor, in seconds.
fn processor_time(pid: u32) -> Result<f64> {
    let mut nanos = 0.0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?.path();
        if fs::read_to_string(task.join("comm"))?.trim_end() == "rais-dns" {
            let times = fs::read_to_string(task.join("schedstat"))?;
            let first = times.split(' ').next().unwrap_or_default();
            nanos += first.parse::<f64>().context("a time")?;
        }
    }
    Ok(nanos / 1e9)
}
