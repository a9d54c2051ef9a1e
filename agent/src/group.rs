//! The whole decision maker of one service group.
//!
//! A [`Group`] is pure: no IO, no threads, no clock, no logging. [`Group::handle`] takes the time
//! and an [`Event`] and returns [`Action`]s, to be carried out in their order;
//! [`Group::next_deadline`] says when to come back with [`Event::Tick`] if nothing else happens.
//! The same `Group` runs in production, in the simulation and under the model checker.
//!
//! What every turn does, in this order:
//! 1. its own lease: where it ran out, everything is withdrawn before anything else happens;
//! 2. the event;
//! 3. on a tick: silent hosts are dead, orphans expire;
//! 4. who leads; the leader's decisions (`control`);
//! 5. addresses that are in place are opened, unless another host still lists them;
//! 6. a heartbeat, where one is due or what it says has changed.

mod balance;
mod catching_up;
mod control;
mod election;
mod handover;
mod holding;
mod host_info;
mod io;
mod leading;
mod lease;
mod listening;
mod membership;
mod message;
mod moving;
mod name_service;
mod orphan;
mod parts;
mod phases;
mod placement;
mod reconfigure;
mod refusal;
mod settings;
mod spread;
mod staging;
mod table;
mod tally;
mod telling;
mod turns;
mod view;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use rais_common::time::Time;

pub use host_info::{AddressState, HostId, HostInfo, Phase, Served};
pub use io::{Action, AddressScript, Event, Reason, Report};
pub use message::{
    ASK_LIMIT, Ask, Body, Info, Known, Listed, Message, MoveAnswer, MoveRequest, ORDER_LIMIT,
    Order, OrderEntry, Part, PartOf, Record, Slice, Sum,
};
pub use moving::MoveRefusal;
pub use name_service::{Advertising, Listing, Withheld};
pub use phases::{ChangePhase, Phases};
pub use settings::{Balance, Failback, NO_HAND_OVER, Placement, Role, Settings};
pub use view::{AddressView, HostView, ListedState, View};

use catching_up::CatchingUp;
use control::Control;
use holding::{Holdings, Limits};
use lease::Sent;
use membership::Membership;
use orphan::Database;
use placement::Random;
use reconfigure::Pace;
use telling::Telling;
use turns::FEW;

/// How often a group of more than [`FEW`] gives its database what its hosts say of their addresses.
/// The others do it at each tick.
const REFRESH: Duration = Duration::from_millis(250);

/// One service group as this host sees it.
#[derive(Clone, Debug, Hash)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own, not a state")]
pub struct Group {
    settings: Settings,
    /// The intervals in use, which follow the settings.
    pace: Pace,
    boot: u64,
    sequence: u64,

    phase: Phase,
    /// Ends `Joining`.
    joining_until: Time,
    /// What the tests said last; nothing yet.
    healthy: Option<bool>,
    health_detail: String,
    quiesced: bool,
    load: u32,
    capacity: u32,
    holdings: Holdings,
    /// Others that list an address this host has: to be announced again when they cease to.
    contested: BTreeSet<(HostId, IpAddr)>,

    /// Until when others count on this host because of its last heartbeat: the lease without
    /// regard to the quorum. None: nothing was sent since the start or since the lease ran out.
    sent_until: Option<Time>,
    /// Until when the data plane answers.
    lease_until: Time,
    quorum_met: bool,
    sent: Sent,

    members: Membership,
    database: Database,
    /// When it is to be given anew what hosts say; none: at the next tick.
    refresh_at: Option<Time>,
    leader: Option<HostId>,
    leading_since: Time,
    /// When this host was told to end.
    leaving_since: Time,
    control: Control,
    preferred_twice: BTreeSet<IpAddr>,
    random: Random,
    /// The move that was asked for here.
    asked: Option<moving::Asked>,
    /// What this host is asked as the leader, and by whom; until the end of the turn.
    requested: Option<(HostId, MoveRequest)>,

