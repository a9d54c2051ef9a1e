//! Events → actions of a whole group. Host 5 is the one under test; others are heard.
#![allow(clippy::wildcard_enum_match_arm, reason = "tests look at a few actions of many")]

mod catching_up;
mod contests;
mod handover;
mod leading;
mod moves;
mod quorum;
mod reconfigured;
mod telling;
mod turns;
mod views;
mod words;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::*;

const H: u64 = 100;
const T: u64 = 350;

fn host(n: u8) -> HostId {
    HostId(IpAddr::V4(Ipv4Addr::new(10, 77, 0, n)))
}

fn addr(n: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 78, 0, n))
}

fn at(ms: u64) -> Time {
    Time::from_nanos(ms * 1_000_000)
}

fn settings() -> Settings {
    Settings {
        name: "test".to_owned(),
        host: host(5),
        control_addresses: vec![host(5).0],
        mac: [2; 6],
        role: Role::Member,
        heartbeat: Duration::from_millis(H),
        timeout: Duration::from_millis(T),
        lease: Duration::from_millis(T - H),
        preferred: BTreeSet::from([addr(5)]),
        floating: BTreeSet::new(),
        quorum: 1,
        failback: Failback::Immediate,
        placement: Placement::LeastUtilised,
        balance: None,
        spread: true,
        orphan_timeout: Duration::from_hours(1),
        action_limit: Duration::from_secs(10),
        acquire_script: false,
        release_script: false,
        seed: 1,
    }
}

/// A member with the lowest id that leads, and knows addresses 5 and 9.
fn leader_info() -> Info {
    let record = |n, preferred: Option<u8>, epoch| Record {
        address: addr(n),
        preferred: preferred.map(host),
        age: Duration::ZERO,
        epoch,
        withdrawn: false,
    };
    Info {
        host: HostInfo {
            control_addresses: Vec::new(),
            mac: [2; 6],
            ok: true,
            quiesced: false,
            phase: Phase::Member,
            leader: Some(host(1)),
            load: 0,
            capacity: 1,
            preferred: Vec::new(),
            served: Vec::new(),
            refused: Vec::new(),
        },
        lists: None,
        known: Vec::new(),
        knows_more: false,
        database: vec![record(5, Some(5), 3), record(9, None, 3)],
        records: None,
        lease: Duration::from_millis(T - H),
    }
}

/// A group and the clock it is driven by.
struct Bench {
    group: Group,
    now: u64,
    sequence: u64,
    /// The last heartbeat that left: boot and sequence, and when.
    sent: ((u64, u64), u64),
}

impl Bench {
    /// Healthy and a member, following host 1 (`led`) or leading alone.
    fn member(settings: Settings, led: bool) -> Self {
        let group = Group::new(settings, 4, at(0));
        let mut bench = Self { group, now: 0, sequence: 0, sent: ((0, 0), 0) };
        bench.give(Event::Health { ok: true, detail: String::new() });
        bench.pass(T + 1, led);
        assert_eq!(bench.group.phase, Phase::Member);
        assert_eq!(bench.group.leader, Some(if led { host(1) } else { host(5) }));
        bench
    }

    /// Hands an event in; heartbeats leave at once, and what is to be put in place is.
    fn give(&mut self, event: Event) -> Vec<Action> {
        let now = at(self.now);
        let mut actions = self.group.handle(now, event);
        let mut all = Vec::new();
        while !actions.is_empty() {
            let mut results = Vec::new();
            for action in &actions {
                match *action {
                    Action::Heartbeat { ref message, lease_until, renew_before }
                        if now < renew_before =>
                    {
                        self.sent = ((message.boot, message.sequence), self.now);
                        results.push(Event::HeartbeatSent { at: now, lease_until });
                    }
                    Action::Measure { address, epoch } => {
                        results.push(Event::Measured { address, epoch });
                    }
                    Action::Configure { address, epoch } => {
                        results.push(Event::Configured { address, epoch, result: Ok(()) });
                    }
                    Action::Deconfigure { address, epoch } => {
                        results.push(Event::Deconfigured { address, epoch, result: Ok(()) });
                    }
                    _ => {}
                }
            }
            all.append(&mut actions);
            for result in results {
                actions.extend(self.group.handle(now, result));
            }
        }
        all
    }

