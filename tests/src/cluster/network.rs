//! The simulated network: one directed link for each ordered pair of hosts, and a record of who
//! hears whom, which the invariants need.

use super::random::Random;
use super::{Nanos, Timing};

/// What a link does to datagrams.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Shortest and longest delay. Each datagram draws its own, so that they overtake each other.
    pub delay: (Nanos, Nanos),
    /// Lost, of a thousand.
    pub loss: u64,
    /// Delivered twice, of a thousand.
    pub duplication: u64,
}

impl Default for Link {
    fn default() -> Self {
        Self { delay: (50_000, 400_000), loss: 0, duplication: 0 }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Path {
    link: Link,
    cut: bool,
    /// When the last heartbeat was sent that arrives.
    heard: Nanos,
    /// One was lost since.
    lost: bool,
    /// Until when the receiver may have missed too much to be held to I1.
    disturbed_until: Nanos,
}

/// All links of a cluster.
#[derive(Debug)]
pub struct Network {
    hosts: usize,
    paths: Vec<Path>,
    timing: Timing,
}

impl Network {
    pub(super) fn new(hosts: usize, timing: Timing) -> Self {
        Self { hosts, paths: vec![Path::default(); hosts * hosts], timing }
    }

    fn path(&mut self, from: usize, to: usize) -> &mut Path {
        &mut self.paths[from * self.hosts + to]
    }

    /// Gives all links these properties.
    pub fn set_links(&mut self, link: Link) {
        for path in &mut self.paths {
            path.link = link;
        }
    }

    /// Cuts or mends one direction. Returns whether that changed anything.
    pub(super) fn set_cut(&mut self, now: Nanos, from: usize, to: usize, cut: bool) -> bool {
        let grace = self.timing.timeout + 3 * self.timing.heartbeat;
        let path = self.path(from, to);
        let changed = path.cut != cut;
        if changed {
            path.cut = cut;
            path.disturbed_until = path.disturbed_until.max(now + grace);
        }
        changed
    }

    /// Whether any direction is cut.
    pub(super) fn is_cut(&self) -> bool {
        self.paths.iter().any(|path| path.cut)
    }

    /// When copies of a datagram sent now arrive: none, one or two.
    pub(super) fn transmit(
        &mut self,
        random: &mut Random,
        now: Nanos,
        (from, to): (usize, usize),
        heartbeat: bool,
    ) -> Vec<Nanos> {
        let Timing { heartbeat: h, timeout, .. } = self.timing;
        let path = self.path(from, to);
        let lost = path.cut || random.per_mille(path.link.loss);
        if heartbeat {
            // One loss alone is borne; a second one, or a pause on top of it, may not be.
            let twice = path.lost && lost;
            path.lost |= lost;
            if twice || (path.lost && now - path.heard > 2 * h + h / 5) {
                path.disturbed_until = path.disturbed_until.max(now + timeout + 3 * h);
            }
            if !lost {
                path.lost = false;
                path.heard = now;
            }
        }
        if lost {
            return Vec::new();
        }
        let copies = if random.per_mille(path.link.duplication) { 2 } else { 1 };
        let (low, high) = path.link.delay;
        (0..copies).map(|_| now + random.between(low, high)).collect()
    }

    /// Whether two hosts have heard enough of one another lately to be held to I1: no direction
    /// is cut or was until a moment ago, no two heartbeats in a row were lost, and neither has
    /// missed the other's latest one. (The lease covers one lost heartbeat to the day; the drift
    /// of the clocks comes on top.)
    pub(super) fn hear_one_another(&self, now: Nanos, a: usize, b: usize) -> bool {
        let hears = |from: usize, to: usize| {
            let path = &self.paths[from * self.hosts + to];
            !path.cut && !path.lost && now >= path.disturbed_until
        };
        hears(a, b) && hears(b, a)
    }

    /// The last moment at which a loss or a cut excused anything.
    pub(super) fn disturbed_until(&self) -> Nanos {
        self.paths.iter().map(|path| path.disturbed_until).max().unwrap_or(0)
    }

    /// The last moment at which a loss or a cut to or from this host excused anything.
    pub(super) fn host_disturbed_until(&self, host: usize) -> Nanos {
        (0..self.hosts)
            .flat_map(|other| [host * self.hosts + other, other * self.hosts + host])
            .map(|index| self.paths[index].disturbed_until)
            .max()
            .unwrap_or(0)
    }
}
