//! `preferred` and `floating`: addresses, one by one or from one to another.

use std::net::IpAddr;
use std::str::FromStr;

use super::MAX_ADDRESSES;
use super::reader::{At, Section};

/// Addresses that follow each other, of one family, first and last included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: IpAddr,
    last: IpAddr,
}

impl FromStr for Range {
    type Err = ();

    /// An address, or two with a hyphen between them, the lower one first.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let parsed = |text: &str| text.trim().parse::<IpAddr>().map_err(drop);
        let (first, last) = (parsed(first)?, parsed(last)?);
        let ordered = first.is_ipv4() == last.is_ipv4() && first <= last;
        ordered.then_some(Self { first, last }).ok_or(())
    }
}

impl Range {
    /// Its addresses, ascending; of one that is too long, one more than there may be.
    fn addresses(self) -> Vec<IpAddr> {
        let most = MAX_ADDRESSES + 1;
        match (self.first, self.last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => (first.to_bits()..=last.to_bits())
                .map(|bits| std::net::Ipv4Addr::from_bits(bits).into())
                .take(most)
                .collect(),
            (IpAddr::V6(first), IpAddr::V6(last)) => (first.to_bits()..=last.to_bits())
                .map(|bits| std::net::Ipv6Addr::from_bits(bits).into())
                .take(most)
                .collect(),
            // Of two families: there is no such range.
            (_, _) => Vec::new(),
        }
    }
}

/// The addresses under `key`. Duplicates are found later, across all groups, and so is that there
/// are too many.
pub(super) fn service_addresses(section: &Section<'_>, key: &'static str) -> Vec<At<IpAddr>> {
    let expected = "an IP address in quotes, without a prefix, or two with a hyphen between them, \
                    the lower one first";
    let mut all = Vec::new();
    for range in section.list::<Range>(key, expected) {
        let addresses = range.value.addresses();
        let wrong = addresses.iter().find_map(|&address| Some((address, problem(address)?)));
        if let Some((address, problem)) = wrong {
            section.document().mistake(
                range.offset,
                format!(
                    "`{key}`: {address} is {problem}; expected a unicast address that clients use"
                ),
            );
        }
        if all.len() <= MAX_ADDRESSES {
            all.extend(addresses.into_iter().map(|address| range.with(address)));
        }
    }
    all
}

/// Why it cannot be a service address.
fn problem(address: IpAddr) -> Option<&'static str> {
    match address {
        ip if ip.is_multicast() => Some("a multicast address"),
        ip if ip.is_unspecified() => Some("the unspecified address"),
        ip if ip.is_loopback() => Some("a loopback address"),
        IpAddr::V4(v4) if v4.is_broadcast() => Some("the broadcast address"),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Some("an IPv4-mapped address"),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}
