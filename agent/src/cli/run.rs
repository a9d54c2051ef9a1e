//! `rais run`

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use clap::Args;
use tracing_subscriber::EnvFilter;

use super::ConfigArgs;

/// Options of `rais run`.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Write what the groups are told and decide to FILE, for `rais replay`; what FILE held before
    /// is lost. It grows with each heartbeat, by a kilobyte and more. There are no keys in it
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

/// Runs the agent until it is told to end.
pub(super) fn main(args: &RunArgs) -> anyhow::Result<()> {
    let config = args.config.load()?;
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,async_snmp=off"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal() && super::colour())
        .init();
    rais::agent::run(&config, args.record.as_deref())
}
