//! Neighbour discovery on bounded bytes (RFC 4861, RFC 4862): one set of rules, run by the XDP
//! program on packets and by ordinary tests on values.
//!
//! A solicitation or an advertisement whose target has a map entry is [`judge`]d, all of it that
//! counts; [`answer`] turns a solicitation into the advertisement where it stands.

#![allow(clippy::inline_always, reason = "packet pointers do not survive a BPF function call")]
#![allow(clippy::many_single_char_names, reason = "the six bytes of a hardware address")]

use crate::maps::ServiceEntry;

/// `EtherType` of IPv6.
pub const ETHERTYPE: u16 = 0x86dd;
/// IP protocol number of `ICMPv6`.
pub const ICMPV6: u8 = 58;
/// `ICMPv6` type of a solicitation (RFC 4861, 4.3).
pub const SOLICITATION: u8 = 135;
/// `ICMPv6` type of an advertisement (RFC 4861, 4.4).
pub const ADVERTISEMENT: u8 = 136;

/// A neighbour message up to its options, as it is in memory: 78 bytes without alignment, numbers
/// in network byte order.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Ethernet destination.
    pub destination: [u8; 6],
    /// Ethernet source.
    pub source: [u8; 6],
    /// [`ETHERTYPE`]
    pub ethertype: [u8; 2],
    /// Version, traffic class and flow label (RFC 8200, 3).
    pub version_class_flow: [u8; 4],
    /// Length of what follows the IPv6 header.
    pub payload_length: [u8; 2],
    /// [`ICMPV6`]: an extension header is not looked behind.
    pub next_header: u8,
    /// 255 proves that no router was passed.
    pub hop_limit: u8,
    /// IPv6 source.
    pub source_ip: [u8; 16],
    /// IPv6 destination.
    pub destination_ip: [u8; 16],
    /// [`SOLICITATION`] or [`ADVERTISEMENT`].
    pub icmp_type: u8,
    /// 0
    pub code: u8,
    /// The Internet checksum over pseudo-header and message.
    pub checksum: [u8; 2],
    /// Flags of an advertisement; reserved in a solicitation.
    pub flags: [u8; 4],
    /// The address asked for, or advertised.
    pub target: [u8; 16],
}

/// An option's unit of length: options are so many units long.
pub type Unit = [u8; 8];

/// Most units of options that are looked at, 32 bytes. Hosts send one or two: their hardware
/// address and a nonce (RFC 7527). What is longer is left to the kernel.
pub const MAX_UNITS: usize = 4;

/// An answer, or any message with the one option it has.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The message without options.
    pub frame: Frame,
    /// The target's hardware address.
    pub option: Unit,
}

const _: () = assert!(size_of::<Frame>() == 78 && align_of::<Frame>() == 1);
const _: () = assert!(size_of::<Answer>() == 86 && align_of::<Answer>() == 1);

/// A message's options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many units there are, at most [`MAX_UNITS`].
    pub count: u8,
    /// They, as numbers of this machine's byte order; zeros behind them.
    pub units: [u64; MAX_UNITS],
}

/// How long a message says its options are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// So many units, at most [`MAX_UNITS`].
    Units(u8),
    /// More than are looked at.
    Long,
    /// Shorter than a message without options, or no whole units.
    Wrong,
}

/// What is to be done with a message about an address that has an entry on this interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A solicitation: turn it into its [`answer`] and send it back.
    Answer,
    /// A machine is about to take the address (duplicate address detection): raise an event, then
    /// tell all nodes whose it is, by [`answer`].
    Defend,
    /// Raise an event: another machine claims what we hold. Then let it pass.
    Claim,
    /// It breaks a rule that every receiver checks (RFC 4861, 7.1). Let it pass: the kernel
    /// discards it.
    Malformed,
    /// None of our business.
    Pass,
}

/// A verdict, and on whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What is to be done.
    pub verdict: Verdict,
    /// The hardware address of who solicits or advertises: by its option, else by the frame.
    pub mac: [u8; 6],
}

/// Option: the sender's hardware address.
const SOURCE_LINK_ADDRESS: u64 = 1;
/// Option: the target's hardware address.
const TARGET_LINK_ADDRESS: u64 = 2;
/// Flag of an advertisement: it answers a solicitation.
const SOLICITED: u8 = 0x40;
/// Flag of an advertisement: it replaces what is cached.
const OVERRIDE: u8 = 0x20;
/// The unspecified address: the sender has none yet.
const UNSPECIFIED: u128 = 0;
/// `ff02::1`
const ALL_NODES: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// Where frames to [`ALL_NODES`] go (RFC 2464, 7).
const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
/// Length of a message without options.
const PLAIN: u16 = 24;

