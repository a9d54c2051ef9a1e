//! The scripts room: slow work for addresses, away from the heartbeat.
//!
//! Jobs of one address run strictly in order. Scripts of different addresses run side by side,
//! within a limit; what is to be done in the kernel goes there many addresses at a time, beside
//! them, so that hanging scripts do not keep addresses from moving. Notices run one after the other, apart from all addresses. Everything runs on the
//! shared runtime, whose threads are not realtime (see [`crate::process`]).

mod lanes;

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinSet};

use crate::addresses::{AddressError, Addresses, Change, Place};
use crate::clock;
use crate::config::checked;
use crate::group::{AddressScript, Event, HostId, Reason};
use crate::process::{self, Program};

use lanes::{Lane, Lanes};

/// Most jobs on their way to the room, and as many again inside it: as many as there can be
/// addresses.
const QUEUE_LIMIT: usize = rais_common::maps::MAX_ADDRESSES as usize;

/// Most notices that wait for their turn.
const NOTICE_LIMIT: usize = 256;

/// Most addresses that are put in place or taken away together. The kernel does it one by one; so
/// many requests are handed to it at a time, and after as many what came of them is told, if that
/// has not been done for so long.
const INTERFACE_LIMIT: usize = 1_024;
const REQUESTS: usize = 64;
const TELL_EVERY: Duration = Duration::from_millis(5);

/// Most scripts of addresses that run at once.
const SCRIPT_LIMIT: usize = 64;

/// Something slow to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// Put the address on the interface. Ends with [`Event::Configured`].
    Configure {
        /// The address.
        address: IpAddr,
        /// Its epoch.
        epoch: u64,
    },
    /// Take the address off the interface. Ends with [`Event::Deconfigured`].
    Deconfigure {
        /// The address.
        address: IpAddr,
        /// Its epoch.
        epoch: u64,
    },
    /// Run a script for the address. Ends with [`Event::ScriptEnded`], with success where none is
    /// configured.
    Script {
        /// Which.
        script: AddressScript,
        /// For which address.
        address: IpAddr,
        /// Its epoch.
        epoch: u64,
        /// Why the address moves.
        reason: Reason,
    },
    /// Run a script that nothing depends on; a failure is logged.
    Notice(Notice),
}

/// What a notice is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The tests began to fail (`test_failed`).
    TestFailed {
        /// In words, for `RAIS_REASON`.
        detail: String,
    },
    /// No host can take this address (`cannot_assign`).
    CannotAssign(IpAddr),
}

/// The room takes no more: the job was not accepted, and nothing comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the scripts room has {QUEUE_LIMIT} jobs waiting and takes no more")]
pub struct Full;

/// What the room knows about its group.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Name of the group.
    pub group: String,
    /// This host.
    pub host: HostId,
    /// Name of the service interface.
    pub interface: String,
    /// Where addresses are put.
    pub place: Place,
    /// The scripts and their deadline, at first.
    pub scripts: checked::Scripts,
}

/// What puts addresses in place and takes them away.
pub trait Netlink: Send + Sync + 'static {
    /// See [`Addresses::apply`].
    fn apply(
        &self,
        changes: Vec<Change>,
    ) -> impl Future<Output = Vec<Result<(), AddressError>>> + Send;
}

/// Who puts a group's addresses in place.
#[derive(Clone, Debug)]
pub enum Placing {
    /// This room, so.
    Here(Addresses),
    /// The data plane, when it opens and fences them: nothing is left to do.
    DataPlane,
}

impl Netlink for Placing {
    async fn apply(&self, changes: Vec<Change>) -> Vec<Result<(), AddressError>> {
        match self {
            Self::Here(addresses) => addresses.apply(changes).await,
            Self::DataPlane => changes.iter().map(|_| Ok(())).collect(),
        }
    }
}

/// Takes jobs. When the last copy is dropped, what waits is forgotten and what runs is killed.
#[derive(Clone, Debug)]
pub struct Scripts {
    jobs: mpsc::Sender<Job>,
    programs: Programs,
}

/// The scripts as they are configured now.
type Programs = Arc<Mutex<checked::Scripts>>;

