//! Simulated clusters on virtual time.

use anyhow::Result;

use crate::command::{cargo, run};

/// Hands everything on to the simulation.
///
/// # Errors
/// A run broke a rule; the output says which, and how a smaller run that does so is repeated.
pub fn simulate<T: AsRef<std::ffi::OsStr>>(arguments: &[T]) -> Result<()> {
    let simulate = ["run", "-q", "-p", "rais-tests", "--bin", "rais-simulate", "--"];
    run(cargo(&simulate).args(arguments))
}
