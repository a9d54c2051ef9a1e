//! Each test is headed by a line of the control rules: situation → decision.

mod handover;
mod many;
mod waiting;

use std::net::Ipv4Addr;

use super::super::Served;
use super::*;

const T: Duration = Duration::from_millis(350);
const STUCK: Duration = Duration::from_secs(20);

pub(in super::super) fn host(n: u8) -> HostId {
    HostId(IpAddr::V4(Ipv4Addr::new(10, 77, 0, n)))
}

pub(in super::super) fn addr(n: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 78, 0, n))
}

pub(in super::super) fn at(ms: u64) -> Time {
    Time::from_nanos(ms * 1_000_000)
}

/// A healthy member that follows host 1, with these addresses of its own.
pub(in super::super) fn info(preferred: &[u8]) -> HostInfo {
    HostInfo {
        control_addresses: Vec::new(),
        mac: [2; 6],
        ok: true,
        quiesced: false,
        phase: Phase::Member,
        leader: Some(host(1)),
        load: 0,
        capacity: 100,
        preferred: preferred.iter().map(|&n| addr(n)).collect(),
        served: Vec::new(),
        refused: Vec::new(),
    }
}

fn serving(mut info: HostInfo, n: u8, state: AddressState, epoch: u64) -> HostInfo {
    info.served.push(Served { address: addr(n), state, epoch });
    info
}

pub(in super::super) fn online(info: HostInfo, n: u8, epoch: u64) -> HostInfo {
    serving(info, n, AddressState::Online, epoch)
}

/// A leader (host 1, an observer unless it is one of `hosts`) and what it knows.
pub(in super::super) struct Leader {
    control: Control,
    random: Random,
    pub database: Database,
    others: Membership,
    pub failback: Failback,
    pub placement: Placement,
    pub balance: Option<Balance>,
    pub spread: bool,
    pub heartbeat: Duration,
    pub hosts: Vec<(u8, HostInfo)>,
    pub follows: fn(u8) -> bool,
    pub available_since: Option<Time>,
    sequence: u64,
    /// For tests that count decisions: the last one.
    pub told: Option<Decision>,
}

impl Leader {
    pub fn new(hosts: Vec<(u8, HostInfo)>) -> Self {
        let mut leader = Self {
            control: Control::default(),
            random: Random::new(1),
            database: Database::default(),
            others: Membership::default(),
            failback: Failback::Immediate,
            placement: Placement::LeastUtilised,
            balance: None,
            spread: false,
            heartbeat: Duration::from_millis(100),
            hosts: Vec::new(),
            follows: |_| true,
            available_since: Some(at(0)),
            sequence: 0,
            told: None,
        };
        leader.hear(hosts);
        leader
    }

    /// All hosts say this now, nothing acknowledged.
    pub fn hear(&mut self, hosts: Vec<(u8, HostInfo)>) {
        for (n, info) in &hosts {
            self.hear_one(*n, 1, info.clone(), None);
        }
        self.hosts = hosts;
    }

    fn hear_one(&mut self, n: u8, boot: u64, info: HostInfo, acknowledged: Option<(u64, u64)>) {
        self.sequence += 1;
        for &address in &info.preferred {
            self.database.claim(address, Some(host(n)), at(0), |_| true);
        }
        for served in &info.served {
            self.database.served(served.address, host(n), served.epoch);
        }
        self.others.update(host(n), boot, self.sequence, at(0), info, acknowledged);
    }

    pub fn floating(mut self, n: u8) -> Self {
        self.database.claim(addr(n), None, at(0), |_| true);
        self
    }

    /// Something has changed.
    pub fn decide(&mut self, now: Time) -> Vec<Decision> {
        self.turn(now, true)
    }

    /// Nothing has but what was decided last.
    fn go_on(&mut self) -> Vec<Decision> {
        self.turn(at(0), false)
    }

    fn turn(&mut self, now: Time, anew: bool) -> Vec<Decision> {
        let mut control = std::mem::take(&mut self.control);
        let mut random = self.random.clone();
        let decisions = control.decide(&self.situation(now), anew, &mut random);
        (self.control, self.random) = (control, random);
        decisions
    }

    /// An operator asks for this address on this host.
    fn asked(&mut self, n: u8, to: u8) -> Result<Option<Decision>, MoveRefusal> {
        let mut control = std::mem::take(&mut self.control);
        let request = MoveRequest { leader: host(1), address: addr(n), to: host(to) };
        let result = control.operator(&self.situation(at(0)), &request, &[]);
        self.control = control;
        result
    }

