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
}

const GROUP: &str = "agent/src/group.rs";
const CONTROL: &str = "agent/src/group/control.rs";
const ELECTION: &str = "agent/src/group/election.rs";
const HOLDING: &str = "agent/src/group/holding.rs";
const LISTENING: &str = "agent/src/group/listening.rs";
const MEMBERSHIP: &str = "agent/src/group/membership.rs";
const ORPHAN: &str = "agent/src/group/orphan.rs";

/// The lease and a host's own pauses.
const LEASE: [Rule; 9] = [
    Rule {
        broken: "the lease is longer than the timeout",
        file: GROUP,
        old: "|from| from.min(now) + self.settings.lease)",
        new: "|from| from.min(now) + self.settings.timeout * 2)",
    },
    Rule {
        broken: "a heartbeat that leaves too late renews the lease",
        file: GROUP,
        old: "let renew_before = self.sent_until.unwrap_or(Time::END);",
        new: "let renew_before = Time::END;",
    },
    Rule {
        broken: "a host does not see that its own lease ran out",
        file: GROUP,
        old: "            self.lapse(now, until, out);",
        new: "            out.reserve(0);",
    },
    Rule {
        broken: "a host whose lease ran out keeps what it had",
        file: GROUP,
        old: "let addresses = self.holdings.withdraw_all(now, Reason::LeaseLapsed, out);",
        new: "let addresses = 0;",
    },
    Rule {
        broken: "a host whose lease ran out does not join anew",
        file: GROUP,
        old: "            self.phase = Phase::Joining;\n",
        new: "",
    },
    Rule {
        broken: "others are judged right after a pause of one's own",
        file: GROUP,
        old: "            self.judge_from = now + self.settings.heartbeat;\n",
        new: "",
    },
    Rule {
        broken: "a host takes part without having listened",
        file: GROUP,
        old: "            joining_until: now + settings.timeout,",
        new: "            joining_until: now,",
    },
    Rule {
        broken: "a joining host leads",
        file: ELECTION,
        old: "let own = (phase == Phase::Member).then_some(me);",
        new: "let own = (phase != Phase::Leaving).then_some(me);",
    },
    Rule {
        broken: "a host takes part that is not heard itself",
        file: GROUP,
        old: "now >= self.joining_until && lives {",
        new: "now >= self.joining_until && (lives || !lives) {",
    },
];

/// Leaders and their orders.
const ORDERS: [Rule; 11] = [
    Rule {
        broken: "a leader gives orders before it is followed",
        file: ELECTION,
        old: "(followed || now >= since + timeout) && ",
        new: "(followed || now >= since) && ",
    },
    Rule {
        broken: "a leader does not wait for hosts that others hear",
        file: ELECTION,
        old: " && !others.awaits_hidden(now, timeout)",
        new: "",
    },
    Rule {
        broken: "orders that may still arrive are forgotten",
        file: CONTROL,
        old: "        self.pending.insert(address, pending);",
        new: "        drop((address, pending));",
    },
    Rule {
        broken: "orders are forgotten when the leader changes",
        file: CONTROL,
        old: "pending: std::mem::take(&mut self.pending), ..Self::default()",
        new: "..Self::default()",
    },
    Rule {
        broken: "orders of a host that does not lead are obeyed",
        file: LISTENING,
        old: "if Some(from) != self.leader || now.since(at)",
        new: "if now.since(at)",
    },
    Rule {
        broken: "an order is obeyed however long it waited",
        file: LISTENING,
        old: "if Some(from) != self.leader || now.since(at) >= self.settings.timeout {",
        new: "if Some(from) != self.leader {",
    },
    Rule {
        broken: "orders for other hosts are obeyed",
        file: LISTENING,
        old: "if order.to != self.settings.host {",
        new: "if order.to != self.settings.host && !acquire {",
    },
    Rule {
        broken: "an order under an old epoch is obeyed",
        file: LISTENING,
        old: "let stale = entry.epoch <= self.database.epoch(entry.address);",
        new: "let stale = false;",
    },
    Rule {
        broken: "older messages are accepted",
        file: MEMBERSHIP,
        old: "last.is_none_or(|last| (boot, sequence) > last)",
        new: "last.is_none_or(|last| (boot, sequence) != last)",
    },
    Rule {
        broken: "an address is assigned under the epoch it had",
        file: CONTROL,
        old: "let epoch = situation.database.epoch(address).saturating_add(1);",
        new: "let epoch = situation.database.epoch(address).max(1);",
    },
    Rule {
        broken: "an address that is being acquired is not listed",
        file: HOLDING,
        old: "Stage::Configuring | Stage::Ready | Stage::Starting => Some(AddressState::Acquiring),",
        new: "Stage::Configuring | Stage::Ready => None,\n            \
              Stage::Starting => Some(AddressState::Acquiring),",
    },
];

