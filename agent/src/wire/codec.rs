//! The payload: bincode, on forms of its own, so that a change of the group's types cannot
//! change the wire by accident.
//!
//! The forms say exactly what is on the wire: addresses as a family number (4 or 6) and their
//! bytes, spans as whole milliseconds, enums as numbers, lists with a limit. Decoding allocates no
//! more than a small multiple of the datagram's length: a list is refused before room is made for
//! it if it is longer than its limit or than the bytes that are left.

mod parts;

use std::net::IpAddr;
use std::time::Duration;

use bincode::de::read::Reader;
use bincode::de::{BorrowDecoder, Decoder};
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};
use bincode::{BorrowDecode, Decode, Encode, config};

use super::header::Kind;
use super::{Refusal, WireError};
use crate::group::{
    AddressState, Body, HostId, HostInfo, Info, Known, MoveAnswer, MoveRefusal, MoveRequest,
    ORDER_LIMIT, Order, OrderEntry, Part, Phase, Reason, Record, Served,
};
use parts::{AskForm, ListsForm, SumForm};

/// Most control addresses of a host.
pub const MAX_CONTROL_ADDRESSES: usize = 16;
/// Most other hosts in a heartbeat.
pub const MAX_HOSTS: usize = 1_024;
/// Most addresses in each list of a heartbeat.
pub const MAX_ADDRESSES: usize = 4_096;

/// Most memory one datagram may decode to, as bincode counts it: a second limit, should one of
/// the lists' own be wrong.
const MEMORY_LIMIT: usize = 512 * 1_024;

const FORMAT: config::Configuration<
    config::LittleEndian,
    config::Varint,
    config::Limit<MEMORY_LIMIT>,
> = config::standard().with_limit::<MEMORY_LIMIT>();

/// Appends the payload for `body`.
pub(super) fn encode(body: &Body, out: &mut Vec<u8>) -> Result<(), WireError> {
    let written = match body {
        Body::Info(info) => write(&InfoForm::of(info)?, out),
        Body::Acquire(order) | Body::Release(order) => write(&OrderForm::of(order)?, out),
        Body::Move(request) => write(&MoveForm::of(request), out),
        Body::MoveRefused(answer) => write(&AnswerForm::of(answer), out),
        Body::Part(Part::Lists(slice, entries)) => write(&ListsForm::of(*slice, entries)?, out),
        Body::Part(Part::Records(records)) => write(&records_form(records)?, out),
        Body::Ask(ask) => write(&AskForm::of(ask)?, out),
    };
    written.map_err(WireError::Encode)
}

fn write<T: Encode>(form: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    bincode::encode_into_std_write(form, out, FORMAT).map(|_length| ())
}

/// Reads a payload, all of it.
pub(super) fn decode(kind: Kind, payload: &[u8]) -> Result<Body, Refusal> {
    match kind {
        Kind::Info => read::<InfoForm>(payload)?.body().map(|info| Body::Info(Box::new(info))),
        Kind::Acquire => read::<OrderForm>(payload)?.body().map(Body::Acquire),
        Kind::Release => read::<OrderForm>(payload)?.body().map(Body::Release),
        Kind::Move => read::<MoveForm>(payload)?.body().map(Body::Move),
        Kind::MoveRefused => read::<AnswerForm>(payload)?.body().map(Body::MoveRefused),
        Kind::Lists => read::<ListsForm>(payload)?.body().map(Body::Part),
        Kind::Records => {
            let records = read::<Records>(payload)?.items(RecordForm::entry)?;
            Ok(Body::Part(Part::Records(records)))
        }
        Kind::Ask => read::<AskForm>(payload)?.body().map(Body::Ask),
    }
}

fn read<T: Decode<()>>(payload: &[u8]) -> Result<T, Refusal> {
    match bincode::decode_from_slice(payload, FORMAT) {
        Ok((form, used)) if used == payload.len() => Ok(form),
        Ok(_) | Err(_) => Err(Refusal::Malformed),
    }
}

/// A list of at most `MAX` items, each of at least one byte.
struct List<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> List<T, MAX> {
    fn of<S>(what: &'static str, from: &[S], form: impl Fn(&S) -> T) -> Result<Self, WireError> {
        if from.len() > MAX {
            return Err(WireError::TooMany { what, length: from.len(), limit: MAX });
        }
        Ok(Self(from.iter().map(form).collect()))
    }

    /// The items as the group knows them.
    fn items<S>(self, item: impl Fn(T) -> Result<S, Refusal>) -> Result<Vec<S>, Refusal> {
        self.0.into_iter().map(item).collect()
    }
}

