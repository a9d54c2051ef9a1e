//! Addresses that are on their way to a host or from it, and since when.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use rais_common::time::Time;

use super::super::table::Table;
use super::super::turns::FEW;
use super::super::{AddressState, HostId};
use super::Situation;

/// Before all hosts.
const LOWEST: HostId = HostId(IpAddr::V4(Ipv4Addr::UNSPECIFIED));

/// What has not come to an end yet.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Waiting {
    /// How far along, under which epoch, and since when that is so.
    entries: BTreeMap<(IpAddr, HostId), (AddressState, u64, Time)>,
    /// When a host that has many addresses last brought one to an end.
    progress: BTreeMap<HostId, Time>,
}

impl Waiting {
    /// What has become of the addresses of the table.
    pub fn update(&mut self, situation: &Situation<'_>, table: &Table) {
        let mut waiting = BTreeMap::new();
        for (address, row) in table.iter() {
            for &(host, state, epoch) in row.holders {
                if state == AddressState::Online {
                    continue;
                }
                let since = match self.entries.get(&(address, host)) {
                    Some(&(s, e, since)) if (s, e) == (state, epoch) => since,
                    _ => situation.now,
                };
                waiting.insert((address, host), (state, epoch, since));
            }
        }
        let (from, to) = table.span();
        // A span begins with an address that is in it and ends with one that is not.
        let span = (from.map(|address| (address, LOWEST)), to.map(|address| (address, LOWEST)));
        let before = self.entries.extract_if(span, |_, _| true);
        for ((_, host), _) in before.filter(|(place, _)| !waiting.contains_key(place)) {
            if has_many(situation, host) {
                self.progress.insert(host, situation.now);
            }
        }
        self.progress.retain(|&host, _| situation.member(host).is_some());
        self.entries.append(&mut waiting);
    }

    /// Nothing is on its way.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether a host has been at an address for too long. One that has thousands to put in place
    /// does so one after the other: the last of them is not stuck while it comes on with others.
    pub fn is_overdue(&self, situation: &Situation<'_>, address: IpAddr, host: HostId) -> bool {
        let Some(&(_, _, since)) = self.entries.get(&(address, host)) else { return false };
        let progress = self.progress.get(&host).filter(|_| has_many(situation, host));
        let since = progress.map_or(since, |&progress| since.max(progress));
        situation.now.since(since) >= situation.stuck_after
    }
}

/// A host lists so many addresses that some may have to wait for others.
fn has_many(situation: &Situation<'_>, host: HostId) -> bool {
    situation.member(host).is_some_and(|member| member.info.served.len() > FEW)
}