    pub fn situation(&self, now: Time) -> Situation<'_> {
        let mut members: Vec<Member<'_>> = self
            .hosts
            .iter()
            .map(|(n, info)| Member {
                host: host(*n),
                info,
                follows: (self.follows)(*n),
                available_since: self.available_since,
            })
            .collect();
        members.sort_unstable_by_key(|member| member.host);
        Situation {
            now,
            me: host(1),
            members,
            others: &self.others,
            database: &self.database,
            failback: self.failback,
            placement: self.placement,
            balance: self.balance,
            spread: self.spread,
            heartbeat: self.heartbeat,
            stuck_after: STUCK,
            timeout: T,
        }
    }

    /// What becomes of one address: the hosts it is given to and taken from, and why.
    pub fn orders(&mut self, now: Time) -> Vec<(bool, u8, Reason)> {
        let last = |id: HostId| match id.0 {
            IpAddr::V4(v4) => v4.octets()[3],
            IpAddr::V6(_) => 0,
        };
        self.decide(now)
            .into_iter()
            .filter_map(|decision| match decision {
                Decision::Acquire { to, reason, .. } => Some((true, last(to), reason)),
                Decision::Release { to, reason, .. } => Some((false, last(to), reason)),
                Decision::CannotAssign(_) => None,
            })
            .collect()
    }
}

const ACQUIRE: bool = true;
const RELEASE: bool = false;

// Rule 1: acquiring or releasing anywhere, even beside an online holder → wait.
#[test]
fn moving_address_waits() {
    for state in [AddressState::Acquiring, AddressState::Releasing] {
        let mut leader =
            Leader::new(vec![(2, serving(info(&[9]), 9, state, 1)), (3, online(info(&[]), 9, 1))]);
        assert_eq!(leader.decide(at(0)), []);
    }
}

// Rule 1: the same state and epoch for the whole limit → Release, reason stuck. A new epoch
// starts the limit anew.
#[test]
fn stuck_address_is_released() {
    let acquiring = |epoch| vec![(2, serving(info(&[9]), 9, AddressState::Acquiring, epoch))];
    let mut leader = Leader::new(acquiring(1));
    assert_eq!(leader.orders(at(0)), []);
    assert_eq!(leader.orders(at(19_999)), []);
    leader.hear(acquiring(2));
    assert_eq!(leader.orders(at(20_000)), [], "another assignment");
    assert_eq!(leader.orders(at(39_999)), []);
    assert_eq!(leader.orders(at(40_000)), [(RELEASE, 2, Reason::Stuck)]);
}

// Rule 1: releasing for longer than the limit → nothing more to order, however often it is asked.
#[test]
fn stuck_release_is_not_ordered_again() {
    let releasing = vec![(2, serving(info(&[9]), 9, AddressState::Releasing, 1))];
    let mut leader = Leader::new(releasing);
    for seconds in 0..100 {
        assert_eq!(leader.orders(at(seconds * 1_000)), []);
    }
}

// Rule 2: nobody holds it, and …
//   its preferred host is available → that one, though others are idle
//   that one is quiesced / not OK / joining / leaving / refuses / does not follow → a spare
//   no spare either → an eligible host
//   nobody → CannotAssign
#[test]
fn unserved_address() {
    type Change = fn(&mut HostInfo);
    let mut busy = info(&[9]);
    busy.load = 99;
    let all = |first: HostInfo| vec![(2, first), (3, info(&[])), (4, info(&[8]))];
    let taken = |to| vec![(ACQUIRE, to, Reason::Unserved)];
    let nine = |orders: Vec<(bool, u8, Reason)>| orders.into_iter().next_back();

    assert_eq!(nine(Leader::new(all(busy)).orders(at(0))), Some(taken(2)[0]), "preferred");
    let unable: [(&str, Change); 5] = [
        ("quiesced", |i| i.quiesced = true),
        ("not ok", |i| i.ok = false),
        ("joining", |i| (i.phase, i.quiesced) = (Phase::Joining, true)),
        ("leaving", |i| i.phase = Phase::Leaving),
        ("refuses", |i| i.refused.push(addr(9))),
    ];
    for (why, change) in unable {
        let mut first = info(&[9]);
        change(&mut first);
        let got = nine(Leader::new(all(first.clone())).orders(at(0)));
        assert_eq!(got, Some(taken(3)[0]), "{why}: spare");
        let hosts = vec![(2, first.clone()), (4, info(&[8]))];
        assert_eq!(nine(Leader::new(hosts).orders(at(0))), Some(taken(4)[0]), "{why}: eligible");
        let decisions = Leader::new(vec![(2, first)]).decide(at(0));
        assert_eq!(decisions, [Decision::CannotAssign(addr(9))], "{why}: nobody");
    }
    let mut leader = Leader::new(vec![(2, info(&[9])), (3, info(&[]))]);
    leader.follows = |n| n != 2;
    assert_eq!(leader.orders(at(0)), taken(3), "does not follow");
}

