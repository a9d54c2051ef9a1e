//! Every run of three hosts with so many faults.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use rais_tests::model::{Kinds, Setup, check};

/// Checks every run of a few hosts with so many faults: anywhere, of any kind, in any order.
///
/// Exits with 0 if the rules hold in all states that were looked at, with 1 otherwise.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many faults a run may have.
    #[arg(long, default_value_t = 1)]
    faults: u32,
    /// Of which kinds: loss, delay, double, pause, kill, fail, quiesce, slow; or all.
    #[arg(long, default_value = "all")]
    kinds: Kinds,
    /// Most choices in a row; all there are where not given.
    #[arg(long)]
    depth: Option<usize>,
    /// Give up after so many seconds.
    #[arg(long)]
    limit: Option<u64>,
    /// How many hosts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=4))]
    hosts: u8,
    /// The host an address belongs to, from 0, or `none` for a floating one; may be repeated.
    #[arg(long = "home", default_value = "1", value_parser = home)]
    homes: Vec<Home>,
    /// Fewest live hosts.
    #[arg(long, default_value_t = 1)]
    quorum: u32,
    /// Only the beginning where all hosts start at once and the first acts first.
    #[arg(long)]
    one_beginning: bool,
}

#[derive(Clone, Copy, Debug)]
struct Home(Option<usize>);

fn home(word: &str) -> Result<Home, String> {
    match word {
        "none" => Ok(Home(None)),
        word => word.parse().map(|host| Home(Some(host))).map_err(|e| format!("a host: {e}")),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let setup = Setup {
        hosts: arguments.hosts.into(),
        homes: arguments.homes.iter().map(|home| home.0).collect(),
        quorum: arguments.quorum,
        faults: arguments.faults,
        kinds: arguments.kinds,
        every_beginning: !arguments.one_beginning,
    };
    let outcome = check(&setup, arguments.depth, arguments.limit.map(Duration::from_secs));
    print!("{outcome}");
    if outcome.broken.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
