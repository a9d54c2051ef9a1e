//! What the control socket asks of the running groups, and how they are told to end.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::control_links;
use super::planes::Way;
use super::quiesced::Quiesced;
use super::reload::Asked;
use crate::api;
use crate::clock;
use crate::config::checked;
use crate::config::plan::Plan;
use crate::data_plane::bpf::Reader;
use crate::events::EventLog;
use crate::group::{
    AddressState, AddressView, Event, HostId, HostView, ListedState, Phase, Role, Served, View,
};
use crate::metrics::{self, Counted};
use crate::monitor::Monitor;
use crate::monitor::dns::Names;
use crate::monitor::link::Link;
use crate::objects::TestStatus;
use crate::status;

/// So long a group that has ended may take to write down and to send the last of it.
const REPORTING: Duration = Duration::from_secs(2);

/// One running group.
pub(super) struct Running {
    name: String,
    /// Its place in `LEASES`.
    slot: u32,
    secure: bool,
    interface: checked::Interface,
    way: Way,
    control_addresses: Vec<IpAddr>,
    /// Longest a single action may take.
    action_limit: Duration,
    /// Longest a move may take.
    move_limit: Duration,
    /// Who was not heard for so long is gone.
    timeout: Duration,
    /// It was told to end, alone of all.
    leaves: AtomicBool,
    monitor: Arc<Monitor>,
    reader: Arc<Mutex<Option<Reader>>>,
}

impl Running {
    pub(super) fn new(
        group: &checked::Group,
        slot: u32,
        monitor: Monitor,
        reader: Option<Reader>,
        way: Way,
    ) -> Self {
        let (monitor, reader) = (Arc::new(monitor), Arc::new(Mutex::new(reader)));
        Self::of(group, slot, monitor, reader, way)
    }

    fn of(
        group: &checked::Group,
        slot: u32,
        monitor: Arc<Monitor>,
        reader: Arc<Mutex<Option<Reader>>>,
        way: Way,
    ) -> Self {
        Self {
            name: group.settings.name.clone(),
            slot,
            secure: super::is_secure(group),
            interface: group.service_interface.clone(),
            way,
            control_addresses: group.settings.control_addresses.clone(),
            action_limit: group.settings.action_limit,
            move_limit: group.settings.move_limit(),
            timeout: group.settings.timeout,
            leaves: AtomicBool::new(false),
            monitor,
            reader,
        }
    }

    /// The same with another configuration, which its monitor has already.
    pub(super) fn reconfigured(&self, group: &checked::Group) -> Self {
        let (monitor, reader) = (Arc::clone(&self.monitor), Arc::clone(&self.reader));
        Self::of(group, self.slot, monitor, reader, self.way.clone())
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) const fn slot(&self) -> u32 {
        self.slot
    }

    pub(super) fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    /// Has it release everything and end.
    pub(super) fn leave(&self) {
        self.leaves.store(true, Ordering::Relaxed);
        tell(self, &Event::Shutdown);
    }

    /// Waits until it has ended and all is written down, no longer than its actions may take and
    /// `extra`.
    ///
    /// # Errors
    /// It has not, in words.
    pub(super) async fn ended(&self, extra: Duration) -> Result<(), String> {
        let limit = self.action_limit * 2 + extra;
        if tokio::time::timeout(limit, self.monitor.ended()).await.is_err() {
            return Err(format!("group `{}` did not end in time", self.name));
        }
        if tokio::time::timeout(REPORTING, self.monitor.reported()).await.is_err() {
            tracing::debug!(group = self.name, "not everything was written down");
        }
        Ok(())
    }

