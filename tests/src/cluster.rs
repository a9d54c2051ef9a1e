//! Simulated clusters: the real `Group` on every host, everything else on virtual time.
//!
//! One queue of happenings, ordered by true time, drives it all; every host has a clock of its
//! own. After each step of each driver the invariants are checked (`checks`). A run depends on
//! nothing but its seed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and most match on a few kinds of many"
)]

pub mod chaos;
mod checks;
mod driver;
mod host;
pub mod network;
pub mod random;
mod setup;
pub mod shrink;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Display;
use std::net::IpAddr;
use std::time::Duration;

use rais::group::{Event, HostId, Message, MoveRefusal, Reason, View};

use host::Host;
use network::{Link, Network};
use random::Random;

pub use setup::{Plan, address, hardware, host_id};

/// Nanoseconds of true time since the run began.
pub type Nanos = u64;

/// How many lines of history a failing run shows.
const TRACE: usize = 80;

/// The times all hosts of a cluster share.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Interval between heartbeats.
    pub heartbeat: Nanos,
    /// Silence after which a host is dead.
    pub timeout: Nanos,
    /// How long a host may answer after a heartbeat.
    pub lease: Nanos,
    /// Longest time the scripts thread takes for one address, except where it fails.
    pub script: Nanos,
    /// After what time an action has failed.
    pub action_limit: Nanos,
}

impl Timing {
    /// Within what time after the last change every address is online again (I2): the timeout,
    /// for a dead host to be noticed or a new one to join; four heartbeats for what is told and
    /// lost and told again; and for the release and the acquisition themselves.
    #[must_use]
    pub const fn settles_within(&self) -> Nanos {
        self.timeout + 4 * self.heartbeat + 2 * self.script
    }
}

#[derive(Debug)]
enum Happening {
    Arrival { to: usize, message: Message },
    Done { host: usize, incarnation: u64, event: Event },
    Wake { host: usize, wake: u64 },
    Thaw { host: usize, incarnation: u64 },
    Probe,
}

/// A simulated cluster. Hosts are named by their index; ids ascend with it.
#[derive(Debug)]
pub struct Cluster {
    now: Nanos,
    queue: BTreeMap<(Nanos, u64), Happening>,
    order: u64,
    timing: Timing,
    hosts: Vec<Host>,
    network: Network,
    /// Of a thousand scripts and interface changes, so many fail, and as many take too long.
    failures: u64,
    anything_failed: bool,
    /// When anything last happened that may move addresses.
    changed: Nanos,
    /// Who opened an address last, and when.
    openers: BTreeMap<IpAddr, (usize, Nanos)>,
    moves: Vec<Move>,
    /// When a leader last had an address released as a matter of policy.
    policy_releases: BTreeMap<IpAddr, Nanos>,
    /// When a host last went on after a pause, perhaps with a message from before it.
    thawed: Nanos,
    /// The longest time after a change at which an address was opened or fenced.
    slowest: Nanos,
    /// How one repeats the run.
    repeat: String,
    verbose: bool,
    trace: VecDeque<String>,
}

/// An address that was opened on another host than before.
#[derive(Clone, Copy, Debug)]
pub struct Move {
    /// When.
    pub at: Nanos,
    /// What.
    pub address: IpAddr,
    /// Who had it before, if anybody.
    pub from: Option<usize>,
    /// Who has it now.
    pub to: usize,
}

impl Cluster {
    /// A cluster whose hosts are all off.
    #[must_use]
    pub fn new(plan: &Plan, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let hosts = plan.hosts(&mut random);
        let majority = usize::try_from(plan.quorum).is_ok_and(|quorum| 2 * quorum > hosts.len());
        let mut network = Network::new(hosts.len(), plan.timing, majority, random.next());
        network.set_links(plan.link);
        let mut cluster = Self {
            now: 0,
            queue: BTreeMap::new(),
            order: 0,
            timing: plan.timing,
            hosts,
            network,
            failures: plan.failures,
            anything_failed: false,
            changed: 0,
            openers: BTreeMap::new(),
            moves: Vec::new(),
            policy_releases: BTreeMap::new(),
            thawed: 0,
            slowest: 0,
            repeat: format!("seed {seed}"),
            verbose: false,
            trace: VecDeque::new(),
        };
        cluster.schedule(plan.timing.heartbeat, Happening::Probe);
        cluster
    }

    /// Says how a failing run is repeated.
    pub fn repeat_with(&mut self, command: String) {
        self.repeat = command;
    }

    /// Records what the group of a host that is off is told and decides, from its start on.
    pub fn record(&mut self, host: usize) {
        self.hosts[host].record();
    }

    /// What was recorded of a host, as `rais run --record` writes it.
    #[must_use]
    pub fn recording(&self, host: usize) -> String {
        let lines = self.hosts[host].recording.iter().flatten();
        lines.map(|line| serde_json::to_string(line).unwrap() + "\n").collect()
    }

    /// Prints the history as it happens.
    pub fn be_verbose(&mut self) {
        self.verbose = true;
    }

