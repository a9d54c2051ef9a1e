//! Random runs: a random cluster to which random things happen, with calm in between.

use std::time::Duration;

use rais::group::{Balance, Failback, Placement};

use super::network::Link;
use super::random::Random;
use super::{Cluster, Plan, host_id};

/// What a random run is to be like.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many hosts; none: 3 to 12, by chance.
    pub hosts: Option<usize>,
    /// How many random things happen.
    pub happenings: u32,
    /// Only these of them happen, numbered from 0; none: all. Each draws its own chance, so that
    /// it stays the same whatever happens besides.
    pub only: Option<Vec<u32>>,
    /// These hosts never start.
    pub off: Vec<usize>,
    /// Print the history.
    pub verbose: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { hosts: None, happenings: 12, only: None, off: Vec::new(), verbose: false }
    }
}

impl Options {
    /// What repeats the run.
    #[must_use]
    pub fn command(&self, seed: u64) -> String {
        let mut words = vec![format!("cargo xtask simulate --seed {seed} --seeds 1")];
        words.extend(self.hosts.map(|hosts| format!("--hosts {hosts}")));
        words.push(format!("--happenings {}", self.happenings));
        words.extend(self.only.as_ref().map(|only| format!("--only {}", list(only))));
        words.extend((!self.off.is_empty()).then(|| format!("--off {}", list(&self.off))));
        words.join(" ")
    }

    fn happens(&self, number: u32) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(&number))
    }
}

fn list<T: ToString>(numbers: &[T]) -> String {
    if numbers.is_empty() {
        return "none".to_owned();
    }
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// What a run showed.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// How many hosts there were.
    pub hosts: usize,
    /// How often an address was opened on another host than before.
    pub moves: usize,
    /// The longest it took, after a change, until addresses stood still.
    pub slowest: Duration,
}

/// Of a thousand runs, so many have a majority for a quorum and nothing uneven in the network.
const EVEN: u64 = 400;

/// A run as it goes on.
struct Chaos<'a> {
    cluster: Cluster,
    plan: Plan,
    options: &'a Options,
    /// Whatever hears another host is heard by it, and by all that this one hears.
    even: bool,
}

/// How many hosts such a run has.
pub(super) fn hosts(seed: u64, options: &Options) -> usize {
    let mut random = Random::new(seed);
    let even = random.per_mille(EVEN);
    random_plan(&mut random, options.hosts, even).preferred.len()
}

/// One random run. Panics where an invariant is violated, saying how to repeat it.
#[must_use]
pub fn run(seed: u64, options: &Options) -> Outcome {
    let mut random = Random::new(seed);
    let even = random.per_mille(EVEN);
    let plan = random_plan(&mut random, options.hosts, even);
    let mut cluster = Cluster::new(&plan, random.next());
    cluster.repeat_with(options.command(seed));
    if options.verbose {
        cluster.be_verbose();
        println!("{plan:#?}");
    }
    let mut chaos = Chaos { cluster, plan, options, even };
    chaos.begin(&mut random);
    for number in 0..options.happenings {
        let mut random = Random::apart(seed, u64::from(number) + 1);
        if options.happens(number) {
            chaos.happening(&mut random);
        }
        let span = some_time(&mut random);
        chaos.cluster.run_for(span);
    }
    chaos.calm_down();
    let cluster = chaos.cluster;
    Outcome { hosts: cluster.len(), moves: cluster.moves().len(), slowest: cluster.slowest() }
}