impl<T: Encode, const MAX: usize> Encode for List<T, MAX> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        // The length and the items.
        self.0.encode(encoder)
    }
}

impl<C, T: Decode<C>, const MAX: usize> Decode<C> for List<T, MAX> {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let length = usize::try_from(u64::decode(decoder)?).unwrap_or(usize::MAX);
        if length > MAX {
            return Err(DecodeError::LimitExceeded);
        }
        if decoder.reader().peek_read(length).is_none() {
            return Err(DecodeError::UnexpectedEnd { additional: length });
        }
        decoder.claim_container_read::<T>(length)?;
        let mut items = Vec::with_capacity(length);
        for _ in 0..length {
            decoder.unclaim_bytes_read(size_of::<T>());
            items.push(T::decode(decoder)?);
        }
        Ok(Self(items))
    }
}

impl<'de, C, T: Decode<C>, const MAX: usize> BorrowDecode<'de, C> for List<T, MAX> {
    fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(
        decoder: &mut D,
    ) -> Result<Self, DecodeError> {
        Self::decode(decoder)
    }
}

/// The number of its family and its bytes.
enum Address {
    V4([u8; 4]),
    V6([u8; 16]),
}

impl Encode for Address {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        match self {
            Self::V4(octets) => (4_u8, octets).encode(encoder),
            Self::V6(octets) => (6_u8, octets).encode(encoder),
        }
    }
}

impl<C> Decode<C> for Address {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        match u8::decode(decoder)? {
            4 => Decode::decode(decoder).map(Self::V4),
            6 => Decode::decode(decoder).map(Self::V6),
            _ => Err(DecodeError::Other("no such address family")),
        }
    }
}

bincode::impl_borrow_decode!(Address);

impl Address {
    fn of(address: &IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.octets()),
            IpAddr::V6(v6) => Self::V6(v6.octets()),
        }
    }

    /// Each address has one form only: an IPv4 address in IPv6 clothes is refused.
    fn ip(self) -> Result<IpAddr, Refusal> {
        let address = match self {
            Self::V4(octets) => IpAddr::from(octets),
            Self::V6(octets) => IpAddr::from(octets),
        };
        if address == address.to_canonical() { Ok(address) } else { Err(Refusal::Malformed) }
    }

    fn host(self) -> Result<HostId, Refusal> {
        self.ip().map(HostId)
    }
}

#[derive(Encode, Decode)]
struct InfoForm {
    host: HostForm,
    lists: Option<SumForm>,
    known: List<KnownForm, MAX_HOSTS>,
    knows_more: bool,
    database: Records,
    records: Option<SumForm>,
    lease_us: u64,
}

impl InfoForm {
    fn of(info: &Info) -> Result<Self, WireError> {
        Ok(Self {
            host: HostForm::of(&info.host)?,
            lists: info.lists.map(SumForm::of),
            known: List::of("known hosts", &info.known, KnownForm::of)?,
            knows_more: info.knows_more,
            database: records_form(&info.database)?,
            records: info.records.map(SumForm::of),
            lease_us: microseconds(info.lease),
        })
    }

    fn body(self) -> Result<Info, Refusal> {
        Ok(Info {
            host: self.host.entry()?,
            lists: self.lists.map(SumForm::entry).transpose()?,
            known: self.known.items(KnownForm::entry)?,
            knows_more: self.knows_more,
            database: self.database.items(RecordForm::entry)?,
            records: self.records.map(SumForm::entry).transpose()?,
            lease: Duration::from_micros(self.lease_us),
        })
    }
}

type Records = List<RecordForm, MAX_ADDRESSES>;

fn records_form(records: &[Record]) -> Result<Records, WireError> {
    List::of("database records", records, RecordForm::of)
}

#[derive(Encode, Decode)]
struct HostForm {
    control: List<Address, MAX_CONTROL_ADDRESSES>,
    mac: [u8; 6],
    ok: bool,
    quiesced: bool,
    phase: u8,
    leader: Option<Address>,
    load: u32,
    capacity: u32,
    preferred: List<Address, MAX_ADDRESSES>,
    served: List<ServedForm, MAX_ADDRESSES>,
    refused: List<Address, MAX_ADDRESSES>,
}

impl HostForm {
    fn of(host: &HostInfo) -> Result<Self, WireError> {
        Ok(Self {
            control: List::of("control addresses", &host.control_addresses, Address::of)?,
            mac: host.mac,
            ok: host.ok,
            quiesced: host.quiesced,
            phase: phase_number(host.phase),
            leader: host.leader.map(|leader| Address::of(&leader.0)),
            load: host.load,
            capacity: host.capacity,
            preferred: List::of("preferred addresses", &host.preferred, Address::of)?,
            served: List::of("served addresses", &host.served, ServedForm::of)?,
            refused: List::of("refused addresses", &host.refused, Address::of)?,
        })
    }

