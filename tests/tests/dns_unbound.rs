//! Unbound, a resolver like others', finds the zone on real agents: it follows changes once what it
//! remembers is too old, and forgets a dead host in time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use rais::clock;
use rais_tests::questions::{Asker, Said};
use rais_tests::trial::{LIMIT, TIMEOUT, Trial, service};
use rais_tests::unbound::{Unbound, Way};
use rais_tests::wait;

const ZONE: &str = "web.example.net";
const NAME: &str = "www.web.example.net";

/// How long resolvers may remember, in seconds.
const TTL: u32 = 2;

/// Unbound counts in whole seconds, and what is to be remembered for two is until the end of the
/// third.
const ROUNDING: Duration = Duration::from_secs(1);

/// How often a host dies, unless `RAIS_ROUNDS` says otherwise.
const ROUNDS: u32 = 2;

const AGENTS: [Ipv4Addr; 3] =
    [Ipv4Addr::new(10, 77, 0, 1), Ipv4Addr::new(10, 77, 0, 2), Ipv4Addr::new(10, 77, 0, 3)];

fn set(numbers: &[u8]) -> BTreeSet<IpAddr> {
    numbers.iter().map(|&n| service(n)).collect()
}

/// Three agents that answer for the zone, each advertising its address.
fn three() -> Trial {
    let section = format!("[group.dns]\nzone = '{ZONE}'\nname = 'www'\nttl = '{TTL}s'\n");
    let trial = Trial::of(3, &section).unwrap();
    for agent in AGENTS {
        wait_set(&mut Asker::new(&trial.client, agent, NAME).unwrap(), "the zone", &[1, 2, 3]);
    }
    trial
}

/// A resolver with this number, and who asks it from its own host.
fn resolver(trial: &Trial, number: u8, way: Way) -> (Unbound, Asker) {
    let name = format!("u{number}");
    let host = trial.bed.host(&name, number).unwrap();
    let dir = trial.bed.dir().join(name);
    let unbound = Unbound::start(&host, &dir, ZONE, way, &AGENTS).unwrap();
    let asker = Asker::new(&host, host.address(), NAME).unwrap();
    (unbound, asker)
}

/// Asks until the answer has these addresses.
fn wait_set(asker: &mut Asker, what: &str, numbers: &[u8]) -> Said {
    let mut last = None;
    let found = wait::until(what, LIMIT, || {
        last = asker.ask()?;
        assert!(last.as_ref().is_none_or(|said| said.ttl <= TTL), "{last:?}");
        Ok(last.clone().filter(|said| said.addresses == set(numbers)))
    });
    found.unwrap_or_else(|e| panic!("{e}: {last:?}"))
}

#[test]
fn resolvers_of_either_kind_resolve_and_follow() {
    let mut trial = three();
    let (_stub, mut stub) = resolver(&trial, 60, Way::Stub);
    let (_forward, mut forward) = resolver(&trial, 61, Way::Forward);
    wait_set(&mut stub, "the resolver to find the zone", &[1, 2, 3]);
    wait_set(&mut forward, "the forwarder to find the zone", &[1, 2, 3]);
    trial.get(3).ask(&["quiesce"]).unwrap();
    wait_set(&mut stub, "the resolver to follow", &[1, 2]);
    wait_set(&mut forward, "the forwarder to follow", &[1, 2]);
    // Without the first of its servers.
    trial.host(1).terminate_agent().unwrap();
    trial.host(1).wait_agent_end(LIMIT).unwrap();
    trial.get(3).ask(&["resume"]).unwrap();
    wait_set(&mut stub, "the resolver to ask another", &[2, 3]);
    wait_set(&mut forward, "the forwarder to ask another", &[2, 3]);
    let said = trial.client.run("dig", &["@10.77.0.60", NAME, "AAAA"]).unwrap();
    assert!(said.contains("status: NOERROR") && said.contains("ANSWER: 0, AUTHORITY: 1"), "{said}");
}

// A host dies → its address is in no answer of the resolver later than the timeout, and the time to
// live, after that.
#[test]
fn a_dead_host_is_forgotten_in_time() {
    let mut trial = three();
    let (_unbound, mut asker) = resolver(&trial, 60, Way::Stub);
    let ttl = Duration::from_secs(TTL.into());
    let dead = service(2);
    let rounds = std::env::var("RAIS_ROUNDS").map_or(ROUNDS, |text| text.parse().unwrap());
    for round in 0..rounds {
        wait_set(&mut asker, "the resolver to have all", &[1, 2, 3]);
        // At another part of a second each time.
        wait::pause(Duration::from_millis(u64::from(round) * 370 % 1_000));
        let death = clock::now();
        trial.host(2).kill_agent().unwrap();
        let (mut last, mut without) = (death, None);
        // For as long again: it must not come back.
        while without.is_none_or(|first| clock::now().since(first) < ttl) {
            let Some(said) = asker.ask().unwrap() else { continue };
            if said.addresses.contains(&dead) {
                (last, without) = (said.asked, None);
            } else if !said.addresses.is_empty() {
                without = without.or(Some(said.asked));
            }
            assert!(clock::now().since(death) < LIMIT, "{dead} is remembered for ever");
            wait::pause(Duration::from_millis(2));
        }
        let late = last.since(death);
        println!("killed: {dead} last in an answer after {late:?}");
        assert!(late <= TIMEOUT + ttl + ROUNDING, "{dead} in an answer after {late:?}");
        trial.host(2).restart_agent().unwrap();
        trial.settle(&[(1, 1), (2, 2), (3, 3)]).unwrap();
    }
}
