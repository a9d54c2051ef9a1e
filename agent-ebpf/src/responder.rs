//! Answers for the addresses this host holds. The rules are in `rais_common::arp`.

use rais_common::arp::{self, Frame, Kind, Verdict};
use rais_common::maps::{ConflictEvent, ServiceKey, mapped};

use crate::packet::Packet;
use crate::{Fate, maps};

/// An ARP packet.
pub fn arp(packet: &mut Packet) -> Fate {
    let ifindex = packet.interface();
    let Some(frame) = packet.at_mut::<Frame>(0) else {
        maps::count(|c| c.arp_malformed += 1);
        return Fate::Pass;
    };
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
            return Fate::Pass;
        }
    };
    let key = ServiceKey { address: mapped(address), ifindex };
    let Some(owned) = maps::owned(&key) else {
        return Fate::Pass;
    };
    if asked {
        maps::count(|c| c.arp_asked += 1);
    }
    match arp::judge(kind, frame, &owned.entry, owned.live) {
        Verdict::Answer => {
            arp::answer(frame, owned.entry.mac);
            maps::count(|c| c.arp_answered += 1);
            Fate::SendBack
        }
        Verdict::Refuse => {
            maps::count(|c| c.arp_refused += 1);
            Fate::Drop
        }
        Verdict::Claim => {
            maps::report(&ConflictEvent { key, mac: frame.sender_mac, reserved: [0; 2] });
            Fate::Pass
        }
        Verdict::Pass => Fate::Pass,
    }
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
