//! What a cluster is made of.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use rais::group::{Balance, Failback, HostId, Placement, Role, Settings};

use super::host::{Clock, Host};
use super::network::Link;
use super::random::Random;
use super::{Nanos, Timing};

const MILLISECOND: Nanos = 1_000_000;

/// The plan of a cluster; hosts are off at first.
#[derive(Clone, Debug)]
pub struct Plan {
    /// For each host, how many addresses belong to it. 0: a hot spare.
    pub preferred: Vec<u8>,
    /// How many floating addresses there are.
    pub floating: u8,
    /// These only listen.
    pub observers: Vec<usize>,
    /// Fewest live hosts.
    pub quorum: u32,
    /// When addresses return.
    pub failback: Failback,
    /// How hosts are chosen.
    pub placement: Placement,
    /// When hosts give addresses away for having too much to do.
    pub balance: Option<Balance>,
    /// Whether leaders keep the number of addresses even.
    pub spread: bool,
    /// How long an address outlives its preferred host.
    pub orphan_timeout: Duration,
    /// Whether there are acquire and release scripts.
    pub scripts: bool,
    /// Of a thousand scripts and interface changes, so many fail, and as many take too long.
    pub failures: u64,
    /// How fast or slow clocks may be, in parts in a million.
    pub drift: u64,
    /// All links.
    pub link: Link,
    /// All times.
    pub timing: Timing,
}

impl Plan {
    /// A plain cluster with the default times: each host with so many addresses of its own.
    #[must_use]
    pub fn new(preferred: &[u8]) -> Self {
        let heartbeat = 100 * MILLISECOND;
        Self {
            preferred: preferred.to_vec(),
            floating: 0,
            observers: Vec::new(),
            quorum: 1,
            failback: Failback::Immediate,
            placement: Placement::LeastUtilised,
            balance: None,
            spread: true,
            orphan_timeout: Duration::from_hours(24),
            scripts: false,
            failures: 0,
            drift: 10_000,
            link: Link::default(),
            timing: Timing {
                heartbeat,
                timeout: heartbeat * 7 / 2,
                lease: heartbeat * 5 / 2,
                script: 60 * MILLISECOND,
                action_limit: 400 * MILLISECOND,
            },
        }
    }

    pub(super) fn hosts(&self, random: &mut Random) -> Vec<Host> {
        (0..self.preferred.len())
            .map(|host| {
                let drift = i64::try_from(random.between(0, 2 * self.drift)).unwrap()
                    - i64::try_from(self.drift).unwrap();
                let start = random.between(1, 1_000_000) * MILLISECOND;
                Host::new(self.settings(host, random.next()), Clock { start, drift })
            })
            .collect()
    }

    fn settings(&self, host: usize, seed: u64) -> Settings {
        let span = Duration::from_nanos;
        let id = host_id(host);
        let role = if self.observers.contains(&host) { Role::Observer } else { Role::Member };
        Settings {
            name: "simulated".to_owned(),
            host: id,
            control_addresses: vec![id.0],
            mac: hardware(host),
            role,
            heartbeat: span(self.timing.heartbeat),
            timeout: span(self.timing.timeout),
            lease: span(self.timing.lease),
            preferred: (0..self.preferred[host]).map(|n| address(Some(host), n)).collect(),
            floating: (0..self.floating).map(|n| address(None, n)).collect(),
            quorum: self.quorum,
            failback: self.failback,
            placement: self.placement,
            balance: self.balance,
            spread: self.spread,
            orphan_timeout: self.orphan_timeout,
            action_limit: span(self.timing.action_limit),
            acquire_script: self.scripts,
            release_script: self.scripts,
            seed,
        }
    }
}

/// The id of a host.
#[must_use]
pub fn host_id(host: usize) -> HostId {
    HostId(IpAddr::V4(Ipv4Addr::new(10, 77, 0, u8::try_from(host + 1).unwrap())))
}

/// The hardware address of a host.
#[must_use]
pub fn hardware(host: usize) -> [u8; 6] {
    [2, 0, 0, 0, 0, u8::try_from(host + 1).unwrap()]
}

/// The `n`-th address that belongs to a host, or the `n`-th floating one.
#[must_use]
pub fn address(host: Option<usize>, n: u8) -> IpAddr {
    let third = host.map_or(100, |host| u8::try_from(host + 1).unwrap());
    IpAddr::V4(Ipv4Addr::new(10, 78, third, n + 1))
}
