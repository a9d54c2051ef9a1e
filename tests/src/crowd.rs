//! Very many hosts with very many addresses: groups on virtual time, in steps of a millisecond, with
//! loss between them and an interface that obeys at once. Every message goes through the codec and
//! the seal, and must fit a datagram.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a test fails by panicking"
)]

pub mod listener;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use rais::config::checked::{Key, Seal};
use rais::group::{
    Action, Event, Failback, Group, HostId, Message, Placement, Role, Settings, View,
};
use rais::wire::{Encoder, GroupTag};
use rais_common::time::Time;

use crate::cluster::random::Random;

/// Interval between heartbeats.
pub const HEARTBEAT: Duration = Duration::from_millis(100);
/// Silence after which a host is dead.
pub const TIMEOUT: Duration = Duration::from_millis(350);

/// What a crowd looks like.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// How many hosts.
    pub hosts: usize,
    /// How many addresses belong to each.
    pub preferred: usize,
    /// How many belong to nobody.
    pub floating: usize,
    /// Of a thousand datagrams, so many are lost, by each host for itself.
    pub loss: u64,
    /// Datagrams sent in the same millisecond arrive in any order.
    pub overtaking: bool,
}

impl Default for Size {
    fn default() -> Self {
        Self { hosts: 3, preferred: 10, floating: 0, loss: 0, overtaking: false }
    }
}

/// What hosts that died at once left behind, and what became of it.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    /// How many addresses they had.
    pub addresses: usize,
    /// After what time all of them were answered for again.
    pub took: Duration,
    /// The longest datagram of the whole run.
    pub longest: usize,
}

/// Kills as many hosts as `dying` at once, evenly among all and the first, who leads, among them,
/// once everything is in order. The seed says in which millisecond.
#[must_use]
pub fn fail(size: Size, dying: usize, seed: u64) -> Failure {
    let mut crowd = Crowd::new(size, seed);
    crowd.settle(Duration::from_secs(10));
    crowd.pass(500 + seed % 100);
    let before = crowd.answered();
    (0..dying).for_each(|n| crowd.kill(n * size.hosts / dying));
    let addresses = before - crowd.answered();
    let took = crowd.settle(Duration::from_secs(10));
    Failure { addresses, took, longest: crowd.longest }
}

/// A host of a crowd.
struct Host {
    group: Option<Group>,
    encoder: Encoder,
    inbox: Vec<Arc<Message>>,
    open: BTreeSet<IpAddr>,
    /// Until when its data plane answers; it goes on without its agent.
    lease: Time,
}

/// Hosts, by number.
pub struct Crowd {
    now: Time,
    hosts: Vec<Host>,
    random: Random,
    size: Size,
    sent: Vec<Arc<Message>>,
    /// The longest datagram so far.
    pub longest: usize,
    /// Datagrams sent, and bytes.
    pub datagrams: (u64, u64),
}

/// The id of a host.
#[must_use]
pub fn id(host: usize) -> HostId {
    let n = u32::try_from(host).unwrap();
    HostId(IpAddr::V4(Ipv4Addr::from(0x0a01_0001 + n)))
}

/// A service address: those from 0 belong to hosts, the last ones float.
#[must_use]
pub fn address(n: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(0x0a80_0000 + u32::try_from(n).unwrap()))
}

/// The key all of a crowd share.
#[must_use]
pub fn seal() -> Seal {
    Seal::Keys(vec![Key([7; 32])])
}

/// The name of its group on the wire.
#[must_use]
pub fn tag() -> GroupTag {
    GroupTag::new("crowd", "239.77.0.1:7077".parse().unwrap())
}

/// The settings of a host.
#[must_use]
pub fn settings(size: Size, host: usize) -> Settings {
    let floats = size.hosts * size.preferred;
    Settings {
        name: "crowd".to_owned(),
        host: id(host),
        control_addresses: vec![id(host).0],
        mac: [2; 6],
        role: Role::Member,
        heartbeat: HEARTBEAT,
        timeout: TIMEOUT,
        lease: TIMEOUT.saturating_sub(HEARTBEAT),
        preferred: (0..size.preferred).map(|n| address(host * size.preferred + n)).collect(),
        floating: (floats..floats + size.floating).map(address).collect(),
        quorum: 1,
        failback: Failback::Never,
        placement: Placement::LeastUtilised,
        balance: None,
        spread: false,
        orphan_timeout: Duration::from_hours(24),
        action_limit: Duration::from_secs(5),
        acquire_script: false,
        release_script: false,
        seed: 1,
    }
}

impl Crowd {
    /// Hosts that all start now.
    #[must_use]
    pub fn new(size: Size, seed: u64) -> Self {
        let now = Time::from_nanos(1_000_000_000);
        let host = |n| Host {
            group: Some(Group::new(settings(size, n), 1, now)),
            encoder: Encoder::new(tag(), id(n), &seal()).unwrap(),
            inbox: Vec::new(),
            open: BTreeSet::new(),
            lease: Time::ZERO,
        };
        let mut crowd = Self {
            now,
            hosts: (0..size.hosts).map(host).collect(),
            random: Random::new(seed),
            size,
            sent: Vec::new(),
            longest: 0,
            datagrams: (0, 0),
        };
        for n in 0..size.hosts {
            crowd.give(n, Event::Health { ok: true, detail: String::new() });
        }
        crowd
    }

