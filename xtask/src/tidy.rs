//! The rules of `ARCHITECTURE.md` that a machine can check.
//!
//! A rule looks at one file and says what is wrong in it; all files are looked at before anything
//! is reported. Rules see code without literals and comments (see [`source`]).

mod rules;
mod source;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::command::root;

/// The directories that have Rust files.
const PACKAGES: [&str; 6] = ["agent", "agent-ebpf", "common", "fuzz", "tests", "xtask"];

/// Something that breaks a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// From the project's top directory.
    file: String,
    /// From 1.
    line: usize,
    /// Which rule, and how.
    what: String,
}

/// Checks every file.
///
/// # Errors
/// A rule is broken; every finding has been printed.
pub fn tidy() -> Result<()> {
    let root = root()?;
    let manifest = fs::read_to_string(root.join("agent/Cargo.toml")).context("agent/Cargo.toml")?;
    let crates = dependencies(&manifest);
    let mut files = Vec::new();
    for package in PACKAGES {
        rust_files(&root.join(package), &mut files)?;
    }
    let mut findings = Vec::new();
    for path in &files {
        let text = fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
        let name = path.strip_prefix(&root).unwrap_or(path).to_string_lossy();
        findings.extend(rules::check(&name, &text, &crates));
    }
    findings.sort();
    for Finding { file, line, what } in &findings {
        eprintln!("{file}:{line}: {what}");
    }
    if !findings.is_empty() {
        bail!("{} findings in {} files", findings.len(), files.len());
    }
    println!("{} files, nothing to say", files.len());
    Ok(())
}

/// Names of the crates in `[dependencies]`, as code calls them.
fn dependencies(manifest: &str) -> Vec<String> {
    let lines = manifest.lines().skip_while(|line| *line != "[dependencies]").skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    let names = lines.filter_map(|line| line.split(['.', '=', ' ']).next());
    names.filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

fn rust_files(dir: &Path, found: &mut Vec<std::path::PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("{}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("target") {
            rust_files(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::dependencies;

    #[test]
    fn dependencies_are_read_from_their_section_only() {
        let manifest = "[package]\nname = \"x\"\n[dependencies]\naya.workspace = true\n\
                        rais-common = { path = \"..\" }\n\n[lints]\nworkspace = true\n";
        assert_eq!(dependencies(manifest), ["aya", "rais_common"]);
    }
}