fn random_plan(random: &mut Random, hosts: Option<usize>, even: bool) -> Plan {
    let hosts = hosts.unwrap_or_else(|| 3 + random.index(10));
    let preferred: Vec<u8> = (0..hosts).map(|_| u8::try_from(random.below(3)).unwrap()).collect();
    let mut plan = Plan::new(&preferred);
    plan.balance = Some(Balance { high: 800, low: 500, scale: 1_000 });
    let least = u64::from(preferred.iter().all(|&count| count == 0));
    plan.floating = u8::try_from(random.between(least, 3)).unwrap();
    if hosts > 2 && random.per_mille(150) {
        plan.observers.push(random.index(hosts));
    }
    if even || random.per_mille(200) {
        plan.quorum = u32::try_from(hosts / 2 + 1).unwrap();
    }
    plan.failback = match random.below(4) {
        0 => Failback::Never,
        1 => Failback::After(Duration::from_millis(800)),
        _ => Failback::Immediate,
    };
    if random.per_mille(200) {
        plan.placement = Placement::Random;
    }
    plan.spread = random.per_mille(700);
    if random.per_mille(150) {
        plan.orphan_timeout = Duration::from_millis(600 + random.below(1_500));
    }
    if random.per_mille(250) {
        plan.drift = 0;
    }
    plan.scripts = random.per_mille(500);
    if random.per_mille(250) {
        plan.failures = 60;
    }
    plan.link = random_link(random);
    plan
}

fn random_link(random: &mut Random) -> Link {
    let low = random.between(20_000, 200_000);
    let spread = if random.per_mille(300) { 5_000_000 } else { 400_000 };
    let high = low + random.below(spread);
    let loss = if random.per_mille(400) { random.below(80) } else { 0 };
    let duplication = if random.per_mille(300) { 50 } else { 0 };
    Link { delay: (low, high), loss, duplication }
}

fn some_time(random: &mut Random) -> Duration {
    let longest = match random.below(6) {
        0 => 2,
        1 => 40,
        2 => 400,
        3 | 4 => 1_000,
        _ => 3_000,
    };
    Duration::from_micros(random.below(longest * 1_000))
}

/// How long a pause is: often around the lease and the timeout, where mistakes hide.
fn pause_span(random: &mut Random, plan: &Plan) -> Duration {
    let t = plan.timing;
    let span = match random.below(5) {
        0 => random.below(t.heartbeat * 2),
        1 => random.between(t.lease - t.heartbeat, t.lease + t.heartbeat),
        2 | 3 => random.between(t.timeout - t.heartbeat, t.timeout + t.heartbeat),
        _ => random.below(4 * t.timeout),
    };
    Duration::from_nanos(span)
}