    /// Lets a millisecond pass.
    pub fn step(&mut self) {
        self.now = self.now + Duration::from_millis(1);
        for message in std::mem::take(&mut self.sent) {
            for (n, host) in self.hosts.iter_mut().enumerate() {
                if id(n) != message.source && !self.random.per_mille(self.size.loss) {
                    host.inbox.push(Arc::clone(&message));
                }
            }
        }
        for n in 0..self.hosts.len() {
            let mut inbox = std::mem::take(&mut self.hosts[n].inbox);
            if self.size.overtaking {
                (1..inbox.len()).rev().for_each(|n| inbox.swap(n, self.random.index(n + 1)));
            }
            for message in inbox {
                let message = Message::clone(&message);
                self.give(n, Event::Received { at: self.now, message });
            }
            let due = self.hosts[n].group.as_ref().is_some_and(|g| g.next_deadline() <= self.now);
            if due {
                self.give(n, Event::Tick);
            }
        }
    }

    /// Lets time pass until every address is answered for by one live host. Returns how long.
    pub fn settle(&mut self, limit: Duration) -> Duration {
        let begin = self.now;
        while self.answered() < self.addresses() {
            let missing = self.addresses() - self.answered();
            assert!(self.now.since(begin) < limit, "{missing} addresses not served in {limit:?}");
            self.step();
        }
        self.now.since(begin)
    }

    /// Lets so many milliseconds pass.
    pub fn pass(&mut self, ms: u64) {
        (0..ms).for_each(|_| self.step());
    }

    /// Kills the agent of a host. Its data plane answers on until its lease ends.
    pub fn kill(&mut self, host: usize) {
        self.hosts[host].group = None;
    }

    /// Starts the agent of a host that was killed. What it had is gone.
    pub fn start(&mut self, host: usize) {
        let boot = self.now.as_nanos();
        self.hosts[host].group = Some(Group::new(settings(self.size, host), boot, self.now));
        self.hosts[host].open.clear();
        self.give(host, Event::Health { ok: true, detail: String::new() });
    }

    /// What a live host sees.
    #[must_use]
    pub fn view(&self, host: usize) -> View {
        self.hosts[host].group.as_ref().expect("a live host").view(self.now)
    }

    /// How many addresses there are.
    #[must_use]
    pub fn addresses(&self) -> usize {
        self.size.hosts * self.size.preferred + self.size.floating
    }

    /// How many of them a live host answers for.
    #[must_use]
    pub fn answered(&self) -> usize {
        let live = self.hosts.iter().filter(|h| h.group.is_some() && self.now < h.lease);
        live.map(|host| host.open.len()).sum()
    }

    fn give(&mut self, host: usize, event: Event) {
        let mut events = vec![event];
        while !events.is_empty() {
            let mut results = Vec::new();
            for event in events {
                let Some(group) = &mut self.hosts[host].group else { return };
                for action in group.handle(self.now, event) {
                    results.extend(self.carry_out(host, action));
                }
            }
            events = results;
        }
    }

    fn carry_out(&mut self, host: usize, action: Action) -> Option<Event> {
        match action {
            Action::Fence(addresses) => {
                let open = &mut self.hosts[host].open;
                open.retain(|address| !addresses.contains(address));
            }
            Action::Forward { address, .. } => {
                self.hosts[host].open.remove(&address);
            }
            Action::Open { address, .. } => {
                let answers = |h: &Host| self.now < h.lease && h.open.contains(&address);
                let other = (0..self.hosts.len()).find(|&n| n != host && answers(&self.hosts[n]));
                assert_eq!(other, None, "I1: {address} is open there and on {host}");
                self.hosts[host].open.insert(address);
            }
            Action::Heartbeat { message, lease_until, .. } => {
                self.send(host, message);
                self.hosts[host].lease = lease_until;
                return Some(Event::HeartbeatSent { at: self.now, lease_until });
            }
            Action::Send(message) => self.send(host, message),
            Action::Configure { address, epoch } => {
                return Some(Event::Configured { address, epoch, result: Ok(()) });
            }
            Action::Deconfigure { address, epoch } => {
                return Some(Event::Deconfigured { address, epoch, result: Ok(()) });
            }
            Action::Measure { address, epoch } => {
                return Some(Event::Measured { address, epoch });
            }
            Action::RunScript { .. }
            | Action::Stage { .. }
            | Action::Forget(_)
            | Action::Shorten(_)
            | Action::Announce(_)
            | Action::Report(_)
            | Action::MoveEnded(_)
            | Action::Stopped => {}
        }
        None
    }

    fn send(&mut self, host: usize, message: Message) {
        let length = self.hosts[host].encoder.encode(&message).expect("it fits").len();
        self.longest = self.longest.max(length);
        self.datagrams.0 += 1;
        self.datagrams.1 += u64::try_from(length).unwrap();
        self.sent.push(Arc::new(message));
    }
}

/// Who holds each address, as a view has it.
#[must_use]
pub fn holders(view: &View) -> BTreeMap<IpAddr, Vec<HostId>> {
    view.addresses.iter().map(|a| (a.address, a.holders.clone())).collect()
}
