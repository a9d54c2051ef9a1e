//! Asking a name server for the serial number of a zone.

use std::net::SocketAddr;

use domain::base::{Message, MessageBuilder, Name, ParsedName, Rtype, Serial};
use domain::rdata::Soa;

use crate::exchange;

/// The serial number of the zone on this server; none where it does not answer or does not know.
pub(super) async fn serial(server: SocketAddr, zone: &Name<Vec<u8>>) -> Option<Serial> {
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(exchange::message_id().ok()?);
    let mut builder = builder.question();
    builder.push((zone, Rtype::SOA)).ok()?;
    let answer = exchange::over_tcp(server, &builder.finish()).await.ok()?;
    serial_in(&Message::from_octets(answer).ok()?)
}

/// The serial number in the answer section.
pub(super) fn serial_in(answer: &Message<Vec<u8>>) -> Option<Serial> {
    let mut found = answer.answer().ok()?.limit_to::<Soa<ParsedName<_>>>();
    found.next()?.ok().map(|record| record.data().serial())
}
