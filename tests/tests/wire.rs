//! What the wire accepts, what it refuses, and why.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::net::SocketAddr;
use std::time::Duration;

use rais::config::checked::{Key, Seal};
use rais::group::{Body, HostId, Message, ORDER_LIMIT, Order, OrderEntry, Reason, Record};
use rais::wire::{
    Decoder, Encoder, GroupTag, MAX_ADDRESSES, MAX_MESSAGE, MAX_SOURCES, Refusal, WireError,
};
use rais_tests::messages::Random;

const ADDRESS: &str = "239.77.0.1:7077";

fn tag() -> GroupTag {
    GroupTag::new("web", ADDRESS.parse().unwrap())
}

fn key(byte: u8) -> Key {
    Key([byte; 32])
}

fn sealed() -> Seal {
    Seal::Keys(vec![key(1)])
}

fn host(last: u8) -> HostId {
    HostId([10, 77, 0, last].into())
}

fn decoder(seal: &Seal) -> Decoder {
    Decoder::new(tag(), host(9), 0, seal)
}

fn encoder(source: HostId, seal: &Seal) -> Encoder {
    Encoder::new(tag(), source, seal).unwrap()
}

/// A small message of host 1.
fn message(boot: u64, sequence: u64) -> Message {
    let body = Body::Acquire(Order { to: host(2), entries: Vec::new() });
    Message { source: host(1), boot, sequence, body }
}

/// What an encoder makes of messages with these boots and sequences, in ascending order.
fn datagrams<const N: usize>(seal: &Seal, numbers: [(u64, u64); N]) -> [Vec<u8>; N] {
    let mut encoder = encoder(host(1), seal);
    numbers.map(|(boot, sequence)| encoder.encode(&message(boot, sequence)).unwrap().to_vec())
}

#[test]
fn random_messages_survive_the_way() {
    for seal in [sealed(), Seal::Insecure] {
        let mut random = Random(1);
        for _ in 0..2_000 {
            let message = random.message(8);
            let mut encoder = encoder(message.source, &seal);
            let datagram = encoder.encode(&message).unwrap();
            assert_eq!(decoder(&seal).decode(datagram), Ok(message));
        }
    }
}

#[test]
fn ages_travel_in_whole_milliseconds_and_saturate() {
    let mut random = Random(2);
    let (mut message, position) = loop {
        let message = random.message(3);
        if let Body::Info(info) = &message.body {
            let position = info.database.len();
            break (message, position);
        }
    };
    let record =
        |age| Record { address: host(7).0, preferred: None, age, epoch: 0, withdrawn: false };
    for (sent, arrived) in [
        (Duration::from_micros(1_999), Duration::from_millis(1)),
        (Duration::MAX, Duration::from_millis(u64::MAX)),
    ] {
        let Body::Info(info) = &mut message.body else { panic!("another type") };
        info.database.truncate(position);
        info.database.push(record(sent));
        let mut encoder = encoder(message.source, &sealed());
        let got = decoder(&sealed()).decode(encoder.encode(&message).unwrap()).unwrap();
        let Body::Info(info) = got.body else { panic!("another type") };
        assert_eq!(info.database.last(), Some(&record(arrived)));
    }
}

#[test]
fn a_common_heartbeat_fits_one_frame() {
    let mut random = Random(3);
    let message = loop {
        let message = random.message(10);
        if matches!(message.body, Body::Info(_)) {
            break message;
        }
    };
    let mut encoder = encoder(message.source, &sealed());
    assert!(encoder.encode(&message).unwrap().len() <= 1_400);
}

#[test]
fn every_truncation_is_refused_and_changes_nothing() {
    for seal in [sealed(), Seal::Insecure] {
        let [datagram] = datagrams(&seal, [(1, 1)]);
        let mut decoder = decoder(&seal);
        for length in 0..datagram.len() {
            let refusal = decoder.decode(&datagram[..length]).unwrap_err();
            let allowed = [Refusal::Truncated, Refusal::Forged, Refusal::Malformed];
            assert!(allowed.contains(&refusal), "{refusal} at {length}");
        }
        assert_eq!(decoder.decode(&datagram), Ok(message(1, 1)));
    }
}

#[test]
fn every_changed_bit_of_a_sealed_message_is_refused_and_changes_nothing() {
    let [datagram] = datagrams(&sealed(), [(1, 1)]);
    let mut decoder = decoder(&sealed());
    for bit in 0..datagram.len() * 8 {
        let mut changed = datagram.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        decoder.decode(&changed).expect_err("a forgery was accepted");
    }
    assert_eq!(decoder.decode(&datagram), Ok(message(1, 1)));
}