    next_heartbeat: Time,
    last_heartbeat: Time,
    telling: Telling,
    catching_up: CatchingUp,
    last_turn: Time,
    last_tick: Time,
    /// Nobody is judged silent before this.
    judge_from: Time,
    /// What was received before has been handed in; none: all that was received.
    heard_until: Option<Time>,
    /// What the heartbeat says has changed since the last one.
    changed: bool,
    /// Something has changed that a leader's decision may hang on.
    stirred: bool,
    /// A leader does not decide before.
    decide_from: Time,
    /// From when a tick is reason enough to decide.
    review_from: Time,
    stopped: bool,
}

impl Group {
    /// A group at its start. `boot` must be higher than at any earlier start of this host, and is
    /// raised where others remember a higher one.
    #[must_use]
    pub fn new(settings: Settings, boot: u64, now: Time) -> Self {
        let mut group = Self {
            pace: Pace::of(&settings),
            boot,
            sequence: 0,
            phase: Phase::Joining,
            joining_until: now + settings.timeout,
            healthy: None,
            health_detail: String::new(),
            quiesced: false,
            load: 0,
            capacity: 1,
            holdings: Holdings::new(Limits::of(&settings)),
            contested: BTreeSet::new(),
            sent_until: None,
            lease_until: Time::ZERO,
            quorum_met: settings.quorum <= 1,
            sent: Sent::default(),
            members: Membership::default(),
            database: Database::default(),
            refresh_at: None,
            leader: None,
            leading_since: now,
            leaving_since: now,
            control: Control::default(),
            preferred_twice: BTreeSet::new(),
            random: Random::new(settings.seed),
            asked: None,
            requested: None,
            next_heartbeat: now,
            last_heartbeat: Time::ZERO,
            telling: Telling::default(),
            catching_up: CatchingUp::default(),
            last_turn: now,
            last_tick: now,
            judge_from: now,
            heard_until: None,
            changed: false,
            stirred: true,
            decide_from: now,
            review_from: now,
            stopped: false,
            settings,
        };
        group.refresh_database(now, &mut Vec::new());
        group
    }

    /// When to hand in [`Event::Tick`] if nothing else happens before.
    #[must_use]
    pub fn next_deadline(&self) -> Time {
        let timeout = self.settings.timeout;
        let judge = self.members.next_expiry(timeout).map(|t| t.max(self.judge_from));
        let joined = (self.phase == Phase::Joining).then_some(self.joining_until);
        let order = self.leads().then(|| self.leading_since + self.patience());
        let decide = (self.leads() && self.is_stirred()).then_some(self.decide_from);
        // What was due at the last tick and could not be done waits for the next heartbeat. What
        // fell due since, while other events were handled, does not.
        let tell = self.tells_changes_at();
        let wanted = self.sends_wanted_at();
        let hidden = self.members.hidden_until(timeout).filter(|_| self.leads());
        [judge, joined, order, decide, tell, wanted]
            .into_iter()
            .flatten()
            .chain(hidden)
            .filter(|&t| t > self.last_tick)
            .fold(self.next_heartbeat, Time::min)
    }

