//! `rais run`

use std::path::PathBuf;

use clap::Args;

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
    let filter = rais::log::wanted(config.agent.daemon.log.as_deref())
        .map_err(|why| rais::agent::CannotStart::because(anyhow::anyhow!(why)))?;
    rais::log::start(filter, super::colour());
    rais::agent::run(&args.config.config, &config, args.record.as_deref())
}
