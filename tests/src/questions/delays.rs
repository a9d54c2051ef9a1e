//! How soon each backend says what has changed.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context, Result};
use rais::clock;

use super::Asker;
use crate::bind::{Bind, key};
use crate::netns::Host;
use crate::trial::{HEARTBEAT, LIMIT, TIMEOUT, Trial, service};
use crate::wait;

/// A server that is told by others waits between attempts where one fails.
const RETRIED: Duration = Duration::from_secs(40);

/// The name that is asked for.
const NAME: &str = "www.web.example.net";

/// Prints for each backend how long it takes from a change until the server says so.
///
/// # Errors
/// The bed or a server refuses.
pub fn measure(rounds: usize) -> Result<()> {
    println!(
        "\nmilliseconds from before the command, or the kill, until the name server says so; a \
         heartbeat is {}, the timeout {}",
        HEARTBEAT.as_millis(),
        TIMEOUT.as_millis()
    );
    println!("{:<10} {:<8} {:>7} {:>7} {:>7}", "backend", "change", "best", "median", "worst");
    for backend in ["server", "update", "zone-file"] {
        let mut setting = Setting::new(backend)?;
        let mut took: [Vec<f64>; 3] = Default::default();
        for _ in 0..rounds.max(1) {
            for (spans, one) in took.iter_mut().zip(setting.round()?) {
                spans.push(one.as_secs_f64() * 1_000.0);
            }
        }
        for (change, mut spans) in ["quiesce", "resume", "kill"].into_iter().zip(took) {
            spans.sort_by(f64::total_cmp);
            let at = |index: usize| spans.get(index).copied().unwrap_or(f64::NAN);
            println!(
                "{backend:<10} {change:<8} {:>7.1} {:>7.1} {:>7.1}",
                at(0),
                at(spans.len() / 2),
                at(spans.len() - 1)
            );
        }
    }
    Ok(())
}

/// Three agents with an address each, and a name server that is not the host that changes.
struct Setting {
    trial: Trial,
    asker: Asker,
    _bind: Option<Bind>,
}

impl Setting {
    fn new(backend: &str) -> Result<Self> {
        let mut trial = Trial::new()?;
        let (mut bind, mut server) = (None, Ipv4Addr::new(10, 77, 0, 1));
        let mut section = "[group.dns]\nzone = 'web.example.net'\nname = 'www'\n".to_owned();
        let dir = trial.bed.dir().join("bind");
        fs::create_dir_all(&dir)?;
        trial.add(1)?;
        match backend {
            "update" => {
                let host = trial.bed.host("ns", 60)?;
                server = host.address();
                let (started, more) = updated(&host, &dir)?;
                (bind, section) = (Some(started), section + &more);
            }
            "zone-file" => {
                let (started, more) = with_file(trial.get(1), &dir)?;
                (bind, section) = (Some(started), section + &more);
            }
            _ => {}
        }
        let config = trial.config(1, &[1], &section)?;
        trial.host(1).start_agent(&config)?;
        let elsewhere = if backend == "zone-file" { "" } else { &section };
        trial.start(2, &[2], elsewhere)?;
        trial.start(3, &[3], elsewhere)?;
        trial.settle(&[(1, 1), (2, 2), (3, 3)])?;
        let asker = Asker::new(&trial.client, server, NAME)?;
        let mut setting = Self { trial, asker, _bind: bind };
        setting.wait(&[1, 2, 3])?;
        Ok(setting)
    }

    /// One change after another: quiesce, resume, kill.
    fn round(&mut self) -> Result<[Duration; 3]> {
        let begin = clock::now();
        self.trial.get(3).ask(&["quiesce"])?;
        let quiesced = self.wait(&[1, 2])?.since(begin);
        let begin = clock::now();
        self.trial.get(3).ask(&["resume"])?;
        let resumed = self.wait(&[1, 2, 3])?.since(begin);
        let begin = clock::now();
        self.trial.host(3).kill_agent()?;
        let killed = self.wait(&[1, 2])?.since(begin);
        self.trial.host(3).restart_agent()?;
        self.wait(&[1, 2, 3])?;
        self.trial.settle(&[(1, 1), (2, 2), (3, 3)])?;
        Ok([quiesced, resumed, killed])
    }

    /// Waits until the server says these; when it was asked first.
    fn wait(&mut self, addresses: &[u8]) -> Result<rais_common::time::Time> {
        let wanted: BTreeSet<IpAddr> = addresses.iter().map(|&n| service(n).into()).collect();
        let end = clock::now() + RETRIED;
        loop {
            let said = self.asker.ask()?;
            if let Some(said) = said.filter(|said| said.addresses == wanted) {
                return Ok(said.asked);
            }
            anyhow::ensure!(clock::now() < end, "waited {RETRIED:?} for {wanted:?}");
        }
    }
}

/// BIND whose zone may be updated, and what the agents are told.
fn updated(host: &Host, dir: &std::path::Path) -> Result<(Bind, String)> {
    let key = key(dir, "update.key", "hmac-sha256", "updates")?;
    let shown = key.display();
    let text = "$TTL 60\n@ SOA ns host 1 60 60 60 60\n@ NS ns\nns A 10.77.0.60\n";
    fs::write(dir.join("zone"), text)?;
    let text = format!(
        "include \"{shown}\";\nzone \"web.example.net\" {{ type primary; file \"DIR/zone\"; \
         allow-update {{ key updates; }}; }};\n"
    );
    let more =
        format!("ttl = '1s'\nbackend = 'update'\nserver = '10.77.0.60:53'\nkey_file = '{shown}'\n");
    Ok((Bind::start(host, dir, &text)?, more))
}

/// BIND with the zone in a file, and what the agent on its host is told.
fn with_file(host: &Host, dir: &std::path::Path) -> Result<(Bind, String)> {
    let control = key(dir, "rndc.key", "hmac-sha256", "rndc")?;
    let (control, shown) = (control.display(), dir.display());
    let text = "$TTL 60\n@ SOA ns host 1 60 60 60 60\n@ NS ns\nns A 10.77.0.1\n";
    fs::write(dir.join("zone"), text)?;
    let text = format!(
        "include \"{control}\";\ncontrols {{ inet 10.77.0.1 port 953 allow {{ any; }} keys {{ rndc; \
         }}; }};\nzone \"web.example.net\" {{ type primary; file \"DIR/zone\"; }};\n"
    );
    let more = format!(
        "ttl = '1s'\nbackend = 'zone-file'\nfile = '{shown}/zone'\nnameservers = ['ns \
         10.77.0.1']\nreload = ['/usr/sbin/rndc', '-k', '{control}', '-s', '10.77.0.1', 'reload', \
         'web.example.net']\nserver = '10.77.0.1:53'\n"
    );
    let bind = Bind::start(host, dir, &text).context("BIND")?;
    wait::until("BIND to have the zone", LIMIT, || {
        let said = host.run("dig", &["@10.77.0.1", "+short", "web.example.net", "SOA"]);
        Ok(said.ok().filter(|said| !said.is_empty()))
    })?;
    Ok((bind, more))
}