    /// Lets time pass.
    pub fn run_for(&mut self, span: Duration) {
        let end = self.now + u64::try_from(span.as_nanos()).unwrap();
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((at, _), happening) = entry.remove_entry();
            self.now = at;
            self.happen(happening);
        }
        self.now = end;
    }

    /// Lets the time pass within which everything has to be in order again.
    pub fn settle(&mut self) {
        let end = self.changed.max(self.network.disturbed_until()) + self.timing.settles_within();
        let span = end.saturating_sub(self.now) + 2 * self.timing.heartbeat;
        self.run_for(Duration::from_nanos(span));
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrival { to, message } => {
                let now = self.now;
                let host = &mut self.hosts[to];
                if host.group.is_some() && host.interface_up {
                    host.socket.push_back((host.clock.at(now), message));
                    self.drive(to);
                }
            }
            Happening::Done { host, incarnation, event } => {
                if self.hosts[host].incarnation == incarnation {
                    self.hosts[host].inbox.push_back(event);
                    self.drive(host);
                }
            }
            Happening::Wake { host, wake } => {
                if self.hosts[host].wake == wake {
                    self.drive(host);
                }
            }
            Happening::Thaw { host, incarnation } => {
                if self.hosts[host].incarnation == incarnation {
                    self.hosts[host].paused = false;
                    self.thawed = self.now;
                    self.note_change(host, "goes on");
                    self.drive(host);
                }
            }
            Happening::Probe => {
                self.check_settled();
                self.schedule(self.now + self.timing.heartbeat, Happening::Probe);
            }
        }
    }

    fn schedule(&mut self, at: Nanos, happening: Happening) {
        self.order += 1;
        self.queue.insert((at, self.order), happening);
    }

    // What scenarios do to hosts and network.

    /// Starts the agent of a host that is off; healthy from the first moment.
    pub fn start(&mut self, host: usize) {
        assert!(self.hosts[host].group.is_none(), "host {host} runs already");
        self.note_change(host, "starts");
        self.hosts[host].start(self.now);
        self.tell(host, Event::Health { ok: true, detail: String::new() });
    }

    /// Starts all hosts and waits until all is in order.
    pub fn start_all(&mut self) {
        for host in 0..self.hosts.len() {
            self.start(host);
        }
        self.settle();
    }

    /// SIGKILL: the agent is gone, the data plane goes on until the lease ends.
    pub fn crash(&mut self, host: usize) {
        self.note_change(host, "crashes");
        self.hosts[host].die(self.now);
    }

    /// SIGSTOP for so long, as soon as the driver has done what it is doing.
    pub fn pause(&mut self, host: usize, span: Duration) {
        self.pause_after(host, 0, span);
    }

    /// SIGSTOP for so long, after so many more steps: turns of the group and single actions, so
    /// that it may come between the look at the clock and what follows from it. Several such pauses follow one another.
    pub fn pause_after(&mut self, host: usize, steps: u32, span: Duration) {
        let nanos = u64::try_from(span.as_nanos()).unwrap();
        self.note_change(host, format_args!("will pause for {span:?} after {steps} steps"));
        self.hosts[host].freezes.push_back((steps, nanos));
        self.drive(host);
    }

    /// SIGTERM.
    pub fn shutdown(&mut self, host: usize) {
        self.note_change(host, "is to end");
        self.tell(host, Event::Shutdown);
    }

    /// The operator quiesces or resumes a host.
    pub fn quiesce(&mut self, host: usize, quiesced: bool) {
        self.note_change(host, format_args!("quiesced: {quiesced}"));
        self.tell(host, Event::Quiesce(quiesced));
    }

    /// The tests of a host fail or pass.
    pub fn set_health(&mut self, host: usize, ok: bool) {
        self.note_change(host, format_args!("healthy: {ok}"));
        self.tell(host, Event::Health { ok, detail: String::new() });
    }

    /// What the load objects of a host say.
    pub fn set_load(&mut self, host: usize, load: u32, capacity: u32) {
        self.tell(host, Event::Load { load, capacity });
    }

    /// The operator asks on a host that an address be moved.
    pub fn relocate(&mut self, asked: usize, address: IpAddr, to: HostId) {
        self.tell(asked, Event::Move { address, to });
    }

    /// How the moves that were asked for on a host ended, in their order.
    #[must_use = "nothing else says whether they were made"]
    pub fn moved(&self, asked: usize) -> &[Result<(), MoveRefusal>] {
        &self.hosts[asked].moved
    }

    /// Takes a host's only interface down or up: nothing leaves, nothing arrives.
    pub fn set_interface(&mut self, host: usize, up: bool) {
        self.note_change(host, format_args!("interface up: {up}"));
        self.hosts[host].interface_up = up;
        for other in (0..self.hosts.len()).filter(|&other| other != host) {
            let cut = !up || !self.hosts[other].interface_up;
            self.network.set_cut(self.now, host, other, cut);
            self.network.set_cut(self.now, other, host, cut);
        }
    }

    /// Cuts or mends one direction between two hosts. Where one has its interface down nothing is
    /// mended.
    pub fn set_cut(&mut self, from: usize, to: usize, cut: bool) {
        let cut = cut || !(self.hosts[from].interface_up && self.hosts[to].interface_up);
        if self.network.set_cut(self.now, from, to, cut) {
            self.note_change(from, format_args!("link to {to} cut: {cut}"));
            self.hosts[to].changed = self.now;
        }
    }

    /// Cuts every link between hosts of different sets, and mends those within a set.
    pub fn partition(&mut self, sets: &[&[usize]]) {
        let set_of = |host: usize| sets.iter().position(|set| set.contains(&host));
        for from in 0..self.hosts.len() {
            for to in (0..self.hosts.len()).filter(|&to| to != from) {
                self.set_cut(from, to, set_of(from) != set_of(to));
            }
        }
    }

    /// For so long, everything from one host to another is held back, and then delivered at once.
    pub fn clog(&mut self, from: usize, to: usize, span: Duration) {
        let until = self.now + u64::try_from(span.as_nanos()).unwrap();
        self.note_change(from, format_args!("link to {to} clogged for {span:?}"));
        self.network.clog(self.now, from, to, until);
        self.hosts[to].changed = self.now;
    }

    /// Mends every link.
    pub fn heal(&mut self) {
        let all: Vec<usize> = (0..self.hosts.len()).collect();
        self.partition(&[&all]);
    }

    /// Gives all links these properties.
    pub fn set_links(&mut self, link: Link) {
        self.changed = self.now;
        self.network.set_links(link);
    }

    /// From now on no script fails.
    pub fn stop_failures(&mut self) {
        self.failures = 0;
    }

    fn tell(&mut self, host: usize, event: Event) {
        if self.hosts[host].group.is_some() {
            self.hosts[host].inbox.push_back(event);
            self.drive(host);
        }
    }

    // What scenarios ask.

    /// True time so far.
    #[must_use]
    pub const fn now(&self) -> Nanos {
        self.now
    }

    /// How many hosts there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// Whether the agent of a host is there, paused or not.
    #[must_use]
    pub fn runs(&self, host: usize) -> bool {
        self.hosts[host].group.is_some()
    }

    /// Whether the agent of a host is there and does not run on.
    #[must_use]
    pub fn is_paused(&self, host: usize) -> bool {
        self.hosts[host].paused
    }

    /// The hosts that answer for an address now.
    #[must_use]
    pub fn answering(&self, address: IpAddr) -> Vec<usize> {
        (0..self.hosts.len()).filter(|&h| self.hosts[h].answers(address, self.now)).collect()
    }

    /// Every address of the cluster's configuration.
    #[must_use]
    pub fn addresses(&self) -> BTreeSet<IpAddr> {
        let settings = self.hosts.iter().map(|host| &host.settings);
        settings.flat_map(|s| s.preferred.iter().chain(&s.floating)).copied().collect()
    }

    /// All moves so far.
    #[must_use]
    pub fn moves(&self) -> &[Move] {
        &self.moves
    }

    /// The group as a host sees it, where its agent runs.
    #[must_use]
    pub fn view(&self, host: usize) -> Option<View> {
        let host = &self.hosts[host];
        host.group.as_ref().map(|group| group.view(host.clock.at(self.now)))
    }

    /// Whom a host follows.
    #[must_use]
    pub fn leader(&self, host: usize) -> Option<usize> {
        let leader = self.view(host)?.leader?;
        self.index(leader)
    }

    /// The longest it took, after a change, until addresses stood still.
    #[must_use]
    pub fn slowest(&self) -> Duration {
        Duration::from_nanos(self.slowest)
    }

    /// Until when a loss of two heartbeats in a row, or a cut, excuses anything.
    #[must_use]
    pub fn disturbed_until(&self) -> Nanos {
        self.network.disturbed_until()
    }

    fn index(&self, id: HostId) -> Option<usize> {
        self.hosts.iter().position(|host| host.id == id)
    }

    // History.

    fn note_change(&mut self, host: usize, what: impl Display) {
        self.changed = self.now;
        self.hosts[host].changed = self.now;
        self.note(host, format_args!("** {what}"));
    }

    fn note(&mut self, host: usize, what: impl Display) {
        let line = format!("{:>13.6}ms host {host}: {what}", self.millis());
        if self.verbose {
            println!("{line}");
        }
        if self.trace.len() == TRACE {
            self.trace.pop_front();
        }
        self.trace.push_back(line);
    }

    #[allow(clippy::cast_precision_loss, reason = "for people to read")]
    fn millis(&self) -> f64 {
        self.now as f64 / 1e6
    }

    fn fail(&self, what: impl Display) -> ! {
        let history: Vec<&str> = self.trace.iter().map(String::as_str).collect();
        panic!(
            "{what}\nat {:.6} ms; repeat with: {}\nlast events:\n{}",
            self.millis(),
            self.repeat,
            history.join("\n")
        );
    }
}

/// Whether a move for this reason needs nothing to have happened to the holder.
const fn is_policy(reason: Reason) -> bool {
    // Superseded: a leader ends the hand-over that another has begun.
    use Reason::{Balance, Duplicate, Expired, Failback, Operator, Spread, Superseded};
    matches!(reason, Failback | Duplicate | Balance | Spread | Operator | Expired | Superseded)
}
