//! A simulated host: the real `Group`, a clock of its own, a socket, a data plane in memory, and
//! what its driver still has to carry out.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use rais::data_plane::memory::MemoryPlane;
use rais::group::{Action, Event, Group, HostId, Message, MoveRefusal, Role, Settings};
use rais::record::{self, Line};
use rais_common::time::Time;

use super::Nanos;
use super::random::Random;

/// The host's clock: where it began, and how fast it runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub start: Nanos,
    /// Parts in a million by which it is fast (or slow).
    pub drift: i64,
}

impl Clock {
    /// What it shows at a true time.
    pub fn at(self, now: Nanos) -> Time {
        let shift = i128::from(now) * i128::from(self.drift) / 1_000_000;
        let shown = i128::from(self.start) + i128::from(now) + shift;
        Time::from_nanos(u64::try_from(shown).unwrap_or(0))
    }

    /// The first true time at which it shows `local` or more.
    pub fn when(self, local: Time) -> Nanos {
        let elapsed = i128::from(local.as_nanos()) - i128::from(self.start);
        let truth = elapsed * 1_000_000 / (1_000_000 + i128::from(self.drift));
        let mut truth = u64::try_from(truth).unwrap_or(0);
        while self.at(truth) < local {
            truth += 1;
        }
        truth
    }
}

/// Something the driver does between two looks at the clock. A pause may fall between any two.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Do(Action),
    /// Look at the clock again after sending a heartbeat, to renew the lease if it left in time.
    Check {
        at: Time,
        lease_until: Time,
        renew_before: Time,
    },
    /// Write the lease of a heartbeat that was sent, and report it.
    Renew {
        at: Time,
        lease_until: Time,
    },
}

#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own, not a state")]
pub(super) struct Host {
    pub id: HostId,
    pub settings: Settings,
    pub clock: Clock,
    /// How late it wakes, how long its scripts take, what of them fails.
    pub chance: Random,
    /// What the XDP program goes by. It outlives the agent, like pinned maps.
    pub plane: MemoryPlane,
    pub group: Option<Group>,
    pub boot: u64,
    /// Counts starts, so that nothing meant for an agent reaches its successor.
    pub incarnation: u64,
    pub socket: VecDeque<(Time, Message)>,
    pub inbox: VecDeque<Event>,
    pub steps: VecDeque<Step>,
    /// The time of the turn whose steps are being carried out.
    pub turn: Time,
    pub paused: bool,
    /// Stops after so many more turns and actions, for so long; more such wait their turn.
    pub freezes: VecDeque<(u32, Nanos)>,
    /// The wake-up that counts; earlier ones are void.
    pub wake: u64,
    pub interface_up: bool,
    /// When the scripts thread will be done with an address.
    pub busy: BTreeMap<IpAddr, Nanos>,
    /// What the host was told last, for I3.
    pub told_ok: bool,
    pub told_quiesced: bool,
    pub told_to_end: bool,
    /// When anything last happened to this host that may cost it its addresses (I4).
    pub changed: Nanos,
    /// Since when there has been no agent.
    pub gone: Nanos,
    /// How the moves that were asked for here ended.
    pub moved: Vec<Result<(), MoveRefusal>>,
    /// What its group was told and decided, where that is wanted.
    pub recording: Option<Vec<Line<Action>>>,
}

impl Host {
    pub fn new(settings: Settings, clock: Clock) -> Self {
        Self {
            chance: Random::apart(settings.seed, 1),
            id: settings.host,
            clock,
            plane: MemoryPlane::new(settings.mac),
            settings,
            group: None,
            boot: 0,
            incarnation: 0,
            socket: VecDeque::new(),
            inbox: VecDeque::new(),
            steps: VecDeque::new(),
            turn: Time::ZERO,
            paused: false,
            freezes: VecDeque::new(),
            wake: 0,
            interface_up: true,
            busy: BTreeMap::new(),
            told_ok: false,
            told_quiesced: false,
            told_to_end: false,
            changed: 0,
            gone: 0,
            moved: Vec::new(),
            recording: None,
        }
    }

    /// The agent is gone, however it ended; the data plane stays.
    pub fn die(&mut self, now: Nanos) {
        self.gone = now;
        self.group = None;
        self.incarnation += 1;
        self.wake += 1;
        self.socket.clear();
        self.inbox.clear();
        self.steps.clear();
        self.busy.clear();
        self.freezes.clear();
        self.paused = false;
    }

    /// The agent starts: first of all it clears what its predecessor left behind.
    pub fn start(&mut self, now: Nanos) {
        self.plane.take_over(self.clock.at(now));
        self.boot += 1;
        self.incarnation += 1;
        self.told_ok = false;
        self.told_quiesced = false;
        self.told_to_end = false;
        let local = self.clock.at(now);
        self.group = Some(Group::new(self.settings.clone(), self.boot, local));
        if let Some(lines) = &mut self.recording {
            let settings = Box::new(self.settings.clone());
            lines.push(Line::Start { boot: self.boot, now: local, settings });
        }
    }

    /// Hands an event to the group. What it decides is to be carried out step by step.
    pub fn turn(&mut self, now: Time, event: Event) {
        let Some(group) = self.group.as_mut() else { return };
        let told = self.recording.as_ref().map(|_| event.clone());
        let actions = group.handle(now, event);
        if let (Some(lines), Some(event)) = (&mut self.recording, told) {
            let group = self.settings.name.clone();
            lines.push(Line::Turn { group, now, event, actions: actions.clone() });
        }
        self.steps.extend(actions.into_iter().map(Step::Do));
    }

    /// From now on what the group is told and decides is recorded.
    pub fn record(&mut self) {
        self.recording = Some(vec![record::head()]);
    }

    /// A turn of the group and each of its actions bring the next pause nearer.
    pub fn count_step(&mut self) {
        if let Some(freeze) = self.freezes.front_mut() {
            freeze.0 = freeze.0.saturating_sub(1);
        }
    }

    /// Whether it answers for the address: open, under a live lease.
    pub fn answers(&self, address: IpAddr, now: Nanos) -> bool {
        self.plane.answers(address, self.clock.at(now))
    }

    /// Whether its agent runs.
    pub fn lives(&self) -> bool {
        self.group.is_some() && !self.paused
    }

    /// Whether it may be given addresses, as far as it has been told.
    pub fn can_serve(&self) -> bool {
        self.lives()
            && self.interface_up
            && self.told_ok
            && !self.told_quiesced
            && !self.told_to_end
            && self.settings.role == Role::Member
    }

    /// The next thing its driver hands in: everything received comes before a tick.
    pub fn next_event(&mut self, local: Time) -> Option<Event> {
        if let Some((at, message)) = self.socket.pop_front() {
            return Some(Event::Received { at, message });
        }
        if let Some(event) = self.inbox.pop_front() {
            match &event {
                Event::Health { ok, .. } => self.told_ok = *ok,
                Event::Quiesce(quiesced) => self.told_quiesced = *quiesced,
                Event::Shutdown => self.told_to_end = true,
                _ => {}
            }
            return Some(event);
        }
        let group = self.group.as_ref()?;
        (local >= group.next_deadline()).then_some(Event::Tick)
    }
}
