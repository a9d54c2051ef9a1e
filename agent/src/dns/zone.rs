//! What a zone says at one moment.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use domain::base::{Name, RecordData, Rtype, Serial, ToName, Ttl};
use domain::rdata::{A, Aaaa, Ns, Soa, ZoneRecordData};

use crate::config::checked::Delegate;

/// The data of a record.
pub type Data = ZoneRecordData<Vec<u8>, Name<Vec<u8>>>;

/// How often a secondary looks by itself, and how soon again where that failed. Usually it is
/// notified.
const REFRESH: Ttl = Ttl::from_secs(60);
const RETRY: Ttl = Ttl::from_secs(15);

/// How long a secondary answers without having reached a primary.
const EXPIRE: Ttl = Ttl::from_secs(86_400);

/// A zone: a name with addresses, and what every zone has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// The zone's own name.
    pub apex: Name<Vec<u8>>,
    /// The name that has the addresses; in the zone.
    pub name: Name<Vec<u8>>,
    /// How long others may remember any of it, in seconds.
    pub ttl: u32,
    /// The servers of the zone, the primary first.
    pub nameservers: Vec<Delegate>,
    /// Raised with every change.
    pub serial: Serial,
    /// IPv4 addresses of `name`, ascending.
    pub v4: Vec<Ipv4Addr>,
    /// IPv6 addresses of `name`, ascending.
    pub v6: Vec<Ipv6Addr>,
}

impl Zone {
    /// How long others may remember any of it.
    #[must_use]
    pub fn ttl(&self) -> Ttl {
        Ttl::from_secs(self.ttl)
    }

    /// There is no address.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// The start of authority.
    #[must_use]
    pub fn soa(&self) -> Soa<Name<Vec<u8>>> {
        let primary = self.nameservers.first().map_or(&self.apex, |server| &server.name);
        // It fits: the configuration leaves room in the zone's name.
        let contact = Name::from_str(&format!("hostmaster.{}", self.apex));
        let contact = contact.unwrap_or_else(|_too_long| self.apex.clone());
        Soa::new(primary.clone(), contact, self.serial, REFRESH, RETRY, EXPIRE, self.ttl())
    }

    /// All records but the start of authority.
    #[must_use]
    pub fn records(&self) -> Vec<(Name<Vec<u8>>, Data)> {
        let mut records = Vec::with_capacity(self.v4.len() + self.v6.len() + 2);
        for server in &self.nameservers {
            records.push((self.apex.clone(), Ns::new(server.name.clone()).into()));
        }
        for server in &self.nameservers {
            let addresses = server.addresses.iter();
            records.extend(addresses.map(|address| (server.name.clone(), data(*address))));
        }
        let v4 = self.v4.iter().map(|v4| A::new(*v4).into());
        let v6 = self.v6.iter().map(|v6| Aaaa::new(*v6).into());
        records.extend(v4.chain(v6).map(|data| (self.name.clone(), data)));
        records
    }
}

/// A zone as questions find it: its records by name and type, gathered once for all questions.
#[derive(Clone, Debug)]
pub struct Prepared {
    zone: Zone,
    /// The zone's own name first; few in all. The name that has the addresses is there even when
    /// it has none.
    names: Vec<(Name<Vec<u8>>, Vec<Set>)>,
}

/// The records of one name and type. At least one.
#[derive(Clone, Debug)]
pub struct Set {
    /// The type.
    pub rtype: Rtype,
    /// Their data.
    pub data: Vec<Data>,
}

impl From<Zone> for Prepared {
    fn from(zone: Zone) -> Self {
        let mut prepared = Self { names: Vec::new(), zone };
        prepared.add(prepared.zone.apex.clone(), prepared.zone.soa().into());
        for (owner, data) in prepared.zone.records() {
            prepared.add(owner, data);
        }
        if prepared.names.iter().all(|(owner, _)| *owner != prepared.zone.name) {
            prepared.names.push((prepared.zone.name.clone(), Vec::new()));
        }
        prepared
    }
}

impl Prepared {
    /// What it says.
    #[must_use]
    pub const fn zone(&self) -> &Zone {
        &self.zone
    }

    /// What a name has. None where there is no such name; nothing where it exists because one below
    /// it does, or because it has addresses at other times.
    #[must_use]
    pub fn sets(&self, name: &impl ToName) -> Option<&[Set]> {
        let found = self.names.iter().find(|(owner, _)| name.name_eq(owner));
        let between = || self.names.iter().any(|(owner, _)| owner.ends_with(name));
        match found {
            Some((_, sets)) => Some(sets),
            None => between().then_some(&[]),
        }
    }

    fn add(&mut self, owner: Name<Vec<u8>>, data: Data) {
        let rtype = data.rtype();
        let named = self.names.iter_mut().find(|(name, _)| *name == owner);
        let Some((_, sets)) = named else {
            return self.names.push((owner, vec![Set { rtype, data: vec![data] }]));
        };
        match sets.iter_mut().find(|set| set.rtype == rtype) {
            Some(set) => set.data.push(data),
            None => sets.push(Set { rtype, data: vec![data] }),
        }
    }
}

/// The record that says this address.
#[must_use]
pub fn data(address: IpAddr) -> Data {
    match address {
        IpAddr::V4(v4) => A::new(v4).into(),
        IpAddr::V6(v6) => Aaaa::new(v6).into(),
    }
}

/// The addresses of each family, in the order in which they come.
#[must_use]
pub fn by_family<'a>(
    addresses: impl IntoIterator<Item = &'a IpAddr>,
) -> (Vec<Ipv4Addr>, Vec<Ipv6Addr>) {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for address in addresses {
        match address {
            IpAddr::V4(address) => v4.push(*address),
            IpAddr::V6(address) => v6.push(*address),
        }
    }
    (v4, v6)
}

/// A serial number after `last`: the time in seconds since 1970, so that it goes on ascending when
/// the agent is restarted, unless changes came faster than that.
#[must_use]
pub fn next_serial(last: Option<Serial>, wall_seconds: u64) -> Serial {
    // Serial numbers wrap around (RFC 1982).
    #[allow(clippy::cast_possible_truncation, reason = "the lower 32 bits are meant")]
    let now = Serial(wall_seconds as u32);
    match last {
        Some(last) if now <= last || now.partial_cmp(&last).is_none() => last.add(1),
        Some(_) | None => now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The serial before, and the time → the serial.
    #[test]
    fn serials_ascend_whatever_the_clock_does() {
        for (last, now, next) in [
            (None, 1_700_000_000, 1_700_000_000),
            (Some(1_700_000_000), 1_700_000_009, 1_700_000_009),
            (Some(1_700_000_000), 1_700_000_000, 1_700_000_001),
            (Some(1_700_000_005), 1_700_000_000, 1_700_000_006),
            (Some(u32::MAX), 1_u64 << 32, 0),
            (Some(u32::MAX), (1_u64 << 32) - 9, 0),
            (Some(5), (1_u64 << 31) + 5, 6),
            (Some(0), 0, 1),
        ] {
            let next_one = next_serial(last.map(Serial), now);
            assert_eq!(next_one, Serial(next), "{last:?} at {now}");
            assert!(last.is_none_or(|last| next_one > Serial(last)));
        }
    }
}
