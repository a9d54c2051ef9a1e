//! The forms of what is said in parts.

use bincode::{Decode, Encode};

use super::{Address, List, MAX_ADDRESSES, state, state_number};
use crate::group::{ASK_LIMIT, Ask, Listed, Part, PartOf, Slice, Sum};
use crate::wire::{Refusal, WireError};

#[derive(Encode, Decode)]
pub(super) struct SumForm {
    bits: u8,
    digest: u64,
}

impl SumForm {
    pub(super) fn of(sum: Sum) -> Self {
        Self { bits: sum.bits, digest: sum.digest }
    }

    pub(super) fn entry(self) -> Result<Sum, Refusal> {
        Ok(Sum { bits: bits(self.bits)?, digest: self.digest })
    }
}

/// There are at most 2^16 slices.
const fn bits(bits: u8) -> Result<u8, Refusal> {
    if bits <= 16 { Ok(bits) } else { Err(Refusal::Malformed) }
}

#[derive(Encode, Decode)]
pub(super) struct ListsForm {
    bits: u8,
    index: u16,
    entries: List<ListedForm, MAX_ADDRESSES>,
}

impl ListsForm {
    pub(super) fn of(slice: Slice, entries: &[Listed]) -> Result<Self, WireError> {
        let entries = List::of("addresses of a part", entries, ListedForm::of)?;
        Ok(Self { bits: slice.bits, index: slice.index, entries })
    }

    pub(super) fn body(self) -> Result<Part, Refusal> {
        let slice = Slice { bits: bits(self.bits)?, index: self.index };
        Ok(Part::Lists(slice, self.entries.items(ListedForm::entry)?))
    }
}

/// The flags: 1 it is preferred, 2 it is refused.
#[derive(Encode, Decode)]
struct ListedForm {
    address: Address,
    flags: u8,
    served: Option<(u8, u64)>,
}

impl ListedForm {
    fn of(listed: &Listed) -> Self {
        Self {
            address: Address::of(&listed.address),
            flags: u8::from(listed.preferred) | u8::from(listed.refused) << 1,
            served: listed.served.map(|(state, epoch)| (state_number(state), epoch)),
        }
    }

    fn entry(self) -> Result<Listed, Refusal> {
        let served = self.served.map(|(number, epoch)| Ok((state(number)?, epoch))).transpose()?;
        if self.flags > 3 {
            return Err(Refusal::Malformed);
        }
        let (preferred, refused) = (self.flags & 1 != 0, self.flags & 2 != 0);
        Ok(Listed { address: self.address.ip()?, preferred, refused, served })
    }
}

#[derive(Encode, Decode)]
pub(super) struct AskForm {
    to: Address,
    of: u8,
    bits: u8,
    first: u16,
    sums: List<u32, ASK_LIMIT>,
}

impl AskForm {
    pub(super) fn of(ask: &Ask) -> Result<Self, WireError> {
        let of = match ask.of {
            PartOf::Lists => 1,
            PartOf::Database => 2,
        };
        let sums = List::of("sums of a question", &ask.sums, |&sum| sum)?;
        Ok(Self { to: Address::of(&ask.to.0), of, bits: ask.bits, first: ask.first, sums })
    }

    pub(super) fn body(self) -> Result<Ask, Refusal> {
        let of = match self.of {
            1 => PartOf::Lists,
            2 => PartOf::Database,
            _ => return Err(Refusal::Malformed),
        };
        let bits = bits(self.bits)?;
        let sums = self.sums.items(Ok)?;
        Ok(Ask { to: self.to.host()?, of, bits, first: self.first, sums })
    }
}
