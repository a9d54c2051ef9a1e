//! The two families of addresses, and the network of a test bed in each.
//!
//! | | IPv4 | IPv6 |
//! |---|---|---|
//! | hosts, by their number | `10.77.0.N` | `fd77::N` |
//! | service addresses | `10.77.0.(100 + N)` | `fd77::(100 + N)` |
//! | control messages | `239.77.0.1:7077` | `[ff02::77]:7077` |
//!
//! Numbers in IPv6 addresses are hexadecimal as always: service address 1 is `fd77::65`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One of the two. A bed of one family has no address of the other, but that the kernel gives
/// every interface an IPv6 address of its own for the link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Family {
    /// IPv4: addresses are asked for with ARP.
    #[default]
    V4,
    /// IPv6: addresses are asked for with neighbour solicitations.
    V6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// A host's own address, which is its id.
    #[must_use]
    pub const fn host(self, number: u8) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::new(10, 77, 0, number)),
            Self::V6 => IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, number as u16)),
        }
    }

    /// A service address by its number, at most 91: the one that belongs to the host of this
    /// number, and 0 for one that floats.
    #[must_use]
    pub const fn service(self, number: u8) -> IpAddr {
        self.host(100 + number)
    }

    /// Nobody's address, at most the 64th, to ask from.
    #[must_use]
    pub const fn asker(self, number: u8) -> IpAddr {
        self.host(192 + number)
    }

    /// How long the prefix of the hosts' network is, in bits.
    #[must_use]
    pub const fn prefix(self) -> u8 {
        match self {
            Self::V4 => 24,
            Self::V6 => 64,
        }
    }

    /// Where a group's control messages go.
    #[must_use]
    pub const fn group(self) -> &'static str {
        match self {
            Self::V4 => "239.77.0.1:7077",
            Self::V6 => "[ff02::77]:7077",
        }
    }

    /// What `ip` is told to show this family only.
    #[must_use]
    pub const fn option(self) -> &'static str {
        match self {
            Self::V4 => "-4",
            Self::V6 => "-6",
        }
    }

    /// The address of a socket that listens to, or sends from, whatever the host has.
    #[must_use]
    pub const fn any(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Self::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        }
    }
}

/// The last byte of an address: the number of the host whose own it is, and 100 and its number for
/// a service address.
#[must_use]
pub const fn last_byte(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(v4) => v4.octets()[3],
        IpAddr::V6(v6) => v6.octets()[15],
    }
}

/// Makes of each function, which takes a [`Family`], two tests: `ipv4::name` and `ipv6::name`.
#[macro_export]
macro_rules! for_both_families {
    ($($name:ident)*) => {
        mod ipv4 {
            $(#[test] fn $name() { super::$name($crate::family::Family::V4) })*
        }
        mod ipv6 {
            $(#[test] fn $name() { super::$name($crate::family::Family::V6) })*
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_tells_its_family_and_its_number() {
        for (family, host, service) in
            [(Family::V4, "10.77.0.3", "10.77.0.103"), (Family::V6, "fd77::3", "fd77::67")]
        {
            assert_eq!(family.host(3), host.parse::<IpAddr>().unwrap());
            assert_eq!(family.service(3), service.parse::<IpAddr>().unwrap());
            assert_eq!(Family::of(family.service(3)), family);
            assert_eq!((last_byte(family.host(3)), last_byte(family.service(3))), (3, 103));
        }
    }
}
