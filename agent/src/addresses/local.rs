//! Waiting until packets to a new IPv6 address are this host's.
//!
//! The kernel answers the request to add one before it has made the local route: that is the work
//! of a queue of its own, which takes some 30 µs, and many milliseconds where the machine is busy.
//! Until then it drops what comes for the address.

use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use super::{Change, Place, locked, messages};
use crate::clock;
use crate::netlink::Exchange;

/// No longer than this, all together: where routes are not what is usual, nothing is waited for
/// that may never come.
const LIMIT: Duration = Duration::from_secs(1);

/// Time between two looks.
const EACH: Duration = Duration::from_micros(100);

/// Waits for the routes of those changes that put an IPv6 address on an interface.
pub(super) fn wait<'a>(netlink: &Mutex<Exchange>, done: impl Iterator<Item = &'a Change>) {
    let end = clock::now() + LIMIT;
    for Change { add, place, address } in done {
        let (true, Place::Interface(ifindex), IpAddr::V6(v6)) = (*add, *place, *address) else {
            continue;
        };
        let question = messages::way(ifindex, v6);
        // An error says that there is no way to the address at all.
        let arrives =
            || locked(netlink).ask(question.clone()).is_ok_and(|m| messages::is_local(&m));
        while !arrives() && clock::now() < end {
            pause();
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "to hear of one route is to hear of all routes")]
fn pause() {
    std::thread::sleep(EACH);
}
