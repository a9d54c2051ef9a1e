//! A modelled host: the real `Group`, its data plane, and what its driver still has to do.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use rais::data_plane::memory::Arrival;
use rais::group::{Action, Event, Group, Message, Report};
use rais_common::handover::{Way, way};
use rais_common::maps::{STATE_FORWARDED, STATE_LEFT, STATE_STAGED, ServiceEntry};
use rais_common::time::Time;

/// Where the boots of a host begin: no other number but a time is as great.
pub(super) const FIRST_BOOT: u64 = 1 << 50;

/// Something a driver does between two looks at the clock. A pause may fall between any two.
#[derive(Clone, Debug, Hash)]
pub(super) enum Step {
    Do(Action),
    /// A heartbeat that was found in time leaves.
    Leave {
        message: Arc<Message>,
        lease_until: Time,
        renew_before: Time,
    },
    /// It has left: look at the clock again.
    Check {
        lease_until: Time,
        renew_before: Time,
    },
    /// Write the lease.
    Renew {
        lease_until: Time,
    },
}

impl Step {
    /// Whether it makes a difference to others if the host pauses just before.
    pub fn shows(&self) -> bool {
        match self {
            Self::Do(action) => matches!(
                action,
                Action::Fence(_)
                    | Action::Open { .. }
                    | Action::Stage { .. }
                    | Action::Forward { .. }
                    | Action::Heartbeat { .. }
                    | Action::Send(_)
            ),
            Self::Leave { .. } | Self::Check { .. } | Self::Renew { .. } => true,
        }
    }
}

/// Work on the interface, and what will be said of it.
#[derive(Clone, Debug, Hash)]
pub(super) struct Job {
    pub event: Event,
    /// Since when it has been slow; none: it takes no time.
    pub slow: Option<Time>,
}

/// An address that is on its way from or to another host.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) enum Underway {
    /// From the one with this hardware address.
    Staged([u8; 6]),
    /// To the one with this hardware address.
    Forwarded { to: [u8; 6], until: Time, leased: bool },
}

impl Underway {
    /// As the data plane has it.
    fn entry(self, mac: [u8; 6]) -> ServiceEntry {
        let (state, peer, until) = match self {
            Self::Staged(from) => (STATE_STAGED, from, Time::ZERO),
            Self::Forwarded { to, until, leased: true } => (STATE_FORWARDED, to, until),
            Self::Forwarded { to, until, leased: false } => (STATE_LEFT, to, until),
        };
        ServiceEntry { peer, until: until.as_nanos(), ..ServiceEntry::new(0, state, mac) }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Host {
    pub group: Option<Group>,
    /// For each start, the number of the last message sent.
    pub sent: Vec<u64>,
    /// What the XDP program goes by. It outlives the agent.
    pub open: BTreeMap<IpAddr, u64>,
    pub underway: BTreeMap<IpAddr, Underway>,
    pub lease: Time,
    pub socket: VecDeque<(Time, Arc<Message>)>,
    /// What the driver says to the group after the actions of a turn.
    pub own: VecDeque<Event>,
    pub inbox: VecDeque<Event>,
    pub jobs: VecDeque<Job>,
    pub steps: VecDeque<Step>,
    /// The time of the turn whose steps are being carried out.
    pub turn: Time,
    pub paused: Option<Time>,
    /// When the agent starts by itself.
    pub starts: Option<u32>,
    /// What the host was told last.
    pub ok: bool,
    pub quiesced: bool,
}

impl Host {
    pub fn off(starts: u32) -> Self {
        Self {
            group: None,
            sent: Vec::new(),
            open: BTreeMap::new(),
            underway: BTreeMap::new(),
            lease: Time::ZERO,
            socket: VecDeque::new(),
            own: VecDeque::new(),
            inbox: VecDeque::new(),
            jobs: VecDeque::new(),
            steps: VecDeque::new(),
            turn: Time::ZERO,
            paused: None,
            starts: Some(starts),
            ok: true,
            quiesced: false,
        }
    }

    /// The agent runs and is not paused.
    pub fn lives(&self) -> bool {
        self.group.is_some() && self.paused.is_none()
    }

    /// It may be given addresses.
    pub fn can_serve(&self) -> bool {
        self.lives() && self.ok && !self.quiesced
    }

    pub fn answers(&self, address: IpAddr, now: Time) -> bool {
        now < self.lease && self.open.contains_key(&address)
    }

    /// What becomes of a packet that `source` sends to this host, whose hardware address is `mac`.
    pub fn arrives(
        &self,
        address: IpAddr,
        now: Time,
        mac: [u8; 6],
        source: [u8; 6],
    ) -> Option<Arrival> {
        if self.answers(address, now) {
            return Some(Arrival::Accepted);
        }
        let entry = self.underway.get(&address)?.entry(mac);
        let forwards = entry.forwards(self.lease.as_nanos(), now.as_nanos());
        match way(&entry, forwards, mac, source) {
            Way::Accept => Some(Arrival::Accepted),
            Way::Forward => Some(Arrival::SentOn(entry.peer)),
            Way::Drop => None,
        }
    }

    /// SIGKILL; the data plane stays.
    pub fn die(&mut self) {
        let (open, sent) = (std::mem::take(&mut self.open), std::mem::take(&mut self.sent));
        let (lease, underway) = (self.lease, std::mem::take(&mut self.underway));
        *self = Self { open, underway, sent, lease, starts: None, ..Self::off(0) };
    }

    /// What the driver would hand in next, but for a tick.
    pub fn waiting(&self) -> Option<Event> {
        let first = self.own.front().cloned();
        let received = || {
            let (at, message) = self.socket.front()?;
            Some(Event::Received { at: *at, message: Message::clone(message) })
        };
        first.or_else(received).or_else(|| self.inbox.front().cloned())
    }

    pub fn take_waiting(&mut self) {
        if self.own.pop_front().is_none() && self.socket.pop_front().is_none() {
            self.inbox.pop_front();
        }
    }

    /// One turn of the group.
    pub fn turn(&mut self, now: Time, event: Event) -> Vec<Report> {
        let Some(group) = self.group.as_mut() else { return Vec::new() };
        self.turn = now;
        let mut reports = Vec::new();
        for action in group.handle(now, event) {
            if let Action::Heartbeat { message, .. } | Action::Send(message) = &action
                && let Some(last) = self.sent.last_mut()
            {
                *last = message.sequence;
            }
            match action {
                Action::Report(report) => reports.push(report),
                Action::Announce(_) | Action::MoveEnded(_) => {}
                action => self.steps.push_back(Step::Do(action)),
            }
        }
        reports
    }
}
