//! The configuration is read again while the agent runs: plan, prepare, apply.
//!
//! One task does all of it, one reload after the other. Everything that can fail is done before
//! anything is touched, so that a file with a mistake, an interface that is not there or a port
//! that is taken changes nothing. No heartbeat waits for it: drivers are handed what is ready.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::control::{Control, Running};
use super::workshop::{Ready, Workshop};
use super::{
    SHUTDOWN_EXTRA, boot, housekeeping, notifies_as_user, service_interfaces,
    warn_of_other_interfaces,
};
use crate::api::Control as _;
use crate::causes;
use crate::clock;
use crate::config::checked::{self, Config, Interface};
use crate::config::plan::{self, Fate, GroupPlan, Plan};
use crate::config::{self, Mistakes};
use crate::events::{self, Event, EventLog};
use crate::metrics;
use crate::monitor::change::{ChangeMeans, PreparedChange};
use crate::service_manager::ServiceManager;
use crate::traps;

/// Somebody who asks for a reload, and waits for what comes of it.
pub(super) type Asked = oneshot::Sender<Result<Plan, String>>;

/// Reloads that wait while one is under way.
pub(super) const WAITING: usize = 1;

/// How long reading the file, and what it names, may take.
const READING: Duration = Duration::from_secs(5);

/// Most bytes of a reason that are kept: a file can have any number of mistakes.
const MOST_REASON: usize = 16 << 10;

/// Stands for the agent as a whole where an event names a group. No group can be called so.
const WHOLE_AGENT: &str = "*";

/// Everything a reload takes.
pub(super) struct Reloader {
    /// The file.
    pub path: PathBuf,
    /// What is in force.
    pub config: Config,
    pub workshop: Workshop,
    pub control: Arc<Control>,
    /// Serves the metrics, where they are wanted.
    pub metrics: Option<metrics::Server>,
    /// A look at the file, if it took too long.
    pub reading: Option<JoinHandle<()>>,
}

/// All that was prepared.
struct Changes<'a> {
    changed: Vec<PreparedChange<'a>>,
    started: Vec<Ready<'a>>,
    metrics: Option<metrics::Listener>,
}

