//! A service monitor: everything that serves one group on this host.
//!
//! | thread | does |
//! |---|---|
//! | `rais-<group>` | the driver: decisions, data plane, sending |
//! | `rais-rx-<group>` | receives, opens and decodes |
//! | `rais-dns` | answers questions about the zone, where the agent does so itself |
//! | the shared runtime | scripts, netlink, tests, loads, reports, name service |

mod beforehand;
pub mod change;
mod counters;
pub mod dns;
pub mod driver;
pub mod link;
mod prearm;
pub mod receive;
mod reports;
pub mod scripts;
mod socket;
pub mod transmit;
mod traps;

use std::io;
use std::net::IpAddr;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use async_snmp::v3::AuthoritativeEngine;
use rais_common::time::Time;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use crate::addresses::{Addresses, Place};
use crate::announce::{AnnounceError, Announcer};
use crate::clock;
use crate::config::checked::{self, AddressMode};
use crate::data_plane::DataPlane;
use crate::events::EventLog;
use crate::group::{Event, Group, HostId, MoveRefusal, View};
use crate::metrics::Measures;
use crate::objects::{self, LoadObject, Objects, Pool, TestStatus};
use crate::privileges;
use crate::realtime;
use crate::record::Recorder;
use crate::traps::{Counters, Speaker, Traps};
use crate::wire::{Decoder, Encoder, GroupTag, WireError};

use dns::{Names, Views};
use driver::{Driver, Inbox, Input};
use link::Link;
use receive::{ReceiveCounters, ReceiveThread, Receiver};
use reports::Readers;
use scripts::{Placing, Scripts, Surroundings};
use transmit::Transmitter;

pub use socket::SetUpError;

/// Stack of the driver: its pages are locked in memory, so no more than it needs.
const DRIVER_STACK: usize = 512 * 1024;

/// What a group's monitor needs from the agent.
pub struct Means<'a> {
    /// Where slow work runs.
    pub runtime: &'a Handle,
    /// The tests and loads of the agent's groups.
    pub objects: &'a Pool,
    /// The start of this agent: higher than at any earlier start of this host.
    pub boot: u64,
    /// Answers for the group's addresses.
    pub plane: Box<dyn DataPlane>,
    /// Reads what the data plane counted for all addresses of the group.
    pub traffic: Traffic,
    /// Puts addresses in place.
    pub addresses: Addresses,
    /// Where events are written down.
    pub log: Arc<EventLog>,
    /// Whether the protocol threads run at real-time priority.
    pub realtime: bool,
    /// Whether the group begins quiesced.
    pub quiesced: bool,
    /// Takes note of what the group is told and decides.
    pub recorder: Recorder,
    /// Who speaks in notifications of version 3.
    pub engine: Option<AuthoritativeEngine>,
    /// Told the group's name when its driver ends, for whatever reason.
    pub ended: mpsc::Sender<String>,
}

/// Why a group could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its control sockets.
    #[error(transparent)]
    Sockets(#[from] SetUpError),
    /// Its announcements.
    #[error(transparent)]
    Announce(#[from] AnnounceError),
    /// Its seal.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Its threads.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
}

/// A running group.
pub struct Monitor {
    inbox: Inbox,
    objects: Mutex<Objects>,
    traffic: Arc<Mutex<Traffic>>,
    scripts: Scripts,
    names: Mutex<Option<Names>>,
    received: Arc<ReceiveCounters>,
    measures: Arc<Measures>,
    traps: Arc<Counters>,
    other_traps: mpsc::Sender<Traps>,
    told: watch::Receiver<()>,
    ended: watch::Receiver<bool>,
    _receive: ReceiveThread,
}

/// Reads what the data plane counted for all addresses of a group.
pub type Traffic = Box<dyn FnMut() -> Result<objects::Counted, String> + Send>;

/// Says that the driver has ended, however it did.
struct End {
    group: String,
    agent: mpsc::Sender<String>,
    ended: watch::Sender<bool>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.ended.send_replace(true);
        // There is room for every group; an agent that has gone need not be told.
        drop(self.agent.try_send(std::mem::take(&mut self.group)));
    }
}

/// A thread that waits for a driver to run. It ends without one when this is dropped.
struct Thread {
    gate: SyncSender<Box<Driver>>,
    ended: watch::Receiver<bool>,
}

impl Thread {
    /// Whoever looks at `ended` is told when the driver ends, and so is the agent.
    fn spawn(name: &str, realtime: bool, agent: mpsc::Sender<String>) -> io::Result<Self> {
        let (tell, ended) = watch::channel(false);
        let (gate, driver) = sync_channel::<Box<Driver>>(1);
        let group = name.to_owned();
        let thread =
            std::thread::Builder::new().name(format!("rais-{name}")).stack_size(DRIVER_STACK);
        thread.spawn(move || {
            let Ok(driver) = driver.recv() else { return };
            let _end = End { group, agent, ended: tell };
            privileges::settle_this_thread();
            realtime::raise_this_thread(realtime);
            driver.run();
        })?;
        Ok(Self { gate, ended })
    }
}

