//! `rais run`

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use super::ConfigArgs;

/// Runs the agent until it is told to end.
pub(super) fn main(args: &ConfigArgs) -> anyhow::Result<()> {
    let config = args.load()?;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal() && super::colour())
        .init();
    rais::agent::run(&config)
}
