//! Measures the name service: how many questions a second the built-in server answers on one core,
//! and what that does to heartbeats; how soon each backend says what has changed.
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use rais_tests::questions::delays::{self, Way};
use rais_tests::questions::load;

/// Measures the name service.
#[derive(Debug, Parser)]
struct Arguments {
    /// How often each change is made.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long to ask as fast as answers come.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Only how soon changes are served, in one way.
    #[arg(long)]
    only: Option<Way>,
}

fn main() -> Result<()> {
    let Arguments { rounds, seconds, only } = Arguments::parse();
    if only.is_none() {
        load::measure(Duration::from_secs(seconds))?;
    }
    delays::measure(rounds, only)
}