/// How long the options are, by the IPv6 header.
#[inline(always)]
#[must_use]
pub fn options_length(frame: &Frame) -> Length {
    let payload = u16::from_be_bytes(frame.payload_length);
    let Some(options) = payload.checked_sub(PLAIN) else {
        return Length::Wrong;
    };
    let units = options / 8;
    match u8::try_from(units) {
        _ if options % 8 != 0 => Length::Wrong,
        Ok(units) if usize::from(units) <= MAX_UNITS => Length::Units(units),
        _ => Length::Long,
    }
}

/// What is to be done with a solicitation or an advertisement about an address that has `entry` and
/// is live: open, under a lease that has not ended. (While it is not, a solicitation is dropped
/// without a look at anything else, and an advertisement passes.)
#[inline(always)]
#[must_use]
pub fn judge(frame: &Frame, options: &Options, entry: &ServiceEntry) -> Judgement {
    let sender = number(frame.source);
    let found = scan(options);
    let [version, ..] = frame.version_class_flow;
    let [first, ..] = frame.source_ip;
    let malformed = !found.good
        || version >> 4 != 6
        || first == 0xff
        || frame.hop_limit != 255
        || frame.code != 0
        || fold(frame_sum(frame) + options_sum(options)) != 0xffff;
    let solicits = frame.icmp_type == SOLICITATION;
    let named = if solicits { found.source } else { found.target };
    let mac = if named == NONE { sender } else { named };
    let verdict = if malformed {
        Verdict::Malformed
    } else if solicits {
        solicited(frame, named, mac, number(entry.mac))
    } else {
        advertised(frame, mac, number(entry.mac))
    };
    let [.., a, b, c, d, e, f] = mac.to_be_bytes();
    Judgement { verdict, mac: [a, b, c, d, e, f] }
}

/// A solicitation that is well formed so far. `named` is the hardware address in its option, `mac`
/// that of the sender, `ours` this host's.
#[inline(always)]
fn solicited(frame: &Frame, named: u64, mac: u64, ours: u64) -> Verdict {
    let destination = u128::from_ne_bytes(frame.destination_ip);
    let target = u128::from_ne_bytes(frame.target);
    let source = u128::from_ne_bytes(frame.source_ip);
    let [group, ..] = frame.destination;
    let for_us = group & 1 == 1 || number(frame.destination) == ours;
    let to_group = destination == solicited_node(target);
    if source == UNSPECIFIED {
        if named != NONE || destination != solicited_node(destination) {
            return Verdict::Malformed;
        }
        // Our own may come back from a switch.
        return if to_group && for_us && mac != ours { Verdict::Defend } else { Verdict::Pass };
    }
    if source == target {
        return if mac == ours { Verdict::Pass } else { Verdict::Claim };
    }
    let asked = to_group || destination == target;
    if asked && for_us { Verdict::Answer } else { Verdict::Pass }
}

/// An advertisement that is well formed so far.
#[inline(always)]
fn advertised(frame: &Frame, mac: u64, ours: u64) -> Verdict {
    let [group, ..] = frame.destination_ip;
    let [flags, ..] = frame.flags;
    if group == 0xff && flags & SOLICITED != 0 {
        Verdict::Malformed
    } else if mac == ours {
        Verdict::Pass
    } else {
        Verdict::Claim
    }
}

/// The multicast address that questions for `target` go to (RFC 4291, 2.7.1): `ff02::1:ff00:0` with
/// its last three bytes. Both as they are in memory.
#[inline(always)]
fn solicited_node(target: u128) -> u128 {
    const PREFIX: u128 = 0xff02_0000_0000_0000_0000_0001_ff00_0000;
    const KEPT: u128 = 0xff_ffff;
    target & KEPT.to_be() | PREFIX.to_be()
}