/// What the scripts of a group are told, whatever happens.
fn surroundings(group: &checked::Group) -> Surroundings {
    Surroundings {
        group: group.settings.name.clone(),
        host: group.settings.host,
        interface: group.service_interface.name.clone(),
        place: match group.address_mode {
            AddressMode::Interface => Place::Interface(group.service_interface.index),
            AddressMode::Route { .. } => Place::Route,
        },
        scripts: group.scripts.clone(),
    }
}

/// Announces the group's addresses. Nobody else asks the interface for the multicast groups of
/// addresses that it does not have.
fn announcer(group: &checked::Group) -> Result<Announcer, AnnounceError> {
    let routes = matches!(group.address_mode, AddressMode::Route { .. });
    Announcer::start(&group.service_interface, routes)
}

/// Puts the group's addresses in place beforehand, where that is wanted, and else what takes long of
/// it where there are many.
fn arm(group: &checked::Group, runtime: &Handle, inbox: &Inbox, addresses: Addresses) {
    let (name, inbox) = (group.settings.name.clone(), inbox.clone());
    if matches!(group.address_mode, AddressMode::Route { prearm: true }) {
        runtime.spawn(prearm::run(name, inbox, addresses));
    } else {
        runtime.spawn(counters::run(name, inbox));
    }
}

/// A group of which everything that can fail has been done. Nothing of it acts yet; dropped, it
/// leaves no trace.
pub struct Prepared<'a> {
    group: &'a checked::Group,
    means: Means<'a>,
    inbox: Inbox,
    inputs: std::sync::mpsc::Receiver<Box<Input>>,
    encoder: Encoder,
    sockets: Arc<Mutex<Receiver>>,
    transmitter: Transmitter,
    announcer: Announcer,
    receive: ReceiveThread,
    thread: Thread,
}

impl<'a> Prepared<'a> {
    /// Prepares everything a group needs.
    ///
    /// # Errors
    /// Nothing of it is left then.
    pub fn new(group: &'a checked::Group, means: Means<'a>) -> Result<Self, StartError> {
        let (host, name) = (group.settings.host, &group.settings.name);
        let (inbox, inputs) = driver::inbox();
        // The first thing that the driver takes, before the group could be assigned anything.
        if means.quiesced && !driver::offer(&inbox, Event::Quiesce(true)) {
            tracing::error!(group = name, "it is not quiesced: a new inbox is full");
        }
        let tag = GroupTag::new(name, group.address);
        let encoder = Encoder::new(tag, host, &group.seal)?;
        let decoder = Decoder::new(tag, host, encoder.salt(), &group.seal);
        let sockets = Receiver::open(group.address, &group.control_interfaces, decoder)?;
        let sockets = Arc::new(Mutex::new(sockets));
        let transmitter = Transmitter::open(group.address, &group.control_interfaces)?;
        let announcer = announcer(group)?;
        let arrivals = inbox.clone();
        let received = Arc::clone(&sockets);
        let receive = ReceiveThread::spawn(name, received, means.realtime, move |event| {
            driver::offer(&arrivals, event)
        })?;
        let thread = Thread::spawn(name, means.realtime, means.ended.clone())?;
        Ok(Self {
            group,
            means,
            inbox,
            inputs,
            encoder,
            sockets,
            transmitter,
            announcer,
            receive,
            thread,
        })
    }

    /// Starts it.
    #[must_use]
    pub fn start(self) -> Monitor {
        let Self { group, means, inbox, thread, sockets, .. } = self;
        let settings = group.settings.clone();
        let (host, name) = (settings.host, settings.name.clone());
        let received = sockets.lock().unwrap_or_else(PoisonError::into_inner).counters();
        let (reports, reported) = reports::queue();
        let events = events(&inbox);
        let around = surroundings(group);
        let placing = if means.plane.places_addresses() {
            Placing::DataPlane
        } else {
            Placing::Here(means.addresses.clone())
        };
        let scripts = Scripts::start(means.runtime, around, placing, Arc::clone(&events));
        let (views, names) = keep_zone(means.runtime, group, &means.log);
        let measures = Arc::new(Measures::default());
        let (start, mut recorder) = (clock::now(), means.recorder);
        recorder.start(&settings, means.boot, start);
        let driver = Driver {
            group: Group::new(settings, means.boot, start),
            plane: means.plane,
            inbox: self.inputs,
            sockets,
            encoder: self.encoder,
            transmitter: self.transmitter,
            scripts: scripts.clone(),
            announcer: self.announcer,
            reports,
            views,
            recorder,
            lease_until: Time::ZERO,
            mover: None,
            complained: false,
            measures: Arc::clone(&measures),
            due: None,
            waiting: driver::Waiting::default(),
        };
        if thread.gate.try_send(Box::new(driver)).is_err() {
            tracing::error!(group = name, "its thread has gone");
        }
        arm(group, means.runtime, &inbox, means.addresses);
        let speaker = Speaker { group: name, host, engine: means.engine };
        let traps = Traps::start(means.runtime, group.traps.as_ref(), &speaker);
        let counters = Arc::clone(traps.counters());
        let (other_traps, others) = mpsc::channel(1);
        let readers = Readers {
            log: means.log,
            scripts: scripts.clone(),
            measures: Arc::clone(&measures),
            traps,
            other_traps: others,
        };
        let told = reports::start(means.runtime, reported, speaker, readers);
        let traffic = Arc::new(Mutex::new(means.traffic));
        let tests = group.tests.iter().cloned().map(|test| means.objects.test(test)).collect();
        let loads = loads(means.runtime, means.objects, &group.loads, &traffic);
        let objects = Objects::start(means.runtime, tests, loads, events);
        Monitor {
            inbox,
            objects: Mutex::new(objects),
            traffic,
            scripts,
            names: Mutex::new(names),
            received,
            measures,
            traps: counters,
            other_traps,
            told,
            ended: thread.ended,
            _receive: self.receive,
        }
    }
}

