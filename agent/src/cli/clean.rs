//! `rais clean`

use super::ConfigArgs;

/// Takes away what a dead agent left behind.
pub(super) fn main(args: &ConfigArgs) -> anyhow::Result<()> {
    rais::agent::clean(&args.load()?)
}