/// A hardware address as a number, the first byte the highest.
#[inline(always)]
fn number(mac: [u8; 6]) -> u64 {
    let [a, b, c, d, e, f] = mac;
    u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

/// No hardware address.
const NONE: u64 = u64::MAX;

/// What there is among the options.
#[derive(Clone, Copy)]
struct Found {
    /// Each has a length and ends within the message; those with a hardware address are as long as
    /// Ethernet's.
    good: bool,
    /// The sender's hardware address, or [`NONE`].
    source: u64,
    /// The target's.
    target: u64,
}

/// Walks the options. Of several of a kind the first counts, as in Linux.
#[inline(always)]
fn scan(options: &Options) -> Found {
    let mut found = Found { good: true, source: NONE, target: NONE };
    let mut left = u64::from(options.count);
    // Units until the next option begins.
    let mut inside = 0;
    for unit in &options.units {
        if left == 0 {
            break;
        }
        if inside == 0 {
            let unit = u64::from_be(*unit);
            let (kind, length, mac) = (unit >> 56, unit >> 48 & 0xff, unit & 0xffff_ffff_ffff);
            let of_source = kind == SOURCE_LINK_ADDRESS;
            let of_target = kind == TARGET_LINK_ADDRESS;
            if length == 0 || length > left || length != 1 && (of_source || of_target) {
                found.good = false;
                break;
            }
            if of_source && found.source == NONE {
                found.source = mac;
            }
            if of_target && found.target == NONE {
                found.target = mac;
            }
            inside = length;
        }
        inside -= 1;
        left -= 1;
    }
    found
}

/// Turns a solicitation into the advertisement that `mac` has the address asked for, to the machine
/// `to`; where the sender has no address yet, to all nodes (RFC 4861, 7.2.4). What stood behind the
/// message without options is overwritten.
#[inline(always)]
pub fn answer(answer: &mut Answer, to: [u8; 6], mac: [u8; 6]) {
    let frame = &mut answer.frame;
    if u128::from_ne_bytes(frame.source_ip) == UNSPECIFIED {
        frame.destination = ALL_NODES_MAC;
        frame.destination_ip = ALL_NODES;
        frame.flags = [OVERRIDE, 0, 0, 0];
    } else {
        frame.destination = to;
        frame.destination_ip = frame.source_ip;
        frame.flags = [SOLICITED | OVERRIDE, 0, 0, 0];
    }
    frame.source = mac;
    frame.version_class_flow = [0x60, 0, 0, 0];
    frame.payload_length = (PLAIN + 8).to_be_bytes();
    frame.hop_limit = 255;
    frame.source_ip = frame.target;
    frame.icmp_type = ADVERTISEMENT;
    frame.code = 0;
    frame.checksum = [0; 2];
    let [a, b, c, d, e, f] = mac;
    answer.option = [2, 1, a, b, c, d, e, f];
    let sum = frame_sum(&answer.frame) + sum(&answer.option);
    answer.frame.checksum = (!fold(sum)).to_ne_bytes();
}

/// The options' part of a message's sum.
#[inline(always)]
fn options_sum(options: &Options) -> u64 {
    let mut sum = 0;
    for unit in &options.units {
        sum += (unit & 0xffff_ffff) + (unit >> 32);
    }
    sum
}

/// Pseudo-header (RFC 8200, 8.1) and message without options.
#[inline(always)]
fn frame_sum(frame: &Frame) -> u64 {
    let [c, d] = frame.checksum;
    let [high, low] = frame.payload_length;
    sum(&frame.source_ip)
        + sum(&frame.destination_ip)
        + sum(&[0, ICMPV6, high, low])
        + sum(&[frame.icmp_type, frame.code, c, d])
        + sum(&frame.flags)
        + sum(&frame.target)
}

/// Adds up words of four bytes. The Internet checksum does not care for byte order (RFC 1071, 2),
/// nor for the size of the words added, as long as all carries are folded in.
#[inline(always)]
fn sum<const N: usize>(bytes: &[u8; N]) -> u64 {
    let (words, _) = bytes.as_chunks::<4>();
    let mut sum = 0;
    for word in words {
        sum += u64::from(u32::from_ne_bytes(*word));
    }
    sum
}

/// Folds the carries of a sum of fewer than 2^16 words into 16 bits.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "what is cut off has been added")]
fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maps::STATE_OPEN;

    const OURS: [u8; 6] = [2, 0, 0, 0, 0, 0xaa];
    const THEIRS: [u8; 6] = [2, 0, 0, 0, 0, 0xbb];
    const SERVICE: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12, 0x34, 0x56];
    const CLIENT: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
    const ENTRY: ServiceEntry = ServiceEntry::new(0, STATE_OPEN, OURS);

    /// The client's solicitation for the service address, with its hardware address. The checksum
    /// by hand, in hex: fd00, 9 (source), ff02, 1, ff12, 3456 (destination), 20, 3a, 8700, fd00, 12,
    /// 3456 (target), 101, 200, bb (option) make 4ebf2; ebf2 and 4 make ebf6, the complement 1409.
    const GOOD: Frame = Frame {
        destination: [0x33, 0x33, 0xff, 0x12, 0x34, 0x56],
        source: THEIRS,
        ethertype: [0x86, 0xdd],
        version_class_flow: [0x60, 0, 0, 0],
        payload_length: [0, 32],
        next_header: ICMPV6,
        hop_limit: 255,
        source_ip: CLIENT,
        destination_ip: [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0x12, 0x34, 0x56],
        icmp_type: SOLICITATION,
        code: 0,
        checksum: [0x14, 0x09],
        flags: [0; 4],
        target: SERVICE,
    };

    /// One field of a message.
    type Field = fn(&mut Frame) -> &mut [u8];

    fn options<const N: usize>(units: [Unit; N]) -> Options {
        let mut all = [0; MAX_UNITS];
        for (place, unit) in all.iter_mut().zip(units) {
            *place = u64::from_ne_bytes(unit);
        }
        Options { count: u8::try_from(N).unwrap(), units: all }
    }

    fn link(kind: u8, [a, b, c, d, e, f]: [u8; 6]) -> Unit {
        [kind, 1, a, b, c, d, e, f]
    }

    #[test]
    fn a_good_solicitation_is_to_be_answered() {
        let judged = judge(&GOOD, &options([link(1, THEIRS)]), &ENTRY);
        assert_eq!(judged, Judgement { verdict: Verdict::Answer, mac: THEIRS });
    }

    // Input: every single bit of a good solicitation flipped, from the IPv6 header on. Output: not
    // answered, but for the class and flow, which are nobody's business.
    #[test]
    fn every_bit_counts() {
        let good = options([link(1, THEIRS)]);
        let flips: [(&str, Field); 8] = [
            ("payload length", |f| &mut f.payload_length),
            ("source", |f| &mut f.source_ip),
            ("destination", |f| &mut f.destination_ip),
            ("checksum", |f| &mut f.checksum),
            ("reserved", |f| &mut f.flags),
            ("target", |f| &mut f.target),
            ("type", |f| core::slice::from_mut(&mut f.icmp_type)),
            ("code", |f| core::slice::from_mut(&mut f.code)),
        ];
        for (name, field) in flips {
            let mut frame = GOOD;
            for bit in 0..field(&mut frame).len() * 8 {
                let mut frame = GOOD;
                field(&mut frame)[bit / 8] ^= 1 << (bit % 8);
                let judged = judge(&frame, &good, &ENTRY);
                assert_eq!(judged.verdict, Verdict::Malformed, "{name}, bit {bit}");
            }
        }
        for bit in 0..64 {
            let Options { count, mut units } = good;
            units[0] ^= 1 << bit;
            let judged = judge(&GOOD, &Options { count, units }, &ENTRY);
            assert_eq!(judged.verdict, Verdict::Malformed, "option, bit {bit}");
        }
    }

    // Input: a solicitation. Output: the answer, which every receiver takes: judged by a host that
    // holds the address too, it is a claim of ours.
    #[test]
    fn the_answer_is_a_good_advertisement() {
        let mut whole = Answer { frame: GOOD, option: link(1, THEIRS) };
        answer(&mut whole, THEIRS, OURS);
        let expected = Frame {
            destination: THEIRS,
            source: OURS,
            source_ip: SERVICE,
            destination_ip: CLIENT,
            icmp_type: ADVERTISEMENT,
            checksum: whole.frame.checksum,
            flags: [0x60, 0, 0, 0],
            ..GOOD
        };
        assert_eq!(whole, Answer { frame: expected, option: link(2, OURS) });
        let other = ServiceEntry { mac: THEIRS, ..ENTRY };
        let judged = judge(&whole.frame, &options([whole.option]), &other);
        assert_eq!(judged, Judgement { verdict: Verdict::Claim, mac: OURS });
    }

    // Input: payload lengths. Output: what they leave for options.
    #[test]
    fn options_come_in_units() {
        let cases = [
            (0, Length::Wrong),
            (23, Length::Wrong),
            (24, Length::Units(0)),
            (25, Length::Wrong),
            (32, Length::Units(1)),
            (56, Length::Units(4)),
            (57, Length::Wrong),
            (64, Length::Long),
            (65528, Length::Long),
            (65535, Length::Wrong),
        ];
        for (length, expected) in cases {
            let frame = Frame { payload_length: u16::to_be_bytes(length), ..GOOD };
            assert_eq!(options_length(&frame), expected, "{length} bytes");
        }
    }
}
