//! Prometheus' own checker for the alert rules in `docs`.
//!
//! On Debian it comes with the server, which is 96 MB, brings a dozen packages along and starts to
//! listen. So the one program is taken out of the package, and nothing is installed.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{installed, root, run};

/// Checks the rules.
///
/// # Errors
/// There is a mistake in them, or no checker to be had.
pub fn alerts() -> Result<()> {
    let rules = root()?.join("docs/alerts.yml");
    run(Command::new(promtool()?).args(["check", "rules"]).arg(rules))
}

/// The machine's `promtool`, or one below `target`.
fn promtool() -> Result<PathBuf> {
    if installed("promtool") {
        return Ok("promtool".into());
    }
    let dir = root()?.join("target/promtool");
    let program = dir.join("usr/bin/promtool");
    if !program.exists() {
        fetch(&dir).context("fetching promtool; or install it, and call this again")?;
    }
    Ok(program)
}

/// Downloads the package and takes the program out of it.
fn fetch(dir: &PathBuf) -> Result<()> {
    fs::create_dir_all(dir)?;
    // On a machine where nothing was installed lately there are no package lists.
    let download =
        "apt-get -q download prometheus || (apt-get -q update && apt-get -q download prometheus)";
    run(Command::new("sh").current_dir(dir).args(["-c", download]))?;
    let unpack = "dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x ./usr/bin/promtool";
    run(Command::new("sh").current_dir(dir).args(["-ec", unpack]))?;
    run(Command::new("sh").current_dir(dir).args(["-c", "rm prometheus_*.deb"]))
}
