//! Random runs of simulated clusters, each from a seed of its own.

use std::num::ParseIntError;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::Parser;
use rais_tests::cluster::chaos::{self, Options};
use rais_tests::cluster::shrink;
use rais_tests::crowd::{Failure, Size, TIMEOUT, fail};

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
    /// Instead: a crowd of so many hosts with so many addresses in all, of which some hosts die at
    /// once.
    #[arg(long, value_name = "HOSTSxADDRESSES")]
    crowd: Option<Many>,
    /// How many hosts of the crowd die.
    #[arg(long, default_value_t = 20, requires = "crowd")]
    dying: usize,
    /// What the crowd sends in the same millisecond arrives in any order.
    #[arg(long, requires = "crowd")]
    overtaking: bool,
}

#[derive(Clone, Copy, Debug)]
struct Many {
    hosts: usize,
    addresses: usize,
}

impl FromStr for Many {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (hosts, addresses) =
            text.split_once('x').ok_or("two numbers with an x between them, as 200x10000")?;
        let number = |text: &str| text.parse().map_err(|e| format!("{text:?}: {e}"));
        let many = Self { hosts: number(hosts)?, addresses: number(addresses)? };
        if many.hosts < 2 { Err("at least two hosts".to_owned()) } else { Ok(many) }
    }
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

/// After the timeout, the time in which all addresses have to be answered for again.
const BOUND: Duration = Duration::from_millis(100);

/// Lets hosts of a crowd die. Fails if that takes too long.
fn crowd(many: Many, dying: usize, overtaking: bool, seed: u64) -> ExitCode {
    let Many { hosts, addresses } = many;
    let preferred = addresses / hosts;
    let floating = addresses - preferred * hosts;
    let size = Size { hosts, preferred, floating, overtaking, ..Size::default() };
    let Failure { addresses: without, took, longest } = fail(size, dying.min(hosts - 1), seed);
    println!(
        "{hosts} hosts, {addresses} addresses; {dying} hosts die, {without} addresses are answered \
         for again within {took:?} of virtual time (timeout {TIMEOUT:?}); longest datagram \
         {longest} bytes"
    );
    if took <= TIMEOUT + BOUND { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(many) = arguments.crowd {
        return crowd(many, arguments.dying, arguments.overtaking, arguments.seed);
    }
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
    ExitCode::SUCCESS
}