#[test]
fn what_follows_the_payload_is_refused() {
    let [mut datagram] = datagrams(&Seal::Insecure, [(1, 1)]);
    datagram.push(0);
    assert_eq!(decoder(&Seal::Insecure).decode(&datagram), Err(Refusal::Malformed));
}

#[test]
fn headers_are_refused_by_reason() {
    let [datagram] = datagrams(&sealed(), [(1, 1)]);
    let changed = |position: usize, value: u8| {
        let mut datagram = datagram.clone();
        datagram[position] = value;
        decoder(&sealed()).decode(&datagram).unwrap_err()
    };
    assert_eq!(changed(0, b'r'), Refusal::Magic);
    assert_eq!(changed(4, 2), Refusal::Version);
    assert_eq!(changed(5, 9), Refusal::Malformed);
    assert_eq!(changed(6, 0), Refusal::Unsealed);
    assert_eq!(changed(6, 7), Refusal::Malformed);
    assert_eq!(changed(7, 1), Refusal::Malformed);
    assert_eq!(changed(8, !datagram[8]), Refusal::Group);
    assert_eq!(changed(55, 0), Refusal::Malformed);
    assert_eq!(changed(55, 2), Refusal::Forged);
    let oversized = vec![0; MAX_MESSAGE + 1];
    assert_eq!(decoder(&sealed()).decode(&oversized), Err(Refusal::Oversized));
}

#[test]
fn groups_differ_by_name_address_and_port() {
    let tag = |name, address: &str| GroupTag::new(name, address.parse::<SocketAddr>().unwrap());
    let tags = [
        tag("web", ADDRESS),
        tag("mail", ADDRESS),
        tag("web", "239.77.0.1:7078"),
        tag("web", "239.77.0.2:7077"),
        tag("web", "[ff15::77]:7077"),
    ];
    for (index, one) in tags.iter().enumerate() {
        assert!(tags.iter().skip(index + 1).all(|other| one != other));
    }
}

#[test]
fn clear_and_sealed_groups_do_not_mix() {
    let [clear] = datagrams(&Seal::Insecure, [(1, 1)]);
    let [secret] = datagrams(&sealed(), [(1, 1)]);
    assert_eq!(decoder(&sealed()).decode(&clear), Err(Refusal::Unsealed));
    assert_eq!(decoder(&Seal::Insecure).decode(&secret), Err(Refusal::Sealed));
    let other = Seal::Keys(vec![key(2)]);
    assert_eq!(decoder(&other).decode(&secret), Err(Refusal::Forged));
    assert!(!secret.windows(4).any(|window| window == [10, 77, 0, 2]), "the payload shows");
}

#[test]
fn keys_rotate_without_a_gap() {
    let both = Seal::Keys(vec![key(2), key(1)]);
    let mut decoder = decoder(&both);
    let [old] = datagrams(&sealed(), [(1, 1)]);
    let [new] = datagrams(&both, [(1, 2)]);
    assert_eq!(decoder.decode(&old), Ok(message(1, 1)));
    assert_eq!(decoder.decode(&new), Ok(message(1, 2)));
    assert_eq!(decoder.decode(&old), Err(Refusal::Duplicate(host(1))));
}

#[test]
fn a_key_that_was_taken_away_opens_nothing() {
    let new = Seal::Keys(vec![key(2)]);
    let mut decoder = decoder(&sealed());
    let [first, second] = datagrams(&sealed(), [(1, 1), (1, 2)]);
    assert_eq!(decoder.decode(&first), Ok(message(1, 1)));
    decoder.rekey(0, &new);
    assert_eq!(decoder.decode(&second), Err(Refusal::Forged));
    let [again, second] = datagrams(&new, [(1, 1), (1, 2)]);
    assert_eq!(decoder.decode(&again), Err(Refusal::Duplicate(host(1))));
    assert_eq!(decoder.decode(&second), Ok(message(1, 2)));
}

#[test]
fn only_the_latest_message_of_a_host_is_handed_on() {
    for seal in [sealed(), Seal::Insecure] {
        let sent = [(1, 1), (1, 2), (1, 3), (1, 70), (2, 1)];
        let [first, second, third, far, next_boot] = datagrams(&seal, sent);
        let mut decoder = decoder(&seal);
        let source = host(1);
        assert_eq!(decoder.decode(&first), Ok(message(1, 1)));
        assert_eq!(decoder.decode(&first), Err(Refusal::Duplicate(source)));
        assert_eq!(decoder.decode(&third), Ok(message(1, 3)));
        assert_eq!(decoder.decode(&second), Err(Refusal::Late(source)));
        assert_eq!(decoder.decode(&second), Err(Refusal::Duplicate(source)));
        assert_eq!(decoder.decode(&far), Ok(message(1, 70)));
        assert_eq!(decoder.decode(&third), Err(Refusal::Replayed));
        assert_eq!(decoder.decode(&next_boot), Ok(message(2, 1)));
        assert_eq!(decoder.decode(&far), Err(Refusal::OldBoot));
    }
}

