//! One real group among very many hosts that are not: they say what such hosts would say, and obey.
//! What comes to the group is datagrams, sealed; what it costs is the time its thread had on a core.

use std::collections::BTreeMap;
use std::time::Duration;

use rais::clock;
use rais::group::{
    Action, AddressState, Body, Event, Failback, Group, HostInfo, Info, Known, Message, Order,
    OrderEntry, Phase, Reason, Served, Settings, Sum,
};
use rais::wire::{Decoder, Encoder};
use rais_common::time::Time;

use super::{HEARTBEAT, Size, address, id, seal, settings, tag};

/// The boot of all hosts: a number as long as real ones.
const BOOT: u64 = 1_700_000_000_000_000_000;

/// A host that is not real.
struct Other {
    number: usize,
    encoder: Encoder,
    sequence: u64,
    served: Vec<Served>,
    /// The last message it has heard of the real host.
    heard: u64,
    lives: bool,
    /// What it has is not what it has told.
    changed: bool,
}

/// A real group and all others of its group.
pub struct Listener {
    size: Size,
    me: usize,
    now: Time,
    group: Group,
    encoder: Encoder,
    decoder: Decoder,
    others: Vec<Other>,
    /// Of the database, as the real host tells it.
    records: Option<Sum>,
    /// What it has cost since it was last asked.
    pub cost: Cost,
}

/// What a group has cost its host.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Time on a core.
    pub spent: Duration,
    /// Of it, in its own ticks.
    pub ticks: Duration,
    /// How many of those there were.
    pub ticked: u32,
    /// The longest time in one go.
    pub longest: Duration,
    /// Datagrams heard.
    pub heard: u32,
    /// Length of the longest of its heartbeats.
    pub bytes: usize,
    /// Addresses it gave orders about.
    pub orders: usize,
    /// Heartbeats it sent.
    pub heartbeats: u32,
}

impl Listener {
    /// A group of hosts that have each what belongs to them. The real one is the leader, or the
    /// last.
    #[must_use]
    pub fn new(size: Size, leads: bool) -> Self {
        let me = if leads { 0 } else { size.hosts - 1 };
        let now = Time::from_nanos(1_000_000_000);
        let settings =
            Settings { failback: Failback::Immediate, spread: true, ..settings(size, me) };
        let encoder = |n| Encoder::new(tag(), id(n), &seal()).unwrap();
        let own = |n| (n * size.preferred..(n + 1) * size.preferred).map(address);
        let other = |n| Other {
            number: n,
            encoder: encoder(n),
            sequence: 1_000_000,
            served: own(n).map(|address| online(address, 1)).collect(),
            heard: 0,
            lives: true,
            changed: false,
        };
        let mut listener = Self {
            size,
            me,
            now,
            group: Group::new(settings, BOOT, now),
            encoder: encoder(me),
            decoder: Decoder::new(tag(), id(me), 0, &seal()),
            others: (0..size.hosts).filter(|&n| n != me).map(other).collect(),
            records: None,
            cost: Cost::default(),
        };
        listener.give(Event::Health { ok: true, detail: String::new() });
        // It joins, and hears of the addresses.
        (0..6).for_each(|_| listener.round());
        if !leads {
            listener.order_own();
        }
        // What is moved for evenness' sake waits for some seconds: nothing is to be.
        (0..40).for_each(|_| listener.round());
        listener.cost = Cost::default();
        listener
    }

    /// Lets the leader give the real host what belongs to it.
    fn order_own(&mut self) {
        let (to, each) = (id(self.me), self.size.preferred);
        for first in (0..each).step_by(rais::group::ORDER_LIMIT) {
            let numbers = first..each.min(first + rais::group::ORDER_LIMIT);
            let entry = |n| OrderEntry {
                address: address(self.me * each + n),
                epoch: 2,
                reason: Reason::Unserved,
                other: None,
            };
            let body = Body::Acquire(Order { to, entries: numbers.map(entry).collect() });
            let datagram = self.others[0].say(body);
            self.hear(&datagram);
        }
    }

    /// A heartbeat of each host, evenly over the time.
    pub fn round(&mut self) {
        let step = HEARTBEAT / u32::try_from(self.size.hosts).unwrap();
        let datagrams: Vec<Vec<Vec<u8>>> =
            (0..self.others.len()).map(|n| self.said_by(n)).collect();
        for datagrams in datagrams {
            self.now = self.now + step;
            for datagram in &datagrams {
                self.hear(datagram);
            }
        }
    }

    /// Hosts that are not real, as many as that, fall silent at once. Returns how many addresses
    /// they had.
    pub fn kill(&mut self, hosts: usize) -> usize {
        let every = self.others.len() / hosts;
        let dying = self.others.iter_mut().skip(1).step_by(every).take(hosts);
        dying
            .map(|other| {
                other.lives = false;
                other.served.len()
            })
            .sum()
    }

    /// How many addresses hosts that live have, the real one left out.
    #[must_use]
    pub fn served(&self) -> usize {
        self.others.iter().filter(|other| other.lives).map(|other| other.served.len()).sum()
    }

    /// How many addresses the real host has online.
    #[must_use]
    pub fn own(&self) -> usize {
        let me = id(self.me);
        let view = self.group.view(self.now);
        view.addresses.iter().filter(|a| a.holders.contains(&me)).count()
    }

