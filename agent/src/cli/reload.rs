//! `rais reload`

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use rais::api::Command;
use rais::api::client::{self, AskError};

use super::SocketArgs;

/// What a reload may take besides what the scripts of groups may that it ends: another one before
/// it, and reading the file.
const EXTRA: Duration = Duration::from_secs(20);

/// What is to be said where the agent falls silent meanwhile.
const UNKNOWN: &str = "what came of it is not known, ask `rais events` later";

/// Options of `rais reload`.
#[derive(Debug, Args)]
pub(super) struct ReloadArgs {
    #[command(flatten)]
    socket: SocketArgs,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Has the agent read its configuration again, and shows what has changed.
pub(super) fn main(args: &ReloadArgs) -> anyhow::Result<()> {
    let socket = &args.socket.socket;
    let limit = super::moves::limit(socket, None)? + EXTRA;
    let request = super::request(Command::Reload, None);
    let reply = client::ask_long(socket, &request, limit).map_err(|error| match error {
        AskError::Silent(_) => anyhow::Error::new(error).context(UNKNOWN),
        AskError::NoAgent { .. }
        | AskError::Denied { .. }
        | AskError::Refused(_)
        | AskError::Broken(_) => error.into(),
    })?;
    let plan = reply.plan.context("the agent's answer holds no plan")?;
    super::print(&if args.json { super::json(&plan)? } else { plan.to_string() })
}
