//! Puts an agent together and takes it apart: what `rais run` and `rais clean` do.

mod boot;
mod control;
mod control_links;
mod housekeeping;
mod leftovers;
mod planes;
mod quiesced;
mod reload;
mod trail;
mod workshop;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::addresses::Addresses;
use crate::api;
use crate::config::checked::{self, Config, DataPlaneKind, Interface, TrapSecurity};
use crate::config::{MAX_GROUPS, arp_ignore};
use crate::data_plane::bpf::{self, BpfError, BpfPlane, Conflict, Conflicts, Place};
use crate::events::EventLog;
use crate::group::Event;
use crate::metrics;
use crate::objects::Pool;
use crate::privileges;
use crate::realtime;
use crate::record::{Recorders, Recording};
use crate::service_manager::ServiceManager;
use crate::traps;

use control::Control;
use leftovers::{few, take_away, take_off_marked};
use quiesced::Quiesced;
use reload::{Asked, Reloader};
use trail::Trail;
use workshop::Workshop;

/// How long the runtime may take to end what still runs on it.
const RUNTIME_LIMIT: Duration = Duration::from_secs(1);

/// Stack of the runtime's threads: with locked memory they are all resident.
const WORKER_STACK: usize = 512 * 1024;

/// How long the kernel may take to detach a program whose link is gone, and how often to look.
const DETACH_LIMIT: Duration = Duration::from_secs(2);
const DETACH_INTERVAL: Duration = Duration::from_millis(2);

/// The agent could not start. What it had begun was undone.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct CannotStart(anyhow::Error);

impl CannotStart {
    /// The agent cannot start, because of this.
    #[must_use]
    pub fn because(error: anyhow::Error) -> Self {
        Self(error)
    }
}

/// The error of a start that failed.
fn cannot_start(error: impl Into<anyhow::Error>) -> anyhow::Error {
    CannotStart(error.into()).into()
}

/// Runs the agent until SIGTERM or SIGINT, then releases everything. At a SIGHUP, or when asked to,
/// it reads the file at `path` again, whose contents `config` is. What its groups are told and
/// decide is written to the file at `record`.
///
/// # Errors
/// [`CannotStart`], or the agent ended because something it cannot do without has ended.
pub fn run(path: &Path, config: &Config, record: Option<&Path>) -> anyhow::Result<()> {
    let daemon = &config.agent.daemon;
    // While this is the only thread.
    if let Some(scripts) = daemon.script_capabilities {
        let limited = privileges::limit(scripts).context("privileges cannot be dropped");
        limited.map_err(cannot_start)?;
    }
    let claim = api::claim(&config.agent.run_dir).map_err(cannot_start)?;
    // Only now: the file may be that of an agent that runs.
    let recording = record.map(record_to).transpose().map_err(cannot_start)?;
    let runtime = runtime().map_err(cannot_start)?;
    let end = runtime.block_on(async {
        // Signals and clients that come meanwhile wait until the agent has started.
        let ends = Ends::new().map_err(cannot_start)?;
        let hangups = signal(SignalKind::hangup()).map_err(cannot_start)?;
        let mut server = claim.listen(daemon.socket).map_err(cannot_start)?;
        let recorders = recording.as_ref().map_or(Recorders::off(), Recording::recorders);
        let agent = Agent::start(path, config, recorders).await.map_err(cannot_start)?;
        server.keep();
        privileges::settle_this_thread();
        agent.serve(server, ends, hangups).await
    });
    // Scripts that run are killed. Looks at a file system that hangs are not waited for.
    runtime.shutdown_timeout(RUNTIME_LIMIT);
    if let Some(recording) = recording {
        recording.finish();
    }
    end
}

fn record_to(path: &Path) -> anyhow::Result<Recording> {
    Recording::start(path).with_context(|| format!("cannot record to {}", path.display()))
}

/// Refuses service interfaces that run an XDP program of somebody else's, as far as this process
/// may know. Changes nothing.
///
/// # Errors
/// [`CannotStart`]
pub fn check(config: &Config) -> anyhow::Result<()> {
    match refuse_foreign(config) {
        Err(foreign @ BpfError::Foreign { .. }) => Err(cannot_start(foreign)),
        // What needs privilege is found out by the agent.
        Ok(()) | Err(_) => Ok(()),
    }
}

fn refuse_foreign(config: &Config) -> Result<(), BpfError> {
    if config.agent.data_plane == DataPlaneKind::Kernel {
        return Ok(());
    }
    service_interfaces(config)
        .values()
        .try_for_each(|interface| BpfPlane::refuse_foreign(&config.agent.bpf_dir, interface))
}

/// What is to be known about the data plane that a configuration asks for, if anything.
#[must_use]
pub fn warning(config: &Config) -> Option<&'static str> {
    (config.agent.data_plane == DataPlaneKind::Kernel).then_some(planes::WITHOUT_BPF)
}

