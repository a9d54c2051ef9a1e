//! Sequences of whatever may happen to a [`Group`]: with a driver and a data plane that do as they
//! are asked, but in no particular order and at any time, and with other hosts that say anything.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use rais::data_plane::DataPlane as _;
use rais::data_plane::memory::MemoryPlane;
use rais::group::{
    Action, AddressScript, AddressState, Ask, Balance, Body, Event, Failback, Group, HostId,
    HostInfo, Info, Known, Listed, Message, MoveAnswer, MoveRefusal, MoveRequest, Order,
    OrderEntry, Part, PartOf, Phase, Placement, Reason, Record, Role, Served, Settings, Slice, Sum,
};
use rais_common::time::Time;

const HEARTBEAT: Duration = Duration::from_millis(100);
const TIMEOUT: Duration = Duration::from_millis(350);
const LEASE: Duration = Duration::from_millis(250);
const ACTION_LIMIT: Duration = Duration::from_millis(400);

/// Decisions, from bytes: all zero where there are no more.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    fn flag(&mut self) -> bool {
        self.byte() & 1 != 0
    }

    fn of<T: Copy>(&mut self, first: T, others: &[T]) -> T {
        let position = usize::from(self.byte()) % (others.len() + 1);
        position.checked_sub(1).and_then(|index| others.get(index)).copied().unwrap_or(first)
    }

    fn list<T>(&mut self, item: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..self.byte() % 4).map(|_| item(self)).collect()
    }

    /// A number that is mostly small.
    fn number(&mut self) -> u64 {
        let byte = self.byte();
        match byte {
            255 => u64::MAX,
            254 => u64::MAX - 1,
            253 => u64::from(u32::MAX) + 1,
            _ => u64::from(byte),
        }
    }

    fn span(&mut self) -> Duration {
        match self.byte() % 12 {
            0..=4 => Duration::ZERO,
            5 => Duration::from_micros(u64::from(self.byte())),
            6 => Duration::from_millis(u64::from(self.byte())),
            7 => HEARTBEAT,
            8 => LEASE,
            9 => TIMEOUT,
            10 => Duration::from_secs(u64::from(self.byte()) + 1),
            _ => Duration::from_secs(self.of(86_400, &[31_536_000, 4_000_000_000])),
        }
    }

    fn host(&mut self) -> HostId {
        HostId(IpAddr::from([10, 77, 0, 1 + self.byte() % 5]))
    }

    fn address(&mut self) -> IpAddr {
        IpAddr::from([10, 77, 0, 101 + self.byte() % 5])
    }

    fn reason(&mut self) -> Reason {
        self.of(Reason::Unserved, &[Reason::Failback, Reason::Operator, Reason::HostDown])
    }

    fn result(&mut self) -> Result<(), String> {
        if self.byte().is_multiple_of(4) { Err("no".to_owned()) } else { Ok(()) }
    }

    fn settings(&mut self) -> Settings {
        let me = HostId(IpAddr::from([10, 77, 0, 3]));
        let hold_down = Failback::After(Duration::from_millis(500));
        let balance = Balance { high: 800, low: 500, scale: 1_000 };
        Settings {
            name: "fuzz".to_owned(),
            host: me,
            control_addresses: vec![me.0],
            mac: [2, 0, 0, 0, 0, 3],
            role: self.of(Role::Member, &[Role::Member, Role::Member, Role::Observer]),
            heartbeat: HEARTBEAT,
            timeout: TIMEOUT,
            lease: LEASE,
            preferred: (0..self.byte() % 3).map(|_| self.address()).collect(),
            floating: (0..self.byte() % 3).map(|_| self.address()).collect(),
            quorum: self.of(1, &[1, 2, 3]),
            failback: self.of(Failback::Immediate, &[Failback::Never, hold_down]),
            placement: self.of(Placement::LeastUtilised, &[Placement::Random]),
            balance: self.flag().then_some(balance),
            spread: true,
            orphan_timeout: self.of(Duration::from_hours(24), &[TIMEOUT]),
            action_limit: ACTION_LIMIT,
            acquire_script: self.flag(),
            release_script: self.flag(),
            seed: 1,
        }
    }

    fn order(&mut self) -> Order {
        let entry = |c: &mut Self| OrderEntry {
            address: c.address(),
            epoch: c.number(),
            reason: c.reason(),
            other: c.flag().then(|| c.host()),
        };
        Order { to: self.host(), entries: self.list(entry) }
    }

    fn info(&mut self, heard: (u64, u64)) -> Info {
        let states = [
            AddressState::Acquiring,
            AddressState::Releasing,
            AddressState::Preparing,
            AddressState::Prepared,
        ];
        let host = HostInfo {
            control_addresses: Vec::new(),
            mac: [2, 0, 0, 0, 0, self.byte()],
            ok: self.byte() % 8 != 1,
            quiesced: self.byte() % 8 == 1,
            phase: self.of(Phase::Member, &[Phase::Member, Phase::Joining, Phase::Leaving]),
            leader: self.flag().then(|| self.host()),
            load: self.of(0, &[400, 900, u32::MAX]),
            capacity: self.of(1_000, &[0, u32::MAX]),
            preferred: self.list(Self::address),
            served: self.list(|c| Served {
                address: c.address(),
                state: c.of(AddressState::Online, &states),
                epoch: c.number(),
            }),
            refused: self.list(Self::address),
        };
        let known = self.list(|c| {
            // Often this host, with what it really said last.
            let truth = c.flag();
            let (boot, sequence) = if truth { heard } else { (c.number(), c.number()) };
            let id = if truth { HostId(IpAddr::from([10, 77, 0, 3])) } else { c.host() };
            Known { id, boot, sequence, age: c.span() }
        });
        let database = self.list(|c| Record {
            address: c.address(),
            preferred: c.flag().then(|| c.host()),
            age: c.span(),
            epoch: c.number(),
            withdrawn: c.flag(),
        });
        let (lists, records, lease) = (self.sum(), self.sum(), self.span());
        Info { host, lists, known, knows_more: self.flag(), database, records, lease }
    }

    fn sum(&mut self) -> Option<Sum> {
        (self.byte() % 8 == 1).then(|| Sum { bits: self.byte() % 17, digest: self.number() })
    }

    fn part(&mut self) -> Part {
        if self.flag() {
            return Part::Records(self.list(|c| Record {
                address: c.address(),
                preferred: c.flag().then(|| c.host()),
                age: c.span(),
                epoch: c.number(),
                withdrawn: c.flag(),
            }));
        }
        let slice = Slice { bits: self.byte() % 3, index: u16::from(self.byte() % 4) };
        let entries = self.list(|c| Listed {
            address: c.address(),
            preferred: c.flag(),
            refused: c.flag(),
            served: c.flag().then(|| (AddressState::Online, c.number())),
        });
        Part::Lists(slice, entries)
    }

    fn body(&mut self, heard: (u64, u64)) -> Body {
        match self.byte() % 8 {
            0 => Body::Acquire(self.order()),
            1 => Body::Release(self.order()),
            4 => Body::Part(self.part()),
            5 => Body::Ask(Ask {
                to: self.host(),
                of: self.of(PartOf::Lists, &[PartOf::Database]),
                bits: self.byte() % 17,
                first: self.byte().into(),
                sums: self.list(|c| c.byte().into()),
            }),
            2 => Body::Move(MoveRequest {
                leader: self.host(),
                address: self.address(),
                to: self.host(),
            }),
            3 => Body::MoveRefused(MoveAnswer {
                to: self.host(),
                address: self.address(),
                refusal: self.of(MoveRefusal::Busy, &[MoveRefusal::NotOk, MoveRefusal::HasIt]),
            }),
            _ => Body::Info(Box::new(self.info(heard))),
        }
    }
}

