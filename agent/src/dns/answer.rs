//! A question's bytes → the answer's. No socket is touched.

use std::sync::atomic::{AtomicUsize, Ordering};

use domain::base::iana::{Class, Opcode, OptRcode, Rcode};
use domain::base::message_builder::{AdditionalBuilder, AnswerBuilder, PushError};
use domain::base::{
    Message, MessageBuilder, Name, ParsedName, Question, RecordData, Rtype, StaticCompressor,
};

use super::zone::{Data, Zone};

/// Longest answer over UDP to a question that does not say how much it takes (RFC 1035, 4.2.1).
const SMALL: u16 = 512;

/// Longest answer over UDP at all: it is not fragmented.
const LARGE: u16 = 1_232;

/// Longest answer over TCP.
const STREAM: usize = 65_535;

/// What a record for EDNS without options takes.
const OPT: usize = 11;

/// How a question came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// In a datagram.
    Udp,
    /// Over a connection.
    Tcp,
}

/// Whose turn it is to come first in an answer: for each type of record its own, since many
/// clients ask for both in turn.
#[derive(Debug, Default)]
pub struct Rotation {
    v4: AtomicUsize,
    v6: AtomicUsize,
}

type Builder = AnswerBuilder<StaticCompressor<Vec<u8>>>;
type Asked<'a> = Question<ParsedName<&'a [u8]>>;

/// The answer to `request`; none to what is no question. `apex` is the zone's name, and `zone` none
/// while nobody knows what it says. `transfers`: whoever asks may have the whole zone.
#[must_use]
pub fn answer(
    apex: &Name<Vec<u8>>,
    zone: Option<&Zone>,
    rotation: &Rotation,
    request: &[u8],
    over: Transport,
    transfers: bool,
) -> Option<Vec<u8>> {
    let request = Message::from_octets(request).ok()?;
    if request.header().qr() {
        return None;
    }
    let edns = request.opt();
    let limit = match (over, &edns) {
        (Transport::Tcp, _) => STREAM,
        (Transport::Udp, Some(opt)) => usize::from(opt.udp_payload_size().clamp(SMALL, LARGE)),
        (Transport::Udp, None) => usize::from(SMALL),
    };
    let mut builder = MessageBuilder::from_target(StaticCompressor::new(Vec::new())).ok()?;
    builder.set_push_limit(limit.saturating_sub(OPT));
    let known_edns = edns.as_ref().is_none_or(|opt| opt.version() == 0);
    let question = request.sole_question().map_err(|_malformed| Rcode::FORMERR);
    let question = match request.header().opcode() {
        Opcode::QUERY => question,
        _ => Err(Rcode::NOTIMP),
    };
    let built = match question {
        Ok(question) if known_edns => {
            let builder = builder.start_answer(&request, Rcode::NOERROR).ok()?;
            match (over, question.qtype()) {
                (_, Rtype::AXFR | Rtype::IXFR) => {
                    transfer(builder, apex, zone, &question, over, transfers)
                }
                _ => records(builder, apex, zone, rotation, &question),
            }
        }
        Ok(_) => builder.start_answer(&request, Rcode::NOERROR).ok()?.additional(),
        // Without the question, which may be the trouble.
        Err(rcode) => {
            let header = builder.header_mut();
            header.set_id(request.header().id());
            header.set_qr(true);
            header.set_opcode(request.header().opcode());
            header.set_rd(request.header().rd());
            header.set_rcode(rcode);
            builder.additional()
        }
    };
    finish(built, edns.is_some(), known_edns, limit)
}

/// Adds what EDNS wants.
fn finish(
    mut built: AdditionalBuilder<StaticCompressor<Vec<u8>>>,
    edns: bool,
    known_edns: bool,
    limit: usize,
) -> Option<Vec<u8>> {
    if edns {
        built.set_push_limit(limit);
        let added = built.opt(|opt| {
            opt.set_udp_payload_size(LARGE);
            if !known_edns {
                opt.set_rcode(OptRcode::BADVERS);
            }
            Ok(())
        });
        added.ok()?;
    }
    Some(built.finish().into_target())
}

type Built = AdditionalBuilder<StaticCompressor<Vec<u8>>>;

/// Nothing but a code.
fn only(mut builder: Builder, rcode: Rcode) -> Built {
    builder.rewind();
    builder.header_mut().set_aa(false);
    builder.header_mut().set_rcode(rcode);
    builder.additional()
}

