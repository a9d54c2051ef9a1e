//! Puts the routes of all addresses of a group in place beforehand (`prearm`), those that become
//! known later a moment after.

use std::collections::HashSet;
use std::net::IpAddr;

use super::beforehand::{LOOK, Trouble, ask, goes_on, tell};
use super::driver::{Inbox, Input};
use crate::addresses::{Addresses, Change, Place};

/// The driver prepares so many at a time, between heartbeats: some milliseconds.
const AT_ONCE: usize = 128;

/// Runs until the driver has ended. What is in place then stays: the agent takes it away.
pub(super) async fn run(group: String, inbox: Inbox, addresses: Addresses) {
    let mut armed = HashSet::new();
    let mut failing = false;
    let complain = |error: &str| {
        tracing::warn!(group, "not all addresses are in place beforehand: {error}");
    };
    while goes_on(arm(&inbox, &addresses, &mut armed).await, &mut failing, complain) {
        tokio::time::sleep(LOOK).await;
    }
}

/// Prepares what is known and not prepared yet.
async fn arm(
    inbox: &Inbox,
    addresses: &Addresses,
    armed: &mut HashSet<IpAddr>,
) -> Result<(), Trouble> {
    let known = ask(inbox, Input::Addresses).await?;
    let new: Vec<IpAddr> = known.into_iter().filter(|address| !armed.contains(address)).collect();
    for some in new.chunks(AT_ONCE) {
        let fenced = ask(inbox, |reply| Input::FenceBeforehand(some.to_vec(), reply)).await?;
        let some = fenced.map_err(Trouble::Failed)?;
        let place = Place::Route;
        let change = |&address: &IpAddr| Change { add: true, place, address };
        let results = addresses.apply(some.iter().map(change).collect()).await;
        let mut failed = None;
        let mut routed = Vec::with_capacity(some.len());
        for (&address, result) in some.iter().zip(results) {
            match result {
                Ok(()) => routed.push(address),
                Err(error) => failed = Some(error.to_string()),
            }
        }
        armed.extend(&routed);
        tell(inbox, Input::Routed(routed))?;
        failed.map_or(Ok(()), |error| Err(Trouble::Failed(error)))?;
    }
    Ok(())
}