    /// What a host has to say.
    fn said_by(&mut self, n: usize) -> Vec<Vec<u8>> {
        let (hosts, me) = (self.size.hosts, self.me);
        let sequences: BTreeMap<usize, u64> = (0..8.min(hosts - 1))
            .map(|k| (self.others[n].number + 1 + k) % hosts)
            .filter(|&k| k != me)
            .map(|k| (k, self.others[if k > me { k - 1 } else { k }].sequence))
            .collect();
        let records = self.records;
        let size = self.size;
        let other = &mut self.others[n];
        if !other.lives {
            return Vec::new();
        }
        // Once for each change, and on schedule.
        let times = if std::mem::take(&mut other.changed) { 2 } else { 1 };
        let mut known: BTreeMap<usize, u64> = sequences;
        known.insert(me, other.heard);
        let age = Duration::from_millis(50);
        let entry = |(k, sequence)| Known { id: id(k), boot: BOOT, sequence, age };
        let known: Vec<Known> = known.into_iter().map(entry).collect();
        let own = other.number * size.preferred..(other.number + 1) * size.preferred;
        let host = HostInfo {
            mac: [2; 6],
            control_addresses: vec![id(other.number).0],
            ok: true,
            quiesced: false,
            phase: Phase::Member,
            leader: Some(id(0)),
            load: 100,
            capacity: 1_000,
            preferred: own.map(address).collect(),
            served: other.served.clone(),
            refused: Vec::new(),
        };
        let info = Info {
            host,
            lists: None,
            known,
            knows_more: true,
            database: Vec::new(),
            records,
            lease: Duration::from_millis(250),
        };
        (0..times).map(|_| other.say(Body::Info(Box::new(info.clone())))).collect()
    }

    /// What a host does about a message of the real one.
    fn obey(&mut self, message: &Message) {
        for other in self.others.iter_mut().filter(|other| other.lives) {
            other.heard = message.sequence;
        }
        let (Body::Acquire(order) | Body::Release(order)) = &message.body else { return };
        let to = self.others.iter_mut().find(|other| id(other.number) == order.to);
        let Some(to) = to.filter(|other| other.lives) else { return };
        for entry in &order.entries {
            to.served.retain(|served| served.address != entry.address);
            if matches!(message.body, Body::Acquire(_)) {
                to.served.push(online(entry.address, entry.epoch));
            }
        }
        to.served.sort_unstable_by_key(|served| served.address);
        to.changed = true;
    }

    /// One datagram, and what is due.
    fn hear(&mut self, datagram: &[u8]) {
        let before = on_core();
        let message = self.decoder.decode(datagram).unwrap();
        self.cost.heard += 1;
        let mut said = self.give(Event::Received { at: self.now, message });
        let heard = on_core();
        let mut after = heard;
        if self.group.next_deadline() <= self.now {
            said.extend(self.give(Event::Tick));
            after = on_core();
            self.cost.ticks += after.saturating_sub(heard);
            self.cost.ticked += 1;
        }
        self.cost.spent += after.saturating_sub(before);
        self.cost.longest = self.cost.longest.max(after.saturating_sub(before));
        for message in said {
            self.obey(&message);
        }
    }

    /// Hands in an event, and what follows from it. Returns what was sent.
    fn give(&mut self, event: Event) -> Vec<Message> {
        let mut events = vec![event];
        let mut said = Vec::new();
        while let Some(event) = events.pop() {
            for action in self.group.handle(self.now, event) {
                match action {
                    Action::Heartbeat { message, lease_until, .. } => {
                        let length = self.encoder.encode(&message).unwrap().len();
                        self.cost.bytes = self.cost.bytes.max(length);
                        self.cost.heartbeats += 1;
                        if let Body::Info(info) = &message.body {
                            self.records = info.records;
                        }
                        said.push(message);
                        events.push(Event::HeartbeatSent { at: self.now, lease_until });
                    }
                    Action::Send(message) => {
                        self.encoder.encode(&message).unwrap();
                        if let Body::Acquire(order) | Body::Release(order) = &message.body {
                            self.cost.orders += order.entries.len();
                        }
                        said.push(message);
                    }
                    Action::Configure { address, epoch } => {
                        events.push(Event::Configured { address, epoch, result: Ok(()) });
                    }
                    Action::Deconfigure { address, epoch } => {
                        events.push(Event::Deconfigured { address, epoch, result: Ok(()) });
                    }
                    Action::Fence(_)
                    | Action::Open { .. }
                    | Action::Forget(_)
                    | Action::Measure { .. }
                    | Action::RunScript { .. }
                    | Action::Announce(_)
                    | Action::Report(_)
                    | Action::MoveEnded(_)
                    | Action::Shorten(_)
                    | Action::Stage { .. }
                    | Action::Forward { .. }
                    | Action::Stopped => {}
                }
            }
        }
        said
    }
}

impl Other {
    fn say(&mut self, body: Body) -> Vec<u8> {
        self.sequence += 1;
        let (source, sequence) = (id(self.number), self.sequence);
        let message = Message { source, boot: BOOT, sequence, body };
        self.encoder.encode(&message).unwrap().to_vec()
    }
}

const fn online(address: std::net::IpAddr, epoch: u64) -> Served {
    Served { address, state: AddressState::Online, epoch }
}

/// The time this thread has had on a core.
fn on_core() -> Duration {
    Duration::from_nanos(clock::on_core_nanos())
}
