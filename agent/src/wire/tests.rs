//! Golden vectors: what the bytes on the wire are, for other programs and later versions. They
//! were put together by hand from the description of the format, the sealed one with another
//! implementation of HKDF and AES-GCM. A change that breaks them needs a new wire version.

use std::net::IpAddr;
use std::time::Duration;

use super::*;
use crate::config::checked::Key;
use crate::group::{
    AddressState, Body, HostInfo, Info, Known, MoveAnswer, MoveRefusal, MoveRequest, Order,
    OrderEntry, Phase, Reason, Record, Served,
};

/// A seeded generator (splitmix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    /// A number below `limit`.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

const BOOT: u64 = 0x1122_3344_5566_7788;
const SALT: u64 = 0x0123_4567_89ab_cdef;

/// "RAIS", version 1, Info, plain, reserved; then as commented.
const PLAIN_INFO: &str = "52414953 01 01 00 00
    84d33e42cdb28cc5                         group tag of web at 239.77.0.1:7077
    00000000000000000000ffff0a4d0001         source 10.77.0.1
    1122334455667788                         boot
    0123456789abcdef                         salt
    0000000000000003                         sequence
    01 040a4d0001                            one control address, family 4
    020000000001                             hardware address of the service interface
    01 00 02                                 ok, not quiesced, member
    01 040a4d0001                            leader: 10.77.0.1
    78 fbe803                                load 120, capacity 1000 (251: two bytes follow)
    01 040a4d0065                            one preferred address
    01 040a4d0065 02 07                      one served: online, epoch 7
    00                                       none refused
    00                                       the lists are whole
    01 040a4d0002 fd8877665544332211 2a 63   one known: boot, sequence 42, 99 ms ago
    00                                       and no more
    02 040a4d0065 01 040a4d0001 00 07 00     two records: preferred by 10.77.0.1, 0 ms, epoch 7
       0620010db8000000000000000000000001    2001:db8::1,
       00 fc70110100 00                      floating, 70 s (252: four bytes follow), epoch 0,
       01                                    withdrawn
    00                                       the database is whole
    fc90d00300                               it may answer for 250,000 microseconds";

/// "RAIS", version 1, Move, plain, reserved; then as commented.
const PLAIN_MOVE: &str = "52414953 01 04 00 00
    84d33e42cdb28cc5                         group tag
    00000000000000000000ffff0a4d0001         source
    1122334455667788                         boot
    0123456789abcdef                         salt
    0000000000000005                         sequence
    040a4d0002                               to the leader 10.77.0.2
    040a4d0064                               the address 10.77.0.100
    040a4d0003                               to the host 10.77.0.3";

/// "RAIS", version 1, the answer to a Move, plain, reserved; then as commented.
const PLAIN_MOVE_REFUSED: &str = "52414953 01 05 00 00
    84d33e42cdb28cc5                         group tag
    00000000000000000000ffff0a4d0001         source
    1122334455667788                         boot
    0123456789abcdef                         salt
    0000000000000006                         sequence
    040a4d0002                               to the asker 10.77.0.2
    040a4d0064                               the address 10.77.0.100
    04                                       the host is quiesced";

/// "RAIS", version 1, Acquire, sealed, reserved; then as commented. In clear the payload is
/// `04 0a4d0002` to 10.77.0.2, `01` one address, `04 0a4d0064` 10.77.0.100, `08` epoch,
/// `02` failback, `01 04 0a4d0002` the other host of the hand-over: 10.77.0.2. The group key is the
/// bytes 0 to 31.
const SEALED_ACQUIRE: &str = "52414953 01 02 01 00
    84d33e42cdb28cc5                         group tag
    00000000000000000000ffff0a4d0001         source
    1122334455667788                         boot
    0123456789abcdef                         salt
    0000000000000004                         sequence
    28611d0d926e0b2bfde39e980957879ca4a192   payload
    0dce513be5a4cac8a38a6ec492b1755d         tag";

/// The bytes of a vector. In each line they end where several spaces precede the comment.
fn bytes(vector: &str) -> Vec<u8> {
    let digits: String = vector
        .lines()
        .filter_map(|line| line.trim().split("  ").next())
        .flat_map(str::split_whitespace)
        .collect();
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([10, 77, 0, last])
}

fn info() -> Message {
    let host = HostInfo {
        control_addresses: vec![ip(1)],
        mac: [2, 0, 0, 0, 0, 1],
        ok: true,
        quiesced: false,
        phase: Phase::Member,
        leader: Some(HostId(ip(1))),
        load: 120,
        capacity: 1000,
        preferred: vec![ip(101)],
        served: vec![Served { address: ip(101), state: AddressState::Online, epoch: 7 }],
        refused: Vec::new(),
    };
    let age = Duration::from_millis(99);
    let known = vec![Known { id: HostId(ip(2)), boot: BOOT, sequence: 42, age }];
    let six = "2001:db8::1".parse().unwrap();
    let own = Some(HostId(ip(1)));
    let database = vec![
        Record {
            address: ip(101),
            preferred: own,
            age: Duration::ZERO,
            epoch: 7,
            withdrawn: false,
        },
        Record {
            address: six,
            preferred: None,
            age: Duration::from_secs(70),
            epoch: 0,
            withdrawn: true,
        },
    ];
    let lease = Duration::from_millis(250);
    let body = Body::Info(Box::new(Info {
        host,
        lists: None,
        known,
        knows_more: false,
        database,
        records: None,
        lease,
    }));
    Message { source: HostId(ip(1)), boot: BOOT, sequence: 3, body }
}

