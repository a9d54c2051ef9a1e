//! A million hostile datagrams: none is worse than refused, and none costs memory.
//!
//! Alone in its file, because it measures the memory of the whole process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use rais::config::checked::{Key, Seal};
use rais::group::HostId;
use rais::wire::{Decoder, Encoder, GroupTag, Refusal};
use rais_tests::messages::Random;

const TURNS: u64 = 1_000_000;
const HEADER: usize = 56;

fn tag() -> GroupTag {
    GroupTag::new("web", "239.77.0.1:7077".parse().unwrap())
}

fn decoder(seal: &Seal) -> Decoder {
    Decoder::new(tag(), HostId([10, 255, 255, 255].into()), 0, seal)
}

/// Genuine datagrams to start from.
fn corpus(random: &mut Random, seal: &Seal) -> Vec<Vec<u8>> {
    let one = |most| {
        let message = random.message(most);
        let mut encoder = Encoder::new(tag(), message.source, seal).unwrap();
        encoder.encode(&message).unwrap().to_vec()
    };
    (0..200).map(|index| index % 12).map(one).collect()
}

/// Changes `datagram` from `first` on: bytes, lengths, the end.
fn mutate(random: &mut Random, datagram: &mut Vec<u8>, first: usize) {
    for _ in 0..=random.below(3) {
        if datagram.len() <= first {
            datagram.extend_from_slice(&random.number().to_be_bytes());
        }
        let position = first + random.position(datagram.len() - first);
        match random.below(6) {
            0 => datagram.truncate(position),
            1 => datagram.push(random.byte()),
            2 => datagram[position] = random.byte() % 8,
            // A length in the codec's longest form: 253 and eight bytes.
            3 => {
                let length = random.magnitude().to_le_bytes();
                let end = (position + 1).min(datagram.len());
                datagram.splice(position..end, std::iter::once(253).chain(length));
            }
            4 => datagram[position] ^= 1 << random.below(8),
            _ => datagram[position] = random.byte(),
        }
    }
}

/// Kilobytes in a line of /proc/self/status.
fn kilobytes(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_million_hostile_datagrams() {
    let mut random = Random(11);
    let seals = [Seal::Insecure, Seal::Keys(vec![Key([1; 32]), Key([2; 32])])];
    let corpora = seals.each_ref().map(|seal| corpus(&mut random, seal));
    let mut decoders = seals.each_ref().map(decoder);
    let (mut accepted, mut malformed, mut datagram) = (0, 0, Vec::with_capacity(4_096));
    let before = (kilobytes("VmPeak"), kilobytes("VmHWM"));
    for turn in 1..=TURNS {
        // Most in clear, where the codec is reached behind a header that passes.
        let which = usize::from(turn % 8 == 0);
        if turn % 1_000 < 2 {
            decoders = seals.each_ref().map(decoder);
        }
        datagram.clear();
        if random.one_in(20) {
            datagram.extend((0..random.below(200)).map(|_| random.byte()));
        } else {
            let corpus = &corpora[which];
            datagram.extend_from_slice(&corpus[random.position(corpus.len())]);
            let first = if random.one_in(10) { 0 } else { HEADER };
            mutate(&mut random, &mut datagram, first);
            if let Some(boot_and_sequence) = datagram.get_mut(32..HEADER)
                && first == HEADER
                && which == 0
            {
                boot_and_sequence[..8].copy_from_slice(&u64::MAX.to_be_bytes());
                boot_and_sequence[16..].copy_from_slice(&turn.to_be_bytes());
            }
        }
        match decoders[which].decode(&datagram) {
            // A change may have put back what was there.
            Ok(_) if which == 1 => assert!(corpora[1].contains(&datagram), "forged: {datagram:?}"),
            Ok(_) => accepted += 1,
            Err(Refusal::Malformed) => malformed += 1,
            Err(_) => {}
        }
    }
    let after = (kilobytes("VmPeak"), kilobytes("VmHWM"));
    assert!(accepted > TURNS / 20, "the codec accepted only {accepted}");
    assert!(malformed > TURNS / 5, "the codec refused only {malformed}");
    assert!(after.0 - before.0 < 4_096, "address space grew: {before:?} to {after:?} kB");
    assert!(after.1 - before.1 < 4_096, "memory grew: {before:?} to {after:?} kB");
}
