//! Moves that an operator asks for: what the host that is asked does, and what the leader answers.

use super::*;

/// The host, in a group that host 1 leads, and how it has address 9.
fn holding(state: Option<AddressState>) -> Body {
    let mut info = leader_info();
    let served = state.map(|state| Served { address: addr(9), state, epoch: 3 });
    info.host.served = served.into_iter().collect();
    Body::Info(Box::new(info))
}

const ONLINE: Option<AddressState> = Some(AddressState::Online);

/// Address 9 on that host.
fn nine(to: u8) -> Event {
    Event::Move { address: addr(9), to: host(to) }
}

fn requests(actions: &[Action]) -> Vec<MoveRequest> {
    let sent = actions.iter().filter_map(|action| match action {
        Action::Send(Message { body: Body::Move(request), .. }) => Some(*request),
        _ => None,
    });
    sent.collect()
}

fn answers(actions: &[Action]) -> Vec<MoveAnswer> {
    let sent = actions.iter().filter_map(|action| match action {
        Action::Send(Message { body: Body::MoveRefused(answer), .. }) => Some(*answer),
        _ => None,
    });
    sent.collect()
}

fn ended(actions: &[Action]) -> Vec<Result<(), MoveRefusal>> {
    let ended = actions.iter().filter_map(|action| match action {
        Action::MoveEnded(result) => Some(*result),
        _ => None,
    });
    ended.collect()
}

/// A follower of host 1 that has been asked to move address 9 from host 7 to host 8.
fn asked() -> Bench {
    let mut bench = Bench::member(settings(), true);
    bench.hear(8, holding(None));
    bench.hear(7, holding(ONLINE));
    let request = MoveRequest { leader: host(1), address: addr(9), to: host(8) };
    assert_eq!(requests(&bench.give(nine(8))), [request]);
    bench
}

// Asked → passed on to the leader, again at each heartbeat while its holder has the address; no
// more once that releases it; done when it is online where it was wanted.
#[test]
fn asks_until_something_happens() {
    let mut bench = asked();
    for (pass, again) in [(H - 1, 0), (1, 1), (H - 1, 0), (1, 1)] {
        bench.now += pass;
        assert_eq!(requests(&bench.give(Event::Tick)).len(), again);
    }
    bench.hear(7, holding(Some(AddressState::Releasing)));
    bench.now += H;
    assert_eq!(requests(&bench.give(Event::Tick)), []);
    let acquiring = bench.hear(8, holding(Some(AddressState::Acquiring)));
    assert_eq!(ended(&acquiring), []);
    bench.hear(7, holding(None));
    assert_eq!(ended(&bench.hear(8, holding(ONLINE))), [Ok(())]);
    bench.now += H;
    assert_eq!(ended(&bench.give(Event::Tick)), [], "once");
}

// The address is online on another host in the end; or first on one, then where it was wanted; or
// on two → what becomes of the move.
#[test]
fn where_it_goes() {
    let mut bench = asked();
    bench.hear(7, holding(None));
    assert_eq!(ended(&bench.hear(6, holding(ONLINE))), [Err(MoveRefusal::Elsewhere)]);

    let mut bench = Bench::member(settings(), true);
    bench.give(nine(8));
    assert_eq!(ended(&bench.hear(7, holding(ONLINE))), [], "nobody had it, somebody has");
    bench.hear(7, holding(None));
    assert_eq!(ended(&bench.hear(8, holding(ONLINE))), [Ok(())]);

    let mut bench = asked();
    assert_eq!(ended(&bench.hear(8, holding(ONLINE))), [], "both have it");
    assert_eq!(ended(&bench.hear(7, holding(None))), [Ok(())]);

    let mut bench = Bench::member(settings(), true);
    bench.order(1, true, 5, (9, 4));
    bench.give(nine(8));
    bench.order(1, false, 5, (9, 4));
    assert_eq!(ended(&bench.hear(8, holding(ONLINE))), [Ok(())], "from this host itself");
}

