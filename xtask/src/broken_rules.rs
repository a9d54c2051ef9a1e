//! Breaks the rules of the decision maker, one after the other, and sees that it is noticed.
//!
//! What production code does is not told to a test by a flag: the source is copied, changed in one
//! place, built, and run by the simulation, by the model checker, and where neither notices, by the
//! unit tests. A rule that can be broken unnoticed is a rule that is not tested. Only where another
//! one guards against the same may it go unnoticed; then the table says which.

mod rules;

use std::collections::BTreeMap;
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
    (
        "agent/src/lib.rs",
        &["clock", "data_plane", "events", "group", "privileges", "record", "status"],
    ),
    ("agent/src/data_plane.rs", &["memory"]),
    ("tests/src/lib.rs", &["cluster", "model"]),
];

/// The only dependencies that are wanted, of the agent and of the tests.
const DEPENDENCIES: [&str; 15] = [
    "anyhow",
    "aya",
    "clap",
    "comfy-table",
    "jiff",
    "nix",
    "rais",
    "rais-common",
    "rustix",
    "serde",
    "serde_json",
    "stateright",
    "thiserror",
    "tokio",
    "tracing",
];

/// Simulated clusters for each rule.
const SEEDS: &str = "400";

/// Runs that once showed a mistake that hardly any other run shows.
const TELLING: [&str; 4] = ["2665", "5308", "6184", "6879"];

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
    let mut gaps = 0;
    println!("{:<58} noticed", "rule that is broken");
    for rule in rules::all().filter(|rule| rule.broken.contains(only)) {
        let verdict = match (scratch.try_broken(&[rule])?, rule.guarded) {
            (Some(what), _) => what,
            (None, Some(by)) => {
                let (verdict, shown) = scratch.guarded(rule, by)?;
                gaps += u32::from(!shown);
                verdict
            }
            (None, None) => {
                unnoticed.push(rule.broken);
                "NOT NOTICED".to_owned()
            }
        };
        println!("{:<58} {verdict}", rule.broken);
    }
    if gaps > 0 {
        println!("{gaps} gaps: rules that are said to be guarded, which nothing shows");
    }
    if !unnoticed.is_empty() {
        bail!("nobody noticed that {}", unnoticed.join("; that "));
    }
    Ok(())
}

/// Otherwise everything would be noticed.
fn check_unbroken(scratch: &Scratch) -> Result<()> {
    scratch.build()?;
    match scratch.noticed(false)? {
        None => Ok(()),
        Some(what) => bail!("fails with no rule broken: {what}"),
    }
}

/// A copy of the project, or of some of it.
pub(crate) struct Scratch {
    original: PathBuf,
    copy: PathBuf,
}

impl Scratch {
    fn new(original: PathBuf, copy: PathBuf) -> Result<Self> {
        let scratch = Self::of(original, copy, &NEEDED)?;
        // The agent's library includes the XDP program; nothing here loads it.
        for object in ["rais-ebpf.o", "rais-proof.o"] {
            scratch.write(&Path::new("target/bpf").join(object), b"")?;
        }
        Ok(scratch)
    }