impl Chaos<'_> {
    /// Most hosts start, together or one by one; the others join later.
    fn begin(&mut self, random: &mut Random) {
        // Where all start at once, and no clock drifts, all end their joining at once, too.
        let apart = if self.plan.drift == 0 { 0 } else { 150 };
        for host in 0..self.cluster.len() {
            if random.per_mille(900) {
                self.start(host);
            }
            let span = random.below(apart);
            self.cluster.run_for(Duration::from_millis(span));
        }
        if random.per_mille(500) {
            self.cluster.settle();
        }
    }

    fn start(&mut self, host: usize) {
        if !self.options.off.contains(&host) && !self.cluster.runs(host) {
            self.cluster.start(host);
        }
    }

    fn happening(&mut self, random: &mut Random) {
        let host = random.index(self.cluster.len());
        let other = random.index(self.cluster.len());
        if !self.cluster.runs(host) {
            self.start(host);
            return;
        }
        match random.below(4) {
            0 => self.end_agent(random, host),
            1 => self.pause_process(random, host),
            2 => self.disturb_network(random, host, other),
            _ => self.change_service(random, host, other),
        }
    }

    /// The agent ends, well or badly.
    fn end_agent(&mut self, random: &mut Random, host: usize) {
        match random.below(3) {
            0 => self.cluster.crash(host),
            1 => self.cluster.shutdown(host),
            _ => {
                self.cluster.crash(host);
                self.cluster.run_for(some_time(random));
                self.start(host);
            }
        }
    }

    /// It pauses: at rest, or between any two of its actions.
    fn pause_process(&mut self, random: &mut Random, host: usize) {
        let (cluster, plan) = (&mut self.cluster, &self.plan);
        match random.below(5) {
            0 => cluster.pause(host, pause_span(random, plan)),
            1 | 2 => pause_in_turn(cluster, random, plan, host),
            _ => {
                // Also several in a row.
                for _ in 0..=random.below(3) {
                    let steps = u32::try_from(random.below(12)).unwrap();
                    cluster.pause_after(host, steps, pause_span(random, plan));
                }
            }
        }
    }

    fn disturb_network(&mut self, random: &mut Random, host: usize, other: usize) {
        let sets = random_sets(random, self.cluster.len());
        let sets: Vec<&[usize]> = sets.iter().map(Vec::as_slice).collect();
        let span = pause_span(random, &self.plan);
        let cluster = &mut self.cluster;
        match random.below(if self.even { 6 } else { 10 }) {
            0 => cluster.partition(&sets),
            1 => {
                // Mended about when those who were cut off are taken for dead.
                cluster.partition(&sets);
                cluster.run_for(span);
                cluster.heal();
            }
            2 => {
                let up = random.per_mille(600);
                cluster.set_interface(host, up);
                if up {
                    // Otherwise this host alone would hear both sides of a partition.
                    cluster.heal();
                }
            }
            3 | 4 => cluster.heal(),
            5 => {
                cluster.set_links(random_link(random));
            }
            6 if host != other => cluster.set_cut(host, other, true),
            7 if host != other => {
                // Others may still hear both.
                cluster.set_cut(host, other, true);
                cluster.set_cut(other, host, true);
            }
            8 if host != other => cluster.clog(host, other, span),
            _ => {
                for other in (0..cluster.len()).filter(|&other| other != host) {
                    cluster.clog(host, other, span);
                    if random.per_mille(500) {
                        cluster.clog(other, host, span);
                    }
                }
            }
        }
    }

    /// What tests, load objects and operators say.
    fn change_service(&mut self, random: &mut Random, host: usize, other: usize) {
        let cluster = &mut self.cluster;
        match random.below(4) {
            0 => cluster.set_health(host, random.per_mille(500)),
            1 => cluster.quiesce(host, random.per_mille(500)),
            2 => {
                let addresses: Vec<_> = cluster.addresses().into_iter().collect();
                let address = addresses[random.index(addresses.len())];
                cluster.relocate(host, address, host_id(other));
            }
            _ => cluster.set_load(host, u32::try_from(random.below(1_000)).unwrap(), 1_000),
        }
    }

    /// Mends everything, and then nothing may happen any more.
    fn calm_down(&mut self) {
        self.cluster.set_links(Link::default());
        for host in 0..self.cluster.len() {
            self.cluster.set_interface(host, true);
        }
        self.cluster.heal();
        self.cluster.stop_failures();
        // The longest chain of pauses has to end first.
        self.cluster.run_for(Duration::from_secs(5));
        for host in 0..self.cluster.len() {
            self.start(host);
            self.cluster.set_health(host, true);
            self.cluster.quiesce(host, false);
        }
        self.cluster.settle();
        self.cluster.run_for(Duration::from_secs(1));
    }
}

/// Two sets of hosts, or three.
fn random_sets(random: &mut Random, hosts: usize) -> Vec<Vec<usize>> {
    let count = if random.per_mille(800) { 2 } else { 3 };
    let mut sets = vec![Vec::new(); count];
    for host in 0..hosts {
        sets[random.index(count)].push(host);
    }
    sets
}

/// A pause that ends just before the lease does, and another within the turn that follows: what
/// the host does then, it does on a time that others have outlived.
fn pause_in_turn(cluster: &mut Cluster, random: &mut Random, plan: &Plan, host: usize) {
    let t = plan.timing;
    let first = random.between(t.lease - t.heartbeat - t.heartbeat / 4, t.lease);
    let second = random.between(t.timeout - t.lease, t.timeout);
    cluster.pause(host, Duration::from_nanos(first));
    let steps = u32::try_from(random.between(1, 8)).unwrap();
    cluster.pause_after(host, steps, Duration::from_nanos(second));
}
