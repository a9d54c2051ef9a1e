//! The addresses this host has: from the order to acquire to the last trace taken away.
//!
//! ```text
//!        order              in place       nobody else lists it     script ended
//! (none) ─────► Configuring ───────► Ready ────────────────► Starting ─────► Online
//!    ▲               │ failed          │ too late               │ failed      │ order, tests,
//!    │ taken away    ▼                 ▼                        ▼             ▼ shutdown
//!    └──────────  Clearing ◄─────────────────────────────────────────────  Stopping
//!                                      fenced                       script ended
//! ```
//! `Ready` is passed in the same turn unless a host in sight still lists the address: a leader may
//! have lost sight of a holder that this host still hears.
//!
//! From `Clearing` on the address is no longer listed: it is fenced before that is said, and stays
//! fenced until it is off the interface. Losing the lease, a higher epoch elsewhere or a lost
//! quorum lead from any stage to `Clearing` at once.
//!
//! One that is handed over goes by way of `Draining` (`handover`).

mod announcing;
mod handover;
mod listing;
mod overdue;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use rais_common::time::Time;

use super::phases::{ChangePhase, Stopwatch};
use super::refusal::Refusals;
use super::{Action, AddressScript, AddressState, HostId, Reason, Report, Settings};

pub(super) use handover::Partner;

use announcing::Announcing;
use handover::Forward;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    /// Being put on the interface; fenced.
    Configuring,
    /// On the interface; fenced until no host in sight lists the address.
    Ready,
    /// Open; the acquire script runs.
    Starting,
    Online,
    /// Open; the release script runs.
    Stopping,
    /// Handed over and conceded; still on the interface, so that answers under way get out.
    Draining,
    /// Fenced and conceded; being taken off the interface.
    Clearing,
}

#[derive(Clone, Debug, Hash)]
struct Holding {
    stage: Stage,
    epoch: u64,
    /// Why it came; once it is to go: why it goes.
    reason: Reason,
    /// The leader that decided that; none: this host itself.
    by: Option<HostId>,
    /// The host that had it before.
    from: Option<HostId>,
    /// While it comes: the host it is taken over from, where that serves it still. While it goes:
    /// the host it is handed over to, where that is prepared.
    partner: Option<Partner>,
    /// Measures the change under way, until it is reported.
    watch: Option<Stopwatch>,
    /// When the stage has lasted too long.
    deadline: Time,
    announcing: Announcing,
}

impl Holding {
    fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Starting | Stage::Online | Stage::Stopping)
    }

    fn state(&self) -> Option<AddressState> {
        match self.stage {
            Stage::Configuring if self.partner.is_some() => Some(AddressState::Preparing),
            Stage::Ready if self.partner.is_some() => Some(AddressState::Prepared),
            Stage::Configuring | Stage::Ready | Stage::Starting => Some(AddressState::Acquiring),
            Stage::Online => Some(AddressState::Online),
            Stage::Stopping => Some(AddressState::Releasing),
            Stage::Draining | Stage::Clearing => None,
        }
    }

    fn is_listed(&self) -> bool {
        !matches!(self.stage, Stage::Draining | Stage::Clearing)
    }

    fn lap(&mut self, now: Time, phase: ChangePhase) {
        if let Some(watch) = &mut self.watch {
            watch.lap(now, phase);
        }
    }

    /// The data plane has opened it, and that was measured.
    fn opened(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.last() == Some(ChangePhase::Open))
    }

    /// The address is to go, or, where it was already: to go at once.
    fn goes(&mut self, now: Time, reason: Reason, by: Option<HostId>) {
        self.reason = reason;
        self.by = by;
        if self.stage == Stage::Stopping {
            self.lap(now, ChangePhase::Script);
        } else {
            self.watch = Some(Stopwatch::new(now));
        }
    }

    /// Reports once that the address is no longer served.
    fn report_released(&mut self, address: IpAddr, out: &mut Vec<Action>) {
        let Some(watch) = self.watch.take() else { return };
        let Self { epoch, reason, by, .. } = *self;
        let phases = watch.into_phases();
        out.push(Action::Report(Report::Released { address, epoch, reason, by, phases }));
    }
}

/// An address comes to this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Assignment {
    pub epoch: u64,
    pub reason: Reason,
    /// The host that was last seen to serve it.
    pub from: Option<HostId>,
    /// The leader that decided it.
    pub by: HostId,
    /// The host that serves it still, and lets go once this one is prepared.
    pub partner: Option<Partner>,
}

/// An address is to go from this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Release {
    pub reason: Reason,
    /// The leader that decided it; none: this host itself.
    pub by: Option<HostId>,
    /// The host that is prepared to take it over.
    pub heir: Option<Partner>,
}