    fn entry(self) -> Result<HostInfo, Refusal> {
        Ok(HostInfo {
            control_addresses: self.control.items(Address::ip)?,
            mac: self.mac,
            ok: self.ok,
            quiesced: self.quiesced,
            phase: phase(self.phase)?,
            leader: self.leader.map(Address::host).transpose()?,
            load: self.load,
            capacity: self.capacity,
            preferred: self.preferred.items(Address::ip)?,
            served: self.served.items(ServedForm::entry)?,
            refused: self.refused.items(Address::ip)?,
        })
    }
}

#[derive(Encode, Decode)]
struct ServedForm {
    address: Address,
    state: u8,
    epoch: u64,
}

impl ServedForm {
    fn of(served: &Served) -> Self {
        let state = state_number(served.state);
        Self { address: Address::of(&served.address), state, epoch: served.epoch }
    }

    fn entry(self) -> Result<Served, Refusal> {
        let state = state(self.state)?;
        Ok(Served { address: self.address.ip()?, state, epoch: self.epoch })
    }
}

#[derive(Encode, Decode)]
struct KnownForm {
    id: Address,
    boot: u64,
    sequence: u64,
    age_ms: u64,
}

impl KnownForm {
    fn of(known: &Known) -> Self {
        Self {
            id: Address::of(&known.id.0),
            boot: known.boot,
            sequence: known.sequence,
            age_ms: milliseconds(known.age),
        }
    }

    fn entry(self) -> Result<Known, Refusal> {
        Ok(Known {
            id: self.id.host()?,
            boot: self.boot,
            sequence: self.sequence,
            age: Duration::from_millis(self.age_ms),
        })
    }
}

#[derive(Encode, Decode)]
struct RecordForm {
    address: Address,
    preferred: Option<Address>,
    age_ms: u64,
    epoch: u64,
    withdrawn: bool,
}

impl RecordForm {
    fn of(record: &Record) -> Self {
        Self {
            address: Address::of(&record.address),
            preferred: record.preferred.map(|host| Address::of(&host.0)),
            age_ms: milliseconds(record.age),
            epoch: record.epoch,
            withdrawn: record.withdrawn,
        }
    }

    fn entry(self) -> Result<Record, Refusal> {
        Ok(Record {
            address: self.address.ip()?,
            preferred: self.preferred.map(Address::host).transpose()?,
            age: Duration::from_millis(self.age_ms),
            epoch: self.epoch,
            withdrawn: self.withdrawn,
        })
    }
}

#[derive(Encode, Decode)]
struct OrderForm {
    to: Address,
    entries: List<OrderEntryForm, ORDER_LIMIT>,
}

impl OrderForm {
    fn of(order: &Order) -> Result<Self, WireError> {
        let entries = List::of("addresses of an order", &order.entries, OrderEntryForm::of)?;
        Ok(Self { to: Address::of(&order.to.0), entries })
    }

    fn body(self) -> Result<Order, Refusal> {
        let entries = self.entries.items(OrderEntryForm::entry)?;
        Ok(Order { to: self.to.host()?, entries })
    }
}

#[derive(Encode, Decode)]
struct OrderEntryForm {
    address: Address,
    epoch: u64,
    reason: u8,
    other: Option<Address>,
}

impl OrderEntryForm {
    fn of(entry: &OrderEntry) -> Self {
        let reason = reason_number(entry.reason);
        let other = entry.other.map(|host| Address::of(&host.0));
        Self { address: Address::of(&entry.address), epoch: entry.epoch, reason, other }
    }

    fn entry(self) -> Result<OrderEntry, Refusal> {
        let reason = reason(self.reason)?;
        let other = self.other.map(Address::host).transpose()?;
        Ok(OrderEntry { address: self.address.ip()?, epoch: self.epoch, reason, other })
    }
}

#[derive(Encode, Decode)]
struct MoveForm {
    leader: Address,
    address: Address,
    to: Address,
}

impl MoveForm {
    fn of(request: &MoveRequest) -> Self {
        Self {
            leader: Address::of(&request.leader.0),
            address: Address::of(&request.address),
            to: Address::of(&request.to.0),
        }
    }

    fn body(self) -> Result<MoveRequest, Refusal> {
        let (leader, to) = (self.leader.host()?, self.to.host()?);
        Ok(MoveRequest { leader, address: self.address.ip()?, to })
    }
}

#[derive(Encode, Decode)]
struct AnswerForm {
    to: Address,
    address: Address,
    refusal: u8,
}

