//! The only way into and out of a [`Group`](super::Group): events in, actions out.

use std::fmt;
use std::net::IpAddr;

use rais_common::time::Time;
use serde::{Deserialize, Serialize};

use super::{HostId, Message, MoveRefusal, Phases, Settings};

/// Something that happened outside.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// Time passed: a deadline is due. Everything received before `now` has been handed in: the
    /// control sockets were drained before the clock was read. Where that took a while,
    /// [`Event::HeardUntil`] was handed in before.
    Tick,
    /// Everything received before this time has been handed in; what was received since may not
    /// have been. Holds for the next [`Event::Tick`], which judges nobody silent by a later time.
    HeardUntil(Time),
    /// A message arrived that was genuine, fresh and from another host.
    Received {
        /// When it arrived, by the kernel's receive timestamp; not in the future.
        at: Time,
        /// What it says.
        message: Message,
    },
    /// A heartbeat left on at least one control interface and the lease was renewed.
    HeartbeatSent {
        /// The time handed to the group when it asked for the heartbeat: read before sending.
        at: Time,
        /// The lease that came with it ([`Action::Heartbeat`]).
        lease_until: Time,
    },
    /// [`Action::Configure`] was carried out.
    Configured {
        /// The address.
        address: IpAddr,
        /// Its epoch.
        epoch: u64,
        /// Whether the address is in place; else why not.
        result: Result<(), String>,
    },
    /// [`Action::Open`] failed. What was opened counts as open unless this follows.
    OpenFailed {
        /// The address.
        address: IpAddr,
        /// Its epoch.
        epoch: u64,
        /// Why.
        error: String,
    },
    /// [`Action::Measure`] was reached, and the turn it was in is done.
    Measured {
        /// The address.
        address: IpAddr,
        /// Its epoch.
        epoch: u64,
    },
    /// An acquire or release script ended.
    ScriptEnded {
        /// Which.
        script: AddressScript,
        /// The address it was for.
        address: IpAddr,
        /// Its epoch.
        epoch: u64,
        /// Whether it did its work; else why not.
        result: Result<(), String>,
    },
    /// [`Action::Deconfigure`] was carried out: the address is off the interface.
    Deconfigured {
        /// The address.
        address: IpAddr,
        /// Its epoch.
        epoch: u64,
        /// Whether it went; else why not.
        result: Result<(), String>,
    },
    /// What the test objects say, together.
    Health {
        /// All pass.
        ok: bool,
        /// In words, for people.
        detail: String,
    },
    /// What the load objects say, together.
    Load {
        /// Current load.
        load: u32,
        /// Current capacity, in the same unit.
        capacity: u32,
    },
    /// The operator quiesces (true) or resumes this host.
    Quiesce(bool),
    /// The operator wants an address moved; asked on this host, whoever leads. Ends with
    /// [`Action::MoveEnded`], and takes the place of one that was asked for before and has not
    /// ended.
    Move {
        /// The address.
        address: IpAddr,
        /// The host that is to have it.
        to: HostId,
    },
    /// The operator has other settings for this group, on this host. What they leave as it is stays
    /// as it is. Those of another group or host change nothing.
    Reconfigured(Box<Settings>),
    /// The agent is to end: release everything.
    Shutdown,
    /// Another machine claimed an address this host holds.
    Conflict {
        /// The address.
        address: IpAddr,
        /// The claimant's hardware address.
        mac: [u8; 6],
    },
    /// Several happened at once, and are taken in one turn, in this order: results of what was to
    /// be done for many addresses. No [`Event::Tick`], no [`Event::HeardUntil`]
    /// and no [`Event::Measured`] among them.
    Together(Vec<Event>),
}

impl Event {
    /// These as one: none, the only one, or [`Event::Together`].
    #[must_use]
    pub fn together(mut events: Vec<Self>) -> Option<Self> {
        if events.len() > 1 { Some(Self::Together(events)) } else { events.pop() }
    }
}

/// Scripts that are run for an address, before it changes its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddressScript {
    /// After the address was opened, before it counts as online.
    Acquire,
    /// Before the address is withdrawn.
    Release,
}

