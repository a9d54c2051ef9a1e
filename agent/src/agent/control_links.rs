//! Control interfaces as the status shows them.

use std::collections::BTreeSet;
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use crate::group::View;
use crate::monitor::link::Link;
use crate::status::{ControlInterface, HeardHost, milliseconds};

/// The names of the interfaces that are up and have carrier. None where the system does not say.
pub(super) fn up() -> BTreeSet<String> {
    let works = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING;
    getifaddrs()
        .into_iter()
        .flatten()
        .filter(|entry| entry.flags.contains(works))
        .map(|entry| entry.interface_name)
        .collect()
}

/// What the status says of an interface: of the other hosts in sight, who is heard on it, which
/// means within `timeout`. `up` are the interfaces that work.
pub(super) fn shown(
    link: &Link,
    view: &View,
    timeout: Duration,
    up: &BTreeSet<String>,
) -> ControlInterface {
    let others = view.hosts.iter().map(|host| host.id).filter(|id| *id != view.host);
    let hosts: Vec<HeardHost> = others
        .map(|id| {
            let age = link.heard.get(&id).copied();
            let heard = age.is_some_and(|age| age < timeout);
            HeardHost { id: id.0, heard, age_ms: age.map(milliseconds) }
        })
        .collect();
    ControlInterface {
        name: link.interface.clone(),
        up: up.contains(&link.interface),
        hosts_heard: hosts.iter().filter(|host| host.heard).count(),
        last_heard_ms: hosts.iter().filter_map(|host| host.age_ms).min(),
        sent: link.sent.sent,
        send_failed: link.sent.failed + link.sent.would_block,
        hosts,
    }
}
