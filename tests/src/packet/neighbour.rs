//! Neighbour discovery (RFC 4861): a solicitation out, an advertisement in.

use std::net::Ipv6Addr;

use socket2::SockFilter;

use super::{PROBE_MAC, Reply};
use crate::xdp::frames::{Message, link_option, solicitation};

/// Where the next header of IPv6 is in a frame, and the type of an `ICMPv6` message.
const NEXT_HEADER: u32 = 20;
const TYPE: u32 = 54;
/// `ICMPv6`, and its neighbour advertisement.
const ICMP: u8 = 58;
const ADVERTISEMENT: u8 = 136;
/// The option with the hardware address of the target, which is one unit of eight bytes long.
const TARGET_LINK: [u8; 2] = [2, 1];

/// A classic BPF program that lets nothing through but advertisements: a client whose echoes come
/// in over IPv6 has other things to read than those a second time.
pub(super) const FILTER: [SockFilter; 6] = [
    SockFilter::new(LOAD_BYTE, 0, 0, NEXT_HEADER),
    SockFilter::new(EQUAL, 0, 3, ICMP as u32),
    SockFilter::new(LOAD_BYTE, 0, 0, TYPE),
    SockFilter::new(EQUAL, 0, 1, ADVERTISEMENT as u32),
    SockFilter::new(RETURN, 0, 0, u32::MAX),
    SockFilter::new(RETURN, 0, 0, 0),
];
/// `BPF_LD | BPF_B | BPF_ABS`, `BPF_JMP | BPF_JEQ | BPF_K` and `BPF_RET | BPF_K`.
const LOAD_BYTE: u16 = 0x30;
const EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// "Who has `address`, tell `asker`", to those who listen for the end of the address.
pub(super) fn solicit(address: Ipv6Addr, asker: Ipv6Addr) -> Vec<u8> {
    let target = address.octets();
    let [.., a, b, c] = target;
    let to = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c];
    let destination = [0x33, 0x33, 0xff, a, b, c];
    let (from, options) = (asker.octets(), link_option(1, PROBE_MAC));
    Message { destination, source: PROBE_MAC, from, to, target, options, ..solicitation() }.bytes()
}

/// The reply in a frame, where it is a solicited advertisement for the probe with a hardware
/// address.
pub(super) fn parse_advertisement(frame: &[u8]) -> Option<Reply> {
    let (ethernet, rest) = frame.split_first_chunk::<14>()?;
    let (ip, rest) = rest.split_first_chunk::<40>()?;
    let (icmp, rest) = rest.split_first_chunk::<8>()?;
    let (target, rest) = rest.split_first_chunk::<16>()?;
    let (option, rest) = rest.split_first_chunk::<2>()?;
    let (mac, _) = rest.split_first_chunk::<6>()?;
    let ours = ethernet.starts_with(&PROBE_MAC)
        && ethernet.ends_with(&[0x86, 0xdd])
        && ip[6] == ICMP
        && icmp[0] == ADVERTISEMENT
        && icmp[4] & 0x40 != 0
        && *option == TARGET_LINK;
    let (_, asker) = ip.split_last_chunk::<16>()?;
    ours.then(|| Reply {
        address: Ipv6Addr::from(*target).into(),
        mac: *mac,
        asker: Ipv6Addr::from(*asker).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x165);
    const ASKER: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0xc1);
    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

    /// What the host with [`MAC`] would answer.
    fn advertisement() -> Vec<u8> {
        let (from, to, target) = (ADDRESS.octets(), ASKER.octets(), ADDRESS.octets());
        let (destination, options) = (PROBE_MAC, link_option(2, MAC));
        let (kind, flags) = ([ADVERTISEMENT, 0], 0x60);
        let plain = solicitation();
        Message { destination, from, to, kind, flags, target, options, ..plain }.bytes()
    }

    #[test]
    fn a_solicitation_goes_to_the_groups_of_its_target() {
        let frame = solicit(ADDRESS, ASKER);
        assert_eq!(frame[..12], [0x33, 0x33, 0xff, 0, 1, 0x65, 0x02, 0x72, 0x61, 0x69, 0x73, 0]);
        assert_eq!(frame[22..38], ASKER.octets());
        assert_eq!(frame[38..54], "ff02::1:ff00:165".parse::<Ipv6Addr>().unwrap().octets());
        assert_eq!((frame[54], &frame[62..78]), (135, &ADDRESS.octets()[..]));
        assert_eq!(frame[78..86], [1, 1, 0x02, 0x72, 0x61, 0x69, 0x73, 0]);
    }

    #[test]
    fn an_advertisement_names_who_answered_which_solicitation() {
        let reply = parse_advertisement(&advertisement());
        let (address, asker) = (ADDRESS.into(), ASKER.into());
        assert_eq!(reply, Some(Reply { address, mac: MAC, asker }));
    }

    #[test]
    fn solicitations_short_frames_and_what_is_for_others_are_passed_over() {
        assert_eq!(parse_advertisement(&solicit(ADDRESS, ASKER)), None);
        let good = advertisement();
        for length in 0..good.len() {
            assert_eq!(parse_advertisement(&good[..length]), None, "{length} bytes");
        }
        // For another machine; unsolicited; no ICMP; no advertisement.
        for (byte, bits) in [(0, 1), (58, 0x40), (20, 1), (54, 1)] {
            let mut other = good.clone();
            other[byte] ^= bits;
            assert_eq!(parse_advertisement(&other), None, "byte {byte}");
        }
    }
}
