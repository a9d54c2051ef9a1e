//! Another's name server, told of changes by dynamic update (RFC 2136), signed (RFC 8945).
//!
//! It is asked what the zone says before, so that nothing is changed where nothing has to be, and
//! after, since a server may take an update and ignore what is in it.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use domain::base::iana::{Class, Opcode, Rcode};
use domain::base::message_builder::{AdditionalBuilder, AuthorityBuilder, PushError};
use domain::base::{
    Message, MessageBuilder, Name, ParsedRecord, Rtype, Serial, StaticCompressor, Ttl,
    UnknownRecordData,
};
use domain::rdata::tsig::Time48;
use domain::rdata::{A, Aaaa};
use domain::tsig::{Algorithm, ClientTransaction, Key, KeyName, ValidationError};

use super::zone::data;
use super::{Backend, DnsError, Publishing, Wanted, soa};
use crate::config::checked::{NameService, TsigAlgorithm, TsigKey, UpdatedServer};
use crate::{clock, exchange};

type Target = StaticCompressor<Vec<u8>>;

/// A zone that another server keeps.
pub struct Update {
    zone: Name<Vec<u8>>,
    name: Name<Vec<u8>>,
    ttl: Ttl,
    server: SocketAddr,
    /// None where its name is none; the configuration has none such.
    key: Option<Arc<Key>>,
}

impl Update {
    /// Updates the zone on this server. Nothing is sent yet.
    #[must_use]
    pub fn new(service: &NameService, told: &UpdatedServer) -> Self {
        Self {
            zone: service.zone.clone(),
            name: service.name.clone(),
            ttl: Ttl::from_secs(service.ttl),
            server: told.server,
            key: key(&told.key).map(Arc::new),
        }
    }

    async fn bring_about(&self, addresses: &BTreeSet<IpAddr>) -> Result<Option<u32>, DnsError> {
        if self.addresses().await? != *addresses {
            let answer = self.exchange(self.update(addresses)).await?;
            self.expect(&answer, "an update", &[Rcode::NOERROR])?;
            let found = self.addresses().await?;
            if found != *addresses {
                return Err(DnsError::Ignored { server: self.server, name: self.name.clone() });
            }
        }
        Ok(Some(self.serial().await?))
    }

    /// What the name has now.
    async fn addresses(&self) -> Result<BTreeSet<IpAddr>, DnsError> {
        let mut found = BTreeSet::new();
        for rtype in [Rtype::A, Rtype::AAAA] {
            let answer = self.ask(&self.name, rtype).await?;
            let records = records(&answer).map_err(|_malformed| self.malformed())?;
            for record in records.iter().filter(|record| record.owner() == self.name) {
                let a = record.to_record::<A>().ok().flatten();
                let aaaa = record.to_record::<Aaaa>().ok().flatten();
                found.extend(a.map(|a| IpAddr::from(a.data().addr())));
                found.extend(aaaa.map(|aaaa| IpAddr::from(aaaa.data().addr())));
            }
        }
        Ok(found)
    }

    async fn serial(&self) -> Result<u32, DnsError> {
        let answer = self.ask(&self.zone, Rtype::SOA).await?;
        soa::serial_in(&answer).map(Serial::into_int).ok_or_else(|| self.malformed())
    }

    /// Asks for records. There may be none, but the server has to be one that knows.
    async fn ask(&self, name: &Name<Vec<u8>>, rtype: Rtype) -> Result<Message<Vec<u8>>, DnsError> {
        let mut builder = self.start(Opcode::QUERY)?.question();
        builder.push((name, rtype)).map_err(|_full| self.malformed())?;
        let answer = self.exchange(Ok(builder.additional())).await?;
        self.expect(&answer, "a question", &[Rcode::NOERROR, Rcode::NXDOMAIN])?;
        if !answer.header().aa() {
            return Err(DnsError::NotTheirs { server: self.server, zone: self.zone.clone() });
        }
        Ok(answer)
    }

    /// All addresses of the name are to be these, at one stroke.
    fn update(&self, addresses: &BTreeSet<IpAddr>) -> Result<AdditionalBuilder<Target>, DnsError> {
        let mut builder = self.start(Opcode::UPDATE)?.question();
        let too_long = |_full: PushError| self.malformed();
        builder.push((&self.zone, Rtype::SOA)).map_err(too_long)?;
        let mut builder = builder.authority();
        self.push_changes(&mut builder, addresses).map_err(too_long)?;
        Ok(builder.additional())
    }

