//! Changes the decision maker in every small way that `cargo mutants` knows, one after the other,
//! and sees that a unit test notices.
//!
//! `broken-rules` says which rules are tested, this says which lines are. `Group` is pure, so a
//! crate of nothing else does, which is built anew in a second or two.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::broken_rules::Scratch;
use crate::command::{cargo, root, run, succeeds};

/// What is installed where there is none.
const CARGO_MUTANTS: &str = "cargo-mutants@27.1.0";

/// What the crate is made of, beside its manifests.
const NEEDED: [&str; 5] =
    ["Cargo.lock", "agent/src/group", "agent/src/group.rs", "common", "rust-toolchain.toml"];

const PACKAGE: &str = r#"[package]
name = "rais"
version.workspace = true
edition.workspace = true
license.workspace = true
publish.workspace = true

[dependencies]
rais-common = { workspace = true, features = ["user"] }
serde.workspace = true
"#;

/// Of a hundred changes so many have to be noticed.
const LEAST: usize = 90;

/// Seconds after which the tests of a change are ended. Some make them endless: that is noticed.
const LONGEST: &str = "30";

/// Tries the changes whose name matches the expression `only`, all where it is empty. Those that
/// were not noticed are printed.
///
/// # Errors
/// Too few were noticed, or the tests fail with nothing changed.
pub fn mutants(only: &str) -> Result<()> {
    if !succeeds(&mut cargo(&["mutants", "--version"])) {
        run(&mut cargo(&["install", "--locked", CARGO_MUTANTS]))
            .context("installing cargo-mutants")?;
    }
    let root = root()?;
    let copy = root.join("target/mutants");
    let scratch = Scratch::of(root.clone(), copy.clone(), &NEEDED)?;
    let workspace = fs::read_to_string(root.join("Cargo.toml")).context("Cargo.toml")?;
    scratch.write(Path::new("Cargo.toml"), of_two(&workspace).as_bytes())?;
    scratch.write(Path::new("agent/Cargo.toml"), PACKAGE.as_bytes())?;
    scratch.write(Path::new("agent/src/lib.rs"), b"//! The group alone.\n\npub mod group;\n")?;
    let mut command = cargo(&["mutants", "--in-place", "--no-shuffle", "--package", "rais"]);
    command.args(["--file", "agent/src/group.rs", "--file", "agent/src/group/**"]);
    command.args(["--timeout", LONGEST, "--re", only, "--cargo-arg=--lib"]).current_dir(&copy);
    command.env("CARGO_TARGET_DIR", copy.join("target"));
    command.env("CARGO_PROFILE_DEV_DEBUG", "none").env("CARGO_PROFILE_DEV_OPT_LEVEL", "0");
    let status = command.status().context("running cargo mutants")?;
    // 2: some were not noticed; 3: some made the tests endless.
    ensure!(matches!(status.code(), Some(0 | 2 | 3)), "cargo mutants: {status}");
    judge(&copy.join("mutants.out"))
}

/// The manifest of the workspace for no more packages than the agent and what it shares.
fn of_two(workspace: &str) -> String {
    let mut kept = String::new();
    for line in workspace.lines() {
        let key = line.split(' ').next().unwrap_or_default();
        kept += match key {
            "members" => "members = [\"agent\", \"common\"]",
            "default-members" | "exclude" => "",
            _ => line,
        };
        kept += "\n";
    }
    kept
}

/// Reads what became of the changes, one a line.
fn judge(outcomes: &Path) -> Result<()> {
    let lines = |name: &str| -> Result<Vec<String>> {
        let path = outcomes.join(name);
        let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
        Ok(text.lines().map(str::to_owned).collect())
    };
    let missed = lines("missed.txt")?;
    let noticed = lines("caught.txt")?.len() + lines("timeout.txt")?.len();
    let all = noticed + missed.len();
    println!("\n{noticed} of {all} changes are noticed");
    for change in &missed {
        println!("not noticed: {change}");
    }
    ensure!(noticed * 100 >= all * LEAST, "fewer than {LEAST} % are noticed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workspace_of_two() {
        let text =
            "[workspace]\nmembers = [\"agent\", \"xtask\"]\nexclude = [\"fuzz\"]\n[x]\ny = 1\n";
        let expected = "[workspace]\nmembers = [\"agent\", \"common\"]\n\n[x]\ny = 1\n";
        assert_eq!(of_two(text), expected);
    }
}