impl Reloader {
    /// Reloads at each hangup and whenever it is asked to, until it is to stop. One that is under
    /// way then goes no further. The service manager is told.
    pub(super) async fn serve(
        mut self,
        mut asked: mpsc::Receiver<Asked>,
        mut hangups: Signal,
        manager: Arc<ServiceManager>,
        mut stop: watch::Receiver<bool>,
    ) -> Self {
        loop {
            let answer = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return self,
                Some(()) = hangups.recv() => None,
                Some(answer) = asked.recv() => Some(answer),
            };
            manager.reloading();
            let result = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => None,
                result = self.reload() => Some(result),
            };
            let Some(result) = result else { return self };
            manager.ready(&housekeeping::in_words(&self.control.status().await));
            write_down(&self.workshop.log, &result);
            if let Some(answer) = answer {
                // Whoever asked may have gone.
                answer.send(result).ok();
            }
        }
    }

    async fn reload(&mut self) -> Result<Plan, String> {
        let in_words = |error: anyhow::Error| causes::in_words(error.as_ref());
        let new = self.read().await?;
        self.control.forget_ended();
        let plan = plan::plan(&self.config, &new)
            .map_err(|why| format!("{}: {why}; nothing was changed", self.path.display()))?;
        let newly = self.equip(&new).await.map_err(in_words).map_err(unchanged)?;
        match self.apply(&plan, new).await {
            Ok(()) => Ok(plan),
            Err(Failure::Unchanged(error)) => {
                self.detach(&newly);
                Err(unchanged(in_words(error)))
            }
            Err(Failure::Half(reason)) => Err(reason),
        }
    }

    /// The file as it is now. It may be on a file system that hangs.
    async fn read(&mut self) -> Result<Config, String> {
        let shown = self.path.display();
        if self.reading.as_ref().is_some_and(|reading| !reading.is_finished()) {
            return Err(format!("{shown} still cannot be read: its file system does not answer"));
        }
        let path = self.path.clone();
        let (say, said) = oneshot::channel();
        self.reading = Some(tokio::task::spawn_blocking(move || {
            // Nobody waits where it took too long.
            say.send(config::load(&path)).ok();
        }));
        match tokio::time::timeout(READING, said).await {
            Ok(Ok(result)) => {
                self.reading = None;
                result.map_err(|mistakes| mistaken(&mistakes))
            }
            Ok(Err(_)) | Err(_) => Err(format!(
                "{shown}, or what it names, could not be read within {} s; nothing was changed",
                READING.as_secs()
            )),
        }
    }

    /// What groups have in common: who speaks in notifications, and the program on service
    /// interfaces that are new. Says which: they have to be detached if nothing comes of it.
    async fn equip(&mut self, new: &Config) -> anyhow::Result<Vec<Interface>> {
        let mut newly = Vec::new();
        if self.workshop.engine.is_none() && notifies_as_user(new) {
            let engine = traps::open_engine(&self.config.agent.state_dir, self.config.agent.host);
            self.workshop.engine = Some(engine?);
        }
        for (index, interface) in service_interfaces(new) {
            if self.workshop.ways.contains_key(&index) {
                continue;
            }
            let cleared = self.workshop.clear(interface).await;
            let attached = cleared.and_then(|()| {
                // A driver may take seconds.
                let attach = || self.workshop.planes.attach(interface, self.config.agent.xdp_mode);
                tokio::task::block_in_place(attach)
            });
            match attached {
                Ok((way, new)) => {
                    self.workshop.ways.insert(index, way);
                    if new {
                        newly.push(interface.clone());
                    }
                }
                Err(error) => {
                    self.detach(&newly);
                    return Err(error);
                }
            }
        }
        if !newly.is_empty() {
            warn_of_other_interfaces(new);
        }
        Ok(newly)
    }

    fn detach(&mut self, interfaces: &[Interface]) {
        for interface in interfaces {
            self.workshop.ways.remove(&interface.index);
            if let Err(error) = self.workshop.planes.detach(interface) {
                tracing::warn!("undoing the reload: {error}");
            }
        }
    }

    async fn apply(&mut self, plan: &Plan, new: Config) -> Result<(), Failure> {
        let Changes { changed, started, metrics } =
            self.prepare(plan, &new).await.map_err(Failure::Unchanged)?;
        // Nothing fails from here on.
        for change in changed {
            self.change(change).await;
        }
        let mut stuck = Vec::new();
        let leaving = names(plan, &[Fate::Removed, Fate::Restarted]);
        for group in self.control.groups().iter().filter(|g| leaving.contains(g.name())) {
            group.leave();
        }
        for group in self.control.groups().iter().filter(|g| leaving.contains(g.name())) {
            match group.ended(SHUTDOWN_EXTRA).await {
                Ok(()) => self.remove(group),
                Err(reason) => stuck.push((group.name().to_owned(), reason)),
            }
        }
        let is_stuck = |name: &str| stuck.iter().any(|(stuck, _)| stuck == name);
        for ready in started.into_iter().filter(|ready| !is_stuck(ready.name())) {
            let mut groups = self.control.groups();
            groups.push(Arc::new(ready.start()));
            self.control.set_groups(groups);
        }
        if self.config.agent.metrics != new.agent.metrics {
            if let Some(before) = self.metrics.take() {
                before.end().await;
            }
            self.metrics = metrics.map(|listener| listener.serve(Arc::clone(&self.control)));
        }
        self.forget_quiesced(plan);
        self.config = new;
        // What did not end is none of the configuration's: the next reload may start it.
        self.config.groups.retain(|group| !stuck.iter().any(|(s, _)| *s == group.settings.name));
        self.sort();
        let reasons: Vec<String> = stuck.into_iter().map(|(_, reason)| reason).collect();
        if reasons.is_empty() {
            Ok(())
        } else {
            let reasons = reasons.join("; ");
            Err(Failure::Half(format!("{reasons}; everything else was applied, see `rais events`")))
        }
    }

    /// Everything that can fail.
    async fn prepare<'a>(&'a self, plan: &Plan, new: &'a Config) -> anyhow::Result<Changes<'a>> {
        let metrics = match new.agent.metrics {
            Some(at) if self.config.agent.metrics != new.agent.metrics => {
                Some(metrics::Listener::bind(at).await?)
            }
            _ => None,
        };
        let changing = names(plan, &[Fate::Changed]);
        let pairs = new.groups.iter().filter_map(|group| {
            let name = &group.settings.name;
            let same = |old: &&checked::Group| old.settings.name == *name;
            let old = self.config.groups.iter().find(same)?;
            changing.contains(name.as_str()).then_some((old, group))
        });
        let changed = pairs.map(|(old, new)| PreparedChange::new(old, new));
        let changed = changed.collect::<Result<_, _>>()?;
        let started = self.prepare_starts(plan, new)?;
        Ok(Changes { changed, started, metrics })
    }

    fn prepare_starts<'a>(
        &'a self,
        plan: &Plan,
        new: &'a Config,
    ) -> anyhow::Result<Vec<Ready<'a>>> {
        let starting = names(plan, &[Fate::Added, Fate::Restarted]);
        if starting.is_empty() {
            return Ok(Vec::new());
        }
        let restarted = names(plan, &[Fate::Restarted]);
        let running = self.control.groups();
        let boot = boot::next(&self.config.agent.run_dir).context("the boot epoch")?;
        let used: BTreeSet<u32> = running.iter().map(|group| group.slot()).collect();
        // There are more slots than two times as many groups as there can be.
        let mut slots = (0..rais_common::maps::MAX_GROUPS).filter(|slot| !used.contains(slot));
        let mut ready = Vec::new();
        for group in &new.groups {
            let name = group.settings.name.as_str();
            if !starting.contains(name) {
                continue;
            }
            anyhow::ensure!(
                restarted.contains(name) || running.iter().all(|group| group.name() != name),
                "group `{name}`: the one of that name that was removed has not ended yet"
            );
            let slot = slots.next().context("no place is left in LEASES")?;
            let quiesced = self.control.quiesced().has(name);
            ready.push(self.workshop.prepare(group, slot, boot, quiesced)?);
        }
        Ok(ready)
    }

    /// Hands a running group what was prepared for it.
    async fn change(&self, change: PreparedChange<'_>) {
        let new = change.new_config();
        let Workshop { runtime, objects, log, engine, .. } = &self.workshop;
        let mut groups = self.control.groups();
        let Some(group) = groups.iter_mut().find(|g| g.name() == new.settings.name) else { return };
        let means = ChangeMeans { runtime, objects, log, engine: engine.clone() };
        if !group.monitor().change(change, means).await {
            // The agent is about to end for that.
            tracing::error!(group = group.name(), "its driver has ended");
        }
        *group = Arc::new(group.reconfigured(new));
        self.control.set_groups(groups);
    }

    fn remove(&self, group: &Arc<Running>) {
        let mut groups = self.control.groups();
        groups.retain(|other| !Arc::ptr_eq(other, group));
        self.control.set_groups(groups);
    }

    /// A group that is added again begins like any other.
    fn forget_quiesced(&self, plan: &Plan) {
        let removed = names(plan, &[Fate::Removed]);
        let mut quiesced = self.control.quiesced();
        if removed.iter().any(|name| quiesced.has(name))
            && let Err(error) = quiesced.set(removed.into_iter(), false)
        {
            tracing::warn!("which groups are quiesced cannot be written down: {error}");
        }
    }

    /// The groups in the order of the file.
    fn sort(&self) {
        let place = |group: &Arc<Running>| {
            let mut names = self.config.groups.iter().map(|group| &group.settings.name);
            names.position(|name| name == group.name()).unwrap_or(usize::MAX)
        };
        let mut groups = self.control.groups();
        groups.sort_by_key(place);
        self.control.set_groups(groups);
    }
}