/// Holding addresses, and giving them up.
const HOLDINGS: [Rule; 9] = [
    Rule {
        broken: "a higher epoch elsewhere is ignored",
        file: LISTENING,
        old: "        self.holdings.withdraw(now, lost, Reason::Superseded, out);",
        new: "        lost.clear();",
    },
    Rule {
        broken: "an address is opened although another host lists it",
        file: GROUP,
        old: "if !self.members.lists(address) {",
        new: "if self.members.lists(address) || !self.members.lists(address) {",
    },
    Rule {
        broken: "an address is conceded before it is withdrawn",
        file: HOLDING,
        old: "        out.push(Action::Fence(addresses.clone()));\n",
        new: "",
    },
    Rule {
        broken: "an address is opened before it is in place",
        file: HOLDING,
        old: "self.held.iter().filter(|(_, holding)| holding.stage == Stage::Ready);",
        new: "self.held.iter().filter(|(_, h)| matches!(h.stage, Stage::Ready | Stage::Clearing));",
    },
    Rule {
        broken: "results of an earlier assignment count",
        file: HOLDING,
        old: "is_some_and(|h| h.epoch == epoch && h.stage == stage)",
        new: "is_some_and(|h| h.epoch >= epoch && h.stage == stage)",
    },
    Rule {
        broken: "a host whose tests fail keeps what it has",
        file: GROUP,
        old: "            self.holdings.release_all(now, Reason::TestFailed, out);\n",
        new: "",
    },
    Rule {
        broken: "a host takes addresses while its tests fail",
        file: LISTENING,
        old: "let able = self.ok() && !self.quiesced",
        new: "let able = !self.quiesced",
    },
    Rule {
        broken: "a quiesced host takes addresses",
        file: LISTENING,
        old: "let able = self.ok() && !self.quiesced",
        new: "let able = self.ok()",
    },
    Rule {
        broken: "an agent ends before it has released",
        file: GROUP,
        old: "if self.phase == Phase::Leaving && self.holdings.is_empty() {",
        new: "if self.phase == Phase::Leaving {",
    },
];

/// Who is to have an address.
const PLACES: [Rule; 9] = [
    Rule {
        broken: "quiesced hosts are assigned addresses",
        file: MEMBERSHIP,
        old: "info.ok && !info.quiesced && info.phase",
        new: "info.ok && info.phase",
    },
    Rule {
        broken: "addresses are failed back although they are not to be",
        file: CONTROL,
        old: "Failback::Never => false,",
        new: "Failback::Never => true,",
    },
    Rule {
        broken: "addresses are failed back to a host that cannot take them",
        file: CONTROL,
        old: "|m: &&Member<'_>| m.host != holder && can_take(m, address);",
        new: "|m: &&Member<'_>| m.host != holder;",
    },
    Rule {
        broken: "addresses move to the leader",
        file: CONTROL,
        old: "if fails_back(situation, address, row, only.0) {",
        new: "if only.0 != situation.me || fails_back(situation, address, row, only.0) {",
    },
    Rule {
        broken: "the epochs that others tell are not learned",
        file: ORPHAN,
        old: "                entry.epoch = entry.epoch.max(record.epoch);\n",
        new: "",
    },
    Rule {
        broken: "the quorum is ignored",
        file: GROUP,
        old: "let met = u32::try_from(live).unwrap_or(u32::MAX) >= self.settings.quorum;",
        new: "let met = live > 0;",
    },
    Rule {
        broken: "the lease does not hang on the quorum",
        file: GROUP,
        old: "            0 => Some(now),\n",
        new: "            0.. if self.quorum_met => Some(now),\n",
    },
    Rule {
        broken: "a host that refuses an address is assigned it again",
        file: CONTROL,
        old: "available(member.info) && member.follows && !member.info.refused.contains(&address)",
        new: "available(member.info) && member.follows && !address.is_unspecified()",
    },
    Rule {
        broken: "orphans never expire",
        file: ORPHAN,
        old: "        self.entries.retain(|_, entry| now.since(entry.seen) < timeout);",
        new: "        self.entries.retain(|_, entry| now.since(entry.seen) < timeout * 1_000);",
    },
];

/// All of them.
pub(super) fn all() -> impl Iterator<Item = &'static Rule> {
    LEASE.iter().chain(&ORDERS).chain(&HOLDINGS).chain(&PLACES)
}
