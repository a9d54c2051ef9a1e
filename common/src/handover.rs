//! Traffic for an address that is on its way from one host to another: one set of rules, for the
//! XDP program and for simulations.
//!
//! The former holder sends on what still comes to it, under its own hardware address. It does so
//! only once it has ceased to accept, and the taker accepts nothing else before it is open: at
//! each instant one host at most accepts traffic for the address.

use crate::maps::{STATE_STAGED, ServiceEntry};

/// What becomes of a packet to an address that is not live on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// On to the kernel: the host that the address comes from has sent it on.
    Accept,
    /// On to the other host.
    Forward,
    /// Nowhere.
    Drop,
}

/// Decides about a packet from and to these hardware addresses. `forwards`: what
/// [`ServiceEntry::forwards`] says now. A packet that is to another machine, and came here because
/// a switch did not know better, is none of ours to send on.
#[inline]
#[must_use]
pub fn way(entry: &ServiceEntry, forwards: bool, destination: [u8; 6], source: [u8; 6]) -> Way {
    if !forwards {
        Way::Drop
    } else if entry.state == STATE_STAGED && source == entry.peer {
        Way::Accept
    } else if destination == entry.mac {
        Way::Forward
    } else {
        Way::Drop
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maps::{STATE_FENCED, STATE_FORWARDED, STATE_LEFT, STATE_OPEN};

    const OURS: [u8; 6] = [2, 0, 0, 0, 0, 0xaa];
    const PEER: [u8; 6] = [2, 0, 0, 0, 0, 0xbb];
    const CLIENT: [u8; 6] = [2, 0, 0, 0, 0, 0xcc];

    fn entry(state: u16) -> ServiceEntry {
        ServiceEntry { peer: PEER, until: 50, ..ServiceEntry::new(0, state, OURS) }
    }

    // Input: state, end of the lease, time. Output: whether packets are sent on. It ends at 50.
    #[test]
    fn sending_on_ends_with_its_time_and_the_lease() {
        let cases = [
            (STATE_FENCED, 100, 10, false),
            (STATE_OPEN, 100, 10, false),
            (STATE_STAGED, 100, 99, true),
            (STATE_STAGED, 100, 100, false),
            (STATE_FORWARDED, 100, 49, true),
            (STATE_FORWARDED, 100, 50, false),
            (STATE_FORWARDED, 40, 39, true),
            (STATE_FORWARDED, 40, 40, false),
            (STATE_LEFT, 0, 49, true),
            (STATE_LEFT, 0, 50, false),
        ];
        for (state, deadline, now, expected) in cases {
            let entry = entry(state);
            assert_eq!(entry.forwards(deadline, now), expected, "{state}, {deadline}, {now}");
            assert!(!entry.is_live(deadline, now) || state == STATE_OPEN);
            assert_eq!(entry.is_over(now), state == STATE_LEFT && now >= 50);
        }
    }

    // Input: state, from and to whom. Output: what becomes of the packet.
    #[test]
    fn a_packet_goes_one_way() {
        let cases = [
            (STATE_STAGED, PEER, OURS, Way::Accept),
            (STATE_STAGED, CLIENT, OURS, Way::Forward),
            (STATE_STAGED, CLIENT, PEER, Way::Drop),
            (STATE_FORWARDED, CLIENT, OURS, Way::Forward),
            (STATE_FORWARDED, PEER, OURS, Way::Forward),
            (STATE_FORWARDED, CLIENT, PEER, Way::Drop),
            (STATE_LEFT, CLIENT, OURS, Way::Forward),
        ];
        for (state, source, destination, expected) in cases {
            let entry = entry(state);
            let said = way(&entry, true, destination, source);
            assert_eq!(said, expected, "{state} {source:?} {destination:?}");
            assert_eq!(way(&entry, false, destination, source), Way::Drop);
        }
    }
}