/// The records of the type asked for, or why there are none.
fn records(
    mut builder: Builder,
    apex: &Name<Vec<u8>>,
    zone: Option<&Zone>,
    rotation: &Rotation,
    question: &Asked<'_>,
) -> Built {
    let name = question.qname();
    if question.qclass() != Class::IN || !name.ends_with(apex) {
        return only(builder, Rcode::REFUSED);
    }
    let Some(zone) = zone else { return only(builder, Rcode::SERVFAIL) };
    let rtype = question.qtype();
    let addresses = matches!(rtype, Rtype::A | Rtype::AAAA | Rtype::ANY);
    if addresses && *name == zone.name && zone.v4.is_empty() && zone.v6.is_empty() {
        // Another server may know better, and nobody is to remember that there are none.
        return only(builder, Rcode::SERVFAIL);
    }
    builder.header_mut().set_aa(true);
    let found = look_up(zone, name, rtype, rotation);
    let Some(found) = found else {
        builder.header_mut().set_rcode(Rcode::NXDOMAIN);
        return nothing(builder, zone);
    };
    if found.is_empty() {
        return nothing(builder, zone);
    }
    for data in found {
        // Spelt as it was asked for.
        if builder.push((name, zone.ttl(), data)).is_err() {
            builder.header_mut().set_tc(true);
            break;
        }
    }
    builder.additional()
}

/// An empty answer, and for how long it may be remembered.
fn nothing(builder: Builder, zone: &Zone) -> Built {
    let mut authority = builder.authority();
    if authority.push((&zone.apex, zone.ttl(), zone.soa())).is_err() {
        authority.header_mut().set_tc(true);
    }
    authority.additional()
}

/// The records of a name; none where there is no such name.
fn look_up(
    zone: &Zone,
    name: &ParsedName<&[u8]>,
    rtype: Rtype,
    rotation: &Rotation,
) -> Option<Vec<Data>> {
    let all = zone.records();
    let at_apex = *name == zone.apex;
    let mut here: Vec<Data> = if at_apex { vec![zone.soa().into()] } else { Vec::new() };
    here.extend(all.iter().filter(|(owner, _)| name == owner).map(|(_, data)| data.clone()));
    if here.is_empty() {
        // A name between others and the zone exists, though it has nothing.
        return all.iter().any(|(owner, _)| owner.ends_with(name)).then(Vec::new);
    }
    // Of several types one is enough for who asks for any (RFC 8482, 4.1).
    let rtype = match rtype {
        Rtype::ANY => here.first().map_or(rtype, RecordData::rtype),
        _ => rtype,
    };
    here.retain(|data| data.rtype() == rtype);
    let turn = match rtype {
        Rtype::A => rotation.v4.fetch_add(1, Ordering::Relaxed),
        Rtype::AAAA => rotation.v6.fetch_add(1, Ordering::Relaxed),
        _ => 0,
    };
    let first = turn.checked_rem(here.len()).unwrap_or(0);
    here.rotate_left(first);
    Some(here)
}

/// The whole zone (RFC 5936). Who asks for changes only is given everything too (RFC 1995, 4).
fn transfer(
    mut builder: Builder,
    apex: &Name<Vec<u8>>,
    zone: Option<&Zone>,
    question: &Asked<'_>,
    over: Transport,
    transfers: bool,
) -> Built {
    if question.qclass() != Class::IN || question.qname() != apex || !transfers {
        return only(builder, Rcode::REFUSED);
    }
    let Some(zone) = zone else { return only(builder, Rcode::SERVFAIL) };
    builder.header_mut().set_aa(true);
    let whole = match (over, question.qtype()) {
        (Transport::Tcp, _) => true,
        // The serial alone says: come again over TCP.
        (Transport::Udp, Rtype::IXFR) => false,
        (Transport::Udp, _) => return only(builder, Rcode::REFUSED),
    };
    match push_zone(&mut builder, zone, whole) {
        Ok(()) => builder.additional(),
        Err(_too_long) => only(builder, Rcode::SERVFAIL),
    }
}

fn push_zone(builder: &mut Builder, zone: &Zone, whole: bool) -> Result<(), PushError> {
    builder.push((&zone.apex, zone.ttl(), zone.soa()))?;
    if whole {
        for (owner, data) in zone.records() {
            builder.push((owner, zone.ttl(), data))?;
        }
        builder.push((&zone.apex, zone.ttl(), zone.soa()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