fn acquire() -> Message {
    let entries = vec![OrderEntry {
        address: ip(100),
        epoch: 8,
        reason: Reason::Failback,
        other: Some(HostId(ip(2))),
    }];
    let body = Body::Acquire(Order { to: HostId(ip(2)), entries });
    Message { source: HostId(ip(1)), boot: BOOT, sequence: 4, body }
}

fn tag() -> GroupTag {
    GroupTag::new("web", "239.77.0.1:7077".parse().unwrap())
}

fn sealed() -> Seal {
    Seal::Keys(vec![Key(std::array::from_fn(|byte| u8::try_from(byte).unwrap()))])
}

/// Both ways: the message is these bytes, and these bytes are the message.
fn check(vector: &str, message: &Message, seal: &Seal) {
    let expected = bytes(vector);
    let mut encoder = Encoder::with_salt(tag(), message.source, seal, SALT).unwrap();
    assert_eq!(encoder.encode(message).unwrap(), expected);
    let mut decoder = Decoder::new(tag(), HostId(ip(2)), 0, seal);
    assert_eq!(decoder.decode(&expected).as_ref(), Ok(message));
}

#[test]
fn a_plain_heartbeat_is_these_bytes() {
    check(PLAIN_INFO, &info(), &Seal::Insecure);
}

#[test]
fn a_plain_move_and_its_answer_are_these_bytes() {
    let (leader, address, to) = (HostId(ip(2)), ip(100), HostId(ip(3)));
    let body = Body::Move(MoveRequest { leader, address, to });
    let source = HostId(ip(1));
    let message = Message { source, boot: BOOT, sequence: 5, body };
    check(PLAIN_MOVE, &message, &Seal::Insecure);
    let answer = MoveAnswer { to: leader, address, refusal: MoveRefusal::Quiesced };
    let message = Message { source, boot: BOOT, sequence: 6, body: Body::MoveRefused(answer) };
    check(PLAIN_MOVE_REFUSED, &message, &Seal::Insecure);
}

#[test]
fn a_sealed_acquire_is_these_bytes() {
    check(SEALED_ACQUIRE, &acquire(), &sealed());
}

/// A payload under a genuine seal, by a member whose codec is broken or hostile.
fn genuine(sequence: u64, payload: &[u8]) -> Vec<u8> {
    let Seal::Keys(keys) = sealed() else { panic!("not sealed") };
    let header = Header {
        kind: Kind::Info,
        sealed: true,
        tag: tag(),
        source: HostId(ip(1)),
        boot: BOOT,
        salt: SALT,
        sequence,
    };
    let mut datagram = Vec::new();
    header.write(&mut datagram);
    let mut body = payload.to_vec();
    let key = GroupKey::new(&keys[0]).derive(&header).unwrap();
    let seal = key.seal(sequence, &datagram, &mut body).unwrap();
    datagram.extend_from_slice(&body);
    datagram.extend_from_slice(&seal);
    datagram
}

#[test]
fn a_genuine_seal_does_not_excuse_a_malformed_payload() {
    let good = &bytes(PLAIN_INFO)[HEADER_LEN..];
    let mut decoder = Decoder::new(tag(), HostId(ip(2)), 0, &sealed());
    let mut refused = |payload: &[u8]| {
        assert_eq!(decoder.decode(&genuine(3, payload)), Err(Refusal::Malformed), "{payload:x?}");
    };
    for length in 0..good.len() {
        refused(&good[..length]);
    }
    let changed = |at: usize, value: u8| {
        let mut payload = good.to_vec();
        payload[at] = value;
        payload
    };
    refused(&changed(0, 17)); // more control addresses than may be
    refused(&changed(1, 5)); // no such family
    refused(&changed(12, 2)); // neither false nor true
    refused(&changed(14, 0)); // no such phase
    refused(&changed(14, 4));
    refused(&changed(37, 9)); // no such state
    refused(&[good, &[0]].concat()); // something left over

    let mut random = Random(5);
    for _ in 0..10_000 {
        let length = usize::try_from(random.below(100)).unwrap();
        let payload: Vec<u8> = (0..length).map(|_| random.below(256).to_be_bytes()[7]).collect();
        refused(&payload);
    }
    assert_eq!(decoder.decode(&genuine(3, good)), Ok(info()));
}

#[test]
fn an_ipv4_address_has_one_form_only() {
    // 2001:db8::1 becomes ::ffff:10.77.0.1.
    let mut datagram = bytes(PLAIN_INFO);
    let at = datagram.len() - 14 - 16;
    datagram[at..at + 16].copy_from_slice(&header::mapped(ip(1)));
    let mut decoder = Decoder::new(tag(), HostId(ip(2)), 0, &Seal::Insecure);
    assert_eq!(decoder.decode(&datagram), Err(Refusal::Malformed));
}