impl Scripts {
    /// Opens the room on `runtime`. `events` is called on the runtime's threads and must not wait.
    pub fn start<N: Netlink>(
        runtime: &Handle,
        surroundings: Surroundings,
        netlink: N,
        events: Arc<dyn Fn(Event) + Send + Sync>,
    ) -> Self {
        let (jobs, inbox) = mpsc::channel(QUEUE_LIMIT);
        let programs = Arc::new(Mutex::new(surroundings.scripts.clone()));
        let known = Arc::clone(&programs);
        let worker = Arc::new(Worker { surroundings, programs: known, netlink, events });
        runtime.spawn(Room::new(worker).run(inbox));
        Self { jobs, programs }
    }

    /// Other scripts, for what has not begun yet.
    pub fn change(&self, scripts: checked::Scripts) {
        *self.programs.lock().unwrap_or_else(PoisonError::into_inner) = scripts;
    }

    /// Hands in a job; never waits.
    ///
    /// # Errors
    /// [`Full`]; also when the runtime has ended.
    pub fn submit(&self, job: Job) -> Result<(), Full> {
        self.jobs.try_send(job).map_err(|_refused| Full)
    }
}

/// The room's own task: hands out jobs, one at a time for each address.
struct Room<N> {
    worker: Arc<Worker<N>>,
    lanes: Lanes,
    notices: VecDeque<Notice>,
    noticing: bool,
    tasks: JoinSet<()>,
    running: HashMap<Id, Running>,
}

/// What a task of the room is busy with.
enum Running {
    Jobs(Lane, Vec<IpAddr>),
    Notice,
}

impl<N: Netlink> Room<N> {
    fn new(worker: Arc<Worker<N>>) -> Self {
        Self {
            worker,
            lanes: Lanes::new(INTERFACE_LIMIT, SCRIPT_LIMIT),
            notices: VecDeque::new(),
            noticing: false,
            tasks: JoinSet::new(),
            running: HashMap::new(),
        }
    }

    async fn run(mut self, mut inbox: mpsc::Receiver<Job>) {
        let mut arrived = Vec::new();
        loop {
            let room = QUEUE_LIMIT.saturating_sub(self.lanes.waiting()).min(INTERFACE_LIMIT);
            tokio::select! {
                count = inbox.recv_many(&mut arrived, room), if room > 0 => {
                    if count == 0 {
                        return;
                    }
                    arrived.drain(..).for_each(|job| self.accept(job));
                }
                Some(ended) = self.tasks.join_next_with_id() => self.ended(&ended),
            }
            self.hand_out();
        }
    }

    fn accept(&mut self, job: Job) {
        match job {
            Job::Configure { address, .. } | Job::Deconfigure { address, .. } => {
                self.lanes.push(Lane::Interface, address, job);
            }
            Job::Script { address, .. } => self.lanes.push(Lane::Script, address, job),
            Job::Notice(notice) if self.notices.len() < NOTICE_LIMIT => {
                self.notices.push_back(notice);
            }
            Job::Notice(notice) => {
                let group = &self.worker.surroundings.group;
                tracing::warn!(group, "too many notices wait, left out: {notice:?}");
            }
        }
    }

    fn hand_out(&mut self) {
        while let Some((lane, addresses, jobs)) = self.lanes.next() {
            let worker = Arc::clone(&self.worker);
            let task = self.tasks.spawn(async move { worker.work(jobs).await });
            self.running.insert(task.id(), Running::Jobs(lane, addresses));
        }
        if !self.noticing
            && let Some(notice) = self.notices.pop_front()
        {
            let worker = Arc::clone(&self.worker);
            let task = self.tasks.spawn(async move { worker.notify(notice).await });
            self.running.insert(task.id(), Running::Notice);
            self.noticing = true;
        }
    }

    fn ended(&mut self, ended: &Result<(Id, ()), tokio::task::JoinError>) {
        let id = match ended {
            Ok((id, ())) => *id,
            // A defect of ours; its addresses must not be stuck for ever all the same.
            Err(e) => {
                tracing::error!(group = self.worker.surroundings.group, "job: {e}");
                e.id()
            }
        };
        match self.running.remove(&id) {
            Some(Running::Jobs(lane, addresses)) => self.lanes.done(lane, &addresses),
            Some(Running::Notice) => self.noticing = false,
            None => {}
        }
    }
}

