//! Simulated clusters on virtual time.

use anyhow::Result;

use crate::command::{cargo, run};

/// Hands everything on to the simulation.
///
/// # Errors
/// A run broke a rule; the output says which, and how a smaller run that does so is repeated.
pub fn simulate<T: AsRef<std::ffi::OsStr>>(arguments: &[T]) -> Result<()> {
    // A crowd is too much work for a program that is not optimised.
    let crowd = arguments.iter().any(|a| a.as_ref().to_string_lossy().starts_with("--crowd"));
    let profile: &[&str] = if crowd { &["--release"] } else { &[] };
    let simulate = ["-q", "-p", "rais-tests", "--bin", "rais-simulate", "--"];
    run(cargo(&["run"]).args(profile).args(simulate).args(arguments))
}
