//! Hundreds of addresses as local routes, put there when they come or beforehand: they serve, they
//! move, and nothing of them stays behind.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};

use rais_tests::many::{Many, Mode};
use rais_tests::netns::Host;
use rais_tests::trial::{HEARTBEAT, LIMIT, TIMEOUT, Trial};
use rais_tests::wait;

const PORT: u16 = 4_000;

fn many(v6: bool, mode: Mode) -> Many {
    Many { count: 400, v6, mode, heartbeat: HEARTBEAT, timeout: TIMEOUT }
}

/// Two hosts, the first of which has all addresses, and a client that reaches them.
fn start(many: &Many) -> Trial {
    let mut trial = Trial::new().unwrap();
    let client = &trial.client;
    client.run("ip", &["route", "add", "10.80.0.0/16", "dev", "eth0"]).unwrap();
    client.run("ip", &["-6", "address", "add", "fd77::50/64", "dev", "eth0", "nodad"]).unwrap();
    client.run("ip", &["-6", "route", "add", "fd77:1::/64", "dev", "eth0"]).unwrap();
    many.start(&mut trial).unwrap();
    for number in 1..=2 {
        let own = format!("fd77::{number}/64");
        let host = trial.get(number);
        host.run("ip", &["-6", "address", "add", &own, "dev", "eth0", "nodad"]).unwrap();
    }
    trial
}

/// A client reaches a service of this host at the address.
fn serves(trial: &Trial, number: u8, listener: &TcpListener, address: IpAddr) {
    let to = SocketAddr::new(address, PORT);
    let client = trial.client.inside(|| TcpStream::connect_timeout(&to, LIMIT)).unwrap();
    let client = client.unwrap_or_else(|e| panic!("{to} on host {number}: {e}"));
    let (_, from) = listener.accept().unwrap();
    assert_eq!(from.port(), client.local_addr().unwrap().port());
}

/// The states of the entries that the XDP program of a host has: how many are fenced, and open.
fn entries(host: &Host) -> (usize, usize) {
    let dumped = host.dump("SERVICE_ADDRS").unwrap();
    let open = dumped.iter().filter(|e| e.pointer("/value/state").unwrap() == 1).count();
    (dumped.len() - open, open)
}

fn wait_routes(many: &Many, host: &Host, count: usize) {
    let what = format!("{count} routes on {}", host.name());
    wait::until(&what, LIMIT, || Ok((many.routes(host)? == count).then_some(()))).unwrap();
}

/// Nothing of the addresses is left where no agent runs.
fn assert_nothing_left(many: &Many, host: &Host) {
    assert_eq!(many.routes(host).unwrap(), 0);
    assert_eq!(host.configured().unwrap(), Vec::<std::net::IpAddr>::new());
}

// A service that binds to one of the addresses; the holder is cut off and comes back, and the new
// one is told to end.
#[test]
fn routes_come_and_go_with_their_addresses() {
    let many = many(false, Mode::Route);
    let mut trial = start(&many);
    assert_eq!((many.routes(trial.get(1)).unwrap(), many.routes(trial.get(2)).unwrap()), (400, 0));
    assert!(trial.get(1).configured().unwrap().is_empty(), "no interface has them");
    let address = many.address(399);
    let bound = trial.get(1).inside(|| TcpListener::bind((address, PORT))).unwrap();
    serves(&trial, 1, &bound.expect("the address is this host's"), address);

    let seen = many.watch(&mut trial, |trial| trial.bed.cut(trial.get(1))).unwrap();
    assert_eq!(seen.both, 0, "{seen:?}");
    assert!(seen.announced.is_some(), "{seen:?}");
    let bound = trial.get(2).inside(|| TcpListener::bind((address, PORT))).unwrap();
    serves(&trial, 2, &bound.unwrap(), address);

    // The new holder has the higher epochs.
    trial.bed.heal().unwrap();
    wait_routes(&many, trial.get(1), 0);
    trial.host(2).terminate_agent().unwrap();
    assert!(trial.host(2).wait_agent_end(LIMIT).unwrap().success());
    assert_nothing_left(&many, trial.get(2));
    many.wait_online(trial.get(1)).unwrap();
    assert_eq!(many.routes(trial.get(1)).unwrap(), 400);
}

