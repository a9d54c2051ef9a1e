//! The leader's way through the addresses of a group: of very many it takes some in each turn.

use std::net::IpAddr;

/// How far the leader has come with the addresses of the group, of which it takes some at a time.
#[derive(Clone, Copy, Debug, Default, Hash)]
pub(super) struct Sweep {
    /// The first of those that are still to come; none: it begins anew.
    next: Option<IpAddr>,
    /// Something has changed since it began: it is to begin anew at its end.
    again: bool,
    /// It has brought about a decision.
    decided: bool,
}

impl Sweep {
    /// A turn begins. `anew`: something has changed since the last one.
    pub fn begin(&mut self, anew: bool) {
        if self.next.is_none() {
            *self = Self::default();
        } else {
            self.again |= anew;
        }
    }

    /// A turn has come as far as this; to the end (none). Whether everything was looked at.
    pub fn end(&mut self, next: Option<IpAddr>, decided: bool) -> bool {
        self.next = next;
        self.decided |= decided;
        next.is_none()
    }

    /// The first address to be looked at; none: the first there is.
    pub const fn next(&self) -> Option<IpAddr> {
        self.next
    }

    /// There is more to look at than the last turn had room for.
    pub const fn is_unfinished(&self) -> bool {
        self.next.is_some() || self.again
    }

    /// It has brought about a decision.
    pub const fn has_decided(&self) -> bool {
        self.decided
    }
}
