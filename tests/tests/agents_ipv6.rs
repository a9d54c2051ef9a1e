//! Real agents with an IPv6 service address: the holder is cut off, killed, frozen and ended; a
//! client on the link never gets two answers to one neighbour solicitation, of either form, and its
//! echoes are answered again.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::cell::Cell;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rais::announce::PacketSocket;
use rais::clock;
use rais_tests::family::Family;
use rais_tests::many::eth0;
use rais_tests::netns::Host;
use rais_tests::trial::{LIMIT, Trial};
use rais_tests::wait;
use rais_tests::xdp::frames::{Message, link_option, solicitation};

/// The service address.
const SERVICE: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x64);
/// Who asks: the last two bytes tell one question from the next.
const ASKER: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0xa5, 0);
/// Time between two questions.
const PERIOD: Duration = Duration::from_millis(2);

/// An answer: to which question, and whose.
type Answer = (u16, [u8; 6]);

/// A solicitation of the client, who has this hardware address.
fn question(number: u16, mac: [u8; 6]) -> Vec<u8> {
    let mut from = ASKER.octets();
    from[14..].copy_from_slice(&number.to_be_bytes());
    let mut to = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0];
    to[13..].copy_from_slice(&SERVICE.octets()[13..]);
    let destination = [0x33, 0x33, 0xff, to[13], to[14], to[15]];
    // Every third without the option, which an answer has to be made longer for.
    let options = if number.is_multiple_of(3) { vec![] } else { link_option(1, mac) };
    let target = SERVICE.octets();
    Message { destination, source: mac, from, to, target, options, ..solicitation() }.bytes()
}

/// The answer in a frame.
fn answer(frame: &[u8]) -> Option<Answer> {
    let ours = frame.len() >= 86
        && frame[54] == 136
        && frame[62..78] == SERVICE.octets()
        && frame[38..52] == ASKER.octets()[..14];
    ours.then(|| (u16::from_be_bytes([frame[52], frame[53]]), frame[80..86].try_into().unwrap()))
}

/// Asks until told to stop; the answers in the order of their coming.
fn ask(socket: &PacketSocket, mac: [u8; 6], stop: &AtomicBool) -> Vec<Answer> {
    let mut answers = Vec::new();
    for number in 0..u16::MAX {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        socket.send(&question(number, mac)).unwrap();
        let end = clock::now() + PERIOD;
        let mut frame = [0; 256];
        while clock::now() < end {
            if let Some(length) = socket.recv(&mut frame, PERIOD).unwrap() {
                answers.extend(answer(&frame[..length]));
            }
        }
    }
    answers
}

/// Two hosts whose group has the IPv6 address, and nothing else.
fn two_hosts() -> Trial {
    let mut trial = Trial::with(Family::V6).unwrap();
    trial.floating = vec![0];
    for number in 1..=2 {
        trial.start(number, &[], "").unwrap();
    }
    trial.settle(&[]).unwrap();
    trial
}

/// Waits until a host says who has the address; not this one.
fn holder(trial: &mut Trial, asked: u8, not: Option<u8>) -> u8 {
    let found = Cell::new(0);
    let what = format!("{SERVICE} to be held, not by {not:?}");
    let held = trial.host(asked).wait_status(&what, LIMIT, |status| {
        let holder = status.holder(IpAddr::V6(SERVICE));
        found.set((1..=2).find(|&number| holder == Some(Family::V6.host(number))).unwrap_or(0));
        found.get() != 0 && Some(found.get()) != not
    });
    held.unwrap();
    found.get()
}

/// Solicitations that the XDP program of a host answered.
fn answered(host: &Host) -> u64 {
    let counters = host.dump("COUNTERS").unwrap();
    let values = counters[0]["values"].as_array().unwrap();
    values.iter().map(|cpu| cpu["value"]["nd_answered"].as_u64().unwrap()).sum()
}