// All hosts have all routes; one answers. The holder is killed, what it leaves is silent, and goes
// with `rais clean`, or is taken over by the next start.
#[test]
fn what_is_in_place_beforehand_answers_nobody() {
    let many = many(false, Mode::Prearm);
    let mut trial = start(&many);
    for number in 1..=2 {
        wait_routes(&many, trial.get(number), 400);
    }
    assert_eq!((entries(trial.get(1)), entries(trial.get(2))), ((0, 400), (400, 0)));
    assert_eq!(trial.get(2).dump("TRAFFIC").unwrap().len(), 400, "ready to be counted");
    let address = many.address(0);
    let second = trial.get(2).inside(|| TcpListener::bind((address, PORT))).unwrap().unwrap();
    let first = trial.get(1).inside(|| TcpListener::bind((address, PORT))).unwrap().unwrap();
    serves(&trial, 1, &first, address);

    let seen = many.watch(&mut trial, |trial| trial.host(1).kill_agent()).unwrap();
    assert_eq!(seen.both, 0, "{seen:?}");
    serves(&trial, 2, &second, address);
    assert_eq!(many.routes(trial.get(1)).unwrap(), 400, "nobody took them away");

    trial.host(1).restart_agent().unwrap();
    wait::until("the first host to be armed again", LIMIT, || {
        let both = trial.host(1).status()?.is_some_and(|status| status.hosts() == 2);
        Ok((both && entries(trial.get(1)) == (400, 0)).then_some(()))
    })
    .unwrap();
    wait_routes(&many, trial.get(1), 400);
    trial.host(1).kill_agent().unwrap();
    let config = trial.get(1).run_dir().with_file_name("rais.toml");
    let cleaned = trial.get(1).rais(&["clean", "--config", config.to_str().unwrap()]).unwrap();
    assert!(cleaned.status.success(), "{cleaned:?}");
    assert_nothing_left(&many, trial.get(1));

    trial.host(2).terminate_agent().unwrap();
    assert!(trial.host(2).wait_agent_end(LIMIT).unwrap().success());
    assert_nothing_left(&many, trial.get(2));
    assert_eq!(entries(trial.get(2)), (0, 0));
}

// The kernel answers no solicitation for a route: the XDP program alone does.
#[test]
fn ipv6_addresses_are_routes_too() {
    for mode in [Mode::Route, Mode::Prearm] {
        let many = many(true, mode);
        let mut trial = start(&many);
        let shown = trial.get(1).run("ip", &["-d", "link", "show", "dev", "eth0"]).unwrap();
        assert!(shown.contains("allmulti 1"), "the groups of no address are heard: {shown}");
        let address = many.address(7);
        let any = |number| trial.get(number).inside(|| TcpListener::bind(("::", PORT))).unwrap();
        let listeners = [any(1).unwrap(), any(2).unwrap()];
        serves(&trial, 1, &listeners[0], address);
        let seen = many.watch(&mut trial, |trial| trial.bed.cut(trial.get(1))).unwrap();
        assert_eq!(seen.both, 0, "{seen:?}");
        serves(&trial, 2, &listeners[1], address);
    }
}

// Where the kernel answers ARP for routes, prearmed hosts would all answer.
#[test]
fn prearm_is_refused_where_the_kernel_would_answer() {
    let many = many(false, Mode::Prearm);
    let mut trial = Trial::new().unwrap();
    trial.add(1).unwrap();
    let config = many.config(&trial, 1).unwrap();
    let path = trial.get(1).run_dir().with_file_name("rais.toml");
    std::fs::write(&path, config).unwrap();
    let check =
        |trial: &Trial| trial.get(1).rais(&["check", "--config", path.to_str().unwrap()]).unwrap();
    trial.get(1).run("sysctl", &["-qw", "net.ipv4.conf.all.arp_ignore=0"]).unwrap();
    let refused = check(&trial);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("on eth0; set net.ipv4.conf.all.arp_ignore=1"), "{said}");
    trial.get(1).run("sysctl", &["-qw", "net.ipv4.conf.all.arp_ignore=1"]).unwrap();
    let accepted = check(&trial);
    assert!(accepted.status.success(), "{accepted:?}");
}
