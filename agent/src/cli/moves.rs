//! `rais move`

use std::net::IpAddr;

use clap::Args;
use rais::api::{Command, Request};

use super::SocketArgs;

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
    let request = Request {
        address: Some(address),
        host: Some(host_id),
        ..super::request(Command::Move, group.as_deref())
    };
    super::ask(&socket.socket, &request)?;
    super::print(&format!("{address} is on {host_id}\n"))
}