    /// The group now; none once its driver has ended.
    async fn status(&self) -> Option<status::Group> {
        let (view, links) = self.monitor.view().await?;
        let up = control_links::up();
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let reader = reader.as_ref();
        Some(status::Group {
            name: self.name.clone(),
            leader: view.leader.map(|h| h.0),
            role: match view.role {
                Role::Member => status::Role::Member,
                Role::Observer => status::Role::Observer,
            },
            ok: view.ok,
            quiesced: view.quiesced,
            quorum_met: view.quorum_met,
            secure: self.secure,
            data_plane: self.data_plane(&view, reader),
            hosts: view.hosts.iter().map(host).collect(),
            addresses: view.addresses.iter().map(|a| address(a, reader)).collect(),
            tests: self.monitor.tests().into_iter().map(test).collect(),
            dns: self.monitor.names().as_ref().map(Names::status),
            messages: self.messages(&links),
            control_interfaces: links
                .iter()
                .map(|link| control_links::shown(link, &view, self.timeout, &up))
                .collect(),
            move_limit_ms: status::milliseconds(self.move_limit),
        })
    }

    fn data_plane(&self, view: &View, reader: Option<&Reader>) -> status::DataPlane {
        let left = view.lease_until.since(clock::now());
        let counters = reader.and_then(|reader| reader.counters().ok());
        status::DataPlane {
            kind: self.way.kind.to_owned(),
            mode: self.way.mode.to_owned(),
            note: self.way.note.clone(),
            interface: self.interface.name.clone(),
            lease_ms_left: status::milliseconds(left),
            counters: counters.map(|c| status::counters(&c)).unwrap_or_default(),
        }
    }

    fn counted(&self) -> Counted {
        let received = self.monitor.received();
        let measures = Arc::clone(self.monitor.measures());
        let mut dropped = vec![("inbox", received.dropped()), ("socket", received.overflows())];
        dropped.extend(measures.dropped());
        Counted {
            received: received.messages().to_vec(),
            refused: received.refusals.iter().collect(),
            dropped,
            traps: self.monitor.traps().all().to_vec(),
            measures,
        }
    }

    fn messages(&self, links: &[Link]) -> status::Messages {
        let received = self.monitor.received();
        let mut refused: BTreeMap<String, u64> = received
            .refusals
            .iter()
            .filter(|&(_, count)| count > 0)
            .map(|(word, count)| (word.to_owned(), count))
            .collect();
        let duplicates = refused.remove("duplicate").unwrap_or(0);
        status::Messages {
            sent: links.iter().map(|link| link.sent.sent).sum(),
            send_failed: links.iter().map(|link| link.sent.failed + link.sent.would_block).sum(),
            received: received.messages().iter().map(|(_, count)| count).sum(),
            duplicates,
            refused,
        }
    }
}

/// All groups of the agent.
pub(super) struct Control {
    host: HostId,
    /// In the order of the configuration; then those that leave.
    groups: RwLock<Vec<Arc<Running>>>,
    log: Arc<EventLog>,
    quiesced: Mutex<Quiesced>,
    /// Has the configuration read again. None where nobody does.
    reloads: Option<mpsc::Sender<Asked>>,
}

impl Control {
    pub(super) fn new(
        host: HostId,
        groups: Vec<Running>,
        log: Arc<EventLog>,
        quiesced: Quiesced,
        reloads: Option<mpsc::Sender<Asked>>,
    ) -> Self {
        let groups = RwLock::new(groups.into_iter().map(Arc::new).collect());
        Self { host, groups, log, quiesced: Mutex::new(quiesced), reloads }
    }