/// What every task of the room needs.
struct Worker<N> {
    surroundings: Surroundings,
    programs: Programs,
    netlink: N,
    events: Arc<dyn Fn(Event) + Send + Sync>,
}

impl<N: Netlink> Worker<N> {
    fn scripts(&self) -> checked::Scripts {
        self.programs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Carries out jobs of one lane: those for the kernel together, or one script.
    async fn work(&self, jobs: Vec<Job>) {
        let mut requests = Vec::new();
        for job in jobs {
            match job {
                Job::Configure { address, epoch } => requests.push((true, address, epoch)),
                Job::Deconfigure { address, epoch } => requests.push((false, address, epoch)),
                Job::Script { script, address, epoch, reason } => {
                    let result = self.script(script, address, epoch, reason).await;
                    (self.events)(Event::ScriptEnded { script, address, epoch, result });
                }
                Job::Notice(notice) => self.notify(notice).await,
            }
        }
        self.change(&requests).await;
    }

    /// Puts addresses in place (true) and takes them away, and tells now and then what came of it.
    async fn change(&self, requests: &[(bool, IpAddr, u64)]) {
        let place = self.surroundings.place;
        let (mut done, mut told) = (Vec::new(), clock::now());
        for some in requests.chunks(REQUESTS) {
            let change = |&(add, address, _): &(bool, IpAddr, u64)| Change { add, place, address };
            let results = self.netlink.apply(some.iter().map(change).collect()).await;
            for (&(add, address, epoch), result) in some.iter().zip(results) {
                let result = result.map_err(|e| e.to_string());
                done.push(if add {
                    Event::Configured { address, epoch, result }
                } else {
                    Event::Deconfigured { address, epoch, result }
                });
            }
            if clock::now().since(told) >= TELL_EVERY {
                self.tell(&mut done);
                told = clock::now();
            }
        }
        self.tell(&mut done);
    }

    fn tell(&self, done: &mut Vec<Event>) {
        if let Some(event) = Event::together(std::mem::take(done)) {
            (self.events)(event);
        }
    }

    async fn script(
        &self,
        script: AddressScript,
        address: IpAddr,
        epoch: u64,
        reason: Reason,
    ) -> Result<(), String> {
        let scripts = self.scripts();
        let (event, path) = match script {
            AddressScript::Acquire => ("acquire", scripts.acquire),
            AddressScript::Release => ("release", scripts.release),
        };
        let Some(path) = path else { return Ok(()) };
        let mut environment = self.environment(event, reason.word());
        environment.push(("RAIS_ADDRESS", address.to_string()));
        environment.push(("RAIS_EPOCH", epoch.to_string()));
        let program = Program { path, arguments: Vec::new(), environment };
        process::run(&program, scripts.timeout).await.map(drop).map_err(|e| e.to_string())
    }

    async fn notify(&self, notice: Notice) {
        let scripts = self.scripts();
        let (path, environment) = match notice {
            Notice::TestFailed { detail } => {
                (scripts.test_failed, self.environment("test_failed", &detail))
            }
            Notice::CannotAssign(address) => {
                let mut environment = self.environment("cannot_assign", "no host can take it");
                environment.push(("RAIS_ADDRESS", address.to_string()));
                (scripts.cannot_assign, environment)
            }
        };
        let Some(path) = path else { return };
        let program = Program { path, arguments: Vec::new(), environment };
        if let Err(e) = process::run(&program, scripts.timeout).await {
            tracing::warn!(group = self.surroundings.group, "notice: {e}");
        }
    }

    /// What every script is told.
    fn environment(&self, event: &str, reason: &str) -> Vec<(&'static str, String)> {
        vec![
            ("RAIS_EVENT", event.to_owned()),
            ("RAIS_GROUP", self.surroundings.group.clone()),
            ("RAIS_HOST", self.surroundings.host.to_string()),
            ("RAIS_INTERFACE", self.surroundings.interface.clone()),
            // A NUL, which no environment can hold, would keep the script from starting.
            ("RAIS_REASON", reason.replace('\0', " ")),
        ]
    }
}

#[cfg(test)]
mod tests;