impl Release {
    /// This host itself wants to be rid of it.
    pub const fn by_itself(reason: Reason) -> Self {
        Self { reason, by: None, heir: None }
    }
}

/// What of the settings concerns this host's addresses.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct Limits {
    pub action: Duration,
    pub acquire_script: bool,
    pub release_script: bool,
}

/// This host's addresses. Every method appends what is to be done to `out`, in order.
#[derive(Clone, Debug, Hash)]
pub(super) struct Holdings {
    limits: Limits,
    held: BTreeMap<IpAddr, Holding>,
    refused: Refusals,
    /// What is listed of these may have changed since [`take_changed`](Self::take_changed).
    changed: BTreeSet<IpAddr>,
    /// Among them are all addresses in [`Stage::Ready`].
    ready: BTreeSet<IpAddr>,
    /// What this host has handed over, and where what still comes for it goes.
    forwards: BTreeMap<IpAddr, Forward>,
    /// What has come to be online since [`take_online`](Self::take_online).
    online: Vec<IpAddr>,
    /// Where they are many, what is due is not looked for before.
    look_from: Time,
    /// When something that was to be done for one of them last ended, where they are many.
    progress: Time,
}

impl Limits {
    pub const fn of(settings: &Settings) -> Self {
        Self {
            action: settings.action_limit,
            acquire_script: settings.acquire_script,
            release_script: settings.release_script,
        }
    }
}

