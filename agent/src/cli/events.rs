//! `rais events`

use std::io;
use std::time::Duration;

use clap::Args;
use rais::api::client::{Answers, AskError, ask, ask_once};
use rais::api::{Command, Reply, Request};
use rais::events::Event;

use super::SocketArgs;

/// Between two looks for an agent that has ended.
const EACH: Duration = Duration::from_millis(200);

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
    /// Go on with each event as it happens, also after the agent was restarted
    #[arg(long, short)]
    follow: bool,
}

/// Shows the events the agent has kept, and those to come where they are asked for.
pub(super) fn main(args: &EventsArgs) -> anyhow::Result<()> {
    let request = super::request(Command::Events, args.group.as_deref());
    if args.follow {
        return follow(args, Request { follow: true, ..request });
    }
    show(args, &ask_once(&args.socket.socket, &request)?)
}

/// Goes on until it is interrupted. An agent that ends may be started again, and one that cut this
/// reader off because it was too slow still runs: what was shown is not shown again.
fn follow(args: &EventsArgs, mut request: Request) -> anyhow::Result<()> {
    let socket = &args.socket.socket;
    let mut answers = ask(socket, &request)?;
    let mut told = false;
    loop {
        let heard = until_cut_off(args, &mut answers, &mut request)?;
        // An agent that is just ending may take a connection and close it again.
        if heard || !told {
            tell("the agent has gone; waiting until it is there again");
            told = true;
        }
        answers = loop {
            pause();
            match ask(socket, &request) {
                Err(AskError::NoAgent { .. } | AskError::Broken(_)) => {}
                result => break result?,
            }
        };
    }
}

/// Shows what comes and notes in `request` where to go on. False where nothing came.
fn until_cut_off(
    args: &EventsArgs,
    answers: &mut Answers,
    request: &mut Request,
) -> anyhow::Result<bool> {
    let mut heard = false;
    loop {
        let reply = match answers.next_reply() {
            Ok(Some(reply)) => reply,
            Ok(None) => return Ok(heard),
            // It ended in the middle of a line, or before it had read all of the request.
            Err(AskError::Broken(e)) if e.kind() != io::ErrorKind::InvalidData => return Ok(heard),
            Err(e) => return Err(e.into()),
        };
        if request.log.is_some() && reply.log.is_some() && reply.log != request.log {
            tell("the agent was restarted; these are its events since");
        }
        heard = true;
        show(args, &reply)?;
        if let Some(event) = &reply.event {
            (request.after, request.log) = (Some(event.seq), reply.log);
        }
    }
}

fn show(args: &EventsArgs, reply: &Reply) -> anyhow::Result<()> {
    if let Some(missed) = reply.missed.filter(|missed| *missed > 0) {
        tell(&format!("{missed} earlier events are no longer kept"));
    }
    let mut text = String::new();
    for event in reply.events.iter().flatten().chain(&reply.event) {
        text.push_str(&line(event, args.json)?);
    }
    super::print(&text)
}

/// Beside the events, so as not to disturb a program that reads them.
fn tell(what: &str) {
    use std::io::Write;
    io::stderr().write_all(format!("rais: {what}\n").as_bytes()).ok();
}

fn line(event: &Event, json: bool) -> anyhow::Result<String> {
    if json { super::json(event) } else { Ok(format!("{event}\n")) }
}

#[allow(clippy::disallowed_methods, reason = "nothing tells when an agent opens its socket")]
fn pause() {
    std::thread::sleep(EACH);
}
