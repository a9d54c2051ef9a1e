//! The fuzz targets on their seeds and on changed copies of them: what `cargo xtask fuzz` does at
//! length, in a second or two, and the same each time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::panic::catch_unwind;

use rais_tests::fuzz::{TARGETS, Target, corpus, mutate};
use rais_tests::messages::Random;

/// How many changed copies each target gets.
const TURNS: u64 = 50_000;

/// The seeds of a target, in the order of their names.
fn seeds(name: &str) -> Vec<Vec<u8>> {
    let files = fs::read_dir(corpus(name)).unwrap();
    let mut paths: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Runs a target; where it fails, says on which bytes.
fn run(name: &str, target: Target, data: &[u8]) {
    if catch_unwind(|| target(data)).is_err() {
        let kept = std::env::temp_dir().join(format!("rais-fuzz-{name}"));
        fs::write(&kept, data).unwrap();
        panic!("{name} fails on the {} bytes kept in {}", data.len(), kept.display());
    }
}

#[test]
fn every_target_stands_its_seeds_and_what_becomes_of_them() {
    for (name, target) in TARGETS {
        let seeds = seeds(name);
        assert!(seeds.len() > 2, "{name} has hardly any seeds");
        for seed in &seeds {
            run(name, target, seed);
        }
        let mut random = Random(23);
        for _ in 0..TURNS {
            let data = mutate(&mut random, &seeds);
            run(name, target, &data);
        }
    }
}
