//! How soon each backend says what has changed.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use rais::clock;
use rais_common::time::Time;

use super::Asker;
use crate::bind::{Bind, key};
use crate::knot::Knot;
use crate::netns::Host;
use crate::trial::{HEARTBEAT, LIMIT, TIMEOUT, Trial, id, service};
use crate::wait;

/// A server that is told by others waits between attempts where one fails.
const RETRIED: Duration = Duration::from_secs(40);

/// What takes longer than this is printed with what the agent has noted meanwhile.
const STRANGE: Duration = Duration::from_secs(1);

/// How long between two questions.
const RESOLUTION: Duration = Duration::from_millis(1);

/// The name that is asked for.
const NAME: &str = "www.web.example.net";

/// Who has the zone, and how it gets there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Way {
    /// The agent's own server.
    Server,
    /// BIND, by signed updates.
    Update,
    /// BIND, by a file.
    BindFile,
    /// Knot, by a file.
    KnotFile,
}

impl Way {
    /// Whether the server is on a host of the group, and told by that alone.
    fn by_file(self) -> bool {
        matches!(self, Self::BindFile | Self::KnotFile)
    }
}

/// Prints for one way, or each, how long it takes from a change until the server says so.
///
/// # Errors
/// The bed or a server refuses.
pub fn measure(rounds: usize, only: Option<Way>) -> Result<()> {
    println!(
        "\nmilliseconds from before the command, or the kill, until the name server says so; a \
         heartbeat is {}, the timeout {}",
        HEARTBEAT.as_millis(),
        TIMEOUT.as_millis()
    );
    println!("{:<10} {:<8} {:>7} {:>7} {:>7}", "way", "change", "best", "median", "worst");
    for way in Way::value_variants().iter().filter(|way| only.is_none_or(|only| only == **way)) {
        let mut setting = Setting::new(*way)?;
        let mut took: [Vec<f64>; 3] = Default::default();
        for _ in 0..rounds.max(1) {
            for (spans, one) in took.iter_mut().zip(setting.round()?) {
                spans.push(one.as_secs_f64() * 1_000.0);
            }
        }
        let name = way.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned());
        for (change, mut spans) in ["quiesce", "resume", "kill"].into_iter().zip(took) {
            spans.sort_by(f64::total_cmp);
            let at = |index: usize| spans.get(index).copied().unwrap_or(f64::NAN);
            println!(
                "{name:<10} {change:<8} {:>7.1} {:>7.1} {:>7.1}",
                at(0),
                at(spans.len() / 2),
                at(spans.len() - 1)
            );
        }
    }
    Ok(())
}

/// A name server that is not the agents'. It ends when dropped.
enum Other {
    None,
    Bind(Bind),
    Knot(Knot),
}

impl Other {
    fn log(&self) -> String {
        match self {
            Self::None => String::new(),
            Self::Bind(bind) => bind.log(),
            Self::Knot(knot) => knot.log(),
        }
    }
}

/// Three agents with an address each, and a name server that is not the host that changes.
struct Setting {
    trial: Trial,
    asker: Asker,
    other: Other,
}

impl Setting {
    fn new(way: Way) -> Result<Self> {
        let mut trial = Trial::new()?;
        let (mut other, mut server) = (Other::None, id(1));
        let mut section =
            "[group.dns]\nzone = 'web.example.net'\nname = 'www'\nttl = '1s'\n".to_owned();
        let dir = trial.bed.dir().join("names");
        fs::create_dir_all(&dir)?;
        trial.add(1)?;
        match way {
            Way::Server => {}
            Way::Update => {
                let host = trial.bed.host("ns", 60)?;
                server = host.address();
                let (started, more) = updated(&host, &dir)?;
                (other, section) = (Other::Bind(started), section + &more);
            }
            Way::BindFile => {
                let (started, reload) = bind_with_file(trial.get(1), &dir)?;
                (other, section) = (Other::Bind(started), section + &by_file(&dir, &reload));
            }
            Way::KnotFile => {
                other = Other::Knot(Knot::start(trial.get(1), &dir, None)?);
                section += &by_file(&dir, &Knot::reload(&dir));
            }
        }
        let config = trial.config(1, &[1], &section)?;
        let config = config.replacen("[agent]\n", "[agent]\nlog = \"info,rais::dns=debug\"\n", 1);
        trial.host(1).start_agent(&config)?;
        let elsewhere = if way.by_file() { "" } else { &section };
        trial.start(2, &[2], elsewhere)?;
        trial.start(3, &[3], elsewhere)?;
        trial.settle(&[(1, 1), (2, 2), (3, 3)])?;
        let asker = Asker::new(&trial.client, server, NAME)?;
        let mut setting = Self { trial, asker, other };
        setting.wait(&[1, 2, 3])?;
        Ok(setting)
    }