// Rule 2: nobody ever had it, its preferred host is joining and OK → wait for it. Somebody had it
// before, or that host is quiesced → do not wait.
#[test]
fn first_assignment_waits_for_joining_host() {
    let mut joining = info(&[9]);
    joining.phase = Phase::Joining;
    let hosts = || vec![(2, joining.clone()), (3, info(&[]))];
    assert_eq!(Leader::new(hosts()).decide(at(0)), []);
    let mut before = Leader::new(hosts());
    before.database.assigned(addr(9), 4);
    assert_eq!(before.orders(at(0)), [(ACQUIRE, 3, Reason::Unserved)]);
    joining.quiesced = true;
    let mut quiesced = Leader::new(vec![(2, joining.clone()), (3, info(&[]))]);
    assert_eq!(quiesced.orders(at(0)), [(ACQUIRE, 3, Reason::Unserved)]);
}

// Rules 2 and 3: its preferred host is in sight, but was started anew without it → orphaned: not
// given to that host before others, and not taken from its holder.
#[test]
fn an_address_its_host_no_longer_claims() {
    let mut leader = Leader::new(vec![(2, info(&[9])), (3, info(&[]))]);
    leader.hear(vec![(2, info(&[8])), (3, info(&[]))]);
    let orders = leader.decide(at(0));
    let of_nine = |d: &Decision| {
        matches!(d, Decision::Acquire { address, to, .. }
        if (*address, *to) == (addr(9), host(3)))
    };
    assert!(orders.iter().any(of_nine), "{orders:?}");
    leader.hear(vec![(2, online(info(&[8]), 8, 1)), (3, online(info(&[]), 9, 1))]);
    assert_eq!(leader.decide(at(1)), []);
}

// Rule 2: CannotAssign once; cleared by an assignment; said again at the next occurrence.
#[test]
fn cannot_assign_once_per_occurrence() {
    let mut unable = info(&[9]);
    unable.ok = false;
    let mut leader = Leader::new(vec![(2, unable.clone())]);
    assert_eq!(leader.decide(at(0)), [Decision::CannotAssign(addr(9))]);
    assert_eq!(leader.decide(at(1)), []);
    assert_eq!(leader.control.unassignable().collect::<Vec<_>>(), [addr(9)]);
    leader.hear(vec![(2, online(info(&[9]), 9, 1))]);
    assert_eq!(leader.decide(at(2)), []);
    assert_eq!(leader.control.unassignable().count(), 0);
    leader.hear(vec![(2, unable)]);
    assert_eq!(leader.decide(at(3)), [Decision::CannotAssign(addr(9))]);
}

// Each assignment is numbered one above the highest epoch heard of; at the end of the numbers it
// stays there and does not wrap.
#[test]
fn epoch_is_one_above_the_highest() {
    for (heard, given) in [(0, 1), (41, 42), (u64::MAX, u64::MAX)] {
        let mut leader = Leader::new(vec![(2, info(&[9]))]);
        leader.database.assigned(addr(9), heard);
        let decisions = leader.decide(at(0));
        assert!(matches!(decisions[..], [Decision::Acquire { epoch, .. }] if epoch == given));
    }
}

// Why an address is unserved: its last holder's state → reason.
#[test]
fn reason_for_an_unserved_address() {
    type Change = fn(&mut HostInfo);
    let rows: [(Change, Reason); 5] = [
        (|i| i.phase = Phase::Leaving, Reason::Shutdown),
        (|i| i.phase = Phase::Joining, Reason::LeaseLapsed),
        (|i| i.ok = false, Reason::TestFailed),
        (|i| i.refused.push(addr(9)), Reason::AcquireFailed),
        (|i| i.quiesced = true, Reason::Unserved),
    ];
    for (change, reason) in rows {
        let mut last = info(&[9]);
        change(&mut last);
        let mut leader = Leader::new(vec![(2, last), (3, info(&[]))]);
        leader.database.served(addr(9), host(2), 1);
        assert_eq!(leader.orders(at(0)), [(ACQUIRE, 3, reason)]);
    }
    let mut gone = Leader::new(vec![(3, info(&[]))]).floating(9);
    gone.database.served(addr(9), host(2), 1);
    assert_eq!(gone.orders(at(0)), [(ACQUIRE, 3, Reason::HostDown)]);
}

