//! `rais status`

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use rais::api::Command;
use rais::status::{Style, render};

use super::SocketArgs;

/// Between two looks with `--watch`.
const EACH: Duration = Duration::from_secs(1);

/// Columns where the shell does not tell (`COLUMNS`): as narrow as terminals commonly are.
const USUAL_WIDTH: u16 = 80;

/// Clears the screen and goes to its upper left corner (ECMA-48).
const CLEAR: &str = "\x1b[H\x1b[2J";

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
    loop {
        let text = look(args)?;
        super::print(&if redraw { format!("{CLEAR}{text}") } else { text })?;
        if !args.watch {
            return Ok(());
        }
        pause();
    }
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
        Style::Tables { width: width(), colour: super::colour() }
    } else {
        Style::Plain
    };
    Ok(render(&status, style))
}

/// How many columns the shell says the terminal has.
fn width() -> u16 {
    let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    columns.unwrap_or(USUAL_WIDTH).clamp(40, 500)
}

#[allow(clippy::disallowed_methods, reason = "there is no event to wait for: it looks each second")]
fn pause() {
    std::thread::sleep(EACH);
}