    /// One change after another: quiesce, resume, kill.
    fn round(&mut self) -> Result<[Duration; 3]> {
        let quiesced =
            self.change("quiesce", &[1, 2], |trial| trial.get(3).ask(&["quiesce"]).map(drop))?;
        let resumed =
            self.change("resume", &[1, 2, 3], |trial| trial.get(3).ask(&["resume"]).map(drop))?;
        let killed = self.change("kill", &[1, 2], |trial| trial.host(3).kill_agent())?;
        self.trial.host(3).restart_agent()?;
        self.wait(&[1, 2, 3])?;
        self.trial.settle(&[(1, 1), (2, 2), (3, 3)])?;
        Ok([quiesced, resumed, killed])
    }

    /// How long it takes until the server says these addresses.
    fn change(
        &mut self,
        what: &str,
        addresses: &[u8],
        make: impl FnOnce(&mut Trial) -> Result<()>,
    ) -> Result<Duration> {
        let last = self.trial.get(1).last_event()?;
        let begin = clock::now();
        make(&mut self.trial)?;
        let asked = clock::now().since(begin);
        let took = self.wait(addresses)?.since(begin);
        if took > STRANGE {
            println!("{what}: asked for within {asked:?}, in the zone after {took:?}; meanwhile:");
            for event in self.trial.get(1).events_after(last)? {
                println!("    {event}");
            }
            println!("{}\n{}", self.trial.get(1).log_tail(), self.other.log());
        }
        Ok(took)
    }

    /// Waits until the server says these; when it was asked first.
    fn wait(&mut self, addresses: &[u8]) -> Result<Time> {
        let wanted: BTreeSet<IpAddr> = addresses.iter().map(|&n| service(n)).collect();
        let end = clock::now() + RETRIED;
        loop {
            let said = self.asker.ask()?;
            if said.is_none() {
                println!("    a question was lost");
            }
            if let Some(said) = said.filter(|said| said.addresses == wanted) {
                return Ok(said.asked);
            }
            anyhow::ensure!(clock::now() < end, "waited {RETRIED:?} for {wanted:?}");
            // The server needs the processor for other things than these questions.
            wait::pause(RESOLUTION);
        }
    }
}

/// BIND whose zone may be updated, and what the agents are told.
fn updated(host: &Host, dir: &Path) -> Result<(Bind, String)> {
    let key = key(dir, "update.key", "hmac-sha256", "updates")?;
    let shown = key.display();
    let text = "$TTL 60\n@ SOA ns host 1 60 60 60 60\n@ NS ns\nns A 10.77.0.60\n";
    fs::write(dir.join("zone"), text)?;
    let text = format!(
        "include \"{shown}\";\nzone \"web.example.net\" {{ type primary; file \"DIR/zone\"; \
         allow-update {{ key updates; }}; }};\n"
    );
    let more = format!("backend = 'update'\nserver = '10.77.0.60:53'\nkey_file = '{shown}'\n");
    Ok((Bind::start(host, dir, &text)?, more))
}

/// What the agent is told whose host has the zone in a file.
fn by_file(dir: &Path, reload: &str) -> String {
    format!(
        "backend = 'zone-file'\nfile = '{}/zone'\nnameservers = ['ns 10.77.0.1']\nreload = \
         {reload}\nserver = '10.77.0.1:53'\n",
        dir.display()
    )
}

/// BIND with the zone in a file, and the command that makes it read that again.
fn bind_with_file(host: &Host, dir: &Path) -> Result<(Bind, String)> {
    let text = "$TTL 60\n@ SOA ns host 1 60 60 60 60\n@ NS ns\nns A 10.77.0.1\n";
    fs::write(dir.join("zone"), text)?;
    let (bind, reload) = Bind::with_file(host, dir)?;
    wait::until("BIND to have the zone", LIMIT, || {
        let said = host.run("dig", &["@10.77.0.1", "+short", "web.example.net", "SOA"]);
        Ok(said.ok().filter(|said| !said.is_empty()))
    })
    .context("BIND")?;
    Ok((bind, reload))
}