/// A reload that came to nothing.
enum Failure {
    /// Nothing was touched.
    Unchanged(anyhow::Error),
    /// A group did not end in time, in words.
    Half(String),
}

/// The groups with one of these fates.
fn names<'a>(plan: &'a Plan, fates: &[Fate]) -> BTreeSet<&'a str> {
    let groups = plan.groups.iter().filter(|group| fates.contains(&group.fate));
    groups.map(|group| group.name.as_str()).collect()
}

fn unchanged(reason: impl std::fmt::Display) -> String {
    format!("{reason}; nothing was changed")
}

/// The mistakes in a file, as many as fit.
fn mistaken(mistakes: &Mistakes) -> String {
    let mut text = format!("nothing was changed:\n{mistakes}");
    if text.len() > MOST_REASON {
        let end = (0..=MOST_REASON).rev().find(|&end| text.is_char_boundary(end));
        text.truncate(end.unwrap_or(0));
        text.push('…');
    }
    text
}

/// Keeps what was done, or why nothing was.
fn write_down(log: &EventLog, result: &Result<Plan, String>) {
    let write = |group: &str, kind: &str, detail: Option<String>| {
        let time = events::rfc3339(clock::wall_nanos());
        let (group, kind) = (group.to_owned(), kind.to_owned());
        let event = Event { time, group, kind, detail, ..Event::default() };
        tracing::info!("{event}");
        log.push(event);
    };
    match result {
        Ok(plan) => {
            let detail = match plan.agent.as_slice() {
                _ if plan.is_empty() => Some("nothing has changed".to_owned()),
                [] => None,
                keys => Some(plan::words(keys)),
            };
            write(WHOLE_AGENT, "reloaded", detail);
            for GroupPlan { name, fate, keys } in &plan.groups {
                if *fate != Fate::Unchanged {
                    let detail = (!keys.is_empty()).then(|| plan::words(keys));
                    write(name, &format!("group-{}", fate.word()), detail);
                }
            }
        }
        Err(reason) => write(WHOLE_AGENT, "reload-refused", Some(reason.clone())),
    }
}

/// The path of the file, wherever the agent is later.
pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
