//! Random messages, the same ones for the same seed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use rais::group::{
    ASK_LIMIT, AddressState, Ask, Body, HostId, HostInfo, Info, Known, Listed, Message, MoveAnswer,
    MoveRefusal, MoveRequest, ORDER_LIMIT, Order, OrderEntry, Part, PartOf, Phase, Reason, Record,
    Served, Slice, Sum,
};

const REFUSALS: [MoveRefusal; 13] = [
    MoveRefusal::Busy,
    MoveRefusal::UnknownHost,
    MoveRefusal::NotOk,
    MoveRefusal::Quiesced,
    MoveRefusal::NotMember,
    MoveRefusal::Refuses,
    MoveRefusal::HasIt,
    MoveRefusal::Moving,
    MoveRefusal::FailsBack,
    MoveRefusal::NoQuorum,
    MoveRefusal::NoLeader,
    MoveRefusal::Elsewhere,
    MoveRefusal::Late,
];

/// A seeded generator (splitmix64): quick, and good enough to make test data.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// Any number.
    pub const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub const fn below(&mut self, limit: u64) -> u64 {
        self.number() % limit
    }

    /// A number of any magnitude: small ones are as likely as large ones.
    pub const fn magnitude(&mut self) -> u64 {
        let shift = self.below(64);
        self.number() >> shift
    }

    /// One byte.
    pub const fn byte(&mut self) -> u8 {
        self.number().to_be_bytes()[0]
    }

    /// True in one of `of` cases.
    pub const fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }

    /// A position in something of this length, which is not 0.
    pub fn position(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// Up to `most` of what `item` makes.
    pub fn list<T>(&mut self, most: usize, mut item: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let length = self.position(most + 1);
        (0..length).map(|_| item(self)).collect()
    }

    /// One of these; there is at least one.
    pub fn one_of<T: Copy>(&mut self, first: T, others: &[T]) -> T {
        let position = self.position(others.len() + 1);
        position.checked_sub(1).and_then(|index| others.get(index)).copied().unwrap_or(first)
    }

    /// A unicast address of either family.
    pub fn address(&mut self) -> IpAddr {
        let [a, b, c, d, ..] = self.number().to_be_bytes();
        if self.one_in(2) {
            return Ipv4Addr::new(10, b, c, d).into();
        }
        let low = self.magnitude();
        Ipv6Addr::from(u128::from(low) | 0x2001_0db8_u128 << 96 | u128::from(a) << 72).into()
    }

    /// A host id.
    pub fn host(&mut self) -> HostId {
        HostId(self.address())
    }

    /// A span of whole milliseconds.
    pub const fn span(&mut self) -> Duration {
        Duration::from_millis(self.magnitude())
    }

    /// A message of any type, with at most `most` entries in each list.
    pub fn message(&mut self, most: usize) -> Message {
        let body = match self.below(7) {
            0 => Body::Acquire(self.order(most)),
            1 => Body::Release(self.order(most)),
            2 => Body::Move(MoveRequest {
                leader: self.host(),
                address: self.address(),
                to: self.host(),
            }),
            3 => Body::MoveRefused(MoveAnswer {
                to: self.host(),
                address: self.address(),
                refusal: self.one_of(MoveRefusal::UnknownAddress, &REFUSALS),
            }),
            4 => Body::Part(self.part(most)),
            5 => Body::Ask(Ask {
                to: self.host(),
                of: self.one_of(PartOf::Lists, &[PartOf::Database]),
                bits: self.byte() % 17,
                first: self.byte().into(),
                sums: self.list(most.min(ASK_LIMIT), |random| random.byte().into()),
            }),
            _ => Body::Info(Box::new(self.info(most))),
        };
        let (source, boot) = (self.host(), self.magnitude());
        Message { source, boot, sequence: self.magnitude().max(1), body }
    }

    fn order(&mut self, most: usize) -> Order {
        let to = self.host();
        let entries = self.list(most.min(ORDER_LIMIT), |random| OrderEntry {
            address: random.address(),
            epoch: random.magnitude(),
            reason: random.reason(),
            other: if random.one_in(2) { Some(random.host()) } else { None },
        });
        Order { to, entries }
    }

    fn reason(&mut self) -> Reason {
        let others = [
            Reason::Failback,
            Reason::Duplicate,
            Reason::Expired,
            Reason::Stuck,
            Reason::Balance,
            Reason::Spread,
            Reason::Operator,
            Reason::TestFailed,
            Reason::LeaseLapsed,
            Reason::Superseded,
            Reason::QuorumLost,
            Reason::Shutdown,
            Reason::AcquireFailed,
        ];
        self.one_of(Reason::Unserved, &others)
    }

    fn info(&mut self, most: usize) -> Info {
        let known = self.list(most, |random| Known {
            id: random.host(),
            boot: random.magnitude(),
            sequence: random.magnitude(),
            age: random.span(),
        });
        let database = self.list(most, Self::record);
        let (lists, records) = (self.sum(), self.sum());
        Info {
            host: self.entry(most),
            lists,
            known,
            knows_more: self.one_in(2),
            database,
            records,
            lease: Duration::from_micros(self.magnitude()),
        }
    }

    fn record(&mut self) -> Record {
        Record {
            address: self.address(),
            preferred: if self.one_in(2) { Some(self.host()) } else { None },
            age: self.span(),
            epoch: self.magnitude(),
            withdrawn: self.one_in(2),
        }
    }

    fn sum(&mut self) -> Option<Sum> {
        self.one_in(2).then(|| Sum { bits: self.byte() % 17, digest: self.magnitude() })
    }

    fn part(&mut self, most: usize) -> Part {
        if self.one_in(2) {
            return Part::Records(self.list(most, Self::record));
        }
        let slice = Slice { bits: self.byte() % 17, index: self.byte().into() };
        let entries = self.list(most, |random| Listed {
            address: random.address(),
            preferred: random.one_in(2),
            refused: random.one_in(2),
            served: random.one_in(2).then(|| (AddressState::Online, random.magnitude())),
        });
        Part::Lists(slice, entries)
    }

    fn entry(&mut self, most: usize) -> HostInfo {
        let states = [
            AddressState::Online,
            AddressState::Releasing,
            AddressState::Preparing,
            AddressState::Prepared,
        ];
        HostInfo {
            control_addresses: self.list(most.min(16), Self::address),
            mac: std::array::from_fn(|_| self.byte()),
            ok: self.one_in(2),
            quiesced: self.one_in(2),
            phase: self.one_of(Phase::Joining, &[Phase::Member, Phase::Leaving]),
            leader: if self.one_in(3) { None } else { Some(self.host()) },
            load: self.byte().into(),
            capacity: u32::MAX - u32::from(self.byte()),
            preferred: self.list(most, Self::address),
            served: self.list(most, |random| Served {
                address: random.address(),
                state: random.one_of(AddressState::Acquiring, &states),
                epoch: random.magnitude(),
            }),
            refused: self.list(most, Self::address),
        }
    }
}