/// Something happens to the holder; the other host takes over, and the client sees one change.
fn after(fault: impl FnOnce(&mut Trial, u8)) {
    let mut trial = two_hosts();
    let first = holder(&mut trial, 1, None);
    let second = 3 - first;
    let (mac, index) = eth0(&trial.client).unwrap();
    let socket = trial.client.inside(|| PacketSocket::open(index, 0x86dd)).unwrap().unwrap();
    let macs = [first, second].map(|number| eth0(trial.get(number)).unwrap().0);
    let mut eye = trial.watch(&[0]).unwrap();
    let stop = AtomicBool::new(false);
    let answers = std::thread::scope(|scope| {
        let asking = scope.spawn(|| ask(&socket, mac, &stop));
        let wait_answer = |host: &Host| {
            let before = answered(host);
            let more = || Ok((answered(host) > before + 10).then_some(()));
            wait::until("solicitations to be answered", LIMIT, more)
        };
        let seen = wait_answer(trial.get(first)).and_then(|()| {
            fault(&mut trial, first);
            holder(&mut trial, second, Some(first));
            wait_answer(trial.get(second))
        });
        stop.store(true, Ordering::Relaxed);
        let answers = asking.join().unwrap();
        seen.unwrap();
        answers
    });
    let questions: BTreeSet<u16> = answers.iter().map(|(number, _)| *number).collect();
    let pairs: BTreeSet<Answer> = answers.iter().copied().collect();
    assert_eq!(questions.len(), pairs.len(), "two hosts answered one question");
    let mut hosts: Vec<[u8; 6]> = answers.iter().map(|(_, mac)| *mac).collect();
    hosts.dedup();
    assert_eq!(hosts, macs, "one change, from the holder to the other");
    // The same in echoes, and in solicitations that the client's kernel does not see.
    let seen = &eye.look().unwrap()[&0];
    println!("sent {}, lost {}, silent for {:.1} ms", seen.sent, seen.lost, seen.outage_ms);
    assert_eq!((seen.arp_handovers, seen.arp_doubled, seen.answered_twice), (1, 0, 0), "{seen:?}");
    assert_eq!((seen.answering, seen.last_host.clone()), (true, Some(format!("h{second}"))));
}

#[test]
fn the_holder_is_cut_off() {
    after(|trial, holder| trial.bed.cut(trial.get(holder)).unwrap());
}

#[test]
fn the_holders_agent_is_killed() {
    after(|trial, holder| trial.host(holder).kill_agent().unwrap());
}

#[test]
fn the_holders_agent_is_frozen() {
    after(|trial, holder| trial.host(holder).freeze_agent().unwrap());
}

#[test]
fn the_holders_agent_is_ended() {
    after(|trial, holder| trial.host(holder).terminate_agent().unwrap());
}

// Input: a holder whose own address the kernel lists after the one it serves. Output: it knows which
// is which, and reads its configuration again.
#[test]
fn a_reload_while_the_address_is_held() {
    let mut trial = two_hosts();
    let first = holder(&mut trial, 1, None);
    assert_eq!(trial.get(first).configured().unwrap(), [IpAddr::V6(SERVICE)]);
    trial.get(first).ask(&["reload"]).unwrap();
    assert_eq!(holder(&mut trial, first, None), first);
}

// Input: a host that acquires the address. Output: it is on the interface without duplicate address
// detection, its multicast group is joined, and advertisements tell everybody, with Override.
#[test]
fn the_address_is_announced_and_its_group_joined() {
    let mut trial = two_hosts();
    let first = holder(&mut trial, 1, None);
    let shown = trial.get(first).run("ip", &["-6", "address", "show", "dev", "eth0"]).unwrap();
    let line = shown.lines().find(|line| line.contains(&format!("{SERVICE}/128"))).unwrap();
    assert!(line.contains("nodad") && !line.contains("tentative"), "{shown}");
    let groups = trial.get(first).run("ip", &["-6", "maddress", "show", "dev", "eth0"]).unwrap();
    assert!(groups.contains("ff02::1:ff00:64"), "{groups}");

    let (_, index) = eth0(&trial.client).unwrap();
    let socket = trial.client.inside(|| PacketSocket::open(index, 0x86dd)).unwrap().unwrap();
    trial.host(first).kill_agent().unwrap();
    let second = holder(&mut trial, 3 - first, Some(first));
    let mac = eth0(trial.get(second)).unwrap().0;
    let heard = wait::until("an announcement", LIMIT, || {
        let mut frame = [0; 256];
        let length = socket.recv(&mut frame, PERIOD)?.unwrap_or(0);
        let said = length == 86 && frame[54] == 136 && frame[62..78] == SERVICE.octets();
        Ok(said.then_some(frame))
    });
    let frame = heard.unwrap();
    assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 1]);
    assert_eq!((frame[21], frame[58]), (255, 0x20), "hop limit and flags");
    assert_eq!((&frame[6..12], &frame[80..86]), (&mac[..], &mac[..]));
}
