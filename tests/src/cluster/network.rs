//! The simulated network: one directed link for each ordered pair of hosts, and a record of who
//! hears whom, which the invariants need.
//!
//! Where the quorum is a majority, neither loss nor a cut excuses anything as long as the cut is
//! even: it divides the hosts into sets, none of which hears anything of another. Then only one of
//! them has the majority, and no two hosts answer, whoever hears whom. What is uneven is excused: one direction that fails
//! without the other, or a host that hears two which do not hear one another.

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
    /// Holds back all messages until then.
    clogged_until: Nanos,
    /// When the last heartbeat was sent that arrives.
    heard: Nanos,
    /// One was lost since.
    lost: bool,
    /// When the last heartbeat was lost.
    lost_at: Option<Nanos>,
    /// Until when the receiver may have missed too much to be held to I1.
    disturbed_until: Nanos,
}

/// All links of a cluster.
#[derive(Debug)]
pub struct Network {
    hosts: usize,
    paths: Vec<Path>,
    /// What each path draws from, so that what happens to one changes nothing on another.
    chances: Vec<Random>,
    timing: Timing,
    /// More than half of the hosts are needed to hold anything.
    majority: bool,
    /// Whether what is cut now is even.
    even: bool,
    /// When what is cut has changed since that was found.
    reshaped: Option<Nanos>,
    /// Until when something uneven excuses two answers.
    uneven_until: Nanos,
    /// Until when the last link is clogged.
    clogged_until: Nanos,
}

impl Network {
    pub(super) fn new(hosts: usize, timing: Timing, majority: bool, seed: u64) -> Self {
        let streams = (0..hosts * hosts).map(|path| u64::try_from(path).unwrap());
        Self {
            hosts,
            chances: streams.map(|stream| Random::apart(seed, stream)).collect(),
            paths: vec![Path::default(); hosts * hosts],
            timing,
            majority,
            even: true,
            reshaped: None,
            uneven_until: 0,
            clogged_until: 0,
        }
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
        let grace = self.grace();
        self.look_at_shape(now);
        let path = self.path(from, to);
        let changed = path.cut != cut;
        if changed {
            path.cut = cut;
            path.disturbed_until = path.disturbed_until.max(now + grace);
            self.reshaped = Some(now);
        }
        changed
    }

    /// Holds back everything in one direction until a moment, and delivers it then.
    pub(super) fn clog(&mut self, now: Nanos, from: usize, to: usize, until: Nanos) {
        let grace = self.grace();
        self.look_at_shape(now);
        let path = self.path(from, to);
        path.clogged_until = path.clogged_until.max(until);
        path.disturbed_until = path.disturbed_until.max(until + grace);
        self.clogged_until = self.clogged_until.max(until);
        // What waited says what is no longer so, to some before others.
        self.uneven_until = self.uneven_until.max(until + grace);
    }

    /// How long after a disturbance it may still have consequences.
    const fn grace(&self) -> Nanos {
        self.timing.timeout + 3 * self.timing.heartbeat
    }

    /// Finds whether what is cut is even: who hears whom goes both ways, and from host to host.
    fn look_at_shape(&mut self, now: Nanos) {
        // Several cuts at one moment are one change.
        if self.reshaped.is_none_or(|at| at >= now) {
            return;
        }
        self.reshaped = None;
        let open = |from: usize, to: usize| {
            from == to || !self.paths.get(from * self.hosts + to).is_none_or(|path| path.cut)
        };
        let row = |host: usize| (0..self.hosts).map(move |other| open(host, other));
        let column = |host: usize| (0..self.hosts).map(move |other| open(other, host));
        let hosts = || 0..self.hosts;
        let both_ways = hosts().all(|host| row(host).eq(column(host)));
        let sets = hosts().all(|a| hosts().filter(|&b| open(a, b)).all(|b| row(a).eq(row(b))));
        let even = both_ways && sets;
        if !even || !self.even {
            self.uneven_until = self.uneven_until.max(now + self.grace());
        }
        self.even = even;
    }

    /// Until when messages are held back that say what is no longer so.
    pub(super) const fn clogged_until(&self) -> Nanos {
        self.clogged_until
    }

    /// Whether any direction is cut.
    pub(super) fn is_cut(&self) -> bool {
        self.paths.iter().any(|path| path.cut)
    }

    /// When copies of a datagram sent now arrive: none, one or two.
    pub(super) fn transmit(
        &mut self,
        now: Nanos,
        (from, to): (usize, usize),
        heartbeat: bool,
    ) -> Vec<Nanos> {
        let Timing { heartbeat: h, timeout, .. } = self.timing;
        self.look_at_shape(now);
        let index = from * self.hosts + to;
        let back = self.paths[to * self.hosts + from].lost_at;
        let (path, random) = (&mut self.paths[index], &mut self.chances[index]);
        let lost = path.cut || random.per_mille(path.link.loss);
        if heartbeat {
            // One loss alone is borne; a second one, or a pause on top of it, may not be.
            let mut twice = path.lost && lost;
            if lost && self.majority {
                // Nor a loss each way: what a quorum's lease hangs on is a heartbeat and the word
                // that it was heard.
                twice |= back.is_some_and(|at| now - at < 4 * h);
                path.lost_at = Some(now);
            }
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
        let leaves = path.clogged_until.max(now);
        (0..copies).map(|_| leaves + random.between(low, high)).collect()
    }

    /// Whether two hosts have heard enough of one another lately to be held to I1: no direction
    /// is cut or was until a moment ago, no two heartbeats in a row were lost, and neither has
    /// missed the other's latest one. (The lease covers one lost heartbeat to the day; the drift
    /// of the clocks comes on top.)
    pub(super) fn hear_one_another(&self, now: Nanos, a: usize, b: usize) -> bool {
        if self.is_even(now) {
            return true;
        }
        let hears = |from: usize, to: usize| {
            let path = &self.paths[from * self.hosts + to];
            !path.cut && !path.lost && now >= path.disturbed_until
        };
        hears(a, b) && hears(b, a)
    }

    /// Whether nothing uneven has happened lately, and a majority is needed to hold anything: then
    /// a cut excuses nothing.
    fn is_even(&self, now: Nanos) -> bool {
        self.majority && self.even && self.reshaped.is_none() && now >= self.uneven_until
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
