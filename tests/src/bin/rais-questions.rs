//! Measures the name service: how many questions a second the built-in server answers on one core,
//! and what that does to heartbeats; how soon each backend says what has changed.
use anyhow::Result;
use clap::Parser;
use rais_tests::questions::{delays, load};

/// Measures the name service.
#[derive(Debug, Parser)]
struct Arguments {
    /// How often each change is made.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long to ask as fast as answers come.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

fn main() -> Result<()> {
    let Arguments { rounds, seconds } = Arguments::parse();
    load::measure(std::time::Duration::from_secs(seconds))?;
    delays::measure(rounds)
}
