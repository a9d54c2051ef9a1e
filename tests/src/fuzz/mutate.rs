//! Changed copies of seeds.

use crate::messages::Random;

/// A seed, changed in a few places: bits and bytes, lengths, pieces of another seed.
#[must_use]
pub fn mutate(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let pick = |random: &mut Random| {
        let position = random.position(seeds.len().max(1));
        seeds.get(position).cloned().unwrap_or_default()
    };
    let mut data = pick(random);
    for _ in 0..=random.below(6) {
        let at = random.position(data.len() + 1);
        let end = (at + random.position(16)).min(data.len());
        match random.below(8) {
            0 => data.truncate(at),
            1 => drop(data.drain(at..end)),
            2 => data.insert(at, random.byte()),
            3 => {
                let number = random.magnitude().to_le_bytes();
                data.splice(at..end, number);
            }
            4 => {
                let other = pick(random);
                let from = random.position(other.len() + 1);
                let to = (from + random.position(64)).min(other.len());
                data.splice(at..end, other.get(from..to).unwrap_or_default().iter().copied());
            }
            5 => {
                let piece = data.get(at..end).unwrap_or_default().to_vec();
                data.splice(at..at, piece);
            }
            _ => {
                let bit = 1 << random.below(8);
                if let Some(byte) = data.get_mut(at) {
                    *byte ^= bit;
                }
            }
        }
    }
    data
}