impl Holdings {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            held: BTreeMap::new(),
            refused: Refusals::default(),
            changed: BTreeSet::new(),
            ready: BTreeSet::new(),
            online: Vec::new(),
            look_from: Time::ZERO,
            progress: Time::ZERO,
            forwards: BTreeMap::new(),
        }
    }

    /// Other limits, for what begins from now on.
    pub const fn limit(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Nothing is held and nothing is being taken away.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// The address is held or being taken away.
    pub fn has(&self, address: IpAddr) -> bool {
        self.held.contains_key(&address)
    }

    /// Addresses not to be assigned to this host now.
    pub fn refused(&self, now: Time) -> Vec<IpAddr> {
        self.refused.at(now)
    }

    /// Takes an address on. It must not be listed yet.
    pub fn acquire(
        &mut self,
        now: Time,
        address: IpAddr,
        assignment: Assignment,
        out: &mut Vec<Action>,
    ) {
        let deadline = now + self.limits.action;
        let Assignment { epoch, reason, from, by, partner } = assignment;
        let holding = Holding {
            stage: Stage::Configuring,
            epoch,
            reason,
            by: Some(by),
            from,
            partner,
            watch: Some(Stopwatch::new(now)),
            deadline,
            announcing: Announcing::NEVER,
        };
        if let Some(mut before) = self.held.insert(address, holding) {
            before.report_released(address, out);
        }
        self.changed.insert(address);
        self.forwards.remove(&address);
        out.push(match partner {
            Some(partner) => Action::Stage { address, from: partner.mac },
            None => Action::Fence(vec![address]),
        });
        out.push(Action::Configure { address, epoch });
    }

    /// The address is on the interface, or could not be put there.
    pub fn configured(
        &mut self,
        now: Time,
        address: IpAddr,
        epoch: u64,
        result: Result<(), String>,
        out: &mut Vec<Action>,
    ) {
        if !self.is_at(address, epoch, Stage::Configuring) {
            return;
        }
        self.note_progress(now);
        if let Err(error) = result {
            return self.fail(now, address, error, out);
        }
        let limit = self.limits.action;
        if let Some(holding) = self.held.get_mut(&address) {
            holding.lap(now, ChangePhase::Configure);
            holding.stage = Stage::Ready;
            if holding.partner.is_some() {
                // That one may have a script to run before it lets go.
                holding.deadline = now + limit * 2;
                self.changed.insert(address);
            }
            self.ready.insert(address);
        }
    }

    /// Addresses that could be opened, ascending.
    pub fn ready(&mut self) -> Vec<IpAddr> {
        let held = &self.held;
        self.ready.retain(|a| held.get(a).is_some_and(|h| h.stage == Stage::Ready));
        self.ready.iter().copied().collect()
    }

    /// Begins to answer for a ready address.
    pub fn open(&mut self, now: Time, address: IpAddr, out: &mut Vec<Action>) {
        let script = self.limits.acquire_script;
        let Some(holding) = self.held.get_mut(&address) else { return };
        if holding.stage != Stage::Ready {
            return;
        }
        let (epoch, reason) = (holding.epoch, holding.reason);
        if holding.watch.as_ref().is_some_and(|watch| !watch.is_at_start(now)) {
            holding.lap(now, ChangePhase::Wait);
        }
        holding.stage = Stage::Starting;
        // Until now it was listed as waiting for that one.
        if holding.partner.take().is_some() {
            self.changed.insert(address);
        }
        holding.announcing.restart(now);
        // That is this once.
        holding.announcing.is_due(now);
        out.push(Action::Open { address, epoch });
        out.push(Action::Announce(vec![address]));
        out.push(Action::Measure { address, epoch });
        if script {
            let script = AddressScript::Acquire;
            out.push(Action::RunScript { script, address, epoch, reason });
        } else {
            self.online(address);
        }
    }

    /// What the data plane had to do for an address is done. Measures, and decides nothing.
    pub fn measured(&mut self, now: Time, address: IpAddr, epoch: u64, out: &mut Vec<Action>) {
        let Some(holding) = self.held.get_mut(&address).filter(|h| h.epoch == epoch) else {
            return;
        };
        match holding.stage {
            Stage::Starting => holding.lap(now, ChangePhase::Open),
            Stage::Online => {
                holding.lap(now, ChangePhase::Open);
                self.report_acquired(address, out);
            }
            Stage::Draining | Stage::Clearing => holding.lap(now, ChangePhase::Withdraw),
            Stage::Configuring | Stage::Ready | Stage::Stopping => {}
        }
    }

    /// The data plane could not open the address.
    pub fn open_failed(
        &mut self,
        now: Time,
        address: IpAddr,
        epoch: u64,
        error: String,
        out: &mut Vec<Action>,
    ) {
        if self.held.get(&address).is_some_and(|h| h.epoch == epoch && h.is_open()) {
            self.fail(now, address, error, out);
        }
    }

    /// An acquire or release script ended.
    pub fn script_ended(
        &mut self,
        now: Time,
        script: AddressScript,
        address: IpAddr,
        epoch: u64,
        result: Result<(), String>,
        out: &mut Vec<Action>,
    ) {
        self.note_progress(now);
        match script {
            AddressScript::Acquire if self.is_at(address, epoch, Stage::Starting) => match result {
                Ok(()) => {
                    self.lap(now, address, ChangePhase::Script);
                    self.online(address);
                    self.report_acquired(address, out);
                }
                Err(error) => self.fail(now, address, error, out),
            },
            AddressScript::Release => {
                if let Err(error) = result {
                    out.push(Action::Report(Report::ReleaseFailed { address, epoch, error }));
                }
                if self.is_at(address, epoch, Stage::Stopping) {
                    self.lap(now, address, ChangePhase::Script);
                    self.let_go(now, address, out);
                } else if self.is_at(address, epoch, Stage::Clearing) {
                    self.lap(now, address, ChangePhase::Script);
                }
            }
            AddressScript::Acquire => {}
        }
    }

    /// The address is off the interface, or could not be taken off.
    pub fn deconfigured(
        &mut self,
        now: Time,
        address: IpAddr,
        epoch: u64,
        result: Result<(), String>,
        out: &mut Vec<Action>,
    ) {
        if !self.is_at(address, epoch, Stage::Clearing) {
            return;
        }
        self.note_progress(now);
        self.lap(now, address, ChangePhase::Deconfigure);
        if let Some(holding) = self.held.get_mut(&address) {
            // Whether it went or is tried again: it is not served.
            holding.report_released(address, out);
            holding.deadline = now + overdue::CLEAR_AGAIN;
        }
        match result {
            Ok(()) => {
                self.held.remove(&address);
                if !self.forwards.contains_key(&address) {
                    out.push(Action::Forget(address));
                }
            }
            Err(error) => {
                out.push(Action::Report(Report::ReleaseFailed { address, epoch, error }));
            }
        }
    }

    /// Gives an address up in order: the release script first, answering meanwhile.
    pub fn release(&mut self, now: Time, address: IpAddr, release: Release, out: &mut Vec<Action>) {
        let Release { reason, by, heir } = release;
        let script = self.limits.release_script;
        let deadline = now + self.limits.action;
        let Some(holding) = self.held.get_mut(&address) else { return };
        match holding.stage {
            Stage::Online if script => {
                holding.goes(now, reason, by);
                holding.partner = heir;
                holding.stage = Stage::Stopping;
                holding.deadline = deadline;
                self.changed.insert(address);
                let (script, epoch) = (AddressScript::Release, holding.epoch);
                out.push(Action::RunScript { script, address, epoch, reason });
            }
            Stage::Online => {
                holding.goes(now, reason, by);
                holding.partner = heir;
                self.let_go(now, address, out);
            }
            Stage::Configuring | Stage::Ready | Stage::Starting => {
                self.clear(now, vec![address], Some((reason, by)), out);
            }
            Stage::Stopping | Stage::Draining | Stage::Clearing => {}
        }
    }

    /// Gives every address up in order.
    pub fn release_all(&mut self, now: Time, reason: Reason, out: &mut Vec<Action>) {
        for address in self.listed() {
            self.release(now, address, Release::by_itself(reason), out);
        }
    }

    /// Stops answering for these at once; scripts come after. Returns how many were listed.
    pub fn withdraw(
        &mut self,
        now: Time,
        addresses: Vec<IpAddr>,
        reason: Reason,
        out: &mut Vec<Action>,
    ) -> usize {
        let listed: Vec<IpAddr> =
            addresses.into_iter().filter(|&a| self.epoch(a).is_some()).collect();
        let count = listed.len();
        self.clear(now, listed, Some((reason, None)), out);
        count
    }

    /// Stops answering for everything at once. Returns how many addresses were listed.
    pub fn withdraw_all(&mut self, now: Time, reason: Reason, out: &mut Vec<Action>) -> usize {
        self.withdraw(now, self.listed(), reason, out)
    }

    fn online(&mut self, address: IpAddr) {
        let Some(holding) = self.held.get_mut(&address) else { return };
        holding.stage = Stage::Online;
        holding.deadline = Time::END;
        self.changed.insert(address);
        self.online.push(address);
    }

    /// Reports once that an online address was acquired.
    fn report_acquired(&mut self, address: IpAddr, out: &mut Vec<Action>) {
        let Some(holding) = self.held.get_mut(&address) else { return };
        let Some(watch) = holding.watch.take() else { return };
        let Holding { epoch, reason, from, by, .. } = *holding;
        let phases = watch.into_phases();
        self.refused.forget(address);
        out.push(Action::Report(Report::Acquired { address, epoch, reason, from, by, phases }));
    }

    fn lap(&mut self, now: Time, address: IpAddr, phase: ChangePhase) {
        if let Some(holding) = self.held.get_mut(&address) {
            holding.lap(now, phase);
        }
    }

    /// Undoes an acquisition and refuses the address for a while, longer each time.
    fn fail(&mut self, now: Time, address: IpAddr, error: String, out: &mut Vec<Action>) {
        let Some(holding) = self.held.get_mut(&address) else { return };
        let phase = match holding.stage {
            Stage::Configuring => ChangePhase::Configure,
            Stage::Ready => ChangePhase::Wait,
            Stage::Starting if holding.opened() => ChangePhase::Script,
            Stage::Starting | Stage::Online => ChangePhase::Open,
            Stage::Stopping | Stage::Draining | Stage::Clearing => return,
        };
        holding.lap(now, phase);
        let phases = holding.watch.take().map(Stopwatch::into_phases).unwrap_or_default();
        let Holding { epoch, from, by, .. } = *holding;
        self.refused.add(now, address);
        self.clear(now, vec![address], Some((Reason::AcquireFailed, None)), out);
        let report = Report::AcquireFailed { address, epoch, from, by, phases, error };
        out.push(Action::Report(report));
    }

    /// Fences the addresses, all in one action, and begins to take them away. `cause`: why, and
    /// the leader that decided it, if one did; none keeps what the release began with.
    fn clear(
        &mut self,
        now: Time,
        addresses: Vec<IpAddr>,
        cause: Option<(Reason, Option<HostId>)>,
        out: &mut Vec<Action>,
    ) {
        if addresses.is_empty() {
            return;
        }
        self.changed.extend(&addresses);
        out.push(Action::Fence(addresses.clone()));
        for address in addresses {
            let Some(holding) = self.held.get_mut(&address) else { continue };
            let was = holding.stage;
            let epoch = holding.epoch;
            if let Some((reason, by)) = cause {
                holding.goes(now, reason, by);
            }
            holding.stage = Stage::Clearing;
            holding.partner = None;
            let reason = holding.reason;
            let started = matches!(was, Stage::Starting | Stage::Online);
            let script = self.limits.release_script && started && reason != Reason::AcquireFailed;
            // The script comes first and may take as long again.
            holding.deadline = now + self.limits.action * (1 + u32::from(script));
            if script {
                let script = AddressScript::Release;
                out.push(Action::RunScript { script, address, epoch, reason });
            }
            out.push(Action::Deconfigure { address, epoch });
            if reason == Reason::AcquireFailed {
                // That was reported, and it was never served.
                holding.watch = None;
            } else {
                out.push(Action::Measure { address, epoch });
            }
        }
    }

    fn is_at(&self, address: IpAddr, epoch: u64, stage: Stage) -> bool {
        self.held.get(&address).is_some_and(|h| h.epoch == epoch && h.stage == stage)
    }
}

#[cfg(test)]
mod tests;
