//! `rais events`

use clap::Args;
use rais::api::client::ask;
use rais::api::{Command, Reply, Request};
use rais::events::Event;

use super::SocketArgs;

/// Options of `rais events`.
#[derive(Debug, Args)]
pub(super) struct EventsArgs {
    #[command(flatten)]
    socket: SocketArgs,
    /// Only of this group
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// Go on with each event as it happens
    #[arg(long, short)]
    follow: bool,
}

/// Shows the events the agent has kept, and those to come where they are asked for.
pub(super) fn main(args: &EventsArgs) -> anyhow::Result<()> {
    let request = super::request(Command::Events, args.group.as_deref());
    let request = Request { follow: args.follow, ..request };
    let mut answers = ask(&args.socket.socket, &request)?;
    while let Some(Reply { event, events, missed, .. }) = answers.next_reply()? {
        if let Some(missed) = missed.filter(|missed| *missed > 0) {
            tell_missed(missed);
        }
        let mut text = String::new();
        for event in events.iter().flatten().chain(&event) {
            text.push_str(&show(event, args.json)?);
        }
        super::print(&text)?;
        if !args.follow {
            return Ok(());
        }
    }
    anyhow::bail!("the agent has ended")
}

/// Beside the events, so as not to disturb a program that reads them.
fn tell_missed(missed: u64) {
    use std::io::Write;
    let text = format!("rais: {missed} earlier events are no longer kept\n");
    std::io::stderr().write_all(text.as_bytes()).ok();
}

fn show(event: &Event, json: bool) -> anyhow::Result<String> {
    if json { super::json(event) } else { Ok(format!("{event}\n")) }
}