/// The group and what surrounds it.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own, not a state")]
struct World {
    group: Group,
    /// Told the same, by way of JSON: it has to decide the same.
    twin: Option<Group>,
    member: bool,
    now: Time,
    plane: MemoryPlane,
    /// Whether heartbeats leave.
    sends: bool,
    /// Until when others count on this host.
    sent_until: Option<Time>,
    /// Slow work that is not done yet.
    work: Vec<Event>,
    /// What was put in place under which epoch, and whether that is done.
    configured: BTreeMap<IpAddr, (u64, bool)>,
    /// What goes on being sent on when it has ended.
    left: Vec<IpAddr>,
    /// Boot and sequence of its last message.
    said: (u64, u64),
    /// Numbers of the others' messages.
    numbers: u64,
    ok: bool,
    quiesced: bool,
    ending: bool,
    stopped: bool,
}

/// Anything may happen, in any order. Whatever it is, the group keeps its promises.
pub fn group(data: &[u8]) {
    let mut choices = Choices(data);
    let (now, boot) = (Time::from_nanos(1_000_000_000), 7);
    let settings = choices.settings();
    let twin = (choices.byte() % 4 == 1).then(|| Group::new(settings.clone(), boot, now));
    let mut world = World {
        member: settings.role == Role::Member,
        group: Group::new(settings, boot, now),
        twin,
        now,
        plane: MemoryPlane::default(),
        sends: true,
        sent_until: None,
        work: Vec::new(),
        configured: BTreeMap::new(),
        left: Vec::new(),
        said: (0, 0),
        numbers: 0,
        ok: false,
        quiesced: false,
        ending: false,
        stopped: false,
    };
    while !choices.0.is_empty() {
        world.happens(&mut choices);
    }
    let view = world.group.view(world.now);
    assert!(view.hosts.iter().any(|host| host.id.0 == IpAddr::from([10, 77, 0, 3])), "{view:?}");
}