    /// Time passes, tick by tick; host 1 is heard at each heartbeat if it is to be.
    fn pass(&mut self, ms: u64, led: bool) {
        for _ in 0..ms {
            if led && self.now.is_multiple_of(H) {
                self.acknowledge(1, leader_info());
            }
            self.now += 1;
            if at(self.now) >= self.group.next_deadline() {
                self.give(Event::Tick);
            }
        }
    }

    fn hear(&mut self, from: u8, body: Body) -> Vec<Action> {
        self.sequence += 1;
        let message = Message { source: host(from), boot: 1, sequence: self.sequence, body };
        self.give(Event::Received { at: at(self.now), message })
    }

    /// A heartbeat whose sender has heard the last one of this host.
    fn acknowledge(&mut self, from: u8, mut info: Info) {
        let (boot, sequence) = self.sent.0;
        info.known = vec![Known { id: host(5), boot, sequence, age: Duration::ZERO }];
        self.hear(from, Body::Info(Box::new(info)));
    }

    fn order(&mut self, from: u8, acquire: bool, to: u8, (n, epoch): (u8, u64)) -> Vec<Action> {
        let entry = OrderEntry { address: addr(n), epoch, reason: Reason::Unserved, other: None };
        let order = Order { to: host(to), entries: vec![entry] };
        self.hear(from, if acquire { Body::Acquire(order) } else { Body::Release(order) })
    }

    fn serves(&self, n: u8) -> bool {
        self.group.holdings.epoch(addr(n)).is_some()
    }
}

fn reports(actions: &[Action]) -> Vec<&Report> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Report(report) => Some(report),
            _ => None,
        })
        .collect()
}

fn position(actions: &[Action], which: fn(&Action) -> bool) -> Option<usize> {
    actions.iter().position(which)
}

// Acquire: to, from, epoch, state of this host → taken or not. The highest epoch heard is 3.
#[test]
fn acquire_is_taken_or_not() {
    type Change = fn(&mut Bench);
    let same: Change = |_| {};
    let rows: [(&str, Change, u8, u8, u64, bool); 10] = [
        ("as it should be", same, 1, 5, 4, true),
        ("for another host", same, 1, 6, 4, false),
        ("not from its leader", same, 2, 5, 4, false),
        ("the epoch is not higher", same, 1, 5, 3, false),
        (
            "not ok",
            |b| drop(b.give(Event::Health { ok: false, detail: String::new() })),
            1,
            5,
            4,
            false,
        ),
        ("quiesced", |b| drop(b.give(Event::Quiesce(true))), 1, 5, 4, false),
        (
            "resumed",
            |b| {
                b.give(Event::Quiesce(true));
                b.give(Event::Quiesce(false));
            },
            1,
            5,
            4,
            true,
        ),
        ("leaving", |b| b.group.phase = Phase::Leaving, 1, 5, 4, false),
        ("joining", |b| b.group.phase = Phase::Joining, 1, 5, 4, false),
        ("no quorum", |b| b.group.quorum_met = false, 1, 5, 4, false),
    ];
    for (why, change, from, to, epoch, taken) in rows {
        let mut bench = Bench::member(settings(), true);
        change(&mut bench);
        bench.order(from, true, to, (9, epoch));
        assert_eq!(bench.serves(9), taken, "{why}");
    }
}

// Acquire for an address it serves → ignored, the epoch stays. One overheard → its epoch counts.
#[test]
fn acquire_known_or_overheard() {
    let mut bench = Bench::member(settings(), true);
    bench.order(1, true, 5, (9, 4));
    bench.order(1, true, 5, (9, 5));
    assert_eq!(bench.group.holdings.epoch(addr(9)), Some(4));
    let mut bench = Bench::member(settings(), true);
    bench.order(1, true, 6, (9, 8));
    bench.order(1, true, 5, (9, 8));
    assert!(!bench.serves(9));
    bench.order(1, true, 5, (9, 9));
    assert!(bench.serves(9));
}