    fn push_changes(
        &self,
        builder: &mut AuthorityBuilder<Target>,
        addresses: &BTreeSet<IpAddr>,
    ) -> Result<(), PushError> {
        for rtype in [Rtype::A, Rtype::AAAA] {
            // Class ANY without data: all records of the type go (RFC 2136, 2.5.2).
            let Ok(nothing) = UnknownRecordData::from_octets(rtype, [0_u8; 0]) else { continue };
            builder.push((&self.name, Class::ANY, Ttl::ZERO, nothing))?;
        }
        for address in addresses {
            builder.push((&self.name, Class::IN, self.ttl, data(*address)))?;
        }
        Ok(())
    }

    fn start(&self, opcode: Opcode) -> Result<MessageBuilder<Target>, DnsError> {
        let target = StaticCompressor::new(Vec::new());
        let mut builder = MessageBuilder::from_target(target).map_err(|_full| self.malformed())?;
        let id = exchange::message_id().map_err(|source| self.unreachable(source))?;
        builder.header_mut().set_id(id);
        builder.header_mut().set_opcode(opcode);
        builder.set_push_limit(usize::from(u16::MAX));
        Ok(builder)
    }

    /// Signs a message, sends it, and takes its signed answer.
    async fn exchange(
        &self,
        message: Result<AdditionalBuilder<Target>, DnsError>,
    ) -> Result<Message<Vec<u8>>, DnsError> {
        let mut message = message?;
        let key = self.key.clone().ok_or_else(|| self.malformed())?;
        let transaction = ClientTransaction::request(key, &mut message, now())
            .map_err(|_full| self.malformed())?;
        let message = message.finish().into_target();
        let answer = exchange::over_tcp(self.server, &message)
            .await
            .map_err(|source| self.unreachable(source))?;
        let mut answer = Message::from_octets(answer).map_err(|_short| self.malformed())?;
        match transaction.answer(&mut answer, now()) {
            Ok(()) => Ok(answer),
            // Some answer so that they do not know the zone. Believed are refusals only.
            Err(ValidationError::ServerUnsigned) if answer.is_error() => {
                self.expect(&answer, "a message", &[])?;
                Err(self.malformed())
            }
            Err(source) => Err(DnsError::Signature { server: self.server, source }),
        }
    }

    fn expect(
        &self,
        answer: &Message<Vec<u8>>,
        what: &'static str,
        fine: &[Rcode],
    ) -> Result<(), DnsError> {
        let rcode = answer.header().rcode();
        if fine.contains(&rcode) {
            return Ok(());
        }
        Err(DnsError::Refused { server: self.server, zone: self.zone.clone(), what, rcode })
    }

    fn unreachable(&self, source: io::Error) -> DnsError {
        DnsError::Unreachable { server: self.server, source }
    }

    fn malformed(&self) -> DnsError {
        DnsError::Malformed { server: self.server }
    }
}

impl Backend for Update {
    fn publish<'a>(&'a mut self, wanted: &'a Wanted) -> Publishing<'a> {
        Box::pin(async move {
            match wanted {
                Wanted::Unknown => Ok(None),
                Wanted::Addresses(addresses) if addresses.is_empty() => Err(DnsError::NoAddress),
                Wanted::Addresses(addresses) => self.bring_about(addresses).await,
            }
        })
    }
}

type Records<'a> = Vec<ParsedRecord<'a, Vec<u8>>>;

/// The records of the answer section.
fn records(message: &Message<Vec<u8>>) -> Result<Records<'_>, domain::base::wire::ParseError> {
    message.answer()?.collect()
}

fn key(told: &TsigKey) -> Option<Key> {
    let name: KeyName = told.name.to_string().parse().ok()?;
    let algorithm = match told.algorithm {
        TsigAlgorithm::HmacSha256 => Algorithm::Sha256,
        TsigAlgorithm::HmacSha512 => Algorithm::Sha512,
    };
    Key::new(algorithm, &told.secret, name, None, None).ok()
}

/// The time that signatures carry.
fn now() -> Time48 {
    Time48::from_u64(clock::wall_nanos() / 1_000_000_000)
}