// Rule 3: held by another while the preferred host is available →
//   immediate: the preferred host, after that holder, for the reason failback
//   after d: the same once it has been available for d
//   never: nothing
#[test]
fn failback_by_policy() {
    let held = || vec![(2, info(&[9])), (3, online(info(&[]), 9, 1))];
    let pause = Duration::from_millis(500);
    let taken = vec![(ACQUIRE, 2, Reason::Failback)];
    for (policy, now, expected) in [
        (Failback::Immediate, 0, taken.clone()),
        (Failback::After(pause), 499, vec![]),
        (Failback::After(pause), 500, taken),
        (Failback::Never, 1_000_000, vec![]),
    ] {
        let mut leader = Leader::new(held());
        leader.failback = policy;
        assert_eq!(leader.orders(at(now)), expected, "{policy:?} at {now}");
    }
    let mut leader = Leader::new(held());
    leader.orders(at(0));
    leader.hear(vec![(2, info(&[9])), (3, info(&[]))]);
    assert_eq!(leader.orders(at(1)), [(ACQUIRE, 2, Reason::Failback)]);
}

// Rule 3: the preferred host is quiesced, not OK, refuses, or holds it → nothing. A floating
// address is nobody's → nothing.
#[test]
fn no_failback() {
    type Change = fn(&mut HostInfo);
    let changes: [Change; 3] =
        [|i| i.quiesced = true, |i| i.ok = false, |i| i.refused.push(addr(9))];
    for change in changes {
        let mut preferred = info(&[9]);
        change(&mut preferred);
        let mut leader = Leader::new(vec![(2, preferred), (3, online(info(&[]), 9, 1))]);
        assert_eq!(leader.decide(at(0)), []);
    }
    assert_eq!(Leader::new(vec![(2, online(info(&[9]), 9, 1))]).decide(at(0)), []);
    let mut leader = Leader::new(vec![(2, online(info(&[]), 9, 1)), (3, info(&[]))]).floating(9);
    assert_eq!(leader.decide(at(0)), []);
}

// Rule 4: several online holders → one keeps it, all others Release: the highest epoch, else the
// preferred host, else a spare, else by hash.
#[test]
fn duplicates() {
    let (preferred, spare, other) = (info(&[9]), info(&[]), info(&[8]));
    let rows = [
        (vec![(2, 1, &preferred), (3, 2, &spare)], Some(3)),
        (vec![(2, 1, &preferred), (3, 1, &spare)], Some(2)),
        (vec![(3, 1, &spare), (4, 1, &other)], Some(3)),
        (vec![(2, 1, &preferred), (3, 1, &spare), (4, 1, &other)], Some(2)),
        (vec![(4, 1, &other), (5, 1, &other)], None),
    ];
    for (holders, keeper) in rows {
        let hosts: Vec<(u8, HostInfo)> =
            holders.iter().map(|&(n, epoch, i)| (n, online(i.clone(), 9, epoch))).collect();
        let mut leader = Leader::new(hosts).floating(9).floating(8);
        let orders = leader.orders(at(0));
        let released: Vec<u8> = orders
            .iter()
            .filter(|o| **o == (RELEASE, o.1, Reason::Duplicate))
            .map(|o| o.1)
            .collect();
        assert_eq!(released.len(), holders.len() - 1, "{holders:?}");
        assert!(keeper.is_none_or(|keeper| !released.contains(&keeper)), "{holders:?}");
    }
}

// An address that is not in the database → whoever has it is told to release it, unless it is
// releasing already.
#[test]
fn invalid_address_is_released() {
    for (state, expected) in [
        (AddressState::Online, vec![(RELEASE, 3, Reason::Expired)]),
        (AddressState::Acquiring, vec![(RELEASE, 3, Reason::Expired)]),
        (AddressState::Releasing, vec![]),
    ] {
        let mut leader = Leader::new(vec![(3, serving(info(&[]), 9, state, 1))]);
        assert_eq!(leader.orders(at(0)), expected);
    }
}