/// Something to be done outside. Carried out in order: a withdrawal precedes the message that
/// concedes the address.
#[derive(Clone, Debug, PartialEq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Data plane, inline: these are this host's, and are not to be answered for.
    Fence(Vec<IpAddr>),
    /// Data plane, inline: answer for this one while the lease lives.
    Open {
        /// The address.
        address: IpAddr,
        /// Its epoch, for [`Event::OpenFailed`].
        epoch: u64,
    },
    /// Data plane, inline: this one is about to be taken over; accept what its holder sends on, and
    /// send to that one what comes from others.
    Stage {
        /// The address.
        address: IpAddr,
        /// The holder's hardware address.
        from: [u8; 6],
    },
    /// Data plane, inline: as [`Fence`](Self::Fence), but send on what still comes.
    Forward {
        /// The address.
        address: IpAddr,
        /// The hardware address of the host that it goes to.
        to: [u8; 6],
        /// Until when.
        until: Time,
        /// Only while the lease lives. False: the agent is about to end.
        leased: bool,
    },
    /// Data plane, inline: this one is no longer this host's.
    Forget(IpAddr),
    /// Inline: report [`Event::Measured`] before any other event, so that it shows how long the
    /// actions of this turn took.
    Measure {
        /// The address.
        address: IpAddr,
        /// Its epoch.
        epoch: u64,
    },
    /// Data plane, inline: the lease ends then, earlier than was written before. Should that fail,
    /// the agent must fall silent: what follows says that it answers no longer.
    Shorten(Time),
    /// Send a heartbeat over every control interface, unless the clock shows `renew_before` or
    /// later: what it says is out of date then, and the next turn will say so. If it left on at
    /// least one, and the clock, read again after sending, still shows less than `renew_before`,
    /// renew the lease and report [`Event::HeartbeatSent`]. Otherwise do neither.
    Heartbeat {
        /// An [`Info`](super::Info).
        message: Message,
        /// Until when the XDP program may answer. Counted from the time handed to the group,
        /// which was read before sending.
        lease_until: Time,
        /// The end of the lease that this one extends. A heartbeat that left later, because the
        /// agent was paused between its look at the clock and sending, may have reached others
        /// after they gave this host up. One that left in time has made them wait again, so that
        /// after this check it does not matter how late the lease is written.
        renew_before: Time,
    },
    /// Send an order, or something about a move, over every control interface.
    Send(Message),
    /// Scripts thread: put the address in place. Ends with [`Event::Configured`].
    Configure {
        /// The address.
        address: IpAddr,
        /// Its epoch.
        epoch: u64,
    },
    /// Scripts thread: take the address away. Ends with [`Event::Deconfigured`].
    Deconfigure {
        /// The address.
        address: IpAddr,
        /// Its epoch.
        epoch: u64,
    },
    /// Scripts thread: run a script. Ends with [`Event::ScriptEnded`].
    RunScript {
        /// Which.
        script: AddressScript,
        /// For which address.
        address: IpAddr,
        /// Its epoch.
        epoch: u64,
        /// Why, for the script's environment.
        reason: Reason,
    },
    /// Send gratuitous ARP or unsolicited neighbour advertisements for these.
    Announce(Vec<IpAddr>),
    /// Write down what happened; scripts and traps that go with it follow from it.
    Report(Report),
    /// The move asked for by [`Event::Move`] is done, or why not.
    MoveEnded(Result<(), MoveRefusal>),
    /// Everything is released: the agent may end.
    Stopped,
}

