//! Simulated clusters on virtual time.

use anyhow::Result;

use crate::command::{cargo, run};

/// Hands everything on to the simulation.
///
/// # Errors
/// A run broke a rule; the output says which, and how a smaller run that does so is repeated.
pub fn simulate<T: AsRef<std::ffi::OsStr>>(arguments: &[T]) -> Result<()> {
    let crowd = arguments.iter().any(|a| a.as_ref().to_string_lossy().starts_with("--crowd"));
    // A crowd is too much work for a program that is not optimised.
    let program: &[&str] = if crowd {
        &["run", "--release", "-q", "-p", "rais-tests", "--bin", "rais-mass-failure", "--"]
    } else {
        &["run", "-q", "-p", "rais-tests", "--bin", "rais-simulate", "--"]
    };
    run(cargo(program).args(arguments))
}
