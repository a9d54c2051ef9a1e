//! ARP packets, as the XDP program reads them.

use rais_common::arp::{Frame, Kind, Verdict, answer, judge, read};
use rais_common::maps::{STATE_OPEN, ServiceEntry};

const OURS: [u8; 6] = [2, 0, 0, 0, 0, 0xaa];

/// The next bytes, as many as fit; zeros where there are no more.
fn take<const N: usize>(data: &mut &[u8]) -> [u8; N] {
    let mut taken = [0; N];
    let (first, rest) = data.split_at(N.min(data.len()));
    for (to, from) in taken.iter_mut().zip(first) {
        *to = *from;
    }
    *data = rest;
    taken
}

/// A frame, whether the address is live, and whether our own hardware address sent it. Only a
/// request for a live address is answered, only by a well-formed reply to whoever asked, and
/// nothing is answered that the kernel must not answer either.
pub fn arp(data: &[u8]) {
    let mut rest = data;
    let [flags] = take(&mut rest);
    let live = flags & 1 != 0;
    let mut frame = Frame {
        destination: take(&mut rest),
        source: take(&mut rest),
        ethertype: take(&mut rest),
        hardware_type: take(&mut rest),
        protocol_type: take(&mut rest),
        hardware_len: take::<1>(&mut rest)[0],
        protocol_len: take::<1>(&mut rest)[0],
        operation: take(&mut rest),
        sender_mac: if flags & 2 != 0 { OURS } else { take(&mut rest) },
        sender_ip: take(&mut rest),
        target_mac: take(&mut rest),
        target_ip: take(&mut rest),
    };
    let entry = ServiceEntry::new(0, STATE_OPEN, OURS);
    let kind = read(&frame);
    match judge(kind, &frame, &entry, live) {
        Verdict::Answer => {
            assert!(live, "answered without a lease: {frame:?}");
            let asked = frame;
            assert_eq!(kind, Kind::Request(asked.target_ip));
            answer(&mut frame, entry.mac);
            assert_eq!(read(&frame), Kind::Reply(asked.target_ip));
            assert_eq!((frame.sender_mac, frame.source), (OURS, OURS));
            assert_eq!((frame.target_mac, frame.target_ip), (asked.sender_mac, asked.sender_ip));
            assert_eq!(frame.destination, asked.sender_mac);
        }
        Verdict::Refuse => {
            assert!(!live && kind != Kind::Malformed && !matches!(kind, Kind::Reply(_)));
        }
        Verdict::Claim => assert!(live && frame.sender_mac != OURS, "our own claim: {frame:?}"),
        Verdict::Pass => {
            let request =
                matches!(kind, Kind::Request(_) | Kind::Announcement(_) | Kind::OtherRequest(_));
            assert!(live || !request, "the kernel would answer: {frame:?}");
        }
    }
}
