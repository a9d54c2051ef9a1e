//! Random runs of simulated clusters, each from a seed of its own.

use clap::Parser;
use rais_tests::cluster::chaos::{self, Options};

/// Runs simulated clusters to which random things happen, and checks that what must hold holds.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many runs.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The seed of the first run; the others follow it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many hosts; 2 to 6, by chance, where not given.
    #[arg(long)]
    hosts: Option<usize>,
    /// How many things happen in a run.
    #[arg(long, default_value_t = Options::default().happenings)]
    happenings: u32,
    /// Print everything that happens.
    #[arg(long)]
    verbose: bool,
}

fn main() {
    let Arguments { seeds, seed, hosts, happenings, verbose } = Arguments::parse();
    let options = Options { hosts, happenings, verbose };
    let (mut moves, mut slowest) = (0, std::time::Duration::ZERO);
    for seed in seed..seed.saturating_add(seeds) {
        let outcome = chaos::run(seed, options);
        moves += outcome.moves;
        slowest = slowest.max(outcome.slowest);
    }
    println!("{seeds} runs clean: {moves} moves, settled within {slowest:?} at most");
}
