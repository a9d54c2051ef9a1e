//! What is modelled: the hosts, their settings and the bounds.

use std::net::IpAddr;
use std::time::Duration;

use rais::group::{Balance, Failback, Placement, Role, Settings};
use rais_common::time::Time;

use super::choice::{Choice, Kinds};
use super::world::World;
use crate::cluster::{address, hardware, host_id};

/// Half a heartbeat. So long that pauses the group counts in seconds are over within one: they
/// have no bearing on the rules, and would multiply the states.
pub(super) const UNIT: Duration = Duration::from_secs(1_000);

/// The times, in units. As by default, the timeout is 3.5 heartbeats and the lease 2.5.
pub(super) const HEARTBEAT: u32 = 2;
pub(super) const TIMEOUT: u32 = 7;
pub(super) const LEASE: u32 = 5;
const ACTION_LIMIT: u32 = 4;

/// Longest pause, and longest delay of a datagram or an interface: every deadline has passed.
pub(super) const LONGEST: u32 = TIMEOUT + HEARTBEAT + 1;

/// After what time without anything unforeseen all must be in order: the timeout, and four
/// heartbeats for what is told and lost and told again.
pub(super) const SETTLED: u32 = TIMEOUT + 4 * HEARTBEAT;

/// When time begins: no other number is as great, so that times can be told from them.
pub(super) const BEGINNING: u64 = 1 << 60;

/// What is modelled.
#[derive(Clone, Debug)]
pub struct Setup {
    /// How many hosts.
    pub hosts: usize,
    /// For each address, the host it belongs to; none: it is floating.
    pub homes: Vec<Option<usize>>,
    /// Fewest live hosts.
    pub quorum: u32,
    /// How many faults a run may have.
    pub faults: u32,
    /// Of which kinds.
    pub kinds: Kinds,
    /// Also begins with hosts that start half a heartbeat apart, and with hosts of which the last
    /// is the first to act.
    pub every_beginning: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            hosts: 3,
            homes: vec![Some(1)],
            quorum: 1,
            faults: 1,
            kinds: Kinds::all(),
            every_beginning: true,
        }
    }
}

impl Setup {
    /// The hosts off, to start in this order or that.
    pub(super) fn beginnings(&self) -> Vec<World> {
        if !self.every_beginning {
            return vec![World::new(vec![0; self.hosts], false)];
        }
        let late = (0..1_u32 << self.hosts).filter(|late| late + 1 < 1 << self.hosts);
        late.flat_map(|late| {
            let starts: Vec<u32> = (0..self.hosts).map(|host| late >> host & 1).collect();
            [World::new(starts.clone(), false), World::new(starts, true)]
        })
        .collect()
    }

    /// A run in words.
    pub(super) fn narrate(
        &self,
        beginning: &World,
        choices: impl Iterator<Item = Choice>,
    ) -> Vec<String> {
        let mut world = beginning.clone();
        world.write_down();
        for choice in choices {
            self.make(&mut world, choice);
        }
        world.history()
    }

    pub(super) fn address(&self, n: usize) -> IpAddr {
        address(self.homes[n], u8::try_from(n).unwrap())
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        (0..self.homes.len()).map(|n| self.address(n))
    }

    pub(super) fn settings(&self, host: usize) -> Settings {
        let belonging = |home| {
            let those = (0..self.homes.len()).filter(move |&n| self.homes[n] == home);
            those.map(|n| self.address(n)).collect()
        };
        let id = host_id(host);
        Settings {
            name: "modelled".to_owned(),
            host: id,
            control_addresses: vec![id.0],
            mac: hardware(host),
            role: Role::Member,
            heartbeat: UNIT * HEARTBEAT,
            timeout: UNIT * TIMEOUT,
            lease: UNIT * LEASE,
            preferred: belonging(Some(host)),
            floating: belonging(None),
            quorum: self.quorum,
            failback: Failback::Immediate,
            placement: Placement::LeastUtilised,
            balance: None::<Balance>,
            spread: false,
            orphan_timeout: Duration::MAX,
            action_limit: UNIT * ACTION_LIMIT,
            acquire_script: false,
            release_script: false,
            seed: 0,
        }
    }
}

/// The time at a unit.
pub(super) fn time(unit: u32) -> Time {
    Time::from_nanos(BEGINNING) + UNIT * unit
}