/// Keeps the group's zone, where it has one.
fn keep_zone(
    runtime: &Handle,
    group: &checked::Group,
    log: &Arc<EventLog>,
) -> (Option<Views>, Option<Names>) {
    let service = group.dns.as_ref();
    service.map(|dns| dns::start(runtime, group, dns, Arc::clone(log))).unzip()
}

impl Monitor {
    /// Starts everything a group needs.
    ///
    /// # Errors
    /// Nothing of it runs then.
    pub fn start(group: &checked::Group, means: Means<'_>) -> Result<Self, StartError> {
        Prepared::new(group, means).map(Prepared::start)
    }

    /// The group now, and its control interfaces in the order of the configuration. None once the
    /// driver has ended.
    pub async fn view(&self) -> Option<(View, Vec<Link>)> {
        let (reply, answer) = oneshot::channel();
        self.inbox.try_send(Box::new(Input::View(reply))).ok()?;
        answer.await.ok()
    }

    /// Has the leader move an address, and waits until that is done. None once the driver has
    /// ended.
    pub async fn relocate(&self, address: IpAddr, to: HostId) -> Option<Result<(), MoveRefusal>> {
        let (reply, answer) = oneshot::channel();
        self.inbox.try_send(Box::new(Input::Move { address, to, reply })).ok()?;
        answer.await.ok()
    }

    /// How each test stands.
    #[must_use]
    pub fn tests(&self) -> Vec<TestStatus> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner).tests()
    }

    /// What the group's zone says; none where no zone is kept.
    #[must_use]
    pub fn names(&self) -> Option<Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was received and refused.
    #[must_use]
    pub fn received(&self) -> &ReceiveCounters {
        &self.received
    }

    /// What the group's threads counted and measured.
    #[must_use]
    pub const fn measures(&self) -> &Arc<Measures> {
        &self.measures
    }

    /// Tells the group something. False where the driver has ended.
    #[must_use]
    pub fn tell(&self, event: Event) -> bool {
        driver::deliver(&self.inbox, event)
    }

    /// What became of notifications.
    #[must_use]
    pub fn traps(&self) -> &Counters {
        &self.traps
    }

    /// Once the driver has ended: waits until everything it reported was written down and sent.
    pub async fn reported(&self) {
        // Nothing is ever sent; the end of the sender is what is waited for.
        drop(self.told.clone().changed().await);
    }

    /// The driver has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }

    /// Waits for the driver to end.
    pub async fn ended(&self) {
        // An error means that its sender is gone, which is the end as well.
        drop(self.ended.clone().wait_for(|&ended| ended).await);
    }
}

/// Hands the driver what happens on the runtime.
fn events(inbox: &Inbox) -> Arc<dyn Fn(Event) + Send + Sync> {
    let inbox = inbox.clone();
    Arc::new(move |event| {
        if !driver::deliver(&inbox, event) {
            tracing::debug!("an event came after the group's end");
        }
    })
}

/// The group's load objects, those that other groups have too shared with them. Only one can
/// measure the traffic, which is the group's own; all that do share its reader.
fn loads(
    runtime: &Handle,
    pool: &Pool,
    loads: &[checked::Load],
    traffic: &Arc<Mutex<Traffic>>,
) -> Vec<Box<dyn LoadObject>> {
    let object = |load: &checked::Load| -> Box<dyn LoadObject> {
        match load {
            checked::Load::Traffic { unit, capacity } => {
                let reader = Arc::clone(traffic);
                let read = move || reader.lock().unwrap_or_else(PoisonError::into_inner)();
                Box::new(objects::Traffic::new(read, *unit, *capacity))
            }
            checked::Load::Cpu { capacity } => {
                pool.load(load, || Box::new(objects::Cpu::new(*capacity)))
            }
            checked::Load::Pressure { resource, capacity } => {
                pool.load(load, || Box::new(objects::Pressure::new(*resource, *capacity)))
            }
            checked::Load::Script(script) => {
                let start = || objects::LoadScript::start(runtime, script.clone());
                pool.load(load, || Box::new(start()))
            }
        }
    };
    loads.iter().map(object).collect()
}
