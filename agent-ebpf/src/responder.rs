//! Answers for the addresses this host holds. The rules are in `rais_common::arp`.

use rais_common::arp::{self, Frame, Kind, Verdict};
use rais_common::maps::{ConflictEvent, ServiceKey, mapped};

use crate::maps::Owned;
use crate::packet::Packet;
use crate::{Fate, maps};

/// An ARP packet in an untagged frame.
pub fn arp(packet: &mut Packet) -> Fate {
    let ifindex = packet.interface();
    let Some(frame) = packet.at_mut::<Frame>(0) else {
        maps::count(|c| c.arp_malformed += 1);
        return Fate::Pass;
    };
    let Some((key, owned, verdict)) = judge(frame, ifindex) else {
        return Fate::Pass;
    };
    match verdict {
        Verdict::Answer => {
            arp::answer(frame, owned.entry.mac);
            maps::count(|c| c.arp_answered += 1);
            Fate::SendBack
        }
        Verdict::Refuse => refuse(),
        Verdict::Claim => {
            maps::report(&ConflictEvent { key, mac: frame.sender_mac, reserved: [0; 2] });
            Fate::Pass
        }
        Verdict::Pass => Fate::Pass,
    }
}

/// An ARP packet behind a priority tag. Rare, so the kernel may answer it; but only while we would.
pub fn tagged_arp(packet: &Packet) -> Fate {
    // The Ethernet header is cut into by the skipped tag. Refusal does not look at it.
    let Some(frame) = packet.at::<Frame>(0) else {
        maps::count(|c| c.arp_malformed += 1);
        return Fate::Pass;
    };
    match judge(frame, packet.interface()) {
        Some((_, _, Verdict::Refuse)) => refuse(),
        _ => Fate::Pass,
    }
}

/// What is to be done with an ARP packet. None: it is not about an address of ours here.
#[inline(always)]
#[allow(clippy::inline_always, reason = "packet pointers do not survive a BPF function call")]
fn judge(frame: &Frame, ifindex: u32) -> Option<(ServiceKey, Owned, Verdict)> {
    let kind = arp::read(frame);
    let (address, asked) = match kind {
        Kind::Request(address) | Kind::Announcement(address) => (address, true),
        Kind::Reply(address) => (address, false),
        Kind::OtherRequest(address) => {
            maps::count(|c| c.arp_malformed += 1);
            (address, true)
        }
        Kind::Malformed => {
            maps::count(|c| c.arp_malformed += 1);
            return None;
        }
    };
    let key = ServiceKey { address: mapped(address), ifindex };
    let owned = maps::owned(&key)?;
    if asked {
        maps::count(|c| c.arp_asked += 1);
    }
    let verdict = arp::judge(kind, frame, &owned.entry, owned.live);
    Some((key, owned, verdict))
}

/// Drops a request, so that the kernel does not answer in our stead.
fn refuse() -> Fate {
    maps::count(|c| c.arp_refused += 1);
    Fate::Drop
}

/// A neighbour solicitation for `target`: left to the kernel while the address is live, dropped
/// when not. None: not for an address of this host.
pub fn solicitation(target: [u8; 16], ifindex: u32) -> Option<Fate> {
    let owned = maps::owned(&ServiceKey { address: target, ifindex })?;
    maps::count(|c| {
        c.nd_asked += 1;
        c.nd_refused += u64::from(!owned.live);
    });
    Some(if owned.live { Fate::Pass } else { Fate::Drop })
}
