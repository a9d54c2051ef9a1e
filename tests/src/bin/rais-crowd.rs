//! What a group costs the host it runs on, against the number of hosts: each heartbeat it handles,
//! from the datagram on, and a failure of a tenth of the hosts.
#![allow(clippy::unwrap_used, reason = "a measurement may panic")]

use std::time::Duration;

use rais::clock;
use rais::group::{
    AddressState, Body, Event, Group, HostInfo, Info, Known, Message, Phase, Served, Sum,
};
use rais::wire::{Decoder, Encoder};
use rais_common::time::Time;
use rais_tests::crowd::{self, Crowd, HEARTBEAT, Size, address, id};

/// Addresses of each host.
const EACH: usize = 10;

fn main() {
    println!(
        "{:>6} {:>10} {:>9} {:>14} {:>12} {:>9}",
        "hosts", "addresses", "role", "us/heartbeat", "core at 100ms", "bytes"
    );
    for hosts in [3, 10, 100, 1_000] {
        for leads in [false, true] {
            let cost = listen(hosts, leads);
            let share = cost.each.as_secs_f64() * f64::from(cost.heard)
                / cost.rounds
                / HEARTBEAT.as_secs_f64();
            println!(
                "{hosts:>6} {:>10} {:>9} {:>14.2} {:>12.1}% {:>9}",
                hosts * EACH,
                if leads { "leader" } else { "follower" },
                cost.each.as_secs_f64() * 1e6,
                share * 100.0,
                cost.longest,
            );
        }
    }
    println!("\n{:>6} {:>10} {:>12} {:>16}", "hosts", "addresses", "all again", "cpu of all hosts");
    for (hosts, preferred) in [(10, 10), (50, 50), (200, 50)] {
        let mut crowd = Crowd::new(Size { hosts, preferred, floating: 0, loss: 0 }, 1);
        crowd.settle(Duration::from_secs(10));
        crowd.pass(500);
        (0..hosts).step_by(10).for_each(|host| crowd.kill(host));
        let begin = clock::now();
        let took = crowd.settle(Duration::from_secs(10));
        println!(
            "{hosts:>6} {:>10} {took:>12.0?} {:>16.0?}",
            hosts * preferred,
            clock::now().since(begin)
        );
    }
}

struct Cost {
    each: Duration,
    heard: u32,
    rounds: f64,
    longest: usize,
}

/// Drives one group with the sealed datagrams of all others, for some heartbeats.
fn listen(hosts: usize, leads: bool) -> Cost {
    let me = if leads { 0 } else { hosts - 1 };
    let size = Size { hosts, preferred: EACH, floating: 0, loss: 0 };
    let mut now = Time::from_nanos(1_000_000_000);
    let mut group = Group::new(crowd::settings(size, me), 1, now);
    let mut own = Encoder::new(crowd::tag(), id(me), &crowd::seal()).unwrap();
    let mut others: Vec<(usize, Encoder)> = (0..hosts)
        .filter(|&n| n != me)
        .map(|n| (n, Encoder::new(crowd::tag(), id(n), &crowd::seal()).unwrap()))
        .collect();
    let mut decoder = Decoder::new(crowd::tag(), id(me), 0, &crowd::seal());
    let mut longest = 0;
    let mut records = None;
    let (mut spent, mut heard) = (Duration::ZERO, 0);
    let rounds = 30_u32;
    group.handle(now, Event::Health { ok: true, detail: String::new() });
    for round in 0..rounds {
        let sequence = u64::from(round) + 1;
        let step = HEARTBEAT / u32::try_from(hosts).unwrap();
        let datagrams: Vec<Vec<u8>> = others
            .iter_mut()
            .map(|(n, encoder)| {
                let message = heartbeat(*n, hosts, sequence, records);
                encoder.encode(&message).unwrap().to_vec()
            })
            .collect();
        let measured = round >= 10;
        for datagram in datagrams {
            now = now + step;
            let begin = clock::now();
            let message = decoder.decode(&datagram).unwrap();
            let mut actions = group.handle(now, Event::Received { at: now, message });
            if group.next_deadline() <= now {
                actions.extend(group.handle(now, Event::Tick));
            }
            let mut events = Vec::new();
            for action in actions {
                if let rais::group::Action::Heartbeat { message, lease_until, .. } = action {
                    longest = longest.max(own.encode(&message).unwrap().len());
                    if let Body::Info(info) = &message.body {
                        records = info.records;
                    }
                    events.push(Event::HeartbeatSent { at: now, lease_until });
                } else if let rais::group::Action::Configure { address, epoch } = action {
                    events.push(Event::Configured { address, epoch, result: Ok(()) });
                }
            }
            for event in events {
                group.handle(now, event);
            }
            if measured {
                spent += clock::now().since(begin);
                heard += 1;
            }
        }
    }
    let each = spent / heard;
    Cost { each, heard, rounds: f64::from(rounds - 10), longest }
}

/// What a host says that has all that belongs to it.
fn heartbeat(n: usize, hosts: usize, sequence: u64, records: Option<Sum>) -> Message {
    let own: Vec<_> = (0..EACH).map(|k| address(n * EACH + k)).collect();
    let served = |&address: &_| Served { address, state: AddressState::Online, epoch: 1 };
    let known = |k: usize| Known {
        id: id((n + 1 + k) % hosts),
        boot: 1,
        sequence,
        age: Duration::from_millis(50),
    };
    let mut known: Vec<Known> = (0..8.min(hosts - 1)).map(known).collect();
    known.sort_unstable_by_key(|known| known.id);
    let host = HostInfo {
        control_addresses: vec![id(n).0],
        ok: true,
        quiesced: false,
        phase: Phase::Member,
        leader: Some(id(0)),
        load: 100,
        capacity: 1_000,
        preferred: own.clone(),
        served: own.iter().map(served).collect(),
        refused: Vec::new(),
    };
    let info = Info { host, lists: None, known, knows_more: true, database: Vec::new(), records };
    Message { source: id(n), boot: 1, sequence, body: Body::Info(Box::new(info)) }
}