/// Why an address moves or stays away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Nobody served it.
    Unserved,
    /// Its holder fell silent.
    HostDown,
    /// Its preferred host is available again.
    Failback,
    /// Several hosts had it.
    Duplicate,
    /// The address is not valid: unknown, or orphaned for too long.
    Expired,
    /// An action took longer than its limit.
    Stuck,
    /// The holder was above its high water mark.
    Balance,
    /// The holder had more addresses than another host that is no busier.
    Spread,
    /// The operator asked.
    Operator,
    /// This host's tests fail.
    TestFailed,
    /// This host's own lease ran out.
    LeaseLapsed,
    /// Another host holds it under a higher epoch.
    Superseded,
    /// Fewer hosts are in sight than the quorum asks for.
    QuorumLost,
    /// This host's agent is ending.
    Shutdown,
    /// The acquire script, the interface or the data plane failed.
    AcquireFailed,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 15] = [
        Self::Unserved,
        Self::HostDown,
        Self::Failback,
        Self::Duplicate,
        Self::Expired,
        Self::Stuck,
        Self::Balance,
        Self::Spread,
        Self::Operator,
        Self::TestFailed,
        Self::LeaseLapsed,
        Self::Superseded,
        Self::QuorumLost,
        Self::Shutdown,
        Self::AcquireFailed,
    ];

    /// The word for it in events, status and `RAIS_REASON`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unserved => "unserved",
            Self::HostDown => "host-down",
            Self::Failback => "failback",
            Self::Duplicate => "duplicate",
            Self::Expired => "expired",
            Self::Stuck => "stuck",
            Self::Balance => "balance",
            Self::Spread => "spread",
            Self::Operator => "operator",
            Self::TestFailed => "test-failed",
            Self::LeaseLapsed => "lease-lapsed",
            Self::Superseded => "superseded",
            Self::QuorumLost => "quorum-lost",
            Self::Shutdown => "shutdown",
            Self::AcquireFailed => "acquire-failed",
        }
    }

    /// The reason in words that go on after "because".
    #[must_use]
    pub const fn explained(self) -> &'static str {
        match self {
            Self::Unserved => "nobody served it",
            Self::HostDown => "its holder fell silent",
            Self::Failback => "its preferred host is available again",
            Self::Duplicate => "several hosts had it",
            Self::Expired => "it is no longer an address of the group",
            Self::Stuck => "acquiring it took too long",
            Self::Balance => "its holder had too much to do",
            Self::Spread => "its holder had more addresses than a host that is no busier",
            Self::Operator => "the operator asked for it",
            Self::TestFailed => "the tests of its holder fail",
            Self::LeaseLapsed => "the lease of its holder ran out",
            Self::Superseded => "another host has the better claim to it",
            Self::QuorumLost => "fewer hosts than the quorum are in sight",
            Self::Shutdown => "the agent of its holder was told to end",
            Self::AcquireFailed => "its last holder could not take it",
        }
    }

    /// The reason that has this [`word`](Self::word).
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.word() == word)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Something worth telling people, scripts and trap receivers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Report {
    /// This host leads, follows another, or nobody.
    Leader(Option<HostId>),
    /// A host came into sight.
    HostUp(HostId),
    /// A host fell silent for the timeout.
    HostDown {
        /// Which.
        host: HostId,
        /// How long it had been silent when it was judged dead: at least the timeout.
        silence: std::time::Duration,
    },
    /// A host took its leave.
    HostLeft(HostId),
    /// This host, as leader, gave an order about an address.
    Ordered {
        /// True for Acquire.
        acquire: bool,
        /// The address.
        address: IpAddr,
        /// Who had it last, as far as this host knows.
        from: Option<HostId>,
        /// To whom.
        to: HostId,
        /// Under which epoch.
        epoch: u64,
        /// Why.
        reason: Reason,
        /// For an Acquire: for how long the address had been unserved, as far as this host knows.
        phases: Phases,
    },
    /// An address is online on this host.
    Acquired {
        /// The address.
        address: IpAddr,
        /// Its epoch.
        epoch: u64,
        /// Why it was assigned.
        reason: Reason,
        /// Who had it last, as far as this host knows.
        from: Option<HostId>,
        /// The leader that decided it.
        by: Option<HostId>,
        /// How long it took since the order.
        phases: Phases,
    },
    /// This host could not take an address.
    AcquireFailed {
        /// The address.
        address: IpAddr,
        /// Its epoch.
        epoch: u64,
        /// Who had it last, as far as this host knows.
        from: Option<HostId>,
        /// The leader that decided it.
        by: Option<HostId>,
        /// How long it took since the order; it failed in the last of them.
        phases: Phases,
        /// In words.
        error: String,
    },
    /// An address is no longer served by this host: it was withdrawn and taken off the interface,
    /// or is still to be taken off, where that does not work at once.
    Released {
        /// The address.
        address: IpAddr,
        /// The epoch it was held under.
        epoch: u64,
        /// Why.
        reason: Reason,
        /// The leader that decided it; none: this host itself.
        by: Option<HostId>,
        /// How long it took since that was decided.
        phases: Phases,
    },
    /// A release script or the interface failed; the address was withdrawn all the same.
    ReleaseFailed {
        /// The address.
        address: IpAddr,
        /// The epoch it was held under.
        epoch: u64,
        /// In words.
        error: String,
    },
    /// The tests began to fail (once per occurrence).
    TestFailed {
        /// In words.
        detail: String,
    },
    /// The tests pass again.
    TestPassed,
    /// No host can take an address (once per occurrence).
    CannotAssign(IpAddr),
    /// The lease ran out: this host was paused, starved or could not send.
    LeaseLapsed {
        /// For how long it was without a lease.
        late: std::time::Duration,
        /// How many addresses it had.
        addresses: usize,
    },
    /// Fewer hosts than the quorum are in sight, or enough again.
    Quorum {
        /// Enough.
        met: bool,
        /// How many are live, this one included.
        live: usize,
    },
    /// Two hosts call the same address their preferred one; the lower id is believed.
    PreferredTwice {
        /// The address.
        address: IpAddr,
        /// The two hosts, the one believed first.
        hosts: [HostId; 2],
    },
    /// Another machine claimed an address this host holds.
    Conflict {
        /// The address.
        address: IpAddr,
        /// Its hardware address.
        mac: [u8; 6],
    },
    /// The operator quiesced or resumed this host.
    Quiesced(bool),
    /// This host took up a higher boot epoch, because others remember a higher one of it.
    BootRaised,
}