/// Takes away what a dead agent left behind: addresses, then links and maps. Says what it was. With
/// `keep_program` links and empty maps stay: detaching a program can bounce an interface, and an
/// agent that follows adopts them.
///
/// # Errors
/// An agent is running, or something could not be taken away.
pub fn clean(config: &Config, keep_program: bool) -> anyhow::Result<Vec<String>> {
    let _claim = api::claim(&config.agent.run_dir)?;
    runtime()?.block_on(async {
        let addresses = Addresses::connect(&Handle::current())?;
        let mut removed = Vec::new();
        if bpf::exists(&config.agent.bpf_dir) {
            let plane = BpfPlane::open(&config.agent.bpf_dir)?;
            removed.extend(take_away(&plane, &addresses, config).await?);
        } else {
            removed.extend(take_off_marked(&addresses, config).await?);
        }
        if keep_program {
            return Ok(removed);
        }
        let programs = bpf::programs(&config.agent.bpf_dir)?;
        let pins = bpf::clean(&config.agent.bpf_dir)?;
        removed.extend(pins.iter().map(|pin| pin.display().to_string()));
        for interface in service_interfaces(config).values() {
            until_detached(interface, &programs).await?;
        }
        Ok(removed)
    })
}

/// Waits until the interface runs none of these programs, whose links are gone: the kernel lets go
/// of a link some milliseconds after its last pin. Whoever attaches next shall not find it busy.
async fn until_detached(interface: &Interface, programs: &[u32]) -> anyhow::Result<()> {
    let detached = async {
        while bpf::runs_any(interface, programs)? {
            tokio::time::sleep(DETACH_INTERVAL).await;
        }
        anyhow::Ok(())
    };
    let limited = tokio::time::timeout(DETACH_LIMIT, detached).await;
    limited.with_context(|| format!("the XDP program is still on {}", interface.name))?
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("rais-work")
        .thread_stack_size(WORKER_STACK)
        .on_thread_start(privileges::settle_this_thread)
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

/// A running agent.
struct Agent {
    control: Arc<Control>,
    conflicts: Option<Conflicts>,
    /// While it is held, no other agent uses the maps.
    _place: Option<Place>,
    /// Names of groups whose driver has ended.
    ended: mpsc::Receiver<String>,
    reloader: Reloader,
    /// Who wants the configuration to be read again.
    reloads: mpsc::Receiver<Asked>,
}

impl Agent {
    async fn start(path: &Path, config: &Config, recorders: Recorders) -> anyhow::Result<Self> {
        refuse_foreign(config)?;
        let mut trail = Trail::begin(config);
        match Self::start_on(path, config, &mut trail, recorders).await {
            Ok(agent) => Ok(Self { _place: trail.keep(), ..agent }),
            Err(error) => {
                trail.undo().await;
                Err(error)
            }
        }
    }

    async fn start_on<'a>(
        path: &Path,
        config: &'a Config,
        trail: &mut Trail<'a>,
        recorders: Recorders,
    ) -> anyhow::Result<Self> {
        let metrics = match config.agent.metrics {
            Some(address) => Some(metrics::Listener::bind(address).await?),
            None => None,
        };
        let addresses = Addresses::connect(&Handle::current())?;
        let planes = trail.open()?;
        let left = planes.take_away(&addresses, config).await?;
        if !left.is_empty() {
            tracing::info!("taken away what an earlier agent left: {}", few(&left));
        }
        let ways = trail.attach(&planes)?;
        let conflicts = planes.conflicts()?;
        if config.agent.data_plane == DataPlaneKind::Kernel {
            tracing::warn!("{}", planes::WITHOUT_BPF);
        }
        warn_of_other_interfaces(config);
        // Before any thread of high priority exists: new threads inherit it.
        if config.agent.realtime
            && let Err(error) = realtime::lock_memory()
        {
            tracing::warn!("memory is not locked ({error}); it needs CAP_IPC_LOCK");
        }
        let engine = notifies_as_user(config)
            .then(|| traps::open_engine(&config.agent.state_dir, config.agent.host))
            .transpose()?;
        let (tell_end, ended) = mpsc::channel(MAX_GROUPS);
        let settings = config.groups.iter().map(|group| &group.settings);
        let count = settings.map(|s| s.preferred.len() + s.floating.len()).sum();
        let workshop = Workshop {
            objects: Pool::new(&Handle::current()),
            runtime: Handle::current(),
            planes,
            addresses,
            log: Arc::new(EventLog::for_addresses(count)),
            recorders,
            ways,
            engine,
            ended: tell_end,
            realtime: config.agent.realtime,
        };
        let quiesced = start_groups(&workshop, config, trail)?;
        let groups = std::mem::take(&mut trail.groups);
        let (ask, reloads) = mpsc::channel(reload::WAITING);
        let log = Arc::clone(&workshop.log);
        let control = Control::new(config.agent.host, groups, log, quiesced, Some(ask));
        let control = Arc::new(control);
        let reloader = Reloader {
            path: reload::absolute(path),
            config: config.clone(),
            workshop,
            control: Arc::clone(&control),
            metrics: metrics.map(|listener| listener.serve(Arc::clone(&control))),
            reading: None,
        };
        Ok(Self { control, conflicts, _place: None, ended, reloader, reloads })
    }

    /// Serves until a signal, or until a group's driver ends by itself, which it never should.
    async fn serve(
        self,
        server: api::Server,
        mut ends: Ends,
        hangups: Signal,
    ) -> anyhow::Result<()> {
        let Self { control, mut conflicts, _place, mut ended, reloader, reloads } = self;
        let (stop, stopped) = watch::channel(false);
        let (halt, halted) = watch::channel(false);
        let serving = tokio::spawn(server.serve(Arc::clone(&control), wait_for(stopped)));
        let manager = Arc::new(ServiceManager::of_environment());
        manager.ready(&housekeeping::in_words(&api::Control::status(control.as_ref()).await));
        let informing = housekeeping::inform(Arc::clone(&manager), Arc::clone(&control));
        let informing = tokio::spawn(informing);
        // Hangups left to themselves would end the agent without releasing anything.
        let reloading = reloader.serve(reloads, hangups, Arc::clone(&manager), halted);
        let reloading = tokio::spawn(reloading);
        let result = loop {
            tokio::select! {
                () = ends.next() => break Ok(()),
                Some(group) = ended.recv() => if control.has_failed(&group) {
                    // Its lease runs out by itself; the others release in order.
                    break Err(anyhow::anyhow!("the driver of group `{group}` ended"));
                },
                conflict = next_conflict(conflicts.as_mut()) => {
                    let Conflict { address, ifindex, mac } = conflict?;
                    control.tell_holder(ifindex, &Event::Conflict { address, mac });
                }
            }
        };
        // No group starts from here on.
        halt.send_replace(true);
        let reloader = reloading.await.context("reading the configuration again")?;
        manager.stopping();
        let released = shut_down(&control, &mut ends).await;
        informing.abort();
        stop.send_replace(true);
        serving.await.context("the control socket")?;
        released.and(result)?;
        reloader.workshop.planes.disarm(&reloader.config).await
    }
}

