//! Looking at a host from outside and inside: what its agent says, what the kernel has.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{IpAddr, Ipv6Addr};
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::sched::{CloneFlags, setns};
use rais::events::Event;
use rais::status;
use rais_common::maps::{SCHEMA, STATE_FORWARDED, STATE_LEFT};
use serde_json::Value;

use super::Host;
use super::process::{binary, output};
use crate::family::Family;
use crate::wait;

/// The XDP program on a host's `eth0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Id of the pinned link.
    pub link: u64,
    /// Id of the program that the link runs.
    pub program: u64,
}

impl Host {
    /// Runs `rais` on this host with these arguments to its end, whatever that is.
    ///
    /// # Errors
    /// It could not be run.
    pub fn rais(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = self.command(binary("rais")?);
        command.args(arguments).output().context("running rais")
    }

    /// Runs a `rais` command that asks this host's agent; its standard output.
    ///
    /// # Errors
    /// It could not be run, or failed.
    pub fn ask(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.command(binary("rais")?);
        output(command.args(arguments).arg("--socket").arg(self.socket()))
    }

    /// All that the agent's status says of its only group.
    ///
    /// # Errors
    /// The agent does not answer.
    pub fn group(&self) -> Result<status::Group> {
        let text = self.ask(&["status", "--json"])?;
        let status: status::Status = serde_json::from_str(&text)?;
        status.groups.into_iter().next().context("the status has no group")
    }

    /// What the agent's status says of an address.
    ///
    /// # Errors
    /// The agent does not answer, or does not know the address.
    pub fn listed(&self, address: IpAddr) -> Result<status::Address> {
        let found = self.group()?.addresses.into_iter().find(|a| a.address == address);
        found.with_context(|| format!("{} lists no {address}", self.name()))
    }

