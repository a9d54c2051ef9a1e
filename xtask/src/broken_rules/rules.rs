//! The rules, each with the change of the source that breaks it.

/// A rule, and how it is broken.
#[derive(Debug)]
pub(super) struct Rule {
    /// What is so no longer.
    pub broken: &'static str,
    pub file: &'static str,
    /// Text that the file has once.
    pub old: &'static str,
    /// What stands there instead.
    pub new: &'static str,
    /// Why it may go unnoticed, where something else guards against the same.
    pub guarded: Option<&'static str>,
    /// What is broken besides to show that: alone this rule may go unnoticed, both together not.
    /// Where there is nothing, that it is guarded is not shown: a gap.
    pub besides: Option<&'static str>,
}

/// A rule that nothing else stands in for.
const fn rule(
    broken: &'static str,
    file: &'static str,
    old: &'static str,
    new: &'static str,
) -> Rule {
    Rule { broken, file, old, new, guarded: None, besides: None }
}

const GROUP: &str = "agent/src/group.rs";
const CONTROL: &str = "agent/src/group/control.rs";
const ELECTION: &str = "agent/src/group/election.rs";
const HOLDING: &str = "agent/src/group/holding.rs";
const LEASE_ROOM: &str = "agent/src/group/lease.rs";
const LISTENING: &str = "agent/src/group/listening.rs";
const MEMBERSHIP: &str = "agent/src/group/membership.rs";
const ORPHAN: &str = "agent/src/group/orphan.rs";
const TURNS: &str = "agent/src/group/turns.rs";
const TELLING: &str = "agent/src/group/telling.rs";
const WAY: &str = "common/src/handover.rs";

/// The lease and a host's own pauses.
const LEASE: [Rule; 10] = [
    rule(
        "a lease that ran out for want of a quorum comes back",
        GROUP,
        " && self.lease(now) <= now {",
        " && self.lease(now) < Time::ZERO {",
    ),
    rule(
        "the lease is longer than the timeout",
        LEASE_ROOM,
        "let until = now + self.own_lease();",
        "let until = now + self.settings.timeout * 2;",
    ),
    rule(
        "a heartbeat that leaves too late renews the lease",
        TELLING,
        "let renew_before = self.sent_until.unwrap_or(Time::END);",
        "let renew_before = Time::END;",
    ),
    rule(
        "a host does not see that its own lease ran out",
        GROUP,
        "            self.lapse(now, until, out);",
        "            out.reserve(0);",
    ),
    rule(
        "a host whose lease ran out keeps what it had",
        GROUP,
        "let addresses = self.holdings.withdraw_all(now, Reason::LeaseLapsed, out);",
        "let addresses = 0;",
    ),
    rule(
        "a host whose lease ran out does not join anew",
        GROUP,
        "            self.phase = Phase::Joining;\n",
        "",
    ),
    Rule {
        guarded: Some("the sockets are drained first, and simulated ones lose nothing"),
        ..rule(
            "others are judged right after a pause of one's own",
            GROUP,
            "            self.judge_from = now + self.settings.heartbeat;\n",
            "",
        )
    },
    rule(
        "a host takes part without having listened",
        GROUP,
        "            joining_until: now + settings.timeout,",
        "            joining_until: now,",
    ),
    Rule {
        guarded: Some("only members give orders"),
        besides: Some("a joining host gives orders"),
        ..rule(
            "a joining host leads",
            ELECTION,
            "let own = (phase == Phase::Member).then_some(me);",
            "let own = (phase != Phase::Leaving).then_some(me);",
        )
    },
    rule(
        "a host takes part that is not heard itself",
        GROUP,
        "now >= self.joining_until && lives && knows {",
        "now >= self.joining_until && (lives || !lives) && knows {",
    ),
];

