//! The whole agent: what `rais run` and `rais clean` do.

use crate::config::checked::Config;

/// Runs the agent until SIGTERM or SIGINT, then releases everything.
///
/// # Errors
/// What kept it from starting.
pub fn run(config: Config) -> anyhow::Result<()> {
    drop(config);
    anyhow::bail!("not wired yet")
}

/// Takes away what a dead agent left behind.
///
/// # Errors
/// An agent is running, or something could not be taken away.
pub fn clean(config: &Config) -> anyhow::Result<()> {
    let _: &Config = config;
    anyhow::bail!("not wired yet")
}
