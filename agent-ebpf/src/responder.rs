//! Answers for the addresses this host holds. The rules are in `rais_common::arp` and
//! `rais_common::neighbour`.

#![allow(clippy::inline_always, reason = "packet pointers do not survive a BPF function call")]

use rais_common::arp::{self, Frame, Kind, Verdict};
use rais_common::maps::{ConflictEvent, ServiceKey, mapped};
use rais_common::neighbour::{self, Judgement, Length, Options, Unit, Verdict as Verdict6};

use crate::log::{Rare, log};
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
    let Some(judged) = judge(frame, ifindex) else {
        return Fate::Pass;
    };
    judged.count();
    match judged.verdict {
        Verdict::Answer => {
            arp::answer(frame, judged.owned.entry.mac);
            Fate::SendBack
        }
        Verdict::Refuse => {
            log(Rare::Refused, &judged.key, || frame.sender_mac);
            Fate::Drop
        }
        Verdict::Claim => {
            let mac = frame.sender_mac;
            maps::report(&ConflictEvent { key: judged.key, mac, reserved: [0; 2] });
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
    let Some(mut judged) = judge(frame, packet.interface()) else {
        return Fate::Pass;
    };
    if matches!(judged.verdict, Verdict::Refuse) {
        judged.count();
        log(Rare::Refused, &judged.key, || frame.sender_mac);
        return Fate::Drop;
    }
    judged.verdict = Verdict::Pass;
    judged.count();
    Fate::Pass
}

/// An ARP packet about an address of ours.
struct Judged {
    key: ServiceKey,
    owned: Owned,
    verdict: Verdict,
    /// It is a request.
    asked: bool,
}

impl Judged {
    /// Counts all there is to count, at once.
    #[inline(always)]
    fn count(&self) {
        if !self.asked {
            return;
        }
        maps::count(|c| {
            c.arp_asked += 1;
            c.arp_answered += u64::from(matches!(self.verdict, Verdict::Answer));
            c.arp_refused += u64::from(matches!(self.verdict, Verdict::Refuse));
        });
    }
}

/// What is to be done with an ARP packet. None: it is not about an address of ours here.
#[inline(always)]
fn judge(frame: &Frame, ifindex: u32) -> Option<Judged> {
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
    if matches!(kind, Kind::OtherRequest(_)) {
        log(Rare::Malformed, &key, || frame.sender_mac);
    }
    let verdict = arp::judge(kind, frame, &owned.entry, owned.live);
    Some(Judged { key, owned, verdict, asked })
}

/// A solicitation or an advertisement, right behind the IPv6 header. None: to be treated like other
/// traffic.
#[inline(always)]
pub fn neighbour(packet: &mut Packet, key: &ServiceKey, solicits: bool) -> Option<Fate> {
    let owned = maps::owned(key)?;
    if solicits {
        let live = owned.live;
        count_solicitation(live);
        if !live {
            log(Rare::Refused, key, || sender(packet));
            return Some(Fate::Drop);
        }
    }
    // Behind a tag there is no frame to judge. Rare, so the kernel may answer, while we would.
    if !owned.live || packet.is_tagged() {
        return solicits.then_some(Fate::Pass);
    }
    let Judgement { verdict, mac } = judge_neighbour(packet, &owned);
    if matches!(verdict, Verdict6::Claim | Verdict6::Defend) {
        maps::report(&ConflictEvent { key: *key, mac, reserved: [0; 2] });
    }
    if matches!(verdict, Verdict6::Answer | Verdict6::Defend) {
        return Some(advertise(packet, mac, owned.entry.mac));
    }
    if matches!(verdict, Verdict6::Malformed) && solicits {
        maps::count(|c| c.nd_malformed += 1);
        log(Rare::Malformed, key, || sender(packet));
    }
    solicits.then_some(Fate::Pass)
}

/// A solicitation behind an extension header, which no host sends: left to the kernel while the
/// address is live, dropped when not. None: not for an address of this host.
#[inline(always)]
pub fn hidden_solicitation(key: &ServiceKey) -> Option<Fate> {
    let owned = maps::owned(key)?;
    count_solicitation(owned.live);
    Some(if owned.live { Fate::Pass } else { Fate::Drop })
}

/// Who sent the frame, for the log; behind a priority tag that is not to be had.
#[inline(always)]
fn sender(packet: &Packet) -> [u8; 6] {
    packet.link().map_or([0; 6], |link| link.source)
}

/// Counts a solicitation for an address of ours.
fn count_solicitation(live: bool) {
    maps::count(|c| {
        c.nd_asked += 1;
        c.nd_refused += u64::from(!live);
    });
}

/// Collects what the rules are about.
#[inline(always)]
fn judge_neighbour(packet: &Packet, owned: &Owned) -> Judgement {
    let of_nobody = |verdict| Judgement { verdict, mac: [0; 6] };
    let Some(frame) = packet.at::<neighbour::Frame>(0) else {
        return of_nobody(Verdict6::Malformed);
    };
    let count = match neighbour::options_length(frame) {
        Length::Units(count) => count,
        Length::Long => return of_nobody(Verdict6::Pass),
        Length::Wrong => return of_nobody(Verdict6::Malformed),
    };
    let Some(units) = units(packet, count) else {
        return of_nobody(Verdict6::Malformed);
    };
    neighbour::judge(frame, &Options { count, units }, &owned.entry)
}

/// So many units of options. None: cut off.
#[inline(always)]
fn units(packet: &Packet, count: u8) -> Option<[u64; neighbour::MAX_UNITS]> {
    const OPTIONS: usize = size_of::<neighbour::Frame>();
    const LENGTH: usize = size_of::<Unit>();
    let first = unit::<OPTIONS>(packet, count > 0)?;
    let second = unit::<{ OPTIONS + LENGTH }>(packet, count > 1)?;
    let third = unit::<{ OPTIONS + 2 * LENGTH }>(packet, count > 2)?;
    let fourth = unit::<{ OPTIONS + 3 * LENGTH }>(packet, count > 3)?;
    Some([first, second, third, fourth])
}

/// The unit at an offset; zero where there is none. None: cut off.
#[inline(always)]
fn unit<const OFFSET: usize>(packet: &Packet, there: bool) -> Option<u64> {
    if there { packet.at::<Unit>(OFFSET).map(|unit| u64::from_ne_bytes(*unit)) } else { Some(0) }
}

/// Sends the answer back. Where the driver has no room for it, the kernel may answer.
#[inline(always)]
fn advertise(packet: &mut Packet, to: [u8; 6], mac: [u8; 6]) -> Fate {
    const LENGTH: u64 = size_of::<neighbour::Answer>() as u64;
    if !packet.resize::<LENGTH>() {
        return Fate::Pass;
    }
    let Some(answer) = packet.at_mut::<neighbour::Answer>(0) else {
        return Fate::Pass;
    };
    neighbour::answer(answer, to, mac);
    maps::count(|c| c.nd_answered += 1);
    Fate::SendBack
}