// Several addresses at once, hosts equally loaded → spread: what is assigned counts at once.
#[test]
fn assignments_of_one_turn_count() {
    let hosts = vec![(3, info(&[])), (4, info(&[])), (5, info(&[]))];
    let leader = Leader::new(hosts);
    let mut leader = (10..16).fold(leader, Leader::floating);
    let mut to: Vec<u8> = leader.orders(at(0)).into_iter().map(|o| o.1).collect();
    to.sort_unstable();
    assert_eq!(to, [3, 3, 4, 4, 5, 5]);
}

// An operator wants address 9, which host 3 has, on host 2: what is so → what is answered.
#[test]
fn operators_request() {
    type Change = fn(&mut Leader);
    fn change(leader: &mut Leader, change: impl Fn(&mut HostInfo)) {
        let mut hosts = leader.hosts.clone();
        change(&mut hosts[0].1);
        leader.hear(hosts);
    }
    let rows: [(&str, Change, MoveRefusal); 9] = [
        ("not ok", |l| change(l, |i| i.ok = false), MoveRefusal::NotOk),
        ("quiesced", |l| change(l, |i| i.quiesced = true), MoveRefusal::Quiesced),
        ("joining", |l| change(l, |i| i.phase = Phase::Joining), MoveRefusal::NotMember),
        ("follows another", |l| l.follows = |n| n != 2, MoveRefusal::NotMember),
        ("refuses", |l| change(l, |i| i.refused.push(addr(9))), MoveRefusal::Refuses),
        ("not in sight", |l| l.hear(vec![l.hosts[1].clone()]), MoveRefusal::UnknownHost),
        ("two have it", |l| change(l, |i| *i = online(info(&[]), 9, 1)), MoveRefusal::Moving),
        ("nobody has it", |l| l.hear(vec![l.hosts[0].clone()]), MoveRefusal::Moving),
        ("under way", |l| pending(l, false), MoveRefusal::Moving),
    ];
    let held = || Leader::new(vec![(2, info(&[])), (3, online(info(&[]), 9, 4))]).floating(9);
    for (what, change, refusal) in rows {
        let mut leader = held();
        change(&mut leader);
        assert_eq!(leader.asked(9, 2), Err(refusal), "{what}");
    }
    assert_eq!(held().asked(8, 2), Err(MoveRefusal::UnknownAddress));
    assert_eq!(held().asked(9, 3), Err(MoveRefusal::HasIt));
}

// It can be done → Acquire by that host after the holder, for the reason operator, although another
// would be chosen; asked again meanwhile → no further order, no refusal. That host does not take it
// → the holder is told to release it. It keeps it → forgotten.
#[test]
fn operators_move() {
    let mut busy = info(&[8]);
    busy.load = 99;
    let hosts = |third: HostInfo| vec![(2, online(busy.clone(), 8, 1)), (3, third), (4, info(&[]))];
    let mut leader = Leader::new(hosts(online(info(&[]), 9, 4))).floating(9);
    leader.database.assigned(addr(9), 4);
    let (address, reason) = (addr(9), Reason::Operator);
    let acquire = |n| {
        let (to, from, after) = (host(n), Some(host(3)), Some(host(3)));
        Decision::Acquire { address, from, to, epoch: 5, reason, after }
    };
    assert_eq!(leader.asked(9, 2), Ok(Some(acquire(2))));
    assert_eq!(leader.asked(9, 2), Ok(None));
    assert_eq!(leader.asked(9, 4), Ok(Some(acquire(4))), "another wish, before it was obeyed");
    assert_eq!(leader.asked(9, 2), Ok(Some(acquire(2))));
    leader.hear(hosts(info(&[])));
    assert_eq!(leader.asked(9, 2), Ok(None));
    assert_eq!(leader.orders(at(0)), [(ACQUIRE, 2, Reason::Operator)]);
    leader.hear(hosts(online(info(&[]), 9, 5)));
    leader.decide(at(1));
    assert_eq!(leader.asked(9, 2).map(|decision| decision.is_some()), Ok(true));
    for _ in 1..3 {
        assert_eq!(leader.orders(at(1)), [(ACQUIRE, 2, Reason::Operator)]);
    }
    for _ in 3..TRIES {
        assert_eq!(leader.orders(at(1)), [(RELEASE, 3, Reason::Operator)]);
    }
    assert_eq!(leader.orders(at(1)), [], "the holder keeps it");
    leader.hear(hosts(info(&[])));
    let orders = leader.orders(at(2));
    assert!(matches!(orders[..], [(ACQUIRE, 3 | 4, Reason::Unserved)]), "{orders:?}");
}