/// Leaders and their orders.
const ORDERS: [Rule; 14] = [
    Rule {
        guarded: Some("only members lead"),
        ..rule(
            "a joining host gives orders",
            TURNS,
            "let leads = self.leads() && self.phase == Phase::Member;",
            "let leads = self.leads() && self.phase != Phase::Leaving;",
        )
    },
    Rule {
        guarded: Some("orders need a quorum that is heard now"),
        besides: Some("orders need no quorum that is heard now"),
        ..rule(
            "leaders that were without a quorum need not be followed anew",
            GROUP,
            "            self.leading_since = now;\n        ",
            "        ",
        )
    },
    rule(
        "a leader gives orders before it is followed",
        ELECTION,
        "(followed || now >= since + timeout) && ",
        "(followed || now >= since) && ",
    ),
    rule(
        "a host leads that alone does not hear the leader",
        ELECTION,
        "peer.info.leader.is_some_and(|leader| leader < me)",
        "peer.info.leader.is_some_and(|leader| leader < me && leader > me)",
    ),
    rule(
        "a leader does not wait for hosts that others hear",
        ELECTION,
        " && !others.awaits_hidden(now, timeout)",
        "",
    ),
    rule(
        "orders that may still arrive are forgotten",
        CONTROL,
        "        self.pending.insert(address, pending);",
        "        drop((address, pending));",
    ),
    Rule {
        guarded: Some("a new leader waits until it is followed"),
        ..rule(
            "orders are forgotten when the leader changes",
            CONTROL,
            "pending: std::mem::take(&mut self.pending), ..Self::default()",
            "..Self::default()",
        )
    },
    Rule {
        guarded: Some("a leader waits until it is followed, and epochs ascend"),
        ..rule(
            "orders of a host that does not lead are obeyed",
            LISTENING,
            "if Some(from) != self.leader || now.since(at)",
            "if now.since(at)",
        )
    },
    Rule {
        guarded: Some("a host that paused for so long joins anew and takes nothing"),
        ..rule(
            "an order is obeyed however long it waited",
            LISTENING,
            "if Some(from) != self.leader || now.since(at) >= self.settings.timeout {",
            "if Some(from) != self.leader {",
        )
    },
    rule(
        "orders for other hosts are obeyed",
        LISTENING,
        "if order.to != self.settings.host {",
        "if order.to != self.settings.host && !acquire {",
    ),
    Rule {
        guarded: Some("messages are taken in ascending order only"),
        besides: Some("orders of a host that does not lead are obeyed"),
        ..rule(
            "an order under an old epoch is obeyed",
            LISTENING,
            "let stale = entry.epoch <= self.database.epoch(entry.address);",
            "let stale = false;",
        )
    },
    rule(
        "older messages are accepted",
        MEMBERSHIP,
        "last.is_none_or(|last| (boot, sequence) > last)",
        "last.is_none_or(|last| (boot, sequence) != last)",
    ),
    rule(
        "an address is assigned under the epoch it had",
        CONTROL,
        "let epoch = situation.database.epoch(address).saturating_add(1);",
        "let epoch = situation.database.epoch(address).max(1);",
    ),
    rule(
        "an address that is being acquired is not listed",
        HOLDING,
        "Stage::Configuring | Stage::Ready | Stage::Starting => Some(AddressState::Acquiring),",
        "Stage::Configuring | Stage::Ready => None,\n            \
              Stage::Starting => Some(AddressState::Acquiring),",
    ),
];

/// Holding addresses, and giving them up.
const HOLDINGS: [Rule; 10] = [
    rule(
        "a higher epoch elsewhere is ignored",
        LISTENING,
        "        self.holdings.withdraw(now, lost, Reason::Superseded, out);",
        "        lost.clear();",
    ),
    rule(
        "a higher epoch in a part of another's lists is ignored",
        LISTENING,
        "        self.holdings.withdraw(now, superseded, Reason::Superseded, out);",
        "        let _: Vec<IpAddr> = superseded;\n        let _ = (now, out);",
    ),
    rule(
        "an address is opened although another host lists it",
        GROUP,
        "if !self.members.lists(address) && self.may_open(now, address, out) {",
        "if self.members.lists(address) || !self.members.lists(address) {",
    ),
    rule(
        "an address is conceded before it is withdrawn",
        HOLDING,
        "        out.push(Action::Fence(addresses.clone()));\n",
        "",
    ),
    rule(
        "an address is opened before it is in place",
        HOLDING,
        "            stage: Stage::Configuring,",
        "            stage: Stage::Ready,",
    ),
    Rule {
        guarded: Some("two assignments to one host seldom cross"),
        ..rule(
            "results of an earlier assignment count",
            HOLDING,
            "is_some_and(|h| h.epoch == epoch && h.stage == stage)",
            "is_some_and(|h| h.epoch >= epoch && h.stage == stage)",
        )
    },
    rule(
        "a host whose tests fail keeps what it has",
        GROUP,
        "            self.holdings.release_all(now, Reason::TestFailed, out);\n",
        "",
    ),
    rule(
        "a host takes addresses while its tests fail",
        LISTENING,
        "let able = self.ok() && !self.quiesced",
        "let able = !self.quiesced",
    ),
    rule(
        "a quiesced host takes addresses",
        LISTENING,
        "let able = self.ok() && !self.quiesced",
        "let able = self.ok()",
    ),
    rule(
        "an agent ends before it has released",
        GROUP,
        "if self.phase == Phase::Leaving && self.holdings.is_empty() {",
        "if self.phase == Phase::Leaving {",
    ),
];

