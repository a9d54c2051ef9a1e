//! The real `Group` in every run with so many faults. Longer checks: `cargo xtask model`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use rais_tests::model::{Kinds, Outcome, Setup, check};

/// The rules hold in every state, and none was left out.
fn holds(setup: &Setup) -> Outcome {
    let outcome = check(setup, None, None);
    println!("{outcome}");
    assert_eq!(outcome.broken, None);
    assert!(outcome.exhausted);
    outcome
}

// Three hosts, an address that belongs to the second, one fault of any kind at any point → the
// rules hold; the address can be online, be taken over and come back.
#[test]
fn one_fault_of_any_kind() {
    let outcome = holds(&Setup { every_beginning: false, ..Setup::default() });
    assert_eq!(outcome.unreached, [""; 0]);
}

// Any two datagrams lost → no host is taken for dead.
#[test]
fn two_losses() {
    let kinds: Kinds = "loss".parse().unwrap();
    let outcome = holds(&Setup { faults: 2, kinds, every_beginning: false, ..Setup::default() });
    assert!(outcome.unreached.contains(&"another host has taken it over"));
}

// A quorum of two, and a host that pauses or is killed → no host without the quorum goes on.
#[test]
fn quorum() {
    let kinds: Kinds = "pause,kill".parse().unwrap();
    let setup = Setup { quorum: 2, kinds, every_beginning: false, ..Setup::default() };
    assert_eq!(holds(&setup).unreached, [""; 0]);
}

// Two hosts, a floating address, one fault, from every beginning → the rules hold.
#[test]
fn floating_address_of_two() {
    holds(&Setup { hosts: 2, homes: vec![None], ..Setup::default() });
}

// Three hosts, an address of the second and one of the third; a loss, a datagram that is overtaken, a
// host that is killed or one that pauses, wherever it falls → the rules hold, in runs of any length.
#[test]
fn two_addresses() {
    let kinds: Kinds = "loss,delay,kill,pause".parse().unwrap();
    let homes = vec![Some(1), Some(2)];
    let outcome = holds(&Setup { homes, kinds, every_beginning: false, ..Setup::default() });
    assert_eq!(outcome.unreached, [""; 0]);
}
