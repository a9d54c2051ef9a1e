//! What a group looks like at one moment, for people and programs that ask.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use rais_common::time::Time;

use super::{AddressState, Group, HostId, HostInfo, Phase, Role};

/// A group at one moment, as one of its hosts sees it.
#[derive(Clone, Debug)]
pub struct View {
    /// This host.
    pub host: HostId,
    /// Whom it follows.
    pub leader: Option<HostId>,
    /// Member or observer.
    pub role: Role,
    /// Where this host stands in the group's life.
    pub phase: Phase,
    /// Its tests pass. Always false for an observer.
    pub ok: bool,
    /// What the tests said last, in words.
    pub health: String,
    /// The operator forbids it new addresses.
    pub quiesced: bool,
    /// Enough hosts are in sight.
    pub quorum_met: bool,
    /// Until when the data plane answers; [`Time::ZERO`] without a lease.
    pub lease_until: Time,
    /// All hosts in sight, this one included, ascending by id.
    pub hosts: Vec<HostView>,
    /// All addresses, ascending.
    pub addresses: Vec<AddressView>,
}

/// A host in sight.
#[derive(Clone, Debug)]
pub struct HostView {
    /// Its id.
    pub id: HostId,
    /// What it said last.
    pub info: HostInfo,
    /// How long ago that was; zero for this host itself.
    pub age: Duration,
}

/// A service address of the group.
#[derive(Clone, Debug)]
pub struct AddressView {
    /// The address.
    pub address: IpAddr,
    /// The host it belongs to; none for a floating address.
    pub preferred: Option<HostId>,
    /// The hosts that list it, ascending; where one serves it, without those that only prepare to
    /// take it over.
    pub holders: Vec<HostId>,
    /// Its state over all of them.
    pub state: ListedState,
    /// The highest epoch heard of.
    pub epoch: u64,
    /// For how long its preferred host has not been seen, where that host does not serve it.
    pub orphaned: Option<Duration>,
    /// The leader found no host for it. Only the leader knows.
    pub unassignable: bool,
}

/// State of an address in the group's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListedState {
    /// Nobody lists it.
    Unserved,
    /// One host lists it, and is acquiring it.
    Acquiring,
    /// One host lists it, and answers for it.
    Online,
    /// One host lists it, and is giving it up.
    Releasing,
    /// Several hosts list it.
    Duplicate,
}

impl Group {
    /// The addresses of the group, ascending.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.database.iter().map(|(address, _)| address).collect()
    }

    /// Whether this host has the address, in whatever state.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        self.holdings.has(address)
    }

    /// The group at this moment.
    #[must_use]
    pub fn view(&self, now: Time) -> View {
        let mut hosts: Vec<HostView> = self
            .members
            .iter()
            .map(|(id, peer)| HostView { id, info: peer.info.clone(), age: now.since(peer.heard) })
            .collect();
        let own = self.own_info(now);
        hosts.push(HostView { id: self.settings.host, info: own, age: Duration::ZERO });
        hosts.sort_unstable_by_key(|host| host.id);
        View {
            host: self.settings.host,
            leader: self.leader,
            role: self.settings.role,
            phase: self.phase,
            ok: self.ok(),
            health: self.health_detail.clone(),
            quiesced: self.quiesced,
            quorum_met: self.quorum_met,
            lease_until: self.lease_until,
            addresses: self.address_views(now, &hosts),
            hosts,
        }
    }

    fn address_views(&self, now: Time, hosts: &[HostView]) -> Vec<AddressView> {
        let mut listed: BTreeMap<IpAddr, Vec<(HostId, AddressState)>> = BTreeMap::new();
        for host in hosts {
            for served in &host.info.served {
                listed.entry(served.address).or_default().push((host.id, served.state));
            }
        }
        for holders in listed.values_mut() {
            if holders.iter().any(|(_, state)| !state.waits()) {
                holders.retain(|(_, state)| !state.waits());
            }
        }
        let stands = self.database.iter().filter(|(_, entry)| entry.stands(now, self.patience()));
        for (address, _) in stands {
            listed.entry(address).or_default();
        }
        let unassignable: BTreeSet<IpAddr> = self.control.unassignable().collect();
        listed
            .into_iter()
            .map(|(address, holders)| {
                let entry = self.database.get(address);
                let preferred = entry.and_then(|e| e.preferred);
                let home = preferred.is_none_or(|p| holders.iter().any(|h| h.0 == p));
                AddressView {
                    address,
                    preferred,
                    state: state(&holders),
                    holders: holders.into_iter().map(|h| h.0).collect(),
                    epoch: self.database.epoch(address),
                    orphaned: entry.filter(|_| !home).map(|e| now.since(e.seen)),
                    unassignable: unassignable.contains(&address),
                }
            })
            .collect()
    }
}

fn state(holders: &[(HostId, AddressState)]) -> ListedState {
    match holders {
        [] => ListedState::Unserved,
        [(_, AddressState::Acquiring | AddressState::Preparing | AddressState::Prepared)] => {
            ListedState::Acquiring
        }
        [(_, AddressState::Online)] => ListedState::Online,
        [(_, AddressState::Releasing)] => ListedState::Releasing,
        _ => ListedState::Duplicate,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // What the hosts that list it say → its state in the group's list.
    #[test]
    fn two_holders_are_a_duplicate_whatever_they_do() {
        use AddressState::{Acquiring, Online, Releasing};
        let of = |states: &[AddressState]| {
            let host = HostId(IpAddr::from([10, 77, 0, 1]));
            state(&states.iter().map(|&state| (host, state)).collect::<Vec<_>>())
        };
        assert_eq!(of(&[]), ListedState::Unserved);
        assert_eq!(of(&[Online]), ListedState::Online);
        assert_eq!(of(&[Acquiring]), ListedState::Acquiring);
        assert_eq!(of(&[Releasing]), ListedState::Releasing);
        assert_eq!(of(&[Online, Releasing]), ListedState::Duplicate);
    }
}
