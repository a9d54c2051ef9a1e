//! Telling secondaries that the zone has changed (RFC 1996).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use domain::base::iana::{Opcode, Rcode};
use domain::base::message_builder::PushError;
use domain::base::{Message, MessageBuilder, Rtype};

use super::zone::Zone;
use crate::exchange;

/// How long to wait for an answer before the first repetition; then twice as long each time.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// How often a secondary is told. One that was away looks by itself when it is back.
const TIMES: u32 = 6;

/// Tells a secondary until it answers. What it answers is its own affair, but is written down.
pub(super) async fn notify(secondary: SocketAddr, zone: Zone) {
    for attempt in 0..TIMES {
        let wait = FIRST_WAIT * 2_u32.pow(attempt);
        match tokio::time::timeout(wait, once(secondary, &zone)).await {
            Ok(Ok(Rcode::NOERROR)) => return,
            Ok(Ok(rcode)) => {
                tracing::warn!("secondary {secondary} of {}: NOTIFY: {rcode}", zone.apex);
                return;
            }
            Ok(Err(error)) => {
                tracing::debug!("secondary {secondary} of {}: NOTIFY: {error}", zone.apex);
                tokio::time::sleep(wait).await;
            }
            Err(_late) => {}
        }
    }
    tracing::warn!("secondary {secondary} of {} does not answer NOTIFY", zone.apex);
}

async fn once(secondary: SocketAddr, zone: &Zone) -> io::Result<Rcode> {
    let message = message(zone, exchange::message_id()?).map_err(io::Error::other)?;
    // Some answer with a header and nothing else.
    let is_answer = |answer: &Message<Vec<u8>>| {
        answer.header().qr() && answer.header().id() == message.header().id()
    };
    Ok(exchange::over_udp(secondary, &message, is_answer).await?.header().rcode())
}

fn message(zone: &Zone, id: u16) -> Result<Message<Vec<u8>>, PushError> {
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(id);
    builder.header_mut().set_opcode(Opcode::NOTIFY);
    builder.header_mut().set_aa(true);
    let mut builder = builder.question();
    builder.push((&zone.apex, Rtype::SOA))?;
    let mut builder = builder.answer();
    builder.push((&zone.apex, zone.ttl(), zone.soa()))?;
    Ok(builder.into_message())
}
