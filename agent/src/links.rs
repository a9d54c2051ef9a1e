//! What the kernel says about network interfaces, by netlink. Blocking: for start-up and for checks,
//! not for the heartbeat path.

use std::io;

use rtnetlink::packet_route::RouteNetlinkMessage::{GetLink, NewLink};
use rtnetlink::packet_route::link::LinkMessage;

use crate::netlink::Exchange;

/// The interface of this index in the caller's network namespace.
///
/// # Errors
/// There is no such interface, or netlink failed.
pub(crate) fn one(index: u32) -> io::Result<LinkMessage> {
    let mut question = LinkMessage::default();
    question.header.index = index;
    let answer = Exchange::open()?.ask(GetLink(question))?;
    let NewLink(link) = answer else {
        let what = format!("netlink: {answer:?}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    };
    Ok(link)
}

/// All interfaces of the caller's network namespace, but for those that cannot be understood.
///
/// # Errors
/// Netlink failed.
pub(crate) fn all() -> io::Result<Vec<LinkMessage>> {
    let all = Exchange::open()?.dump_readable(GetLink(LinkMessage::default()))?;
    Ok(all
        .into_iter()
        .filter_map(|m| if let NewLink(link) = m { Some(link) } else { None })
        .collect())
}
