//! A question's bytes → the answer's. No socket is touched.

use std::sync::atomic::{AtomicUsize, Ordering};

use domain::base::iana::{Class, Opcode, OptRcode, Rcode};
use domain::base::message_builder::{AdditionalBuilder, AnswerBuilder, PushError};
use domain::base::{Message, MessageBuilder, Name, ParsedName, Question, Rtype, StaticCompressor};

use super::zone::{Data, Prepared, Set, Zone};

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
type Built = AdditionalBuilder<StaticCompressor<Vec<u8>>>;
type Asked<'a> = Question<ParsedName<&'a [u8]>>;

/// The answer to `request`; none to what is no question. `apex` is the zone's name, and `zone` none
/// while nobody knows what it says. `transfers`: whoever asks may have the whole zone.
#[must_use]
pub fn answer(
    apex: &Name<Vec<u8>>,
    zone: Option<&Prepared>,
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
    let mut builder =
        MessageBuilder::from_target(StaticCompressor::new(Vec::with_capacity(usize::from(SMALL))))
            .ok()?;
    builder.set_push_limit(limit.saturating_sub(OPT));
    let known_edns = edns.as_ref().is_none_or(|opt| opt.version() == 0);
    // A version that is not known leaves open what the rest means, if it is well-formed (RFC 6891,
    // 6.1.3).
    let question = match request.header().opcode() {
        other if other != Opcode::QUERY && known_edns => Err(Rcode::NOTIMP),
        _ => request.sole_question().map_err(|_malformed| Rcode::FORMERR),
    };
    let bad_version = question.is_ok() && !known_edns;
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
    finish(built, edns.is_some(), bad_version, limit)
}

/// Adds what EDNS wants.
fn finish(mut built: Built, edns: bool, bad_version: bool, limit: usize) -> Option<Vec<u8>> {
    if edns {
        built.set_push_limit(limit);
        let added = built.opt(|opt| {
            opt.set_udp_payload_size(LARGE);
            if bad_version {
                opt.set_rcode(OptRcode::BADVERS);
            }
            Ok(())
        });
        added.ok()?;
    }
    Some(built.finish().into_target())
}

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
    zone: Option<&Prepared>,
    rotation: &Rotation,
    question: &Asked<'_>,
) -> Built {
    let name = question.qname();
    if question.qclass() != Class::IN || !name.ends_with(apex) {
        return only(builder, Rcode::REFUSED);
    }
    let Some(prepared) = zone else { return only(builder, Rcode::SERVFAIL) };
    let (zone, rtype) = (prepared.zone(), question.qtype());
    let sets = prepared.sets(name);
    let addresses = matches!(rtype, Rtype::A | Rtype::AAAA | Rtype::ANY);
    if *name == zone.name && zone.is_empty() && (addresses || sets.is_none_or(<[Set]>::is_empty)) {
        // Another server may know better, and nobody is to remember that there are none.
        return only(builder, Rcode::SERVFAIL);
    }
    builder.header_mut().set_aa(true);
    let Some(sets) = sets else {
        builder.header_mut().set_rcode(Rcode::NXDOMAIN);
        return nothing(builder, zone);
    };
    // Of several types one is enough for who asks for any (RFC 8482, 4.1).
    let found = sets.iter().find(|set| set.rtype == rtype || rtype == Rtype::ANY);
    let Some(set) = found else { return nothing(builder, zone) };
    for data in in_turn(set, rotation) {
        // Spelt as it was asked for.
        if builder.push((name, zone.ttl(), data)).is_err() {
            builder.header_mut().set_tc(true);
            break;
        }
    }
    builder.additional()
}

/// Records, from the one whose turn it is.
fn in_turn<'a>(set: &'a Set, rotation: &Rotation) -> impl Iterator<Item = &'a Data> {
    let turn = match set.rtype {
        Rtype::A => rotation.v4.fetch_add(1, Ordering::Relaxed),
        Rtype::AAAA => rotation.v6.fetch_add(1, Ordering::Relaxed),
        _ => 0,
    };
    let first = turn.checked_rem(set.data.len()).unwrap_or(0);
    set.data.iter().cycle().skip(first).take(set.data.len())
}

/// An empty answer, and for how long it may be remembered.
fn nothing(builder: Builder, zone: &Zone) -> Built {
    let mut authority = builder.authority();
    if authority.push((&zone.apex, zone.ttl(), zone.soa())).is_err() {
        authority.header_mut().set_tc(true);
    }
    authority.additional()
}

/// The whole zone (RFC 5936). Who asks for changes only is given everything too (RFC 1995, 4).
fn transfer(
    mut builder: Builder,
    apex: &Name<Vec<u8>>,
    zone: Option<&Prepared>,
    question: &Asked<'_>,
    over: Transport,
    transfers: bool,
) -> Built {
    if question.qclass() != Class::IN || question.qname() != apex || !transfers {
        return only(builder, Rcode::REFUSED);
    }
    // Who has an older one keeps it, rather than hear that there is no such name.
    let zone = zone.map(Prepared::zone).filter(|zone| !zone.is_empty());
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
