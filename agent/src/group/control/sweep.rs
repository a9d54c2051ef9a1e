//! The leader's way through the addresses of a group: of very many it takes some in each turn.

use std::net::IpAddr;

/// How far the leader has come with the addresses of the group, of which it takes some at a time.
#[derive(Clone, Copy, Debug, Default, Hash)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own, not a state")]
pub(super) struct Sweep {
    /// The first of those that are still to come; none: it begins anew.
    next: Option<IpAddr>,
    /// Something has changed since it began: it is to begin anew at its end.
    again: bool,
    /// It has brought about a decision.
    decided: bool,
    /// It began at once, because of something that could not wait.
    hurried: bool,
    /// The next one is to.
    hurry: bool,
}

impl Sweep {
    /// A turn begins. `anew`: something has changed since the last one.
    pub fn begin(&mut self, anew: bool) {
        if self.next.is_none() {
            *self = Self { hurried: self.hurry, ..Self::default() };
        } else {
            self.again |= anew;
        }
    }

    /// What has changed cannot wait until what comes next has been looked at: begins anew with the
    /// next turn, or, where it did so already for such a reason, once it has come to its end.
    pub fn hurry(&mut self) {
        self.hurry = true;
        if !self.hurried {
            self.next = None;
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
        self.next.is_some() || self.again || self.hurry
    }

    /// It is to begin anew without a pause.
    pub const fn hurries(&self) -> bool {
        self.hurry
    }

    /// It has brought about a decision.
    pub const fn has_decided(&self) -> bool {
        self.decided
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u8) -> IpAddr {
        IpAddr::from([10, 78, 0, n])
    }

    // Hurried amid a sweep → it begins anew; once more amid that one → that one goes on to its end
    // first: whatever happens how often, all are looked at.
    #[test]
    fn a_hurried_one_comes_to_its_end() {
        let mut sweep = Sweep::default();
        sweep.begin(true);
        sweep.end(Some(address(1)), false);
        sweep.hurry();
        assert!(sweep.next().is_none() && sweep.hurries());
        for turn in 1..5 {
            sweep.begin(true);
            assert_eq!(sweep.next(), (turn > 1).then(|| address(turn)));
            sweep.end(Some(address(turn + 1)), false);
            sweep.hurry();
        }
        sweep.begin(true);
        assert!(sweep.end(None, false) && sweep.hurries(), "once more");
        sweep.begin(true);
        assert!(sweep.end(None, false) && !sweep.hurries() && !sweep.is_unfinished());
    }
}
