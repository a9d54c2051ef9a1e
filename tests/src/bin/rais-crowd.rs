//! What a group costs the host it runs on, against the number of hosts: in the time between two
//! heartbeats, from the datagrams on, and when hosts fail.

use std::time::Duration;

use rais_tests::crowd::listener::{Cost, Listener};
use rais_tests::crowd::{HEARTBEAT, Size};

/// Addresses of each host.
const EACH: usize = 10;
/// Heartbeats of each host that are measured.
const ROUNDS: u32 = 50;
/// Hosts that fall silent at once.
const DYING: usize = 20;

fn main() {
    println!(
        "{:>6} {:>10} {:>9} {:>13} {:>9} {:>13} {:>6}",
        "hosts", "addresses", "role", "us/heartbeat", "us/tick", "core at 100ms", "bytes"
    );
    for hosts in [3, 10, 100, 1_000] {
        for leads in [false, true] {
            steady(hosts, leads);
        }
    }
    println!(
        "\n{:>6} {:>10} {:>9} {:>13} {:>13} {:>13}",
        "hosts", "addresses", "without", "core at 100ms", "cpu in all ms", "longest ms"
    );
    for hosts in [100, 300, 1_000] {
        failure(hosts);
    }
}

/// Nothing happens but heartbeats.
fn steady(hosts: usize, leads: bool) {
    let mut listener = Listener::new(size(hosts), leads);
    (0..ROUNDS).for_each(|_| listener.round());
    let cost = listener.cost;
    assert_eq!(cost.orders, 0, "orders were given");
    assert_eq!(listener.own(), EACH, "the measured host has what belongs to it");
    let micros = |span: Duration, n: u32| span.as_secs_f64() * 1e6 / f64::from(n.max(1));
    println!(
        "{hosts:>6} {:>10} {:>9} {:>13.2} {:>9.0} {:>12.2}% {:>6}",
        hosts * EACH,
        if leads { "leader" } else { "follower" },
        micros(cost.spent.saturating_sub(cost.ticks), cost.heard),
        micros(cost.ticks, cost.ticked),
        100.0 * share(cost.spent, ROUNDS),
        cost.bytes,
    );
}

/// Hosts fall silent, and their leader gives what they had to others.
fn failure(hosts: usize) {
    let mut listener = Listener::new(size(hosts), true);
    (0..ROUNDS).for_each(|_| listener.round());
    let usual = listener.cost.spent / ROUNDS;
    listener.cost = Cost::default();
    let before = listener.served() + listener.own();
    let without = listener.kill(DYING);
    let mut rounds = 0;
    while listener.served() + listener.own() < before {
        listener.round();
        rounds += 1;
        assert!(rounds < 100, "not all addresses were given to other hosts");
    }
    let cost = listener.cost;
    println!(
        "{hosts:>6} {:>10} {without:>9} {:>12.2}% {:>13.1} {:>13.1}",
        hosts * EACH,
        100.0 * share(cost.spent, rounds),
        cost.spent.saturating_sub(usual * rounds).as_secs_f64() * 1e3,
        cost.longest.as_secs_f64() * 1e3,
    );
}

fn share(spent: Duration, rounds: u32) -> f64 {
    spent.as_secs_f64() / (HEARTBEAT * rounds).as_secs_f64()
}

fn size(hosts: usize) -> Size {
    Size { hosts, preferred: EACH, ..Size::default() }
}