impl World {
    fn happens(&mut self, choices: &mut Choices<'_>) {
        self.now = self.now + choices.span();
        match choices.byte() % 16 {
            0..=3 => self.until_due(),
            4..=7 => self.hears(choices),
            8 | 9 => self.works(choices),
            10 => {
                let ok = !choices.byte().is_multiple_of(4);
                self.tell(Event::Health { ok, detail: "tests".to_owned() });
            }
            11 => match choices.byte() % 8 {
                0..=4 => self.tell(Event::Quiesce(choices.flag())),
                5 | 6 => self.sends = choices.flag(),
                _ => self.tell(Event::Shutdown),
            },
            12 => self.tell(Event::Move { address: choices.address(), to: choices.host() }),
            13 => self.tell(Event::Load {
                load: choices.of(0, &[900, u32::MAX]),
                capacity: choices.of(1_000, &[0]),
            }),
            14 if choices.byte() % 4 == 1 => {
                self.tell(Event::Reconfigured(Box::new(choices.settings())));
            }
            14 => self.tell(Event::Conflict { address: choices.address(), mac: [2; 6] }),
            _ => self.tell(self.unasked(choices)),
        }
    }

    /// Time passes until the next deadline.
    fn until_due(&mut self) {
        self.now = self.now.max(self.group.next_deadline());
        self.tell(Event::Tick);
    }

    fn hears(&mut self, choices: &mut Choices<'_>) {
        let (source, boot) = (choices.host(), 1 + choices.number() / 100);
        self.numbers += 1;
        let sequence = if choices.byte() % 8 == 1 { choices.number() } else { self.numbers };
        let body = choices.body(self.said);
        let at = self.now.minus(choices.span());
        self.tell(Event::Received { at, message: Message { source, boot, sequence, body } });
    }

    /// Some of the slow work is done, or fails.
    fn works(&mut self, choices: &mut Choices<'_>) {
        if self.work.is_empty() {
            return;
        }
        let mut event = self.work.remove(usize::from(choices.byte()) % self.work.len());
        if let Event::Configured { result, .. }
        | Event::Deconfigured { result, .. }
        | Event::ScriptEnded { result, .. } = &mut event
        {
            *result = choices.result();
        }
        self.tell(event);
    }

    /// A result that nobody asked for, or that comes a second time.
    fn unasked(&self, choices: &mut Choices<'_>) -> Event {
        let address = choices.address();
        let known = self.configured.get(&address).map_or(0, |&(epoch, _)| epoch);
        let epoch = if choices.flag() { known } else { choices.number() };
        let result = choices.result();
        match choices.byte() % 4 {
            0 => Event::OpenFailed { address, epoch, error: "no".to_owned() },
            1 => Event::ScriptEnded { script: AddressScript::Acquire, address, epoch, result },
            2 => Event::ScriptEnded { script: AddressScript::Release, address, epoch, result },
            _ => Event::HeartbeatSent { at: self.now, lease_until: self.now },
        }
    }