#[test]
fn a_hosts_own_messages_and_a_clash_of_ids_are_told_apart() {
    let mut own = encoder(host(1), &sealed());
    let mut decoder = Decoder::new(tag(), host(1), own.salt(), &sealed());
    assert_eq!(decoder.decode(own.encode(&message(1, 1)).unwrap()), Err(Refusal::Own));
    let [clash] = datagrams(&sealed(), [(1, 1)]);
    assert_eq!(decoder.decode(&clash), Err(Refusal::IdClash));
    let [forged] = datagrams(&Seal::Keys(vec![key(3)]), [(1, 2)]);
    assert_eq!(decoder.decode(&forged), Err(Refusal::Forged));
}

#[test]
fn further_hosts_are_refused_when_the_table_is_full() {
    let mut decoder = decoder(&Seal::Insecure);
    let [datagram, next] = datagrams(&Seal::Insecure, [(1, 1), (1, 2)]);
    // The source is the 16 bytes from 16, its last two here.
    let from = |number: usize, datagram: &[u8]| {
        let mut datagram = datagram.to_vec();
        datagram[29] = 78;
        datagram[30..32].copy_from_slice(&u16::try_from(number).unwrap().to_be_bytes());
        datagram
    };
    for number in 0..MAX_SOURCES {
        decoder.decode(&from(number, &datagram)).unwrap();
    }
    let one_more = from(MAX_SOURCES, &datagram);
    assert_eq!(decoder.decode(&one_more), Err(Refusal::TooManySources));
    decoder.decode(&from(0, &next)).unwrap();
}

#[test]
fn the_encoder_never_uses_a_number_twice() {
    let mut encoder = encoder(host(1), &sealed());
    let mut encode = |boot, sequence| encoder.encode(&message(boot, sequence)).map(<[u8]>::to_vec);
    assert!(matches!(encode(5, 0), Err(WireError::Order { .. })));
    let first = encode(5, 3).unwrap();
    for (boot, sequence) in [(5, 3), (5, 2), (4, 9)] {
        assert!(matches!(encode(boot, sequence), Err(WireError::Order { .. })));
    }
    let raised = encode(6, 3).unwrap();
    assert_ne!(first[56..], raised[56..], "the key did not change with the boot");
    let mut decoder = decoder(&sealed());
    assert_eq!(decoder.decode(&first), Ok(message(5, 3)));
    assert_eq!(decoder.decode(&raised), Ok(message(6, 3)));
}

#[test]
fn what_cannot_be_sent_is_refused_and_uses_no_number() {
    let mut encoder = encoder(host(1), &sealed());
    let stranger = Message { source: host(2), ..message(1, 1) };
    assert!(matches!(encoder.encode(&stranger), Err(WireError::Source(_))));

    let mut random = Random(4);
    let entry = loop {
        if let Body::Acquire(order) = random.message(3).body
            && let Some(entry) = order.entries.first()
        {
            break *entry;
        }
    };
    let order = Order { to: host(2), entries: vec![entry; ORDER_LIMIT + 1] };
    let long = Message { body: Body::Release(order), ..message(1, 1) };
    assert!(matches!(encoder.encode(&long), Err(WireError::TooMany { .. })));

    let mut info = loop {
        if let Body::Info(info) = random.message(3).body {
            break info;
        }
    };
    let address = Random(5).address();
    let (preferred, epoch) = (Some(host(1)), u64::MAX);
    let record = Record { address, preferred, age: Duration::MAX, epoch, withdrawn: true };
    info.database = vec![record; MAX_ADDRESSES];
    let long = Message { body: Body::Info(info), ..message(1, 1) };
    assert!(matches!(encoder.encode(&long), Err(WireError::TooLong(_))));

    let datagram = encoder.encode(&message(1, 1)).unwrap();
    assert_eq!(decoder(&sealed()).decode(datagram), Ok(message(1, 1)));
}

// An order with as many addresses as there may be fits a datagram of 1,400 bytes.
#[test]
fn the_longest_order_fits() {
    let mut encoder = encoder(host(1), &sealed());
    let entry = OrderEntry {
        address: "2001:db8::1".parse().unwrap(),
        epoch: u64::MAX,
        reason: Reason::HostDown,
        other: Some(HostId("2001:db8::2".parse().unwrap())),
    };
    let body = Body::Acquire(Order { to: host(2), entries: vec![entry; ORDER_LIMIT] });
    let order = Message { body, ..message(1, 251) };
    assert!(encoder.encode(&order).is_ok_and(|datagram| datagram.len() <= 1_400));
}