    /// The groups as they are now.
    pub(super) fn groups(&self) -> Vec<Arc<Running>> {
        self.groups.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The groups from now on.
    pub(super) fn set_groups(&self, groups: Vec<Arc<Running>>) {
        *self.groups.write().unwrap_or_else(PoisonError::into_inner) = groups;
    }

    /// Groups that took too long to leave, and have by now, are groups no more.
    pub(super) fn forget_ended(&self) {
        let gone =
            |group: &Running| group.leaves.load(Ordering::Relaxed) && group.monitor.has_ended();
        let mut groups = self.groups();
        groups.retain(|group| !gone(group));
        self.set_groups(groups);
    }

    /// Which groups are quiesced.
    pub(super) fn quiesced(&self) -> MutexGuard<'_, Quiesced> {
        self.quiesced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells every group something.
    pub(super) fn tell_all(&self, event: &Event) {
        for group in self.groups() {
            tell(&group, event);
        }
    }

    /// Tells the groups on an interface something; the one that holds the address takes it.
    pub(super) fn tell_holder(&self, ifindex: u32, event: &Event) {
        for group in self.groups().iter().filter(|g| g.interface.index == ifindex) {
            tell(group, event);
        }
    }

    /// How many turns the driver of each group that goes on has made.
    pub(super) fn turns(&self) -> BTreeMap<String, u64> {
        let groups = self.groups();
        let going = groups.iter().filter(|group| !group.monitor.has_ended());
        going.map(|group| (group.name.clone(), group.monitor.measures().turns())).collect()
    }

    /// Whether the driver of a group of this name has ended, and nobody wanted it to.
    pub(super) fn has_failed(&self, name: &str) -> bool {
        let leaves = |group: &Running| group.leaves.load(Ordering::Relaxed);
        let groups = self.groups();
        groups.iter().any(|g| g.name == name && g.monitor.has_ended() && !leaves(g))
    }

    fn no_group(&self, wanted: &str) -> String {
        let groups = self.groups();
        let names: Vec<&str> = groups.iter().map(|g| g.name.as_str()).collect();
        format!("there is no group `{wanted}`; there are: {}", names.join(", "))
    }

    /// The group that is named, else the one that knows the address.
    async fn group_of(
        &self,
        name: Option<String>,
        address: IpAddr,
    ) -> Result<Arc<Running>, String> {
        let groups = self.groups();
        if let Some(name) = name {
            let named = groups.into_iter().find(|group| group.name == name);
            return named.ok_or_else(|| self.no_group(&name));
        }
        for group in groups {
            let known = group.monitor.view().await;
            if known.is_some_and(|(view, _)| view.addresses.iter().any(|a| a.address == address)) {
                return Ok(group);
            }
        }
        Err(format!("no group of this host has the address {address}; `rais status` lists them"))
    }

    /// Waits for all groups to end, no longer than their actions may take and `extra`.
    pub(super) async fn join(&self, extra: Duration) -> anyhow::Result<()> {
        for group in self.groups() {
            group.ended(extra).await.map_err(anyhow::Error::msg)?;
        }
        Ok(())
    }
}

impl api::Control for Control {
    async fn status(&self) -> status::Status {
        let mut groups = Vec::new();
        let running = self.groups();
        for group in &running {
            groups.extend(group.status().await);
        }
        let mut control_addresses: Vec<IpAddr> = Vec::new();
        for address in running.iter().flat_map(|g| &g.control_addresses) {
            if !control_addresses.contains(address) {
                control_addresses.push(*address);
            }
        }
        status::Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: status::Identity { id: self.host.0, control_addresses },
            groups,
        }
    }

    fn events(&self) -> &EventLog {
        &self.log
    }

    async fn relocate(
        &self,
        group: Option<String>,
        address: IpAddr,
        host: IpAddr,
    ) -> Result<(), String> {
        let (address, host) = (address.to_canonical(), host.to_canonical());
        let group = self.group_of(group, address).await?;
        match group.monitor.relocate(address, HostId(host)).await {
            Some(Ok(())) => Ok(()),
            Some(Err(why)) => Err(format!("{address} was not moved to {host}: {why}")),
            None => Err(has_ended(&group.name)),
        }
    }