    /// A copy of these files and directories.
    pub(crate) fn of(original: PathBuf, copy: PathBuf, names: &[&str]) -> Result<Self> {
        let scratch = Self { original, copy };
        for name in names {
            scratch.copy_all(Path::new(name))?;
        }
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

    pub(crate) fn write(&self, name: &Path, content: &[u8]) -> Result<()> {
        let path = self.copy.join(name);
        if fs::read(&path).is_ok_and(|there| there == content) {
            return Ok(());
        }
        let dir = path.parent().context("a file is in a directory")?;
        fs::create_dir_all(dir).with_context(|| format!("{}", dir.display()))?;
        fs::write(&path, content).with_context(|| format!("{}", path.display()))
    }

    /// What is noticed with these rules broken, all at once.
    fn try_broken(&self, broken: &[&Rule]) -> Result<Option<String>> {
        let mut texts = BTreeMap::new();
        for rule in broken {
            let text = match texts.remove(rule.file) {
                Some(text) => text,
                None => source(&self.original, rule.file)?,
            };
            texts.insert(rule.file, break_rule(&text, rule)?);
        }
        for (file, text) in &texts {
            self.write(Path::new(file), text.as_bytes())?;
        }
        let names: Vec<&str> = broken.iter().map(|rule| rule.broken).collect();
        self.build().with_context(|| format!("with the rule broken: {}", names.join("; ")))?;
        // A rule that is guarded is looked at twice: the longest checks are left out.
        let guarded = broken.iter().any(|rule| rule.guarded.is_some());
        let mut noticed = self.noticed(guarded)?;
        if noticed.is_none() && !guarded {
            noticed = self.unit_test()?;
        }
        for file in texts.keys() {
            self.restore(file)?;
        }
        Ok(noticed)
    }

    /// Whether it shows that something else guards against the same: that is broken besides.
    fn guarded(&self, rule: &Rule, by: &str) -> Result<(String, bool)> {
        let Some(besides) = rule.besides else {
            return Ok((format!("GAP, not noticed: {by}"), false));
        };
        let other = rules::all().find(|other| other.broken == besides);
        let other = other.with_context(|| format!("no rule is called: {besides}"))?;
        // What is noticed of the other one anyway shows nothing.
        let alone = self.try_broken(&[other])?;
        Ok(match self.try_broken(&[rule, other])?.filter(|what| alone.as_ref() != Some(what)) {
            Some(what) => (format!("guarded: {by}; where also {besides}: {what}"), true),
            None => (format!("GAP, not noticed even where also {besides}: {by}"), false),
        })
    }

    fn restore(&self, file: &str) -> Result<()> {
        self.write(Path::new(file), &read(&self.original.join(file))?)
    }

    fn build(&self) -> Result<()> {
        let bins =
            ["build", "-q", "-p", "rais-tests", "--bin", "rais-simulate", "--bin", "rais-model"];
        let output = self.cargo(&bins)?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn cargo(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = cargo(arguments);
        command.current_dir(&self.copy).env("CARGO_TARGET_DIR", self.copy.join("target"));
        command.env("CARGO_PROFILE_DEV_DEBUG", "none").env("RUSTFLAGS", "--cap-lints=allow");
        command.output().context("running cargo")
    }

    /// The first unit test of the group that fails: looked at only where nothing else noticed.
    fn unit_test(&self) -> Result<Option<String>> {
        let built = self.cargo(&["test", "-q", "-p", "rais", "--lib", "--no-run"])?;
        ensure!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let output = self.cargo(&["test", "-q", "-p", "rais", "--lib", "group::"])?;
        if output.status.success() {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let failed = text.lines().find_map(|line| line.strip_prefix("---- "));
        let name = failed.and_then(|rest| rest.split(' ').next());
        Ok(Some(format!("by a unit test alone, {}", name.unwrap_or("?"))))
    }

    /// What was noticed, by whom, and how soon.
    fn noticed(&self, briefly: bool) -> Result<Option<String>> {
        if let Some(what) = self.simulate()? {
            return Ok(Some(what));
        }
        let models = if briefly { 1 } else { MODELS.len() };
        for arguments in MODELS.iter().take(models) {
            if let Some(what) = self.model(arguments)? {
                return Ok(Some(what));
            }
        }
        Ok(None)
    }

    /// What the simulation noticed, and after how many runs.
    fn simulate(&self) -> Result<Option<String>> {
        let mut runs =
            TELLING.map(|seed| ["--no-shrinking", "--seeds", "1", "--seed", seed]).to_vec();
        runs.push(["--no-shrinking", "--seeds", SEEDS, "--seed", "1"]);
        for run in runs {
            let output = self.run("rais-simulate", &run)?;
            if !output.status.success() && !is_late(&output) {
                return Ok(Some(noticed(&output)));
            }
        }
        Ok(None)
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

/// The file without the declarations of modules and dependencies that are not wanted.
fn trimmed(name: &Path, content: Vec<u8>) -> Vec<u8> {
    let package =
        ["agent/Cargo.toml", "tests/Cargo.toml"].iter().any(|file| name == Path::new(file));
    let modules =
        TRIMMED.iter().find(|(file, _)| name == Path::new(file)).map(|(_, wanted)| wanted);
    if !package && modules.is_none() {
        return content;
    }
    let text = String::from_utf8_lossy(&content);
    let mut of_package = "";
    let mut kept = String::new();
    for line in text.lines() {
        of_package = if line.starts_with('[') { line } else { of_package };
        let dependency = line.split(['.', ' ']).next().unwrap_or_default();
        let listed = package && of_package.ends_with("dependencies]") && line.contains('=');
        let declared = line.trim_start_matches("pub ").strip_prefix("mod ");
        let module = declared.and_then(|rest| rest.strip_suffix(';'));
        let unwanted =
            modules.zip(module).is_some_and(|(wanted, module)| !wanted.contains(&module));
        if !unwanted && (!listed || DEPENDENCIES.contains(&dependency)) {
            kept += line;
            kept += "\n";
        }
    }
    kept.into_bytes()
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

/// What a simulation noticed, and in which run.
fn noticed(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let what = text.lines().find_map(invariant).unwrap_or_else(|| ended(output));
    let seed = text.split("--seed ").nth(1).and_then(|rest| rest.split(' ').next());
    format!("{what} by the simulation, run {}", seed.unwrap_or("?"))
}

fn ended(output: &Output) -> String {
    format!("ended with {}", output.status)
}

/// A file of the project.
fn source(root: &Path, file: &str) -> Result<String> {
    let path = root.join(file);
    fs::read_to_string(&path).with_context(|| format!("{}", path.display()))
}

/// Its text with a rule broken.
fn break_rule(text: &str, rule: &Rule) -> Result<String> {
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
        let unbroken: Vec<String> = rules::all()
            .filter_map(|rule| match break_rule(&source(&root, rule.file).unwrap(), rule) {
                Ok(broken) => (!broken.contains(rule.new)).then(|| rule.broken.to_owned()),
                Err(e) => Some(e.to_string()),
            })
            .collect();
        assert!(unbroken.is_empty(), "{}", unbroken.join("\n"));
    }

    // What is broken besides another rule → is in the table itself.
    #[test]
    fn besides_is_a_rule() {
        for besides in rules::all().filter_map(|rule| rule.besides) {
            assert!(rules::all().any(|rule| rule.broken == besides), "{besides}");
        }
    }

    #[test]
    fn invariants_are_told_from_other_lines() {
        assert_eq!(invariant("I1: hosts [0, 1] answer"), Some("I1".to_owned()));
        assert_eq!(invariant("last events:"), None);
        assert_eq!(invariant("In: sum"), None);
    }
}