// An order that waited in the socket for as long as the timeout → ignored.
#[test]
fn stale_order() {
    for (waited, taken) in [(T - 1, true), (T, false)] {
        let mut bench = Bench::member(settings(), true);
        bench.sequence += 1;
        let entry =
            OrderEntry { address: addr(9), epoch: 4, reason: Reason::Unserved, other: None };
        let body = Body::Acquire(Order { to: host(5), entries: vec![entry] });
        let message = Message { source: host(1), boot: 1, sequence: bench.sequence, body };
        bench.give(Event::Received { at: at(bench.now - waited), message });
        assert_eq!(bench.serves(9), taken);
    }
}

// An observer → never takes anything, and says it is not OK; it may lead.
#[test]
fn observer() {
    let mut observer = settings();
    observer.role = Role::Observer;
    observer.preferred = BTreeSet::new();
    let mut bench = Bench::member(observer.clone(), true);
    bench.order(1, true, 5, (9, 4));
    assert!(!bench.serves(9));
    assert!(!bench.group.own_info(at(0)).ok);
    observer.floating = BTreeSet::from([addr(9)]);
    let bench = Bench::member(observer, false);
    assert!(!bench.serves(9), "leads alone and takes nothing");
}

// Release: to, from, epoch (held under 4) → released or not
#[test]
fn release_is_obeyed_or_not() {
    for (from, to, epoch, released) in
        [(1, 5, 4, true), (1, 5, 5, true), (1, 5, 3, false), (1, 6, 4, false), (2, 5, 4, false)]
    {
        let mut bench = Bench::member(settings(), true);
        bench.order(1, true, 5, (9, 4));
        bench.order(from, false, to, (9, epoch));
        assert_eq!(!bench.serves(9), released, "{from} {to} {epoch}");
    }
}

// A message with a number that is not higher, of an earlier boot, or its own → nothing.
#[test]
fn not_fresh() {
    for (source, boot, sequence) in [(1, 1, 0), (1, 0, u64::MAX), (5, 9, 9)] {
        let mut bench = Bench::member(settings(), true);
        let mut info = leader_info();
        info.host.load = 77;
        let body = Body::Info(Box::new(info));
        let message = Message { source: host(source), boot, sequence, body };
        bench.give(Event::Received { at: at(bench.now), message });
        assert!(bench.group.members.iter().all(|(_, peer)| peer.info.load != 77));
        assert_eq!(bench.group.members.len(), 1);
    }
}

// Leads alone → takes its own address, listed before it answers.
#[test]
fn leads_alone() {
    let bench = Bench::member(settings(), false);
    assert!(bench.serves(5));
}

// The lease ran out → the fence is the very first action, then it joins anew.
#[test]
fn lapse_withdraws_first() {
    let mut bench = Bench::member(settings(), false);
    bench.now += T - H;
    let actions = bench.give(Event::Load { load: 1, capacity: 1 });
    assert_eq!(actions.first(), Some(&Action::Fence(vec![addr(5)])));
    assert!(reports(&actions).iter().any(|r| matches!(r, Report::LeaseLapsed { .. })));
    assert_eq!(bench.group.phase, Phase::Joining);
    assert!(!bench.serves(5));
    bench.pass(T - H, false);
    assert_eq!(bench.group.phase, Phase::Joining, "listens for the whole timeout");
    bench.pass(2 * H, false);
    assert!(bench.serves(5));
}

// A heartbeat brings a lease counted from the turn, and has to leave before the one before ends.
#[test]
fn heartbeat_and_lease() {
    let mut bench = Bench::member(settings(), false);
    let before = bench.group.sent_until;
    let due = bench.group.next_heartbeat;
    let actions = bench.group.handle(due, Event::Tick);
    let leases: Vec<_> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Heartbeat { lease_until, renew_before, .. } => {
                Some((*lease_until, Some(*renew_before)))
            }
            _ => None,
        })
        .collect();
    assert_eq!(leases, [(due + Duration::from_millis(T - H), before)]);
    bench.now += 10 * T;
    bench.group.handle(at(bench.now), Event::Tick);
    assert_eq!(bench.group.sent_until, None, "nothing left: no lease");
}

