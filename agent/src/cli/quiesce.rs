//! `rais quiesce` and `rais resume`

use clap::Args;
use rais::api::Command;

use super::SocketArgs;

/// Options of `rais quiesce` and `rais resume`.
#[derive(Debug, Args)]
pub(super) struct QuiesceArgs {
    #[command(flatten)]
    socket: SocketArgs,
    /// Only in this group; otherwise in all groups
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
}

/// Quiesces (`on`) or resumes this host.
pub(super) fn main(args: QuiesceArgs, on: bool) -> anyhow::Result<()> {
    let command = if on { Command::Quiesce } else { Command::Resume };
    super::ask(&args.socket.socket, &super::request(command, args.group.as_deref()))?;
    let state = if on { "quiesced" } else { "resumed" };
    let scope =
        args.group.map_or_else(|| "all groups".to_owned(), |group| format!("group {group}"));
    super::print(&format!("{state} in {scope}\n"))
}
