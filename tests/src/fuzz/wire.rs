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

/// A datagram as it is (first byte even), or a payload behind a header that passes; in a group
/// without a key and in one with. What is accepted is so once, and says the same when it is
/// encoded and decoded again.
pub fn wire(data: &[u8]) {
    let Some((&how, data)) = data.split_first() else { return };
    let mut bytes = data.to_vec();
    if how & 1 != 0 {
        let mut message = Random(7).message(0);
        message.source = HostId(IpAddr::from([10, 77, 0, 2]));
        bytes = datagram(&message, &Seal::Insecure);
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
