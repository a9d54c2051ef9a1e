//! Random runs: a random cluster to which random things happen, with calm in between.

use std::time::Duration;

use rais::group::{Balance, Failback, Placement};

use super::network::Link;
use super::random::Random;
use super::{Cluster, Plan, host_id};

/// What a random run is to be like.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many hosts; none: 2 to 6, by chance.
    pub hosts: Option<usize>,
    /// How many random things happen.
    pub happenings: u32,
    /// Print the history.
    pub verbose: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { hosts: None, happenings: 12, verbose: false }
    }
}

/// What a run showed.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// How often an address was opened on another host than before.
    pub moves: usize,
    /// The longest it took, after a change, until addresses stood still.
    pub slowest: Duration,
}

/// One random run. Panics where an invariant is violated, saying how to repeat it.
#[must_use]
pub fn run(seed: u64, options: Options) -> Outcome {
    let mut random = Random::new(seed);
    let plan = random_plan(&mut random, options.hosts);
    let mut cluster = Cluster::new(&plan, random.next());
    let hosts = options.hosts.map(|n| format!(" --hosts {n}")).unwrap_or_default();
    let happenings = options.happenings;
    cluster.repeat_with(format!(
        "cargo xtask simulate --seed {seed} --seeds 1 --happenings {happenings}{hosts}"
    ));
    if options.verbose {
        cluster.be_verbose();
        println!("{plan:#?}");
    }
    // Where all start at once, and no clock drifts, all end their joining at once, too.
    let apart = if plan.drift == 0 { 0 } else { 150 };
    for host in 0..cluster.len() {
        cluster.start(host);
        let span = random.below(apart);
        cluster.run_for(Duration::from_millis(span));
    }
    if random.per_mille(500) {
        cluster.settle();
    }
    for _ in 0..options.happenings {
        happening(&mut cluster, &mut random, &plan);
        pass_time(&mut cluster, &mut random);
    }
    calm_down(&mut cluster);
    Outcome { moves: cluster.moves().len(), slowest: cluster.slowest() }
}

fn random_plan(random: &mut Random, hosts: Option<usize>) -> Plan {
    let hosts = hosts.unwrap_or_else(|| 2 + random.index(5));
    let preferred: Vec<u8> = (0..hosts).map(|_| u8::try_from(random.below(3)).unwrap()).collect();
    let mut plan = Plan::new(&preferred);
    plan.balance = Some(Balance { high: 800, low: 500, scale: 1_000 });
    let least = u64::from(preferred.iter().all(|&count| count == 0));
    plan.floating = u8::try_from(random.between(least, 3)).unwrap();
    if hosts > 2 && random.per_mille(150) {
        plan.observers.push(random.index(hosts));
    }
    if random.per_mille(300) {
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

fn pass_time(cluster: &mut Cluster, random: &mut Random) {
    let longest = match random.below(6) {
        0 => 2,
        1 => 40,
        2 => 400,
        3 | 4 => 1_000,
        _ => 3_000,
    };
    let span = random.below(longest * 1_000);
    cluster.run_for(Duration::from_micros(span));
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

fn happening(cluster: &mut Cluster, random: &mut Random, plan: &Plan) {
    let host = random.index(cluster.len());
    let other = random.index(cluster.len());
    if !cluster.runs(host) {
        cluster.start(host);
        return;
    }
    match random.below(16) {
        0 => cluster.crash(host),
        1 => cluster.pause(host, pause_span(random, plan)),
        2..=4 => {
            // Also several in a row.
            for _ in 0..=random.below(3) {
                let steps = u32::try_from(random.below(12)).unwrap();
                cluster.pause_after(host, steps, pause_span(random, plan));
            }
        }
        15 => pause_in_turn(cluster, random, plan, host),
        5 => cluster.shutdown(host),
        6 => cluster.set_health(host, random.per_mille(500)),
        7 => {
            let quiesced = random.per_mille(500);
            cluster.quiesce(host, quiesced);
        }
        8 if host != other => cluster.set_cut(host, other, true),
        9 => {
            let (mut left, mut right) = (Vec::new(), Vec::new());
            for host in 0..cluster.len() {
                if random.per_mille(500) { left.push(host) } else { right.push(host) }
            }
            cluster.partition(&[&left, &right]);
        }
        10 | 11 => cluster.heal(),
        12 => {
            let link = random_link(random);
            cluster.set_links(link);
        }
        13 => {
            let addresses: Vec<_> = cluster.addresses().into_iter().collect();
            let address = addresses[random.index(addresses.len())];
            cluster.relocate(host, address, host_id(other));
        }
        _ => cluster.set_load(host, u32::try_from(random.below(1_000)).unwrap(), 1_000),
    }
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

/// Mends everything, and then nothing may happen any more.
fn calm_down(cluster: &mut Cluster) {
    cluster.set_links(Link::default());
    cluster.heal();
    cluster.stop_failures();
    // The longest chain of pauses has to end first.
    cluster.run_for(Duration::from_secs(5));
    for host in 0..cluster.len() {
        if !cluster.runs(host) {
            cluster.start(host);
        }
        cluster.set_health(host, true);
        cluster.quiesce(host, false);
    }
    cluster.settle();
    cluster.run_for(Duration::from_secs(1));
}
