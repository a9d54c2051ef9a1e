//! Breaks the rules of the decision maker, one after the other, and sees that it is noticed.
//!
//! What production code does is not told to a test by a flag: the source is copied, changed in one
//! place, built, and run by the simulation and by the model checker. A rule that can be broken
//! unnoticed is a rule that is not tested. Only where another one guards against the same may it go
//! unnoticed; then the table says which.

mod rules;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail, ensure};

use crate::command::{cargo, root};
use rules::Rule;

/// What a build of the tests needs of the project.
const NEEDED: [&str; 9] = [
    ".cargo",
    "Cargo.lock",
    "Cargo.toml",
    "agent",
    "agent-ebpf",
    "common",
    "rust-toolchain.toml",
    "tests",
    "xtask",
];

/// Files that declare modules, and the only modules that are wanted of them: what is not simulated
/// need not be built again with each rule.
const TRIMMED: [(&str, &[&str]); 3] = [
    ("agent/src/lib.rs", &["clock", "data_plane", "group"]),
    ("agent/src/data_plane.rs", &["memory"]),
    ("tests/src/lib.rs", &["cluster", "model"]),
];

/// Simulated clusters for each rule.
const SEEDS: &str = "400";

/// What the model checker looks at, in this order, until it notices something: one fault of any
/// kind, then two that cross an order.
const MODELS: [&[&str]; 2] =
    [&["--one-beginning"], &["--one-beginning", "--faults=2", "--kinds=delay,fail,quiesce"]];

/// Seconds after which a run is ended. A broken rule can make a space of states infinite.
const LONGEST: &str = "120";

/// Breaks each rule whose description has `only` in it.
///
/// # Errors
/// A rule was broken and nobody noticed; or a rule is not where it was.
pub fn broken_rules(only: &str) -> Result<()> {
    let root = root()?;
    let scratch = Scratch::new(root.clone(), root.join("target/broken-rules"))?;
    if only.is_empty() {
        check_unbroken(&scratch)?;
    }
    let mut unnoticed = Vec::new();
    println!("{:<58} noticed", "rule that is broken");
    for rule in rules::all().filter(|rule| rule.broken.contains(only)) {
        scratch.break_rule(rule)?;
        scratch.build().with_context(|| format!("with the rule broken: {}", rule.broken))?;
        let noticed = scratch.noticed()?;
        scratch.restore(rule.file)?;
        let guarded = rule.guarded.map(|by| format!("not noticed: {by}"));
        if noticed.is_none() && guarded.is_none() {
            unnoticed.push(rule.broken);
        }
        let verdict = noticed.or(guarded).unwrap_or_else(|| "NOT NOTICED".to_owned());
        println!("{:<58} {verdict}", rule.broken);
    }
    if !unnoticed.is_empty() {
        bail!("nobody noticed that {}", unnoticed.join("; that "));
    }
    Ok(())
}

/// Otherwise everything would be noticed.
fn check_unbroken(scratch: &Scratch) -> Result<()> {
    scratch.build()?;
    match scratch.noticed()? {
        None => Ok(()),
        Some(what) => bail!("fails with no rule broken: {what}"),
    }
}

/// A copy of the project.
struct Scratch {
    original: PathBuf,
    copy: PathBuf,
}

impl Scratch {
    fn new(original: PathBuf, copy: PathBuf) -> Result<Self> {
        let scratch = Self { original, copy };
        for name in NEEDED {
            scratch.copy_all(Path::new(name))?;
        }
        // The agent's library includes the XDP program; nothing here loads it.
        scratch.write(Path::new("target/bpf/rais-ebpf.o"), b"")?;
        Ok(scratch)
    }

    /// Files that are the same are left alone, so that they are not built again.
    fn copy_all(&self, name: &Path) -> Result<()> {
        let path = self.original.join(name);
        if !path.is_dir() {
            return self.write(name, &trimmed(name, read(&path)?));
        }
        let entries = path.read_dir().with_context(|| format!("{}", path.display()))?;
        for entry in entries {
            let below = entry?.file_name();
            if below != "target" {
                self.copy_all(&name.join(below))?;
            }
        }
        Ok(())
    }

    fn write(&self, name: &Path, content: &[u8]) -> Result<()> {
        let path = self.copy.join(name);
        if fs::read(&path).is_ok_and(|there| there == content) {
            return Ok(());
        }
        let dir = path.parent().context("a file is in a directory")?;
        fs::create_dir_all(dir).with_context(|| format!("{}", dir.display()))?;
        fs::write(&path, content).with_context(|| format!("{}", path.display()))
    }

