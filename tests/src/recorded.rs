//! Recordings that are kept: what groups were told once, and what they have decided on it since.
//!
//! `tests/cases/replay/NAME.jsonl` is a recording, `NAME.txt` what `rais replay` shows of it. Where
//! groups are to decide otherwise from now on, `RAIS_UPDATE=1 cargo test -p rais-tests --test
//! replay` writes both anew; so does `--test agents_recorded` for the ones of real agents. The
//! difference is to be looked at like any other change.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use rais::group::{Action, Group};
use rais::record::Line;

use crate::netns::binary;

/// Whether what is kept is to be written anew.
#[must_use]
pub fn updating() -> bool {
    std::env::var_os("RAIS_UPDATE").is_some_and(|value| !value.is_empty())
}

/// Where a recording of that name is kept.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/replay").join(name).with_extension("jsonl")
}

/// Names of all that are kept.
///
/// # Errors
/// The directory cannot be read.
pub fn names() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/replay"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

/// Keeps a recording under that name.
///
/// # Errors
/// It cannot be written.
pub fn keep(name: &str, recording: &str) -> Result<()> {
    fs::write(path(name), recording).with_context(|| format!("keeping {name}"))
}

/// Runs `rais replay` with these arguments.
///
/// # Errors
/// There is no `rais`.
pub fn replay(recording: &Path, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(binary("rais")?);
    command.env_remove("RUST_BACKTRACE").arg("replay").arg(recording).args(arguments);
    command.output().context("rais replay")
}

/// The recording with the decisions that groups of today take.
///
/// # Errors
/// A line is not understood.
pub fn decided_anew(recording: &str) -> Result<String> {
    let mut running: Option<Group> = None;
    let mut anew = String::new();
    for line in recording.lines() {
        let line: Line<serde_json::Value> = serde_json::from_str(line)?;
        let line: Line<Action> = match line {
            Line::Start { boot, now, settings } => {
                ensure!(running.is_none(), "one start of one group a case");
                running = Some(Group::new((*settings).clone(), boot, now));
                Line::Start { boot, now, settings }
            }
            Line::Turn { group, now, event, .. } => {
                let running = running.as_mut().context("a turn before the start")?;
                let actions = running.handle(now, event.clone());
                Line::Turn { group, now, event, actions }
            }
            Line::Recording { format, version, time } => Line::Recording { format, version, time },
            Line::End { group } => Line::End { group },
            Line::Missed { .. } => anyhow::bail!("a case with a gap"),
        };
        anew.push_str(&serde_json::to_string(&line)?);
        anew.push('\n');
    }
    Ok(anew)
}