    async fn quiesce(&self, group: Option<String>, on: bool) -> Result<(), String> {
        let wanted = |running: &&Running| group.as_ref().is_none_or(|name| *name == running.name);
        let groups = self.groups();
        let chosen: Vec<&Running> = groups.iter().map(Arc::as_ref).filter(wanted).collect();
        if chosen.is_empty() {
            return Err(self.no_group(&group.unwrap_or_default()));
        }
        // Held throughout, so that what is written down is what the groups were told last.
        let mut quiesced = self.quiesced();
        for running in &chosen {
            if !running.monitor.tell(Event::Quiesce(on)) {
                return Err(has_ended(&running.name));
            }
        }
        quiesced.set(chosen.iter().map(|running| running.name.as_str()), on).map_err(|e| {
            let done = if on { "quiesced" } else { "resumed" };
            format!("{done}, but only until the agent is restarted: it cannot be written down: {e}")
        })
    }

    async fn reload(&self) -> Result<Plan, String> {
        let ends = || "the agent is ending".to_owned();
        let reloads = self.reloads.as_ref().ok_or_else(ends)?;
        let (asked, answer) = oneshot::channel();
        reloads.try_send(asked).map_err(|refused| match refused {
            TrySendError::Full(_) => {
                "other reloads are under way; try again in a moment".to_owned()
            }
            TrySendError::Closed(_) => ends(),
        })?;
        answer.await.unwrap_or_else(|_gone| Err(ends()))
    }
}

impl metrics::Source for Control {
    async fn sample(&self) -> metrics::Sample {
        let groups = self.groups();
        let counted = groups.iter().map(|group| (group.name.clone(), group.counted()));
        metrics::Sample { counted: counted.collect(), status: api::Control::status(self).await }
    }
}

fn has_ended(group: &str) -> String {
    format!("group `{group}` has ended: the agent is ending, and its log says why")
}

fn tell(group: &Running, event: &Event) {
    if !group.monitor.tell(event.clone()) {
        tracing::debug!(group = group.name, "it has ended already");
    }
}

fn host(view: &HostView) -> status::Host {
    status::Host {
        id: view.id.0,
        ok: view.info.ok,
        quiesced: view.info.quiesced,
        load: view.info.load,
        capacity: view.info.capacity,
        age_ms: status::milliseconds(view.age),
        phase: match view.info.phase {
            Phase::Joining => status::Phase::Joining,
            Phase::Member => status::Phase::Member,
            Phase::Leaving => status::Phase::Leaving,
        },
        preferred: view.info.preferred.clone(),
        addresses: view.info.served.iter().map(served).collect(),
    }
}

fn served(served: &Served) -> status::Served {
    let state = match served.state {
        AddressState::Acquiring | AddressState::Preparing | AddressState::Prepared => {
            status::ServedState::Acquiring
        }
        AddressState::Online => status::ServedState::Online,
        AddressState::Releasing => status::ServedState::Releasing,
    };
    status::Served { address: served.address, state, epoch: served.epoch }
}

fn address(view: &AddressView, reader: Option<&Reader>) -> status::Address {
    // What cannot be read now is shown as nothing counted.
    let traffic = reader.and_then(|reader| reader.traffic(view.address).ok()).unwrap_or_default();
    status::Address {
        address: view.address,
        preferred: view.preferred.map(|h| h.0),
        holders: view.holders.iter().map(|h| h.0).collect(),
        state: match view.state {
            ListedState::Unserved => status::AddressState::Unserved,
            ListedState::Acquiring => status::AddressState::Acquiring,
            ListedState::Online => status::AddressState::Online,
            ListedState::Releasing => status::AddressState::Releasing,
            ListedState::Duplicate => status::AddressState::Duplicate,
        },
        orphaned_s: view.orphaned.map(|span| span.as_secs()),
        packets: traffic.packets,
        bytes: traffic.bytes,
        connections: traffic.connections,
    }
}

fn test(test: TestStatus) -> status::Test {
    status::Test {
        name: test.name,
        passing: test.passing,
        since_s: clock::now().since(test.since).as_secs(),
        detail: test.detail,
    }
}
