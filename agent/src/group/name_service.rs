//! Which addresses a zone advertises: the water mark rule.
//!
//! A host that is busier than the high water mark leaves the zone, and comes back only at or below
//! the low one; so a host between the two stays what it was. However busy all of them are, the
//! least busy ones stay. It is a function of what a host sees of its group and of what was
//! advertised last: hosts that see the same and remember the same advertise the same.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::placement::utilisation;
use super::{AddressState, AddressView, Balance, HostId, HostInfo, Phase, View};

/// How to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advertising {
    /// The water marks. None: load plays no part.
    pub marks: Option<Balance>,
    /// Fewest addresses that stay, where there are so many, however busy their hosts are.
    pub minimum: usize,
}

/// Every address of a group that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Those to advertise, and the host that serves each.
    pub advertised: BTreeMap<IpAddr, HostId>,
    /// The others, and why not.
    pub withheld: BTreeMap<IpAddr, Withheld>,
}

/// Why an address is not advertised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withheld {
    /// Nobody answers for it.
    NotOnline,
    /// Not its preferred host answers for it, but another one.
    Orphaned,
    /// The operator has quiesced its host.
    Quiesced,
    /// The tests of its host fail.
    Failing,
    /// Its host has this utilisation, and has to come down to the low water mark first.
    Busy(u64),
}

impl Withheld {
    /// One word, for programs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::NotOnline => "not-online",
            Self::Orphaned => "orphaned",
            Self::Quiesced => "quiesced",
            Self::Failing => "failing",
            Self::Busy(_) => "busy",
        }
    }
}

/// An address that could be advertised, if its host is not too busy.
#[derive(Clone, Copy, Debug)]
struct Entry {
    address: IpAddr,
    host: HostId,
    utilisation: u64,
}

impl Advertising {
    /// What is to be advertised of a group that looks like this, where `last` was advertised
    /// before.
    #[must_use]
    pub fn choose(&self, view: &View, last: &BTreeSet<IpAddr>) -> Listing {
        let mut listing = Listing::default();
        let mut entries = Vec::new();
        for address in &view.addresses {
            let at = address.address;
            match self.candidate(address, view) {
                Ok(Candidate::Floating(host)) => drop(listing.advertised.insert(at, host)),
                Ok(Candidate::Preferred(entry)) => entries.push(entry),
                Err(why) => drop(listing.withheld.insert(at, why)),
            }
        }
        for (entry, stays) in self.weigh(entries, last) {
            if stays {
                listing.advertised.insert(entry.address, entry.host);
            } else {
                listing.withheld.insert(entry.address, Withheld::Busy(entry.utilisation));
            }
        }
        listing
    }

    fn candidate(&self, address: &AddressView, view: &View) -> Result<Candidate, Withheld> {
        let at = address.address;
        let online = |info: &HostInfo| {
            info.served.iter().any(|s| s.address == at && s.state == AddressState::Online)
        };
        let holder = view.hosts.iter().find(|host| online(&host.info)).map(|host| host.id);
        let Some(preferred) = address.preferred else {
            return holder.map(Candidate::Floating).ok_or(Withheld::NotOnline);
        };
        let elsewhere = || if holder.is_some() { Withheld::Orphaned } else { Withheld::NotOnline };
        let home = view.hosts.iter().find(|host| host.id == preferred).ok_or_else(elsewhere)?;
        let HostInfo { ok, quiesced, phase, load, capacity, .. } = home.info;
        match (ok && phase != Phase::Leaving, quiesced, online(&home.info)) {
            (false, _, _) => Err(Withheld::Failing),
            (true, true, _) => Err(Withheld::Quiesced),
            (true, false, false) => Err(elsewhere()),
            (true, false, true) => Ok(Candidate::Preferred(Entry {
                address: at,
                host: preferred,
                utilisation: self.marks.map_or(0, |m| utilisation(load, capacity, m.scale)),
            })),
        }
    }

    /// The entries, and whether each is advertised.
    fn weigh(&self, entries: Vec<Entry>, last: &BTreeSet<IpAddr>) -> Vec<(Entry, bool)> {
        let Some(marks) = self.marks else {
            return entries.into_iter().map(|entry| (entry, true)).collect();
        };
        let mut weighed: Vec<(u64, Entry)> = entries
            .into_iter()
            .map(|entry| (weight(entry.utilisation, marks, last.contains(&entry.address)), entry))
            .collect();
        weighed.sort_unstable_by_key(|(weight, entry)| (*weight, entry.address));
        let high = u64::from(marks.high);
        let judged = weighed.into_iter().enumerate();
        judged
            .map(|(index, (weight, entry))| (entry, index < self.minimum || weight <= high))
            .collect()
    }
}

enum Candidate {
    Floating(HostId),
    Preferred(Entry),
}

/// The utilisation, raised by what lies between the marks unless the address may stay, or come
/// back.
fn weight(utilisation: u64, marks: Balance, advertised: bool) -> u64 {
    let stays = utilisation <= u64::from(marks.high) && advertised;
    if stays || utilisation <= u64::from(marks.low) {
        utilisation
    } else {
        // Utilisation without capacity is beyond measure already.
        utilisation.saturating_add(u64::from(marks.high.saturating_sub(marks.low)))
    }
}

#[cfg(test)]
mod tests;
