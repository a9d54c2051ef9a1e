//! `rais move`

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use rais::api::client::{self, AskError};
use rais::api::{Command, Request};

use super::SocketArgs;

/// What is to be said where the agent falls silent meanwhile.
const UNKNOWN: &str = "whether the address was moved is not known, ask `rais status` later";

/// Options of `rais move`.
#[derive(Debug, Args)]
pub(super) struct MoveArgs {
    /// The service address
    address: IpAddr,
    /// The host that is to have it, by its id in `rais status`
    host_id: IpAddr,
    #[command(flatten)]
    socket: SocketArgs,
    /// In this group; otherwise in the one that has the address
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
}

/// Has an address moved, and says when it is done.
pub(super) fn main(args: MoveArgs) -> anyhow::Result<()> {
    let MoveArgs { address, host_id, socket, group } = args;
    let limit = limit(&socket.socket, group.as_deref())?;
    let request = Request {
        address: Some(address),
        host: Some(host_id),
        ..super::request(Command::Move, group.as_deref())
    };
    client::ask_long(&socket.socket, &request, limit).map_err(|error| match error {
        AskError::Silent(_) => anyhow::Error::new(error).context(UNKNOWN),
        AskError::NoAgent { .. }
        | AskError::Denied { .. }
        | AskError::Refused(_)
        | AskError::Broken(_) => error.into(),
    })?;
    super::print(&format!("{address} is on {host_id}\n"))
}

/// How long a move may take: scripts may run for as long as the configuration allows. An agent that
/// is stopped is noticed here.
pub(super) fn limit(socket: &Path, group: Option<&str>) -> anyhow::Result<Duration> {
    let status = super::ask(socket, &super::request(Command::Status, group))?.status;
    let groups = status.context("the agent's answer holds no status")?.groups;
    let longest = groups.iter().map(|group| group.move_limit_ms).max();
    Ok(Duration::from_millis(longest.unwrap_or_default()))
}
