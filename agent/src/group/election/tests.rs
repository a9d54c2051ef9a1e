//! Hosts in sight → the leader; what they follow → whether it may give orders.

use std::net::{IpAddr, Ipv4Addr};

use super::super::HostInfo;
use super::super::Known;
use super::*;

const T: Duration = Duration::from_millis(350);

fn host(n: u8) -> HostId {
    HostId(IpAddr::V4(Ipv4Addr::new(10, 77, 0, n)))
}

fn at(ms: u64) -> Time {
    Time::from_nanos(ms * 1_000_000)
}

fn sight(hosts: &[(u8, Phase, Option<u8>)]) -> Membership {
    let mut membership = Membership::default();
    for &(n, phase, follows) in hosts {
        let info = HostInfo {
            control_addresses: Vec::new(),
            mac: [2; 6],
            ok: false,
            quiesced: true,
            phase,
            leader: follows.map(host),
            load: 0,
            capacity: 0,
            preferred: Vec::new(),
            served: Vec::new(),
            refused: Vec::new(),
        };
        membership.update(host(n), 1, 1, at(0), info, None);
    }
    membership
}

// own phase, others → leader: the lowest member; joining and leaving hosts do not count; being
// not OK, quiesced or an observer is no matter.
#[test]
fn lowest_member_leads() {
    use Phase::{Joining, Leaving, Member};
    for (own, others, expected) in [
        (Member, vec![], Some(5)),
        (Joining, vec![], None),
        (Leaving, vec![], None),
        (Member, vec![(3, Member), (7, Member)], Some(3)),
        (Member, vec![(7, Member)], Some(5)),
        (Member, vec![(3, Joining)], Some(5)),
        (Member, vec![(3, Leaving), (4, Member)], Some(4)),
        (Joining, vec![(7, Member)], Some(7)),
        (Leaving, vec![(7, Member), (6, Joining)], Some(7)),
        (Joining, vec![(3, Joining)], None),
    ] {
        let others: Vec<_> = others.into_iter().map(|(n, phase)| (n, phase, None)).collect();
        let elected = leader(host(5), own, &sight(&others));
        assert_eq!(elected, expected.map(host), "{own:?} {others:?}");
    }
}

// others (phase, whom they follow), time since it began to lead → may give orders
#[test]
fn agreement_before_orders() {
    use Phase::{Joining, Leaving, Member};
    for (others, now, expected) in [
        (vec![], 0, true),
        (vec![(6, Member, Some(5))], 0, true),
        (vec![(6, Member, Some(5)), (7, Member, Some(4))], 0, false),
        (vec![(6, Member, None)], 0, false),
        (vec![(6, Joining, None)], 0, false),
        (vec![(6, Joining, Some(5))], 0, true),
        (vec![(6, Leaving, Some(4))], 0, true),
        (vec![(6, Member, Some(6))], 349, false),
        (vec![(6, Member, Some(6))], 350, true),
        (vec![(6, Member, Some(4))], 9_999, false),
    ] {
        let may = may_order(host(5), at(0), at(now), T, &sight(&others));
        assert_eq!(may, expected, "{others:?} {now}");
    }
}

// what a host in sight says of one that is not, and when → may give orders
#[test]
fn hosts_that_others_hear_are_awaited() {
    let ms = Duration::from_millis;
    let told = |known: Known| {
        let mut others = sight(&[(6, Phase::Member, Some(5)), (7, Phase::Member, Some(5))]);
        others.expire(at(0) + T, T, Duration::ZERO);
        // Host 6 is heard again, host 7 is not, of which message 1 was the last.
        let info = sight(&[(6, Phase::Member, Some(5))]).get(host(6)).unwrap().info.clone();
        others.update(host(6), 1, 2, at(400), info, None);
        others.told(at(400), at(400), &[known], T, host(5));
        others
    };
    let known = |n, sequence, age| Known { id: host(n), boot: 1, sequence, age: ms(age) };
    for (known, now, expected) in [
        (known(7, 1, 100), 400, true), // nothing that this host had not heard itself
        (known(7, 2, 100), 400, false), // heard since
        (known(7, 2, 100), 649, false),
        (known(7, 2, 100), 650, true), // silent for the timeout to host 6 as well
        (known(7, 2, 350), 400, true),
        (known(8, 1, 0), 400, false), // never heard here
        (known(8, 1, 0), 749, false),
        (known(8, 1, 0), 750, true), // it had its time
        (known(5, 9, 0), 400, true), // this host itself
        (known(6, 9, 0), 400, true), // in sight
    ] {
        let may = may_order(host(5), at(0), at(now), T, &told(known));
        assert_eq!(may, expected, "{known:?} {now}");
    }
}