    /// Waits until the agent's group is as wanted.
    ///
    /// # Errors
    /// It is not within `limit`.
    pub fn wait_group(
        &self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&status::Group) -> bool,
    ) -> Result<status::Group> {
        let mut last = None;
        wait::until(what, limit, || {
            last = self.group().ok();
            Ok(last.clone().filter(|group| wanted(group)))
        })
        .with_context(|| format!("{}: {last:?}", self.name()))
    }

    /// The events the agent has kept, oldest first.
    ///
    /// # Errors
    /// The agent does not answer.
    pub fn events(&self) -> Result<Vec<Event>> {
        let text = self.ask(&["events", "--json"])?;
        text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// The events after the one numbered `after`.
    ///
    /// # Errors
    /// The agent does not answer.
    pub fn events_after(&self, after: u64) -> Result<Vec<Event>> {
        let mut events = self.events()?;
        events.retain(|event| event.seq > after);
        Ok(events)
    }

    /// The number of the latest event.
    ///
    /// # Errors
    /// The agent does not answer.
    pub fn last_event(&self) -> Result<u64> {
        Ok(self.events()?.last().map_or(0, |event| event.seq))
    }

    /// Waits for an event after the one numbered `after`; the events up to it and with it.
    ///
    /// # Errors
    /// It does not come within `limit`.
    pub fn wait_event(
        &self,
        after: u64,
        kind: &str,
        address: Option<IpAddr>,
        limit: Duration,
    ) -> Result<Vec<Event>> {
        let wanted = |event: &Event| event.kind == kind && event.address == address;
        let what = format!("{kind} {address:?} on {}", self.name());
        let mut events = Vec::new();
        wait::until(&what, limit, || {
            // An agent that has just been started does not answer yet.
            events = self.events_after(after).unwrap_or_default();
            Ok(events.iter().position(wanted))
        })
        .map(|last| events.iter().take(last + 1).cloned().collect())
        .with_context(|| format!("{events:#?}"))
    }

    /// The addresses on `eth0` of the bed's family, but for the host's own.
    ///
    /// # Errors
    /// `ip` failed.
    pub fn configured(&self) -> Result<Vec<IpAddr>> {
        let family = Family::of(self.address()).option();
        let text = self.run("ip", &["-j", family, "address", "show", "dev", "eth0"])?;
        let shown: Value = serde_json::from_str(&text)?;
        let all =
            shown.pointer("/0/addr_info").and_then(Value::as_array).context("no addr_info")?;
        let locals = all.iter().filter_map(|entry| entry.get("local")?.as_str()?.parse().ok());
        let own = |address: &IpAddr| match address {
            IpAddr::V6(v6) if v6.is_unicast_link_local() => true,
            IpAddr::V4(_) | IpAddr::V6(_) => *address == self.address(),
        };
        Ok(locals.filter(|address| !own(address)).collect())
    }

    /// A pinned map as `bpftool` shows it with names, one entry an element.
    ///
    /// # Errors
    /// It is not pinned, or has no names.
    pub fn dump(&self, map: &str) -> Result<Vec<Value>> {
        let path = self.bpf_dir().join(format!("v{SCHEMA}")).join(map);
        let mut command = self.command("bpftool");
        let text = output(command.args(["-j", "map", "dump", "pinned"]).arg(path))?;
        let dumped: Value = serde_json::from_str(&text)?;
        let entries = dumped.as_array().with_context(|| format!("{map}: no entries: {dumped}"))?;
        let named = |entry: &Value| entry.get("formatted").cloned();
        entries.iter().map(|e| named(e).with_context(|| format!("{map}: not named: {e}"))).collect()
    }

    /// `SERVICE_ADDRS`: the addresses the XDP program has, and their states, without those that
    /// were handed over and are only sent on.
    ///
    /// # Errors
    /// As [`dump`](Self::dump).
    pub fn entries(&self) -> Result<BTreeMap<IpAddr, u64>> {
        let dumped = self.dump("SERVICE_ADDRS")?;
        dumped
            .iter()
            .map(|entry| {
                let state = entry.pointer("/value/state").and_then(Value::as_u64);
                Ok((entry_address(entry)?, state.with_context(|| format!("no state: {entry}"))?))
            })
            .filter(|entry| {
                let state = entry.as_ref().map_or(0, |&(_, state)| state);
                ![STATE_FORWARDED, STATE_LEFT].map(u64::from).contains(&state)
            })
            .collect()
    }

    /// The XDP program on `eth0`, as the pinned link and the interface both tell.
    ///
    /// # Errors
    /// There is none, or they do not agree.
    pub fn attached(&self) -> Result<Attached> {
        let pin = self.bpf_dir().join(format!("v{SCHEMA}")).join("link-eth0");
        let mut command = self.command("bpftool");
        let text = output(command.args(["-j", "link", "show", "pinned"]).arg(pin))?;
        let link: Value = serde_json::from_str(&text)?;
        let number = |key: &str| {
            let found = link.get(key).and_then(Value::as_u64);
            found.with_context(|| format!("no {key} in {link}"))
        };
        let attached = Attached { link: number("id")?, program: number("prog_id")? };
        let text = self.run("ip", &["-j", "link", "show", "dev", "eth0"])?;
        let shown: Value = serde_json::from_str(&text)?;
        let running = shown.pointer("/0/xdp/prog/id").and_then(Value::as_u64);
        if running != Some(attached.program) {
            bail!("the link runs {attached:?}, the interface {running:?}: {shown}");
        }
        Ok(attached)
    }

    /// Runs `work` on a thread of its own in this host's network namespace. Sockets that are made
    /// there stay there.
    ///
    /// # Errors
    /// The namespace is gone, or `work` panicked.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        inside(self.netns(), work)
    }
}

/// Runs `work` on a thread of its own in a network namespace.
pub(super) fn inside<T: Send>(netns: &str, work: impl FnOnce() -> T + Send) -> Result<T> {
    let namespace = File::open(format!("/run/netns/{netns}"))?;
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            setns(namespace, CloneFlags::CLONE_NEWNET).context("entering the namespace")?;
            Ok(work())
        });
        thread.join().map_err(|_panic| anyhow!("the work in {netns} panicked"))?
    })
}

/// The address in the key of a dumped entry.
///
/// # Errors
/// The key is not a `ServiceKey` with names.
pub fn entry_address(entry: &Value) -> Result<IpAddr> {
    let bytes = entry.pointer("/key/address").and_then(Value::as_array).context("no address")?;
    let octets: Vec<u8> = bytes
        .iter()
        .map(|byte| byte.as_u64().and_then(|b| u8::try_from(b).ok()).context("no byte"))
        .collect::<Result<_>>()?;
    let octets = <[u8; 16]>::try_from(octets).map_err(|o| anyhow!("{} bytes", o.len()))?;
    Ok(Ipv6Addr::from(octets).to_canonical())
}
