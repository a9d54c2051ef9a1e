//! Datagrams.

use std::net::IpAddr;

use rais::config::checked::{Key, Seal};
use rais::group::{HostId, Message};
use rais::wire::{Decoder, Encoder, GroupTag, Refusal};

use crate::messages::Random;

/// Bytes of a datagram's header.
const HEADER: usize = 56;

fn tag() -> GroupTag {
    GroupTag::new("web", ([239, 77, 0, 1], 7077).into())
}

fn decoder(seal: &Seal) -> Decoder {
    Decoder::new(tag(), HostId(IpAddr::from([10, 255, 255, 255])), 0, seal)
}

/// A genuine datagram.
fn datagram(message: &Message, seal: &Seal) -> Vec<u8> {
    let mut encoder = Encoder::new(tag(), message.source, seal).expect("random bytes");
    encoder.encode(message).expect("what was decoded can be encoded").to_vec()
}

/// A genuine message without content.
fn empty() -> Message {
    Message { source: HostId(IpAddr::from([10, 77, 0, 2])), ..Random(7).message(0) }
}

/// Numbers of messages of one host, in pairs of boot and sequence: whatever comes in whatever
/// order, what is handed on ascends, and the highest that came was handed on.
fn numbers(data: &[u8]) {
    let mut datagram = datagram(&empty(), &Seal::Insecure);
    let mut decoder = decoder(&Seal::Insecure);
    let (mut last, mut highest) = ((0, 0), (0, 0));
    for pair in data.chunks_exact(2) {
        let (Some(&boot), Some(&sequence)) = (pair.first(), pair.last()) else { return };
        // Also such as are further apart than any window.
        let sequence = if sequence < 200 { u64::from(sequence) } else { u64::from(sequence) << 20 };
        let number = (u64::from(boot % 4), sequence);
        let places = [(32..40, number.0), (48..HEADER, number.1)];
        for (place, value) in places {
            let field = datagram.get_mut(place).expect("a whole header");
            field.copy_from_slice(&value.to_be_bytes());
        }
        if let Ok(message) = decoder.decode(&datagram) {
            assert_eq!((message.boot, message.sequence), number);
            assert!(number > last, "{number:?} after {last:?}");
            last = number;
        }
        if sequence > 0 {
            highest = highest.max(number);
        }
        assert_eq!(last, highest, "not the highest that came");
    }
}

/// A datagram as it is (first byte even), or a payload behind a header that passes; in a group
/// without a key and in one with. What is accepted is so once, and says the same when it is
/// encoded and decoded again. First byte 254: [`numbers`].
pub fn wire(data: &[u8]) {
    let Some((&how, data)) = data.split_first() else { return };
    if how == 254 {
        return numbers(data);
    }
    let mut bytes = data.to_vec();
    if how & 1 != 0 {
        bytes = datagram(&empty(), &Seal::Insecure);
        bytes.truncate(HEADER);
        if let Some(kind) = bytes.get_mut(5) {
            *kind = how >> 1;
        }
        bytes.extend_from_slice(data);
    }
    let sealed = decoder(&Seal::Keys(vec![Key([1; 32]), Key([2; 32])])).decode(&bytes);
    assert!(sealed.is_err(), "forged: {sealed:?}");

    let mut plain = decoder(&Seal::Insecure);
    let Ok(message) = plain.decode(&bytes) else { return };
    assert!(
        matches!(plain.decode(&bytes), Err(Refusal::Duplicate(from)) if from == message.source)
    );
    let again = decoder(&Seal::Insecure).decode(&datagram(&message, &Seal::Insecure));
    assert_eq!(again.ok().as_ref(), Some(&message), "another message after a second time");
}
