//! Measurements.

use anyhow::Result;

use crate::demo;

/// Runs the demonstration so many times and prints medians.
///
/// # Errors
/// As the demonstration's.
pub fn bench(runs: u32) -> Result<()> {
    demo::demo(&["--runs".into(), runs.to_string()])
}