// Its preferred host would have it back → refused, unless that host cannot or may not take it, or
// is the one it is to go to.
#[test]
fn operators_move_of_a_preferred_address() {
    let away = |home: HostInfo| Leader::new(vec![(2, home), (3, info(&[])), (4, info(&[]))]);
    let at_home = || online(info(&[9]), 9, 1);
    assert_eq!(away(at_home()).asked(9, 3), Err(MoveRefusal::FailsBack));
    let mut never = away(at_home());
    never.failback = Failback::Never;
    assert!(never.asked(9, 3).is_ok());
    let mut quiesced = at_home();
    quiesced.quiesced = true;
    assert!(away(quiesced).asked(9, 3).is_ok());
    let hosts = vec![(2, info(&[9])), (3, online(info(&[]), 9, 1))];
    let mut homeward = Leader::new(hosts);
    homeward.failback = Failback::Never;
    assert!(homeward.asked(9, 2).is_ok());
}

fn pending(leader: &mut Leader, acquire: bool) {
    let pending = Pending { to: host(3), to_boot: 1, message: (7, 50), given: at(0), acquire };
    leader.control.sent(addr(9), pending);
}

// An order for an address is on its way → no other decision about it until …
//   the host lists it (Acquire) / does not list it any more or is releasing it (Release)
//   the host acknowledges that message, or one after it
//   the host has started anew, or is out of sight
//   the host follows another leader, and the timeout has passed
#[test]
fn pending_order_blocks_its_address() {
    let row = |boot, info: HostInfo, acknowledged, now| {
        let mut leader = Leader::new(vec![(3, info.clone())]).floating(9);
        leader.hear_one(3, boot, info, acknowledged);
        pending(&mut leader, true);
        leader.decide(at(now));
        leader.control.pending.is_empty()
    };
    let mut deaf = info(&[]);
    deaf.leader = Some(host(2));
    assert!(!row(1, info(&[]), None, 100_000), "nothing acknowledged");
    assert!(!row(1, info(&[]), Some((7, 49)), 0), "an earlier message");
    assert!(!row(1, info(&[]), Some((6, 99)), 0), "a message of an earlier boot");
    assert!(row(1, info(&[]), Some((7, 50)), 0), "this one");
    assert!(row(1, info(&[]), Some((7, 51)), 0), "a later one");
    assert!(row(1, info(&[]), Some((8, 1)), 0), "one of a later boot");
    assert!(row(2, info(&[]), None, 0), "the host started anew");
    assert!(row(1, serving(info(&[]), 9, AddressState::Acquiring, 1), None, 0), "taken");
    assert!(!row(1, deaf.clone(), None, 349), "may follow again");
    assert!(row(1, deaf, None, 350), "follows another");
}

// A Release is on its way → closed when the host has it no more or is releasing it.
#[test]
fn pending_release() {
    for (state, open) in [
        (Some(AddressState::Online), true),
        (Some(AddressState::Acquiring), true),
        (Some(AddressState::Releasing), false),
        (None, false),
    ] {
        let mut holder = info(&[]);
        if let Some(state) = state {
            holder = serving(holder, 9, state, 1);
        }
        let mut leader = Leader::new(vec![(3, holder)]).floating(9);
        pending(&mut leader, false);
        leader.decide(at(0));
        assert_eq!(leader.control.pending.contains_key(&addr(9)), open, "{state:?}");
    }
}

// The destination is out of sight → closed. Leadership is lost and won again → still open, and
// nothing else is remembered.
#[test]
fn pending_orders_outlive_leadership_but_not_their_destination() {
    let mut leader = Leader::new(vec![(3, info(&[]))]).floating(9).floating(8);
    pending(&mut leader, true);
    leader.control.unassignable.insert(addr(8));
    leader.control.clear();
    assert_eq!(leader.control.unassignable().count(), 0);
    assert_eq!(leader.orders(at(0)), [(ACQUIRE, 3, Reason::Unserved)], "only the other one");
    assert_eq!(leader.control.unassignable().count(), 0);
    assert!(leader.control.pending.contains_key(&addr(9)));
    leader.others.expire(at(1_000), T, Duration::ZERO);
    leader.decide(at(1_000));
    assert!(leader.control.pending.is_empty());
}
