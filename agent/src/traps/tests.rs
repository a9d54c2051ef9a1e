//! Notifications over real sockets, to nobody and to too many. The tests of `tests/tests/traps.rs`
//! have a real receiver.

use std::net::{Ipv4Addr, UdpSocket};

use super::*;
use crate::config::checked::Secret;

fn speaker() -> Speaker {
    Speaker { group: "web".to_owned(), host: HostId([10, 77, 0, 1].into()), engine: None }
}

fn trap(n: usize) -> Trap {
    Trap { kind: Kind::Acquire, address: None, reason: n.to_string() }
}

fn config(destinations: Vec<SocketAddr>, inform: bool) -> checked::Traps {
    let security = TrapSecurity::Community(Secret("public".to_owned()));
    checked::Traps { destinations, inform, security }
}

#[tokio::test]
async fn a_dead_destination_delays_no_other_and_what_has_no_room_is_counted() {
    let sockets = [(); 2].map(|()| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let addresses = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
    let [dead, heard] = sockets;
    heard.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // Nobody acknowledges either; but each gets the first at once.
    let traps = Traps::start(&Handle::current(), Some(&config(addresses.into(), true)), &speaker());
    for n in 0..QUEUE * 2 {
        traps.send(trap(n));
    }
    let mut buffer = [0; 2_000];
    let length =
        tokio::task::spawn_blocking(move || heard.recv(&mut buffer).unwrap()).await.unwrap();
    assert!(length > 0);
    let dropped = traps.counters().all()[2];
    assert_eq!(dropped.0, "dropped");
    // One each may have been taken out of its queue.
    assert!((QUEUE as u64 * 2 - 2..=QUEUE as u64 * 2).contains(&dropped.1), "{dropped:?}");
    drop(dead);
}

#[tokio::test]
async fn finishing_sends_what_waits() {
    let heard = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let config = config(vec![heard.local_addr().unwrap()], false);
    let traps = Traps::start(&Handle::current(), Some(&config), &speaker());
    let counters = Arc::clone(traps.counters());
    for n in 0..20 {
        traps.send(trap(n));
    }
    traps.finish(Duration::from_secs(10)).await;
    assert_eq!(counters.all(), [("sent", 20), ("failed", 0), ("dropped", 0)]);
    let mut buffer = [0; 2_000];
    for n in 0..20 {
        let length = heard.recv(&mut buffer).await.unwrap();
        assert!(buffer[..length].ends_with(n.to_string().as_bytes()));
    }
}

#[test]
fn uptime_begins_again() {
    assert_eq!(hundredths(Duration::from_millis(1_234)), 123);
    assert_eq!(hundredths(Duration::from_millis((1 << 32) * 10 + 50)), 5);
}
