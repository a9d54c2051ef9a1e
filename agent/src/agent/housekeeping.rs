//! Keeps the service manager informed for as long as the agent serves.

use std::sync::Arc;

use super::control::Control;
use crate::api::Control as _;
use crate::service_manager::{ServiceManager, Watch};
use crate::status::{Group, Status};

/// Feeds the watchdog while every driver goes on, and says in words how the groups are. Does not
/// end.
///
/// It runs on the runtime on purpose: where that stands still, nobody is fed either.
pub(super) async fn inform(manager: Arc<ServiceManager>, control: Arc<Control>) {
    let mut watch = Watch::default();
    let mut said = String::new();
    loop {
        watch.look(&manager, control.turns());
        // One that stands still would not say how its group is.
        if !watch.is_alarmed() {
            // Longer than until the next look nobody waits for a driver.
            let status = tokio::time::timeout(manager.interval(), control.status()).await;
            let words = status.map_or(said.clone(), |status| in_words(&status));
            if words != said {
                manager.status(&words);
                said = words;
            }
        }
        tokio::time::sleep(manager.interval()).await;
    }
}

/// One line about all groups.
pub(super) fn in_words(status: &Status) -> String {
    let groups: Vec<String> = status.groups.iter().map(|g| about(g, status)).collect();
    groups.join("; ")
}

fn about(group: &Group, status: &Status) -> String {
    let own = group.hosts.iter().find(|host| host.id == status.host.id);
    let held = own.map_or(0, |host| host.addresses.len());
    let leader = match group.leader {
        Some(leader) if leader == status.host.id => "leads".to_owned(),
        Some(leader) => format!("led by {leader}"),
        None => "no leader".to_owned(),
    };
    let quorum = if group.quorum_met { "" } else { ", no quorum" };
    let (hosts, all) = (group.hosts.len(), group.addresses.len());
    let name = &group.name;
    format!("{name}: {leader}{quorum}, hosts {hosts}, holds {held} of {all} addresses")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Host, Identity, Phase, Served, ServedState};

    #[test]
    fn a_line_tells_of_every_group() {
        let id = [10, 77, 0, 1].into();
        let served = Served { address: id, state: ServedState::Online, epoch: 1 };
        let host = Host {
            id,
            ok: true,
            quiesced: false,
            load: 0,
            capacity: 1,
            age_ms: 0,
            phase: Phase::Member,
            preferred: Vec::new(),
            addresses: vec![served],
        };
        let web = Group {
            name: "web".to_owned(),
            leader: Some(id),
            quorum_met: true,
            hosts: vec![host],
            ..Group::default()
        };
        let mail = Group { name: "mail".to_owned(), ..Group::default() };
        let host = Identity { id, ..Identity::default() };
        let status = Status { host, groups: vec![web, mail], ..Status::default() };
        assert_eq!(
            in_words(&status),
            "web: leads, hosts 1, holds 1 of 0 addresses; \
             mail: no leader, no quorum, hosts 0, holds 0 of 0 addresses"
        );
    }
}
