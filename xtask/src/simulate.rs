//! Simulated clusters on virtual time.

use anyhow::Result;

use crate::command::{cargo, run};

/// Runs so many, each from a seed of its own.
///
/// # Errors
/// One broke a rule; its output says which, and from which seed.
pub fn simulate(seeds: u64) -> Result<()> {
    let seeds = seeds.to_string();
    run(&mut cargo(&["run", "-p", "rais-tests", "--bin", "rais-simulate", "--", "--seeds", &seeds]))
}
