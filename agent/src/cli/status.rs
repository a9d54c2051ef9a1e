//! `rais status`

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use rais::api::Command;
use rais::status::{Style, render};

use super::SocketArgs;

/// Between two looks with `--watch`.
const EACH: Duration = Duration::from_secs(1);

/// Columns and lines where neither the shell nor the terminal tells: as few as terminals commonly
/// have.
const USUAL_SIZE: (u16, u16) = (80, 24);

/// To the upper left corner of the screen (ECMA-48).
const HOME: &str = "\x1b[H";
/// Clears the rest of the line.
const CLEAR_LINE: &str = "\x1b[K";
/// Clears the rest of the screen.
const CLEAR_REST: &str = "\x1b[J";

/// Options of `rais status`.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    socket: SocketArgs,
    /// Only of this group
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// One JSON object
    #[arg(long)]
    json: bool,
    /// Look again each second
    #[arg(long, short)]
    watch: bool,
}

/// Shows the status once, or each second until the agent ends or the command is interrupted.
pub(super) fn main(args: &StatusArgs) -> anyhow::Result<()> {
    let redraw = args.watch && !args.json && super::on_terminal();
    // A screen of its own to begin with: what was on it scrolls away instead of showing through.
    let mut before = if redraw { format!("{HOME}{CLEAR_REST}") } else { String::new() };
    loop {
        let text = look(args)?;
        let text = if redraw { redrawn(&text, size().1) } else { text };
        super::print(&format!("{before}{text}"))?;
        if !args.watch {
            return Ok(());
        }
        before.clear();
        if !args.json && !redraw {
            // Looks that follow each other in a pipe are told apart by an empty line.
            before.push('\n');
        }
        pause();
    }
}

/// The text over what the last look left on the screen. It is not cleared first, which would
/// flicker, and does not scroll: what has no room is counted.
fn redrawn(text: &str, rows: u16) -> String {
    let lines: Vec<&str> = text.lines().collect();
    // The cursor needs the last row.
    let room = usize::from(rows.saturating_sub(1)).max(1);
    let shown = if lines.len() > room { room.saturating_sub(1) } else { lines.len() };
    let mut screen = HOME.to_owned();
    for line in lines.iter().take(shown) {
        screen.extend([line, CLEAR_LINE, "\n"]);
    }
    match lines.len() - shown {
        0 => {}
        more => screen.extend(["... ", &more.to_string(), " more lines", CLEAR_LINE, "\n"]),
    }
    screen + CLEAR_REST
}

/// The status now, as it is to be shown.
fn look(args: &StatusArgs) -> anyhow::Result<String> {
    let request = super::request(Command::Status, args.group.as_deref());
    let reply = super::ask(&args.socket.socket, &request)?;
    let status = reply.status.context("the agent's answer holds no status")?;
    if args.json {
        return super::json(&status);
    }
    let style = if super::on_terminal() {
        Style::Tables { width: size().0, colour: super::colour() }
    } else {
        Style::Plain
    };
    Ok(render(&status, style))
}

/// Columns and lines of the terminal: what the shell says, else what the terminal says.
fn size() -> (u16, u16) {
    let told = |name| std::env::var(name).ok()?.parse().ok().filter(|&number: &u16| number > 0);
    let asked = terminal_size::terminal_size();
    let columns = told("COLUMNS").or(asked.map(|(width, _)| width.0));
    let lines = told("LINES").or(asked.map(|(_, height)| height.0));
    (columns.unwrap_or(USUAL_SIZE.0).clamp(40, 500), lines.unwrap_or(USUAL_SIZE.1).max(4))
}

#[allow(clippy::disallowed_methods, reason = "there is no event to wait for: it looks each second")]
fn pause() {
    std::thread::sleep(EACH);
}

#[cfg(test)]
mod tests {
    use super::*;

    // lines of the status, rows of the terminal → what goes to the terminal
    #[test]
    fn a_look_stays_on_its_screen() {
        let at = |text, rows| redrawn(text, rows).replace('\u{1b}', "^");
        assert_eq!(at("a\nb\n", 4), "^[Ha^[K\nb^[K\n^[J");
        assert_eq!(at("a\nb\nc\n", 4), "^[Ha^[K\nb^[K\nc^[K\n^[J");
        assert_eq!(at("a\nb\nc\nd\n", 4), "^[Ha^[K\nb^[K\n... 2 more lines^[K\n^[J");
    }
}
