//! Has the counters of a large group's addresses made beforehand: the kernel takes some 18 us for
//! those of one address, which is a fifth of a second where a host takes over ten thousand.

use std::collections::HashSet;
use std::net::IpAddr;

use super::beforehand::{LOOK, Trouble, ask, goes_on};
use super::driver::{Inbox, Input};

/// Groups that have no more make theirs when they need them.
const FEW: usize = 256;

/// The driver makes so many at a time, between heartbeats: about a millisecond.
const AT_ONCE: usize = 64;

/// Runs until the driver has ended.
pub(super) async fn run(group: String, inbox: Inbox) {
    let mut made = HashSet::new();
    let mut failing = false;
    let complain = |error: &str| {
        tracing::warn!(group, "not all counters are made beforehand: {error}");
    };
    while goes_on(make(&inbox, &mut made).await, &mut failing, complain) {
        tokio::time::sleep(LOOK).await;
    }
}

/// Has those made of what is known and has none yet.
async fn make(inbox: &Inbox, made: &mut HashSet<IpAddr>) -> Result<(), Trouble> {
    let known = ask(inbox, Input::Addresses).await?;
    if known.len() <= FEW {
        return Ok(());
    }
    let new: Vec<IpAddr> = known.into_iter().filter(|address| !made.contains(address)).collect();
    for some in new.chunks(AT_ONCE) {
        let done = ask(inbox, |reply| Input::CountBeforehand(some.to_vec(), reply)).await?;
        done.map_err(Trouble::Failed)?;
        made.extend(some);
    }
    Ok(())
}
