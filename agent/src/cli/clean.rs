//! `rais clean`

use clap::Args;

use super::ConfigArgs;

/// Options of `rais clean`.
#[derive(Debug, Args)]
pub(super) struct CleanArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Leave the XDP program on its interfaces, with empty maps, for an agent that follows: it lets
    /// everything through, and taking it off can bounce a link
    #[arg(long)]
    keep_program: bool,
}

/// Takes away what a dead agent left behind, and says what it was.
pub(super) fn main(args: &CleanArgs) -> anyhow::Result<()> {
    for removed in rais::agent::clean(&args.config.load()?, args.keep_program)? {
        super::print(&format!("removed {removed}\n"))?;
    }
    Ok(())
}