    fn break_rule(&self, rule: &Rule) -> Result<()> {
        let broken = broken(&self.original, rule)?;
        self.write(Path::new(rule.file), broken.as_bytes())
    }

    fn restore(&self, file: &str) -> Result<()> {
        self.write(Path::new(file), &read(&self.original.join(file))?)
    }

    fn build(&self) -> Result<()> {
        let bins =
            ["build", "-q", "-p", "rais-tests", "--bin", "rais-simulate", "--bin", "rais-model"];
        let output = cargo(&bins)
            .current_dir(&self.copy)
            .env("CARGO_TARGET_DIR", self.copy.join("target"))
            .env("RUSTFLAGS", "--cap-lints=allow")
            .output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// What was noticed, by whom, and how soon.
    fn noticed(&self) -> Result<Option<String>> {
        if let Some(what) = self.simulate()? {
            return Ok(Some(what));
        }
        for arguments in MODELS {
            if let Some(what) = self.model(arguments)? {
                return Ok(Some(what));
            }
        }
        Ok(None)
    }

    /// What the simulation noticed, and after how many runs.
    fn simulate(&self) -> Result<Option<String>> {
        let output = self.run("rais-simulate", &["--seeds", SEEDS])?;
        if output.status.success() || is_late(&output) {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&output.stderr);
        let what = text.lines().find_map(invariant).unwrap_or_else(|| ended(&output));
        let seed = text.split("--seed ").nth(1).and_then(|rest| rest.split(' ').next());
        Ok(Some(format!("{what} by the simulation, run {}", seed.unwrap_or("?"))))
    }

    /// What the model checker noticed, and after how many states.
    fn model(&self, arguments: &[&str]) -> Result<Option<String>> {
        let output = self.run("rais-model", arguments)?;
        if output.status.success() || is_late(&output) {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let what =
            text.lines().filter_map(|line| line.split_once("BROKEN ")).find_map(|l| invariant(l.1));
        let states = text.lines().find_map(|line| Some(line.split_once(" states (")?.0));
        let what = what.unwrap_or_else(|| ended(&output));
        Ok(Some(format!("{what} by the model checker, {} states", states.unwrap_or("?"))))
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<Output> {
        let program = self.copy.join("target/debug").join(program);
        let mut command = Command::new("timeout");
        command.arg(LONGEST).arg(&program).args(arguments).current_dir(&self.copy);
        command.output().with_context(|| format!("{}", program.display()))
    }
}

/// The file without the declarations of modules that are not wanted.
fn trimmed(name: &Path, content: Vec<u8>) -> Vec<u8> {
    let Some((_, wanted)) = TRIMMED.iter().find(|(file, _)| name == Path::new(file)) else {
        return content;
    };
    let text = String::from_utf8_lossy(&content);
    let stays = |line: &&str| {
        let declared = line.trim_start_matches("pub ").strip_prefix("mod ");
        let module = declared.and_then(|rest| rest.strip_suffix(';'));
        module.is_none_or(|module| wanted.contains(&module))
    };
    text.lines().filter(stays).flat_map(|line| [line, "\n"]).collect::<String>().into_bytes()
}

/// The invariant that a line of output begins with.
fn invariant(line: &str) -> Option<String> {
    let (number, _) = line.split_once(": ")?;
    let known = number.len() == 2
        && number.starts_with('I')
        && number.ends_with(|c: char| c.is_ascii_digit());
    known.then(|| number.to_owned())
}

/// It was ended because it took too long: that says nothing.
fn is_late(output: &Output) -> bool {
    output.status.code() == Some(124)
}

fn ended(output: &Output) -> String {
    format!("ended with {}", output.status)
}

/// A file of the project with a rule broken.
fn broken(root: &Path, rule: &Rule) -> Result<String> {
    let path = root.join(rule.file);
    let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
    let times = text.matches(rule.old).count();
    ensure!(
        times == 1,
        "{} has this {times} times instead of once, so that the rule cannot be broken that {}: {}",
        rule.file,
        rule.broken,
        rule.old
    );
    Ok(text.replace(rule.old, rule.new))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("{}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    // The source changes → every rule can still be broken, in its one place.
    #[test]
    fn every_rule_can_be_broken() {
        let root = root().unwrap();
        for rule in rules::all() {
            let broken = broken(&root, rule).unwrap();
            assert!(broken.contains(rule.new));
        }
    }

    #[test]
    fn invariants_are_told_from_other_lines() {
        assert_eq!(invariant("I1: hosts [0, 1] answer"), Some("I1".to_owned()));
        assert_eq!(invariant("last events:"), None);
        assert_eq!(invariant("In: sum"), None);
    }
}
