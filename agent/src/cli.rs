//! The command line: one file a subcommand, and what an error means for the exit code.

mod check;
mod clean;
mod events;
mod keygen;
mod moves;
mod quiesce;
mod reload;
mod replay;
mod run;
mod status;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use rais::agent::CannotStart;
use rais::api::client::AskError;
use rais::causes;
use rais::config::{self, Mistakes, checked::Config};

/// Exit code: refused, or failed.
const REFUSED: u8 = 1;
/// Exit code: bad input. The same as clap's for wrong use.
const WRONG: u8 = 2;
/// Exit code: no agent there.
const NO_AGENT: u8 = 3;

/// Keeps the addresses of a service answered by exactly one of its hosts.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 done, 1 refused or failed, 2 wrong use or bad input, 3 no agent \
                  at the socket."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent in the foreground until SIGTERM or SIGINT, then release everything
    Run(run::RunArgs),
    /// Validate a configuration: all mistakes at once, each with its place in the file
    Check(ConfigArgs),
    /// Show groups, hosts, addresses and tests as this host sees them
    Status(status::StatusArgs),
    /// Show who moved what, when, why and how long it took
    Events(events::EventsArgs),
    /// Let this host take no new addresses; it keeps those it has
    Quiesce(quiesce::QuiesceArgs),
    /// Let this host take new addresses again
    Resume(quiesce::QuiesceArgs),
    /// Move an address to another host: this agent asks its leader, and waits until it is done
    Move(moves::MoveArgs),
    /// Have the agent read its configuration again, as SIGHUP does, and show what that changed
    Reload(reload::ReloadArgs),
    /// Take away what a dead agent left behind
    Clean(clean::CleanArgs),
    /// Tell fresh groups what `rais run --record` wrote: what do they decide, and is it the same?
    Replay(replay::ReplayArgs),
    /// Print a new group key, for a file in `key_files`
    Keygen,
}

/// Which configuration.
#[derive(Debug, Args)]
struct ConfigArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl ConfigArgs {
    fn load(&self) -> Result<Config, Mistakes> {
        config::load(&self.config)
    }
}

/// Which agent.
#[derive(Debug, Args)]
struct SocketArgs {
    /// The agent's control socket
    #[arg(long, value_name = "SOCKET", default_value = "/run/rais/rais.sock")]
    socket: PathBuf,
}

/// Runs the command of this process's arguments.
pub(crate) fn main() -> ExitCode {
    // clap itself exits with 2 on wrong use and with 0 on --help and --version.
    let result = match Cli::parse().command {
        Command::Run(args) => run::main(&args),
        Command::Check(args) => check::main(&args),
        Command::Status(args) => status::main(&args),
        Command::Events(args) => events::main(&args),
        Command::Quiesce(args) => quiesce::main(args, true),
        Command::Resume(args) => quiesce::main(args, false),
        Command::Move(args) => moves::main(args),
        Command::Reload(args) => reload::main(&args),
        Command::Clean(args) => clean::main(&args),
        Command::Replay(args) => replay::main(&args),
        Command::Keygen => keygen::main(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::from(exit_code(&error))
        }
    }
}

/// What is wrong, on stderr: mistakes in a file as they are, one a line, for editors to follow.
fn report(error: &anyhow::Error) {
    let text = match error.downcast_ref::<Mistakes>() {
        Some(mistakes) => format!("{mistakes}\n"),
        None => format!("rais: {}\n", causes::in_words(error.as_ref())),
    };
    // Where stderr is closed, the exit code has to do.
    io::stderr().write_all(text.as_bytes()).ok();
}

fn exit_code(error: &anyhow::Error) -> u8 {
    if error.is::<Mistakes>() || error.is::<CannotStart>() || error.is::<replay::BadRecording>() {
        return WRONG;
    }
    match error.downcast_ref::<AskError>() {
        Some(AskError::NoAgent { .. }) => NO_AGENT,
        Some(
            AskError::Denied { .. }
            | AskError::Refused(_)
            | AskError::Silent(_)
            | AskError::Broken(_),
        )
        | None => REFUSED,
    }
}

/// Our own output broke off, as opposed to the conversation with the agent.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<OutputError>().is_some_and(|e| e.0.kind() == io::ErrorKind::BrokenPipe)
}

/// Standard output cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("standard output: {0}")]
struct OutputError(#[source] io::Error);

/// Writes `text` to standard output, at once.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(OutputError)?;
    Ok(())
}

/// Whether colours are wanted on a terminal (no-color.org: any value but an empty one forbids).
fn colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether standard output is a terminal.
fn on_terminal() -> bool {
    io::stdout().is_terminal()
}

/// `value` as one line of JSON.
fn json<T: serde::Serialize>(value: &T) -> anyhow::Result<String> {
    let mut line = serde_json::to_string(value).context("JSON")?;
    line.push('\n');
    Ok(line)
}

/// A request to the agent.
fn request(cmd: rais::api::Command, group: Option<&str>) -> rais::api::Request {
    rais::api::Request {
        v: rais::api::VERSION,
        cmd,
        group: group.map(str::to_owned),
        follow: false,
        after: None,
        log: None,
        address: None,
        host: None,
    }
}

/// The agent's one reply.
fn ask(socket: &Path, request: &rais::api::Request) -> Result<rais::api::Reply, AskError> {
    rais::api::client::ask_once(socket, request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }
}
