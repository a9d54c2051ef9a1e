//! `rais replay`

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use clap::Args;
use rais::group::{Action, Event};
use rais::record::replay::{Replay, ReplayError, Step, Turn};
use rais_common::time::Time;
use serde::Serialize;

/// Options of `rais replay`.
#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// What `rais run --record` wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// One JSON object a turn, every turn
    #[arg(long)]
    json: bool,
    /// Every turn, also those that decided nothing but the next heartbeat
    #[arg(long, short)]
    all: bool,
}

/// The file is not what it should be.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct BadRecording(String);

/// What is shown of a turn with `--json`.
#[derive(Serialize)]
struct Shown<'a> {
    line: usize,
    group: &'a str,
    now: Time,
    event: &'a Event,
    actions: &'a [Action],
}

/// Tells fresh groups what was recorded, and shows what they decide. Ends where they decide
/// otherwise than they did.
pub(super) fn main(args: &ReplayArgs) -> anyhow::Result<()> {
    let name = args.file.display();
    let unreadable = |error| BadRecording(format!("{name}: {error}"));
    let mut lines = BufReader::new(File::open(&args.file).map_err(unreadable)?);
    let (mut replay, mut text, mut turns, mut skipped) =
        (Replay::new(), String::new(), 0_u64, 0_u64);
    for number in 1.. {
        text.clear();
        if lines.read_line(&mut text).map_err(unreadable)? == 0 {
            anyhow::ensure!(number > 1, BadRecording(format!("{name}: not a recording: empty")));
            break;
        }
        if !text.ends_with('\n') {
            note(&format!("{name}:{number}: the recording breaks off within a line"));
            break;
        }
        match replay.line(&text) {
            Ok(Step::Started { group, boot, host }) if !args.json => {
                super::print(&format!("{group} starts on {host}, boot {boot}\n"))?;
            }
            Ok(Step::Quiet | Step::Started { .. }) => {}
            Ok(Step::Turn(turn)) => {
                turns += 1;
                super::print(&show(args, number, &turn)?)?;
            }
            Ok(Step::Gap { group, turns }) => {
                skipped += turns;
                note(&format!(
                    "{name}:{number}: {turns} turns of group `{group}` are missing here: what \
                     follows of it cannot be replayed"
                ));
            }
            Ok(Step::Skipped) => skipped += 1,
            Err(ReplayError::Malformed(what)) => {
                return Err(BadRecording(format!("{name}:{number}: {what}")).into());
            }
            Err(ReplayError::Differs(what)) => anyhow::bail!("{name}:{number}: {what}"),
        }
    }
    for group in replay.broken_off() {
        note(&format!("{name}: the recording of group `{group}` breaks off before its end"));
    }
    anyhow::ensure!(skipped == 0, "{turns} turns as recorded; {skipped} could not be replayed");
    if !args.json {
        super::print(&format!("{turns} turns, all as recorded\n"))?;
    }
    Ok(())
}

fn show(args: &ReplayArgs, line: usize, turn: &Turn) -> anyhow::Result<String> {
    let Turn { group, now, event, actions, .. } = turn;
    if args.json {
        return super::json(&Shown { line, group, now: *now, event, actions });
    }
    Ok(if args.all || turn.is_notable() { format!("{turn}\n") } else { String::new() })
}

/// Beside the turns, so as not to disturb a program that reads them.
fn note(text: &str) {
    use std::io::Write;
    std::io::stderr().write_all(format!("rais: {text}\n").as_bytes()).ok();
}
