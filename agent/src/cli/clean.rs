//! `rais clean`

use super::ConfigArgs;

/// Takes away what a dead agent left behind, and says what it was.
pub(super) fn main(args: &ConfigArgs) -> anyhow::Result<()> {
    for removed in rais::agent::clean(&args.load()?)? {
        super::print(&format!("removed {removed}\n"))?;
    }
    Ok(())
}
