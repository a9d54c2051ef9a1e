//! What is said to the kernel of addresses and routes, and what it says.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "netlink's enumerations are open: what was not asked for is skipped"
)]

use std::net::{IpAddr, Ipv6Addr};

use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressHeaderFlags, AddressMessage, AddressProtocol, CacheInfo,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{Change, MARK, Place};
use crate::netlink::Request;

/// `IFA_CACHEINFO`: for ever (`INFINITY_LIFE_TIME` of the kernel).
const FOREVER: u32 = u32::MAX;

/// Index of `lo`, in every network namespace.
const LOOPBACK: u32 = 1;

/// The table of what is this host's own (`RT_TABLE_LOCAL`).
const LOCAL_TABLE: u8 = 255;

/// The request for a change.
pub(super) fn request(change: &Change) -> Request {
    let Change { add, place, address } = *change;
    let message = match (place, add) {
        (Place::Interface(ifindex), true) => {
            RouteNetlinkMessage::NewAddress(host_address(ifindex, address))
        }
        (Place::Interface(ifindex), false) => {
            RouteNetlinkMessage::DelAddress(bare_address(ifindex, address))
        }
        (Place::Route, true) => RouteNetlinkMessage::NewRoute(local_route(address)),
        (Place::Route, false) => RouteNetlinkMessage::DelRoute(local_route(address)),
    };
    Request { message, flags: if add { NLM_F_CREATE | NLM_F_EXCL } else { 0 } }
}

/// The request to put an address on an interface for so many seconds, or to renew it there.
pub(super) fn leased(ifindex: u32, address: IpAddr, seconds: u32) -> Request {
    let mut message = host_address(ifindex, address);
    message.attributes.retain(|attribute| !matches!(attribute, AddressAttribute::CacheInfo(_)));
    let mut lifetime = CacheInfo::default();
    lifetime.ifa_valid = seconds;
    lifetime.ifa_preferred = if address.is_ipv6() { 0 } else { seconds };
    message.attributes.push(AddressAttribute::CacheInfo(lifetime));
    let message = RouteNetlinkMessage::NewAddress(message);
    Request { message, flags: NLM_F_CREATE | NLM_F_REPLACE }
}

/// The prefix length of an address that stands for itself alone.
const fn host_prefix(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

const fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

/// What names an address, to add it or to delete it.
fn bare_address(ifindex: u32, address: IpAddr) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(address);
    message.header.prefix_len = host_prefix(address);
    message.header.index = ifindex;
    message.attributes.push(AddressAttribute::Address(address));
    message.attributes.push(AddressAttribute::Local(address));
    message
}

/// The address with our mark, and for IPv6 with what [`Place::Interface`] promises.
fn host_address(ifindex: u32, address: IpAddr) -> AddressMessage {
    let mut message = bare_address(ifindex, address);
    message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(MARK)));
    if address.is_ipv6() {
        message.header.flags |= AddressHeaderFlags::Nodad;
        let mut lifetime = CacheInfo::default();
        lifetime.ifa_valid = FOREVER;
        lifetime.ifa_preferred = 0;
        message.attributes.push(AddressAttribute::CacheInfo(lifetime));
    }
    message
}

/// `ip route … local ADDRESS dev lo table local proto MARK`. The kernel deletes only a route of the
/// same protocol.
fn local_route(address: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(address);
    message.header.destination_prefix_length = host_prefix(address);
    message.header.table = LOCAL_TABLE;
    message.header.protocol = RouteProtocol::Other(MARK);
    message.header.scope = RouteScope::Host;
    message.header.kind = RouteType::Local;
    let destination = match address {
        IpAddr::V4(v4) => RouteAddress::Inet(v4),
        IpAddr::V6(v6) => RouteAddress::Inet6(v6),
    };
    message.attributes.push(RouteAttribute::Destination(destination));
    message.attributes.push(RouteAttribute::Oif(LOOPBACK));
    message
}

/// The question where packets to an address on this interface go.
pub(super) fn way(ifindex: u32, address: Ipv6Addr) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet6;
    message.header.destination_prefix_length = host_prefix(address.into());
    message.attributes.push(RouteAttribute::Destination(RouteAddress::Inet6(address)));
    message.attributes.push(RouteAttribute::Oif(ifindex));
    RouteNetlinkMessage::GetRoute(message)
}

/// Whether the answer is: nowhere, they are this host's.
pub(super) fn is_local(message: &RouteNetlinkMessage) -> bool {
    matches!(message, RouteNetlinkMessage::NewRoute(m) if m.header.kind == RouteType::Local)
}

/// What to ask for everything in a place.
pub(super) fn questions(place: Place) -> Vec<RouteNetlinkMessage> {
    match place {
        Place::Interface(_) => vec![RouteNetlinkMessage::GetAddress(AddressMessage::default())],
        Place::Route => [AddressFamily::Inet, AddressFamily::Inet6]
            .map(|family| {
                let mut message = RouteMessage::default();
                message.header.address_family = family;
                RouteNetlinkMessage::GetRoute(message)
            })
            .into(),
    }
}

/// The address in `message`, if it is in the place and carries our mark.
pub(super) fn marked(place: Place, message: &RouteNetlinkMessage) -> Option<IpAddr> {
    match (place, message) {
        (Place::Interface(ifindex), RouteNetlinkMessage::NewAddress(message)) => {
            (message.header.index == ifindex).then(|| marked_address(message))?
        }
        (Place::Route, RouteNetlinkMessage::NewRoute(message)) => marked_route(message),
        _ => None,
    }
}

fn marked_address(message: &AddressMessage) -> Option<IpAddr> {
    let mark = AddressAttribute::Protocol(AddressProtocol::Other(MARK));
    if !message.attributes.contains(&mark) {
        return None;
    }
    message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(address) => Some(*address),
        _ => None,
    })
}

fn marked_route(message: &RouteMessage) -> Option<IpAddr> {
    let header = &message.header;
    if (header.table, header.protocol) != (LOCAL_TABLE, RouteProtocol::Other(MARK)) {
        return None;
    }
    message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(v4)) => Some(IpAddr::V4(*v4)),
        RouteAttribute::Destination(RouteAddress::Inet6(v6)) => Some(IpAddr::V6(*v6)),
        _ => None,
    })
}