/// Without BPF nobody sees any.
async fn next_conflict(conflicts: Option<&mut Conflicts>) -> std::io::Result<Conflict> {
    match conflicts {
        Some(conflicts) => conflicts.next().await,
        None => std::future::pending().await,
    }
}

/// Starts all groups. Says which of them are quiesced.
fn start_groups(
    workshop: &Workshop,
    config: &Config,
    trail: &mut Trail<'_>,
) -> anyhow::Result<Quiesced> {
    let boot = boot::next(&config.agent.run_dir).context("the boot epoch")?;
    let names = config.groups.iter().map(|group| group.settings.name.as_str()).collect();
    let quiesced = Quiesced::read(&config.agent.run_dir, &names);
    for (slot, group) in (0..).zip(&config.groups) {
        let ready = workshop.prepare(group, slot, boot, quiesced.has(&group.settings.name))?;
        trail.groups.push(ready.start());
    }
    Ok(quiesced)
}

/// Releases everything. A second signal ends at once; the leases run out by themselves.
async fn shut_down(control: &Control, ends: &mut Ends) -> anyhow::Result<()> {
    tracing::info!("releasing everything");
    control.tell_all(&Event::Shutdown);
    tokio::select! {
        result = control.join(SHUTDOWN_EXTRA) => result,
        () = ends.next() => anyhow::bail!(HALF_DONE),
    }
}

/// How much longer than its actions may take a group may take to end.
const SHUTDOWN_EXTRA: Duration = Duration::from_secs(5);

/// What is to be said where the operator did not wait for that.
const HALF_DONE: &str = "ended by a second signal, not everything is released: what is left answers \
                         for no longer than its lease, and `rais clean` takes it away";

/// The signals that end the agent.
struct Ends {
    term: Signal,
    int: Signal,
}

impl Ends {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}

async fn wait_for(mut stopped: watch::Receiver<bool>) {
    // An error means that the agent is gone, which is the end as well.
    drop(stopped.wait_for(|&stop| stop).await);
}

/// Where another interface is on the network of a service interface, two hosts can answer.
fn warn_of_other_interfaces(config: &Config) {
    let names: Vec<&str> =
        service_interfaces(config).values().map(|interface| interface.name.as_str()).collect();
    for name in arp_ignore::answering(&names) {
        tracing::warn!(
            "the kernel answers ARP for service addresses on {name} too: if that is on the same \
             network as {}, set net.ipv4.conf.{name}.arp_ignore=1",
            names.join(", ")
        );
    }
}

/// The service interfaces of all groups, by index.
fn service_interfaces(config: &Config) -> BTreeMap<u32, &Interface> {
    config.groups.iter().map(|g| (g.service_interface.index, &g.service_interface)).collect()
}

/// Whether a group sends notifications whose receivers have to know when they were sent.
fn notifies_as_user(config: &Config) -> bool {
    let mut traps = config.groups.iter().filter_map(|group| group.traps.as_ref());
    traps.any(|traps| !traps.inform && matches!(traps.security, TrapSecurity::User(_)))
}

/// Whether a group seals its messages.
fn is_secure(group: &checked::Group) -> bool {
    matches!(group.seal, checked::Seal::Keys(_))
}