/// Who is to have an address.
const PLACES: [Rule; 13] = [
    rule(
        "quiesced hosts are assigned addresses",
        MEMBERSHIP,
        "info.ok && !info.quiesced && info.phase",
        "info.ok && info.phase",
    ),
    rule(
        "addresses are failed back although they are not to be",
        CONTROL,
        "Failback::Never => false,",
        "Failback::Never => true,",
    ),
    rule(
        "addresses are failed back to a host that cannot take them",
        CONTROL,
        "|m: &&Member<'_>| m.host != holder && can_take(m, address);",
        "|m: &&Member<'_>| m.host != holder;",
    ),
    rule(
        "addresses move to the leader",
        CONTROL,
        "if fails_back(situation, address, row, only.0) {",
        "if only.0 != situation.me {\n            (Some(situation.me), Reason::Failback)\n        \
              } else if fails_back(situation, address, row, only.0) {",
    ),
    Rule {
        guarded: Some("whoever serves an address tells its epoch, too"),
        ..rule(
            "the epochs that others tell are not learned",
            ORPHAN,
            "            entry.epoch = entry.epoch.max(record.epoch);\n",
            "",
        )
    },
    Rule {
        guarded: Some("the lease hangs on the quorum by itself"),
        besides: Some("the lease does not hang on the quorum"),
        ..rule(
            "the quorum is ignored",
            GROUP,
            "let met = u32::try_from(live).unwrap_or(u32::MAX) >= self.settings.quorum;",
            "let met = live > 0;",
        )
    },
    rule(
        "the lease does not hang on the quorum",
        LEASE_ROOM,
        "            0 => until,\n",
        "            0.. if self.quorum_met => until,\n",
    ),
    rule(
        "with a quorum, having heard others is enough",
        LEASE_ROOM,
        "let said = own.and_then(|known| self.sent.handled((known.boot, known.sequence)));",
        "let said = own.map(|_| at);",
    ),
    rule(
        "orders need no quorum that is heard now",
        LEASE_ROOM,
        "heard.take(needed).count() == needed",
        "heard.take(needed).count() <= needed",
    ),
    rule(
        "a host that has just started counts for the quorum of orders",
        LEASE_ROOM,
        " && peer.info.phase != Phase::Joining;",
        ";",
    ),
    rule(
        "a host that others have heard since is taken for dead",
        MEMBERSHIP,
        "self.hidden.remove(&id);\n        if let Some(peer)",
        "self.hidden.clear();\n        if let Some(peer)",
    ),
    rule(
        "a host that refuses an address is assigned it again",
        CONTROL,
        "available(member.info) && member.follows && !member.info.refused.contains(&address)",
        "available(member.info) && member.follows && !address.is_unspecified()",
    ),
    rule(
        "orphans never expire",
        ORPHAN,
        "let limit = Entry::limit(entry.withdrawn, timeout);",
        "let limit = Entry::limit(false, timeout * 1_000);",
    ),
];

/// Hand-overs.
const HANDOVERS: [Rule; 1] = [rule(
    "a host that prepares accepts what others send",
    WAY,
    "entry.state == STATE_STAGED && source == entry.peer",
    "entry.state == STATE_STAGED && source != entry.mac",
)];

/// All of them.
pub(super) fn all() -> impl Iterator<Item = &'static Rule> {
    LEASE.iter().chain(&ORDERS).chain(&HOLDINGS).chain(&HANDOVERS).chain(&PLACES)
}