    /// Takes one event and says what is to be done, in order.
    pub fn handle(&mut self, now: Time, event: Event) -> Vec<Action> {
        let mut out = Vec::new();
        if self.stopped {
            return out;
        }
        if let Event::Measured { address, epoch } = event {
            // Nothing hangs on it but what is reported.
            self.holdings.measured(now, address, epoch, &mut out);
            return out;
        }
        if let Event::HeardUntil(at) = event {
            self.heard_until = Some(at);
            return out;
        }
        self.keep_pace(now);
        self.begin_turn(now, &mut out);
        let tick = matches!(event, Event::Tick);
        let sent = matches!(event, Event::HeartbeatSent { .. });
        self.stirred |= self.stirs(now, &event);
        self.apply(now, event, &mut out);
        if tick {
            self.last_tick = now;
            let heard = self.heard_until.take().map_or(now, |at| at.min(now));
            self.judge(now, heard, &mut out);
            self.holdings.tick(now, &mut out);
            if self.refresh_at.is_none_or(|at| now >= at) {
                self.refresh_database(now, &mut out);
                self.note_own();
                let many = self.database.len() > FEW;
                let pause = REFRESH.min(self.settings.orphan_timeout / 4);
                self.refresh_at = many.then(|| now + pause);
            }
        }
        self.check_quorum(now, &mut out);
        self.check_joined(now);
        self.elect(now, &mut out);
        self.watch_move(now, &mut out);
        self.watch_leaving(now, &mut out);
        // Where there is more to decide than one turn has room for, the next one begins with what
        // has arrived meanwhile, not with the end of this one.
        let goes_on = sent && self.control.unfinished();
        if !goes_on && self.may_decide(now) {
            let anew = std::mem::take(&mut self.stirred);
            self.give_orders(now, anew, &mut out);
        }
        self.open_ready(now, &mut out);
        let listed_anew = self.holdings.take_changed();
        let changed = !listed_anew.is_empty();
        if changed {
            self.stirred = true;
            for (address, epoch) in self.holdings.take_online() {
                self.database.served(address, self.settings.host, epoch);
            }
            self.telling.listed_anew(listed_anew);
            self.members.compare_anew();
        }
        self.changed |= changed || self.lease_is_short(now);
        if (self.changed && self.tells_at_once(now)) || now >= self.next_heartbeat {
            self.heartbeat(now, &mut out);
        }
        if self.sends_wanted_at().is_some_and(|at| now >= at) {
            self.send_wanted(now, &mut out);
        }
        if self.phase == Phase::Leaving && self.holdings.is_empty() {
            self.stopped = true;
            self.holdings.leave_forwards(&mut out);
            out.push(Action::Stopped);
        }
        out
    }

    /// This host follows itself.
    fn leads(&self) -> bool {
        self.leader == Some(self.settings.host)
    }

    /// This host can provide the service.
    fn ok(&self) -> bool {
        self.healthy == Some(true) && self.settings.role == Role::Member
    }

    /// A pause of this host's own must not be taken for the silence of others, and its own lease
    /// comes first.
    fn begin_turn(&mut self, now: Time, out: &mut Vec<Action>) {
        // Deadlines are never further apart than a heartbeat; half of one more is a late wake-up.
        let late = self.pace.heartbeat + self.pace.heartbeat / 2;
        if now.since(self.last_turn) > late {
            self.judge_from = now + self.settings.heartbeat;
        }
        self.last_turn = self.last_turn.max(now);
        let Some(until) = self.sent_until else { return };
        if now >= until {
            self.lapse(now, until, out);
        } else if now >= self.lease_until && self.holdings.any_listed() && self.lease(now) <= now {
            // The quorum was not heard for a lease: the larger side of a partition may have taken
            // over what this host has, and whoever is heard first when it heals may not know.
            self.holdings.withdraw_all(now, Reason::QuorumLost, out);
        }
    }

    /// Others may count this host as dead: whatever it had is lost, and it joins anew.
    fn lapse(&mut self, now: Time, until: Time, out: &mut Vec<Action>) {
        self.sent_until = None;
        self.lease_until = Time::ZERO;
        let addresses = self.holdings.withdraw_all(now, Reason::LeaseLapsed, out);
        self.holdings.end_all_forwards(out);
        if self.phase == Phase::Member || addresses > 0 {
            let late = now.since(until);
            out.push(Action::Report(Report::LeaseLapsed { late, addresses }));
        }
        if self.phase != Phase::Leaving {
            self.phase = Phase::Joining;
            self.joining_until = now + self.patience();
            self.changed = true;
        }
    }

