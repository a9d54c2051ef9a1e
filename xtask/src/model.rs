//! Every run of a few hosts with so many faults.

use anyhow::Result;

use crate::command::{cargo, run};

/// Hands everything on to the model checker.
///
/// # Errors
/// A rule is broken; the output shows the run.
pub fn model(arguments: &[String]) -> Result<()> {
    run(cargo(&["run", "-q", "-p", "rais-tests", "--bin", "rais-model", "--"]).args(arguments))
}