// SIGTERM → fenced, then the heartbeat that concedes and takes leave, then the end.
#[test]
fn shutdown_in_order() {
    let mut bench = Bench::member(settings(), false);
    let actions = bench.give(Event::Shutdown);
    let fence = position(&actions, |a| matches!(a, Action::Fence(_)));
    let leave = position(&actions, |a| match a {
        Action::Heartbeat { message: Message { body: Body::Info(info), .. }, .. } => {
            info.host.phase == Phase::Leaving && info.host.served.is_empty()
        }
        _ => false,
    });
    assert!(fence.is_some() && fence < leave);
    assert_eq!(actions.last(), Some(&Action::Stopped));
    assert_eq!(bench.give(Event::Tick), []);
}

// The tests fail → everything is released, reported once; they pass again → reported once.
#[test]
fn health() {
    let mut bench = Bench::member(settings(), true);
    bench.order(1, true, 5, (9, 4));
    let fails = || Event::Health { ok: false, detail: "503".to_owned() };
    let actions = bench.give(fails());
    assert!(reports(&actions).contains(&&Report::TestFailed { detail: "503".to_owned() }));
    assert!(!bench.serves(9));
    assert_eq!(reports(&bench.give(fails())), Vec::<&Report>::new());
    let actions = bench.give(Event::Health { ok: true, detail: String::new() });
    assert_eq!(reports(&actions), [&Report::TestPassed]);
}

// Quiesced → keeps what it has.
#[test]
fn quiesced_keeps() {
    let mut bench = Bench::member(settings(), true);
    bench.order(1, true, 5, (9, 4));
    bench.give(Event::Quiesce(true));
    bench.pass(1_000, true);
    assert!(bench.serves(9));
}

fn listing(phase: Phase, state: AddressState, epoch: u64) -> Body {
    let mut info = leader_info();
    info.host.phase = phase;
    info.host.served = vec![Served { address: addr(9), state, epoch }];
    Body::Info(Box::new(info))
}

// Another host lists an address held here under epoch 4 → withdrawn or kept; a withdrawal comes
// before the heartbeat that says so. Host 5 prefers an address and host 1 does not: a spare.
#[test]
fn superseded() {
    use AddressState::{Acquiring, Online, Releasing};
    for (state, epoch, lost) in [
        (Online, 5, true),
        (Acquiring, 5, true),
        (Releasing, 5, false),
        (Online, 4, true),
        (Acquiring, 4, true),
        (Online, 3, false),
    ] {
        let mut bench = Bench::member(settings(), true);
        bench.order(1, true, 5, (9, 4));
        let actions = bench.hear(1, listing(Phase::Member, state, epoch));
        assert_eq!(!bench.serves(9), lost, "{state:?} {epoch}");
        if lost {
            let fence = position(&actions, |a| matches!(a, Action::Fence(_)));
            assert!(fence < position(&actions, |a| matches!(a, Action::Heartbeat { .. })));
        }
    }
}

// Another host in sight lists the address while it is put in place here → opened only when that
// host lists it no more, or has been silent for the timeout.
#[test]
fn opens_when_nobody_else_lists_it() {
    let opened = |a: &Action| matches!(a, Action::Open { .. });
    let mut bench = Bench::member(settings(), true);
    bench.hear(2, listing(Phase::Joining, AddressState::Online, 3));
    let actions = bench.order(1, true, 5, (9, 4));
    assert!(bench.serves(9));
    assert!(!actions.iter().any(opened));
    let actions = bench.hear(2, Body::Info(Box::new(leader_info())));
    assert!(actions.iter().any(opened));
}

// Others remember a higher boot of this host → it goes one above that, and counts from the start.
#[test]
fn boot_is_raised() {
    for (remembered, expected, raised) in
        [(3, 4, false), (4, 4, false), (5, 6, true), (u64::MAX, u64::MAX, true)]
    {
        let mut bench = Bench::member(settings(), true);
        let mut info = leader_info();
        let age = Duration::ZERO;
        info.known = vec![Known { id: host(5), boot: remembered, sequence: 9, age }];
        let actions = bench.hear(1, Body::Info(Box::new(info)));
        assert_eq!(bench.group.boot, expected);
        assert_eq!(reports(&actions).contains(&&Report::BootRaised), raised);
    }
}

