//! Many hosts of a crowd die at once, on virtual time: how soon everything is answered for again.

use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::Parser;
use rais_tests::crowd::{Failure, Size, TIMEOUT, fail};

/// Simulates a crowd of hosts of which some die at once.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many hosts, and how many addresses in all.
    #[arg(long, value_name = "HOSTSxADDRESSES")]
    crowd: Many,
    /// How many hosts die.
    #[arg(long, default_value_t = 20)]
    dying: usize,
    /// What is sent in the same millisecond arrives in any order.
    #[arg(long)]
    overtaking: bool,
    /// What is drawn by chance follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
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

/// After the timeout, the time in which all addresses have to be answered for again.
const BOUND: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    let Arguments { crowd, dying, overtaking, seed } = Arguments::parse();
    let Many { hosts, addresses } = crowd;
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