    /// Hands one event in, and what follows from it; checks every promise.
    fn tell(&mut self, event: Event) {
        let tick = matches!(event, Event::Tick);
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            self.note(&event);
            let lapsed = self.sent_until.is_some_and(|until| self.now >= until);
            if lapsed {
                self.sent_until = None;
            }
            if let Event::HeartbeatSent { at, .. } = event {
                self.sent_until = Some(at + LEASE);
            }
            let actions = self.turn(event);
            assert!(!self.stopped || actions.is_empty(), "decides after its end: {actions:?}");
            for action in actions {
                events.extend(self.carry_out(action));
            }
            let open = self.plane.open_addresses();
            assert!(!lapsed || open.is_empty(), "{open:?} open without a lease");
            let longest = self.now.max(self.sent_until.unwrap_or(Time::ZERO));
            assert!(self.plane.lease_deadline() <= longest, "a lease that is too long");
        }
        let due = self.group.next_deadline();
        if tick && !self.stopped && self.now + HEARTBEAT < Time::END {
            assert!(due > self.now, "due at {due:?}, it is {:?}", self.now);
            assert!(due <= self.now + HEARTBEAT, "due at {due:?}, it is {:?}", self.now);
        }
    }

    /// The group's decisions, and those of its twin.
    fn turn(&mut self, event: Event) -> Vec<Action> {
        let twins = self.twin.as_mut().map(|twin| {
            let json = serde_json::to_string(&event).expect("events can be written");
            let read = serde_json::from_str(&json).expect("and be read");
            twin.handle(self.now, read)
        });
        let actions = self.group.handle(self.now, event);
        assert!(twins.is_none_or(|twins| twins == actions), "not what its twin decides");
        actions
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::Health { ok, .. } => self.ok = *ok,
            Event::Quiesce(quiesced) => self.quiesced = *quiesced,
            Event::Shutdown => self.ending = true,
            Event::Reconfigured(settings) => self.member = settings.role == Role::Member,
            Event::Configured { address, epoch, result: Ok(()) } => {
                if let Some(known) = self.configured.get_mut(address)
                    && known.0 == *epoch
                {
                    known.1 = true;
                }
            }
            _ => {}
        }
    }

    fn carry_out(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Fence(addresses) => {
                assert!(!addresses.is_empty());
                for address in addresses {
                    self.plane.fence(address).expect("memory does not fail");
                    self.configured.remove(&address);
                }
            }
            Action::Open { address, epoch } => {
                let ready = self.configured.get(&address) == Some(&(epoch, true));
                let fenced = self.plane.addresses().contains(&address)
                    && !self.plane.open_addresses().contains(&address);
                assert!(ready && fenced, "{address} opened, ready {ready}, fenced {fenced}");
                self.plane.open(address).expect("memory does not fail");
            }
            Action::Stage { address, from } => {
                assert!(!self.plane.open_addresses().contains(&address), "{address} is open");
                self.plane.stage(address, from).expect("memory does not fail");
                self.configured.remove(&address);
            }
            Action::Forward { address, to, until, leased } => {
                assert!(self.plane.addresses().contains(&address), "{address}: never had it");
                self.plane.forward(address, to, until, leased).expect("memory does not fail");
                self.configured.remove(&address);
                self.left.extend((!leased).then_some(address));
            }
            Action::Forget(address) => {
                assert!(self.plane.addresses().contains(&address), "{address}: nothing to forget");
                assert!(!self.plane.open_addresses().contains(&address), "{address} is open");
                self.plane.forget(address).expect("memory does not fail");
            }
            Action::Shorten(until) => {
                self.plane.lease(until).expect("memory does not fail");
            }
            Action::Heartbeat { message, lease_until, renew_before } => {
                return self.heartbeat(&message, lease_until, renew_before);
            }
            Action::Send(message) => self.said(&message),
            Action::Measure { address, epoch } => {
                return Some(Event::Measured { address, epoch });
            }
            Action::Configure { address, epoch } => {
                let able = self.ok && !self.quiesced && !self.ending && self.member;
                assert!(able, "acquires {address} and must not");
                self.configured.insert(address, (epoch, false));
                self.work.push(Event::Configured { address, epoch, result: Ok(()) });
            }
            Action::Deconfigure { address, epoch } => {
                assert!(!self.plane.open_addresses().contains(&address), "{address} is open");
                self.work.push(Event::Deconfigured { address, epoch, result: Ok(()) });
            }
            Action::RunScript { script, address, epoch, .. } => {
                self.work.push(Event::ScriptEnded { script, address, epoch, result: Ok(()) });
            }
            Action::Announce(addresses) => {
                let open = self.plane.open_addresses();
                assert!(addresses.iter().all(|a| open.contains(a)), "announces what is not open");
            }
            Action::Report(_) | Action::MoveEnded(_) => {}
            Action::Stopped => {
                assert!(self.ending && self.plane.addresses() == self.left, "ends with addresses");
                self.stopped = true;
            }
        }
        None
    }

    fn heartbeat(&mut self, message: &Message, until: Time, before: Time) -> Option<Event> {
        self.said(message);
        let Body::Info(info) = &message.body else { panic!("a heartbeat without information") };
        for open in self.plane.open_addresses() {
            let listed = info.host.served.iter().any(|served| served.address == open);
            assert!(listed, "concedes {open} while it is open");
        }
        if !self.sends || self.now >= before {
            return None;
        }
        self.plane.lease(until).expect("memory does not fail");
        // The lease counts once the heartbeat has left, before the group hears of it.
        self.sent_until = self.sent_until.max(Some(self.now + LEASE));
        Some(Event::HeartbeatSent { at: self.now, lease_until: until })
    }

    /// Numbers ascend, or nobody else listens.
    fn said(&mut self, message: &Message) {
        let number = (message.boot, message.sequence);
        assert!(number > self.said, "{number:?} after {:?}", self.said);
        self.said = number;
    }
}