// Two hosts in sight prefer the same address → reported once, the lower id believed.
#[test]
fn preferred_twice() {
    let mut bench = Bench::member(settings(), true);
    let mut info = leader_info();
    info.host.preferred = vec![addr(5)];
    bench.hear(2, Body::Info(Box::new(info.clone())));
    let actions = bench.give(Event::Tick);
    let twice = Report::PreferredTwice { address: addr(5), hosts: [host(2), host(5)] };
    assert!(reports(&actions).contains(&&twice));
    bench.hear(2, Body::Info(Box::new(info)));
    let actions = bench.give(Event::Tick);
    assert_eq!(reports(&actions), Vec::<&Report>::new());
    assert_eq!(bench.group.database.get(addr(5)).and_then(|e| e.preferred), Some(host(2)));
}

// An address nobody configured with it is left to see → after the orphan timeout its holder is
// told to release it, here the leader itself.
#[test]
fn orphan_expires() {
    let mut short = settings();
    short.orphan_timeout = Duration::from_secs(5);
    let mut bench = Bench::member(short, true);
    bench.order(1, true, 5, (9, 4));
    bench.pass(4_000, false);
    assert!(bench.serves(9));
    bench.pass(1_200, false);
    assert!(!bench.serves(9));
    assert!(bench.serves(5), "its own");
}

// Something falls due while other events are handled → the next tick is due at once.
#[test]
fn due_while_busy() {
    let mut bench = Bench::member(settings(), true);
    let heard = bench.group.members.iter().map(|(_, peer)| peer.heard).max().unwrap();
    while at(bench.now) < heard + Duration::from_millis(T - 20) {
        bench.pass(1, false);
    }
    bench.now += 30;
    bench.give(Event::Load { load: 1, capacity: 1 });
    assert!(bench.group.next_deadline() <= at(bench.now));
}

// This host leads and its own tests fail → the order says that it had the address, and why it lost
// it.
#[test]
fn reason_for_what_the_leader_lost_itself() {
    let mut bench = Bench::member(settings(), false);
    assert!(bench.serves(5));
    let mut other = leader_info();
    (other.host.leader, other.database) = (Some(host(5)), Vec::new());
    bench.hear(7, Body::Info(Box::new(other)));
    let actions = bench.give(Event::Health { ok: false, detail: "down".to_owned() });
    let ordered = reports(&actions).into_iter().find_map(|report| match report {
        Report::Ordered { acquire: true, from, to, reason, .. } => Some((*from, *to, *reason)),
        _ => None,
    });
    assert_eq!(ordered, Some((Some(host(5)), host(7), Reason::TestFailed)));
}

// The leader serves an address and falls silent, at 351 ms; this host leads after it, from 701 ms
// on, and waits for host 7, which follows it at 1,000 ms.
#[test]
fn time_before_an_order() {
    let mut bench = Bench::member(settings(), true);
    bench.hear(1, listing(Phase::Member, AddressState::Online, 4));
    assert_eq!(bench.now, 351);
    let mut said = Vec::new();
    while bench.now < 1_000 {
        bench.now += 1;
        if bench.now.is_multiple_of(H) {
            let mut other = leader_info();
            other.host.leader = Some(host(if bench.now < 1_000 { 1 } else { 5 }));
            said.extend(bench.hear(7, Body::Info(Box::new(other))));
        }
        if at(bench.now) >= bench.group.next_deadline() {
            said.extend(bench.give(Event::Tick));
        }
    }
    let ms = Duration::from_millis;
    let fell = Report::HostDown { host: host(1), silence: ms(T) };
    assert!(reports(&said).contains(&&fell), "{said:?}");
    let before: BTreeMap<IpAddr, &Phases> = reports(&said)
        .into_iter()
        .filter_map(|report| match report {
            Report::Ordered { acquire: true, address, phases, .. } => Some((*address, phases)),
            _ => None,
        })
        .collect();
    let decision = (ChangePhase::Decision, ms(299));
    assert_eq!(*before[&addr(9)], Phases::from([(ChangePhase::Silence, ms(T)), decision]));
    // Nobody has had it: nobody's silence.
    assert_eq!(*before[&addr(5)], Phases::from([decision]));
}