    fn apply(&mut self, now: Time, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::Tick | Event::Measured { .. } | Event::HeardUntil(_) => {}
            Event::Received { at, message } => self.received(now, at.min(now), message, out),
            Event::HeartbeatSent { at, lease_until } => self.heartbeat_sent(at, lease_until),
            Event::Configured { address, epoch, result } => {
                self.holdings.configured(now, address, epoch, result, out);
            }
            Event::OpenFailed { address, epoch, error } => {
                self.holdings.open_failed(now, address, epoch, error, out);
            }
            Event::ScriptEnded { script, address, epoch, result } => {
                self.holdings.script_ended(now, script, address, epoch, result, out);
            }
            Event::Deconfigured { address, epoch, result } => {
                self.holdings.deconfigured(now, address, epoch, result, out);
            }
            Event::Health { ok, detail } => self.health(now, ok, detail, out),
            Event::Load { load, capacity } => (self.load, self.capacity) = (load, capacity),
            Event::Quiesce(quiesced) => {
                if self.quiesced != quiesced {
                    self.quiesced = quiesced;
                    self.changed = true;
                    out.push(Action::Report(Report::Quiesced(quiesced)));
                }
            }
            Event::Move { address, to } => self.ask_move(now, address, to),
            Event::Reconfigured(settings) => self.reconfigure(now, *settings, out),
            Event::Shutdown => {
                self.begin_leaving(now, out);
            }
            Event::Together(events) => {
                for event in events {
                    self.apply(now, event, out);
                }
            }
            Event::Conflict { address, mac } => {
                if self.holdings.epoch(address).is_some() {
                    self.holdings.announce_again(now, |a| a == address);
                    out.push(Action::Report(Report::Conflict { address, mac }));
                }
            }
        }
    }

    fn health(&mut self, now: Time, ok: bool, detail: String, out: &mut Vec<Action>) {
        let before = self.healthy.replace(ok);
        self.health_detail.clone_from(&detail);
        if before == Some(ok) {
            return;
        }
        self.changed = true;
        if ok {
            if before == Some(false) {
                out.push(Action::Report(Report::TestPassed));
            }
        } else {
            out.push(Action::Report(Report::TestFailed { detail }));
            self.holdings.release_all(now, Reason::TestFailed, out);
        }
    }

    /// Opens what is in place and listed by nobody else in sight. The leader that gave the order
    /// may not hear a holder which this host hears: that one yields to the higher epoch first.
    fn open_ready(&mut self, now: Time, out: &mut Vec<Action>) {
        let ready = self.holdings.ready();
        // What a host in sight has may not be known yet.
        if ready.is_empty() || self.members.staging.awaits(now, self.settings.timeout) {
            return;
        }
        for address in ready {
            if !self.members.lists(address) && self.may_open(now, address, out) {
                self.holdings.open(now, address, out);
            }
        }
    }

    /// Removes hosts that have been silent for too long and addresses orphaned for too long. `heard`:
    /// what was received before has been taken into account.
    fn judge(&mut self, now: Time, heard: Time, out: &mut Vec<Action>) {
        self.database.expire(now, self.settings.orphan_timeout);
        if heard < self.judge_from {
            return;
        }
        for gone in self.members.expire(heard, self.settings.timeout, self.settings.heartbeat) {
            self.changed = true;
            self.stir_at_once(now);
            let host = gone.host;
            out.push(Action::Report(match gone.fall {
                Some(fall) => Report::HostDown { host, silence: fall.silence },
                None => Report::HostLeft(host),
            }));
            self.end_contests(now, gone.host, &BTreeSet::new());
        }
    }

    /// With fewer live hosts than the quorum asks for, nothing is held. The lease runs out before
    /// that; until then nobody else takes anything over, and the lease may come back.
    fn check_quorum(&mut self, now: Time, out: &mut Vec<Action>) {
        let live = self.members.len() + 1;
        let met = u32::try_from(live).unwrap_or(u32::MAX) >= self.settings.quorum;
        if met != self.quorum_met {
            self.quorum_met = met;
            self.stirred = true;
            // Where every side of a partition was too small, each has a leader that waited long
            // ago, and the first host heard again may complete the quorum of several: whoever
            // leads has to be followed anew.
            self.leading_since = now;
            out.push(Action::Report(Report::Quorum { met, live }));
        }
        if !met {
            self.holdings.withdraw_all(now, Reason::QuorumLost, out);
        }
    }

    /// A host that has listened for the timeout, and is heard itself as far as it can tell, takes
    /// part.
    fn check_joined(&mut self, now: Time) {
        let lives = self.sent_until.is_some_and(|until| now < until);
        let knows = !self.catching_up.is_behind(now, self.joining_until, self.settings.timeout);
        if self.phase == Phase::Joining && now >= self.joining_until && lives && knows {
            self.phase = Phase::Member;
            self.changed = true;
            self.stirred = true;
        }
    }

    fn elect(&mut self, now: Time, out: &mut Vec<Action>) {
        let leader = election::leader(self.settings.host, self.phase, &self.members);
        if leader == self.leader {
            return;
        }
        self.leader = leader;
        self.leading_since = now;
        self.changed = true;
        self.stir_at_once(now);
        self.control.clear();
        out.push(Action::Report(Report::Leader(leader)));
    }

    /// Hosts in sight keep their addresses in the database.
    fn refresh_database(&mut self, now: Time, out: &mut Vec<Action>) {
        let (own, members) = (&self.settings, &self.members);
        let claimed = |by: HostId, address: IpAddr| claims(own, members, by, address);
        for &address in &own.floating {
            self.database.claim(address, None, now, |other| claimed(other, address));
        }
        let ours = own.preferred.iter().map(|&address| (own.host, address, now));
        let theirs = members.iter().flat_map(|(host, peer)| {
            peer.info.preferred.iter().map(move |&address| (host, address, peer.heard))
        });
        let mut twice = BTreeSet::new();
        for (host, address, seen) in ours.chain(theirs) {
            let stands =
                self.database.claim(address, Some(host), seen, |other| claimed(other, address));
            let Some(hosts) = stands else { continue };
            if twice.insert(address) && !self.preferred_twice.contains(&address) {
                out.push(Action::Report(Report::PreferredTwice { address, hosts }));
            }
        }
        self.preferred_twice = twice;
    }

    /// What this host serves is in the database.
    fn note_own(&mut self) {
        for served in self.holdings.served() {
            if served.state == AddressState::Online {
                self.database.served(served.address, self.settings.host, served.epoch);
            }
        }
    }

    fn message(&mut self, body: Body) -> Message {
        self.sequence += 1;
        Message { source: self.settings.host, boot: self.boot, sequence: self.sequence, body }
    }

    fn own_info(&self, now: Time) -> HostInfo {
        HostInfo {
            served: self.holdings.served(),
            refused: self.holdings.refused(now),
            ..self.own_standing()
        }
    }

    /// What this host says of itself, without what it serves and refuses. What it prefers is told:
    /// a host that prefers nothing is a spare, and two holders have to agree on who is one.
    fn own_standing(&self) -> HostInfo {
        HostInfo {
            control_addresses: self.settings.control_addresses.clone(),
            mac: self.settings.mac,
            ok: self.ok(),
            quiesced: self.quiesced,
            phase: self.phase,
            leader: self.leader,
            load: self.load,
            capacity: self.capacity,
            preferred: self.settings.preferred.iter().copied().collect(),
            served: Vec::new(),
            refused: Vec::new(),
        }
    }
}

/// Whether a host, this one or one in sight, calls the address its own.
fn claims(own: &Settings, members: &Membership, by: HostId, address: IpAddr) -> bool {
    if by == own.host {
        return own.preferred.contains(&address);
    }
    members.get(by).is_some_and(|peer| peer.info.preferred.binary_search(&address).is_ok())
}

#[cfg(test)]
mod tests;