impl AnswerForm {
    fn of(answer: &MoveAnswer) -> Self {
        Self {
            to: Address::of(&answer.to.0),
            address: Address::of(&answer.address),
            refusal: refusal_number(answer.refusal),
        }
    }

    fn body(self) -> Result<MoveAnswer, Refusal> {
        let refusal = move_refusal(self.refusal)?;
        Ok(MoveAnswer { to: self.to.host()?, address: self.address.ip()?, refusal })
    }
}

/// Whole milliseconds, rounded down.
/// Rounded up: who promises to be silent by then is believed.
fn microseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos().div_ceil(1_000)).unwrap_or(u64::MAX)
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

const fn phase_number(phase: Phase) -> u8 {
    match phase {
        Phase::Joining => 1,
        Phase::Member => 2,
        Phase::Leaving => 3,
    }
}

const fn phase(number: u8) -> Result<Phase, Refusal> {
    match number {
        1 => Ok(Phase::Joining),
        2 => Ok(Phase::Member),
        3 => Ok(Phase::Leaving),
        _ => Err(Refusal::Malformed),
    }
}

const fn state_number(state: AddressState) -> u8 {
    match state {
        AddressState::Acquiring => 1,
        AddressState::Online => 2,
        AddressState::Releasing => 3,
        AddressState::Preparing => 4,
        AddressState::Prepared => 5,
    }
}

const fn state(number: u8) -> Result<AddressState, Refusal> {
    match number {
        1 => Ok(AddressState::Acquiring),
        2 => Ok(AddressState::Online),
        3 => Ok(AddressState::Releasing),
        4 => Ok(AddressState::Preparing),
        5 => Ok(AddressState::Prepared),
        _ => Err(Refusal::Malformed),
    }
}

const fn reason_number(reason: Reason) -> u8 {
    match reason {
        Reason::Unserved => 1,
        Reason::Failback => 2,
        Reason::Duplicate => 3,
        Reason::Expired => 4,
        Reason::Stuck => 5,
        Reason::Balance => 6,
        Reason::Operator => 7,
        Reason::TestFailed => 8,
        Reason::LeaseLapsed => 9,
        Reason::Superseded => 10,
        Reason::QuorumLost => 11,
        Reason::Shutdown => 12,
        Reason::AcquireFailed => 13,
        Reason::HostDown => 14,
        Reason::Spread => 15,
    }
}

const fn reason(number: u8) -> Result<Reason, Refusal> {
    Ok(match number {
        1 => Reason::Unserved,
        2 => Reason::Failback,
        3 => Reason::Duplicate,
        4 => Reason::Expired,
        5 => Reason::Stuck,
        6 => Reason::Balance,
        7 => Reason::Operator,
        8 => Reason::TestFailed,
        9 => Reason::LeaseLapsed,
        10 => Reason::Superseded,
        11 => Reason::QuorumLost,
        12 => Reason::Shutdown,
        13 => Reason::AcquireFailed,
        14 => Reason::HostDown,
        15 => Reason::Spread,
        _ => return Err(Refusal::Malformed),
    })
}

const fn refusal_number(refusal: MoveRefusal) -> u8 {
    match refusal {
        MoveRefusal::UnknownAddress => 1,
        MoveRefusal::UnknownHost => 2,
        MoveRefusal::NotOk => 3,
        MoveRefusal::Quiesced => 4,
        MoveRefusal::NotMember => 5,
        MoveRefusal::Refuses => 6,
        MoveRefusal::HasIt => 7,
        MoveRefusal::Moving => 8,
        MoveRefusal::FailsBack => 9,
        MoveRefusal::NoQuorum => 10,
        MoveRefusal::NoLeader => 11,
        MoveRefusal::Elsewhere => 12,
        MoveRefusal::Late => 13,
        MoveRefusal::Busy => 14,
    }
}

const fn move_refusal(number: u8) -> Result<MoveRefusal, Refusal> {
    Ok(match number {
        1 => MoveRefusal::UnknownAddress,
        2 => MoveRefusal::UnknownHost,
        3 => MoveRefusal::NotOk,
        4 => MoveRefusal::Quiesced,
        5 => MoveRefusal::NotMember,
        6 => MoveRefusal::Refuses,
        7 => MoveRefusal::HasIt,
        8 => MoveRefusal::Moving,
        9 => MoveRefusal::FailsBack,
        10 => MoveRefusal::NoQuorum,
        11 => MoveRefusal::NoLeader,
        12 => MoveRefusal::Elsewhere,
        13 => MoveRefusal::Late,
        14 => MoveRefusal::Busy,
        _ => return Err(Refusal::Malformed),
    })
}
