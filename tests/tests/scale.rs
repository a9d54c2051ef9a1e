//! Groups too large for their heartbeats: what is said in parts arrives, and nothing is slower for
//! it. Every message goes through the codec and the seal and fits 1,400 bytes, or the crowd fails.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use rais_tests::crowd::{Crowd, Size, TIMEOUT, holders, id};

const LIMIT: Duration = Duration::from_secs(5);

// Three hosts, a thousand addresses each, one datagram in twenty lost → all are served; a host is
// killed → the others have its addresses; it returns → it has learned of them all before it takes
// part, and all hosts see the same.
#[test]
fn three_hosts_and_three_thousand_addresses() {
    for seed in 0..2 {
        let size = Size { hosts: 3, preferred: 1_000, floating: 300, loss: 50, ..Size::default() };
        let mut crowd = Crowd::new(size, seed);
        crowd.settle(LIMIT);
        crowd.pass(1_000);
        crowd.kill(0);
        crowd.settle(LIMIT);
        crowd.start(0);
        crowd.pass(3_000);
        crowd.settle(LIMIT);
        let views: Vec<_> = (0..3).map(|n| crowd.view(n)).collect();
        assert!(views.iter().all(|view| view.leader == Some(id(0))), "seed {seed}");
        assert_eq!(holders(&views[0]), holders(&views[1]), "seed {seed}");
        assert_eq!(holders(&views[0]), holders(&views[2]), "seed {seed}");
        assert!(views[0].addresses.iter().all(|a| a.holders.len() == 1), "seed {seed}");
        assert!(crowd.longest <= 1_400 && crowd.longest > 1_000, "{}", crowd.longest);
    }
}

// Forty hosts with sixty addresses each → said in parts and in turn; eight die at once → all their
// addresses are served again within the timeout and a hundred milliseconds.
#[test]
fn forty_hosts_lose_eight() {
    let size = Size { hosts: 40, preferred: 60, ..Size::default() };
    let mut crowd = Crowd::new(size, 1);
    crowd.settle(LIMIT);
    crowd.pass(500);
    // The leader among them.
    (0..40).step_by(5).for_each(|host| crowd.kill(host));
    let took = crowd.settle(LIMIT);
    assert!(took <= TIMEOUT + Duration::from_millis(100), "{took:?}");
    // All have heard of it.
    crowd.pass(300);
    let view = crowd.view(1);
    assert!(view.addresses.iter().all(|a| a.holders.len() == 1));
}
