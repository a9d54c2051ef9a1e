//! What the kernel says about network interfaces, by netlink. Blocking: for start-up and for checks,
//! not for the heartbeat path.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "netlink's enumerations are open: what was not asked for is skipped"
)]

use std::io;

use rtnetlink::packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// What messages are aligned to.
const ALIGNMENT: usize = 4;

/// The interface of this index in the caller's network namespace.
///
/// # Errors
/// There is no such interface, or netlink failed.
pub(crate) fn one(index: u32) -> io::Result<LinkMessage> {
    let mut question = LinkMessage::default();
    question.header.index = index;
    let socket = ask(question, NLM_F_REQUEST)?;
    // Without the dump flag the kernel answers with one message: the link, or an error.
    let (answer, _) = socket.recv_from_full()?;
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    match answer.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => Ok(link),
        NetlinkPayload::Error(error) => Err(error.to_io()),
        other => Err(io::Error::new(io::ErrorKind::InvalidData, format!("netlink: {other:?}"))),
    }
}

/// All interfaces of the caller's network namespace, but for those that cannot be understood.
///
/// # Errors
/// Netlink failed.
pub(crate) fn all() -> io::Result<Vec<LinkMessage>> {
    let socket = ask(LinkMessage::default(), NLM_F_REQUEST | NLM_F_DUMP)?;
    let mut links = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = datagram.as_slice();
        while let Ok(header) = NetlinkBuffer::new_checked(rest) {
            let length = usize::try_from(header.length()).unwrap_or(usize::MAX);
            // A kernel newer than this may say what this does not know, of a kind of interface that
            // does not matter here.
            if let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest) {
                match message.payload {
                    NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => {
                        links.push(link);
                    }
                    NetlinkPayload::Done(_) => return Ok(links),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    _ => {}
                }
            }
            rest = rest.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
        }
    }
}

/// Sends the question on a socket of its own, where the answer comes.
fn ask(question: LinkMessage, flags: u16) -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let payload = NetlinkPayload::from(RouteNetlinkMessage::GetLink(question));
    let mut message = NetlinkMessage::new(NetlinkHeader::default(), payload);
    message.header.flags = flags;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    Ok(socket)
}
