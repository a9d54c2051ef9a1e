//! Random runs of simulated clusters, each from a seed of its own.

use std::num::ParseIntError;
use std::str::FromStr;
use std::time::Duration;

use clap::Parser;
use rais_tests::cluster::chaos::{self, Options};
use rais_tests::cluster::shrink;

/// Runs simulated clusters to which random things happen, and checks that what must hold holds.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many runs.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The seed of the first run; the others follow it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many hosts; 3 to 12, by chance, where not given.
    #[arg(long)]
    hosts: Option<usize>,
    /// How many things happen in a run.
    #[arg(long, default_value_t = Options::default().happenings)]
    happenings: u32,
    /// Of what happens only these, numbered from 0 and divided by commas, or `none`.
    #[arg(long)]
    only: Option<Numbers>,
    /// Hosts that never start, numbered from 0 and divided by commas.
    #[arg(long, value_delimiter = ',')]
    off: Vec<usize>,
    /// Leave a run that fails as it is: do not look for a smaller one that fails alike.
    #[arg(long)]
    no_shrinking: bool,
    /// Print everything that happens.
    #[arg(long)]
    verbose: bool,
}

#[derive(Clone, Debug)]
struct Numbers(Vec<u32>);

impl FromStr for Numbers {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" {
            return Ok(Self(Vec::new()));
        }
        text.split(',').map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

fn main() {
    let arguments = Arguments::parse();
    let Arguments { seeds, seed, hosts, happenings, off, verbose, .. } = arguments;
    let only = arguments.only.map(|numbers| numbers.0);
    let options = Options { hosts, happenings, only, off, verbose };
    let (mut moves, mut slowest, mut slowest_seed) = (0, Duration::ZERO, seed);
    for seed in seed..seed.saturating_add(seeds) {
        let outcome = match shrink::attempt(seed, &options) {
            Ok(outcome) => outcome,
            Err(failure) if verbose || arguments.no_shrinking => {
                eprintln!("{failure}");
                chaos::run(seed, &options)
            }
            Err(failure) => {
                eprintln!("{failure}\nin {}", options.command(seed));
                eprintln!("looking for a smaller run that fails alike");
                chaos::run(seed, &shrink::shrink(seed, &options, &failure))
            }
        };
        moves += outcome.moves;
        if outcome.slowest > slowest {
            (slowest, slowest_seed) = (outcome.slowest, seed);
        }
    }
    println!(
        "{seeds} runs clean: {moves} moves, settled within {slowest:?} at most (seed {slowest_seed})"
    );
}
