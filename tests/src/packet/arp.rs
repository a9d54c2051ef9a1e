//! ARP (RFC 826): a request out, a reply in.

use std::net::Ipv4Addr;

use super::{PROBE_MAC, Reply};

/// Ethernet header and ARP body.
const FRAME: usize = 42;
/// What both directions share: the type of the frame, hardware type 1, protocol 0x0800, lengths 6
/// and 4.
const HEAD: [u8; 8] = [0x08, 0x06, 0x00, 0x01, 0x08, 0x00, 6, 4];

/// "Who has `address`, tell `asker`", to everybody.
pub(super) fn request(address: Ipv4Addr, asker: Ipv4Addr) -> Vec<u8> {
    let mut frame = Vec::with_capacity(FRAME);
    frame.extend([0xff; 6]);
    frame.extend(PROBE_MAC);
    frame.extend(HEAD);
    frame.extend([0, 1]);
    frame.extend(PROBE_MAC);
    frame.extend(asker.octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame
}

/// The reply in a frame, where it is one and is for the probe.
pub(super) fn parse_reply(frame: &[u8]) -> Option<Reply> {
    let (head, rest) = frame.get(12..)?.split_first_chunk::<8>()?;
    let (operation, rest) = rest.split_first_chunk::<2>()?;
    let (mac, rest) = rest.split_first_chunk::<6>()?;
    let (address, rest) = rest.split_first_chunk::<4>()?;
    let (target, rest) = rest.split_first_chunk::<6>()?;
    let (asker, _) = rest.split_first_chunk::<4>()?;
    let ours = *head == HEAD && *operation == [0, 2] && *target == PROBE_MAC;
    ours.then(|| Reply {
        address: Ipv4Addr::from(*address).into(),
        mac: *mac,
        asker: Ipv4Addr::from(*asker).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a host with `mac` would answer to `request`.
    fn reply_to(request: &[u8], mac: [u8; 6]) -> Vec<u8> {
        let mut frame = request.to_vec();
        frame[0..6].copy_from_slice(&request[6..12]);
        frame[6..12].copy_from_slice(&mac);
        frame[21] = 2;
        frame[22..28].copy_from_slice(&mac);
        frame[28..32].copy_from_slice(&request[38..42]);
        frame[32..42].copy_from_slice(&request[22..32]);
        frame
    }

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
    const ASKER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 200);

    #[test]
    fn a_request_has_the_length_and_the_fields_of_rfc_826() {
        let frame = request(ADDRESS, ASKER);
        assert_eq!(frame.len(), FRAME);
        assert_eq!(frame[20..22], [0, 1], "operation: request");
        assert_eq!(frame[28..32], ASKER.octets());
        assert_eq!(frame[38..42], ADDRESS.octets());
    }

    #[test]
    fn a_reply_names_who_answered_which_request() {
        let mac = [2, 0, 0, 0, 0, 9];
        let frame = reply_to(&request(ADDRESS, ASKER), mac);
        assert_eq!(
            parse_reply(&frame),
            Some(Reply { address: ADDRESS.into(), mac, asker: ASKER.into() })
        );
    }

    #[test]
    fn requests_short_frames_and_replies_to_others_are_passed_over() {
        let request = request(ADDRESS, ASKER);
        assert_eq!(parse_reply(&request), None);
        let reply = reply_to(&request, [2, 0, 0, 0, 0, 9]);
        for length in 0..FRAME {
            assert_eq!(parse_reply(&reply[..length]), None, "{length} bytes");
        }
        let mut others = reply;
        others[32] ^= 1;
        assert_eq!(parse_reply(&others), None);
    }
}
