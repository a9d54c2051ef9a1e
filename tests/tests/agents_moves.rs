//! `rais move` with real agents: whoever is asked, the address goes where it is wanted, or the
//! operator reads why not.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use rais::clock;
use rais_tests::trial::{HEARTBEAT, LIMIT, Trial, id, service};
use rais_tests::wait::pause;

/// What `rais move` on a host says about an address and a host. Where it says that a host is just
/// joining, it is asked again.
fn moves(trial: &Trial, asked: u8, address: u8, to: u8) -> Result<String, String> {
    let (address, to) = (service(address).to_string(), id(to).to_string());
    let until = clock::now() + LIMIT;
    loop {
        let said =
            trial.get(asked).ask(&["move", &address, &to]).map_err(|error| format!("{error:#}"));
        let early = said.as_ref().is_err_and(|why| why.contains("try again in a moment"));
        if !early || clock::now() >= until {
            return said;
        }
        pause(HEARTBEAT);
    }
}

fn refused(trial: &Trial, address: u8, to: u8, why: &str) {
    for asked in [1, 2] {
        let said = moves(trial, asked, address, to).unwrap_err();
        let about = format!("was not moved to {}: ", id(to));
        assert!(said.contains(&about) && said.contains(why), "{said}");
    }
}

#[test]
fn an_address_goes_where_the_operator_wants_it_or_stays_for_a_reason() {
    let mut trial = Trial::new().unwrap();
    trial.floating = vec![0];
    trial.start(1, &[1], "").unwrap();
    trial.start(2, &[2], "").unwrap();
    trial.start(3, &[], "").unwrap();
    let holder = {
        let group = trial.get(1).wait_group("all hosts", LIMIT, |g| {
            g.hosts.len() == 3 && g.addresses.iter().all(|a| a.holders.len() == 1)
        });
        let group = group.unwrap();
        let floating = group.addresses.iter().find(|a| a.address == service(0)).unwrap();
        (1..=3).find(|&n| floating.holders == [id(n)]).unwrap()
    };
    let mut at = holder;
    // Asked of the leader, of another host, and of the holder itself.
    for (asked, to) in [(1, 2), (2, 3), (3, 1), (2, 2)] {
        if at == to {
            continue;
        }
        let said = moves(&trial, asked, 0, to).unwrap();
        assert_eq!(said, format!("{} is on {}\n", service(0), id(to)));
        at = to;
        trial.settle(&[(0, at), (1, 1), (2, 2)]).unwrap();
    }

    refused(&trial, 0, at, "has it already");
    refused(&trial, 0, 9, "no host with that id");
    refused(&trial, 2, 3, "belongs to another host");
    trial.get(3).ask(&["quiesce"]).unwrap();
    for asked in [1, 2] {
        trial
            .get(asked)
            .wait_group("h3 to be quiesced", LIMIT, |group| {
                group.hosts.iter().any(|host| host.id == id(3) && host.quiesced)
            })
            .unwrap();
    }
    refused(&trial, 0, 3, "that host is quiesced");
    let said = moves(&trial, 1, 99, 3).unwrap_err();
    assert!(said.contains("no group of this host has the address"), "{said}");
    trial.settle(&[(0, at), (1, 1), (2, 2)]).unwrap();
}

// Too few hosts, then one whose test fails → the operator reads which of the two it is.
#[test]
fn without_a_quorum_or_to_a_host_that_fails_nothing_moves() {
    let mut trial = Trial::new().unwrap();
    trial.floating = vec![0];
    trial.quorum = 2;
    trial.start(1, &[], "").unwrap();
    trial.get(1).wait_group("a leader", LIMIT, |group| group.leader == Some(id(1))).unwrap();
    let said = moves(&trial, 1, 0, 1).unwrap_err();
    assert!(said.contains("fewer hosts than the quorum asks for; start others"), "{said}");

    let never = "[[group.test]]\nname = \"never\"\nkind = \"file\"\npath = \"/nonexistent/ready\"\n\
                 interval = \"20ms\"\nfall = 1\n";
    trial.start(2, &[], never).unwrap();
    trial.settle(&[(0, 1)]).unwrap();
    refused(&trial, 0, 2, "that host is not OK: its tests fail, or it is an observer");
    trial.settle(&[(0, 1)]).unwrap();
}