// Nothing happens → given up after a release, an acquisition and two timeouts.
#[test]
fn given_up() {
    let mut bench = asked();
    let limit = 2 * (10_000 + T);
    for pass in (0..limit).step_by(50) {
        bench.hear(1, holding(None));
        let actions = bench.hear(7, holding(ONLINE));
        assert_eq!(ended(&actions), [], "after {pass}");
        bench.now += 50;
    }
    assert_eq!(ended(&bench.give(Event::Tick)), [Err(MoveRefusal::Late)]);
    let group = Group::new(settings(), 4, at(0));
    let mut bench = Bench { group, now: 0, sequence: 0, sent: ((0, 0), 0) };
    assert_eq!(ended(&bench.give(nine(8))), [Err(MoveRefusal::NoLeader)]);
}

// From whom, to whom, about which address, why → whether the move ends with it.
#[test]
fn answers_that_count() {
    use MoveRefusal::{HasIt, Quiesced};
    for (from, to, n, refusal, expected) in [
        (1, 5, 9, Quiesced, vec![Err(Quiesced)]),
        (2, 5, 9, Quiesced, vec![]),
        (1, 6, 9, Quiesced, vec![]),
        (1, 5, 8, Quiesced, vec![]),
        // A request that was repeated comes after what it asked for was done.
        (1, 5, 9, HasIt, vec![Ok(())]),
    ] {
        let mut bench = asked();
        let answer = MoveAnswer { to: host(to), address: addr(n), refusal };
        let actions = bench.hear(from, Body::MoveRefused(answer));
        assert_eq!(ended(&actions), expected, "{from} {to} {n}");
    }
    let mut bench = Bench::member(settings(), true);
    bench.hear(8, holding(ONLINE));
    bench.give(nine(8));
    let answer = MoveAnswer { to: host(5), address: addr(9), refusal: HasIt };
    assert_eq!(ended(&bench.hear(1, Body::MoveRefused(answer))), [Err(HasIt)], "from the start");
}

/// This host leads, and host 7 has address 9.
fn leads() -> Bench {
    let mut floating = settings();
    floating.floating = BTreeSet::from([addr(9)]);
    let mut bench = Bench::member(floating, false);
    bench.order(5, false, 5, (9, 9));
    let mut info = leader_info();
    info.host.leader = Some(host(5));
    info.host.served = vec![Served { address: addr(9), state: AddressState::Online, epoch: 7 }];
    bench.hear(7, Body::Info(Box::new(info)));
    assert!(!bench.serves(9));
    bench
}

// The leader itself is asked → it takes the address over, or says at once why not.
#[test]
fn the_leader_is_asked() {
    let mut bench = leads();
    bench.give(nine(5));
    assert!(bench.serves(9));
    let mut info = leader_info();
    info.host.leader = Some(host(5));
    assert_eq!(ended(&bench.hear(7, Body::Info(Box::new(info)))), [Ok(())]);
    assert_eq!(ended(&leads().give(nine(99))), [Err(MoveRefusal::UnknownHost)]);

    let mut alone = settings();
    alone.quorum = 2;
    let mut bench = Bench::member(alone, false);
    assert_eq!(ended(&bench.give(nine(7))), [Err(MoveRefusal::NoQuorum)]);
}

// Host 7 passes a request on, to whom it takes for the leader; it waited in the socket for so long
// → answered or not.
#[test]
fn the_leader_answers() {
    let request = |leader| MoveRequest { leader: host(leader), address: addr(9), to: host(99) };
    let hear = |bench: &mut Bench, leader, waited| {
        bench.sequence += 1;
        let (boot, sequence, body) = (1, bench.sequence, Body::Move(request(leader)));
        let message = Message { source: host(7), boot, sequence, body };
        answers(&bench.give(Event::Received { at: at(bench.now - waited), message }))
    };
    let refusal = MoveRefusal::UnknownHost;
    let answer = MoveAnswer { to: host(7), address: addr(9), refusal };
    for (leader, waited, expected) in
        [(5, 0, vec![answer]), (5, T - 1, vec![answer]), (5, T, vec![]), (6, 0, vec![])]
    {
        assert_eq!(hear(&mut leads(), leader, waited), expected, "{leader} {waited}");
    }
    let mut follower = Bench::member(settings(), true);
    hear(&mut follower, 5, 0);
    assert_eq!(follower.group.requested, None, "it does not lead");
    assert!(hear(&mut follower, 5, 0).is_empty());
}
