//! Measures what the XDP program costs a packet.

use std::path::PathBuf;

use clap::Parser;
use rais_tests::xdp::cost::{Bench, cases};

/// Measures what the XDP program costs a packet, with 65,536 addresses in its map.
#[derive(Debug, Parser)]
struct Arguments {
    /// The object with the programs it is compared with.
    #[arg(long, default_value = "target/bpf/rais-bench.o")]
    object: PathBuf,
    /// How often everything is measured.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

fn main() {
    let Arguments { object, rounds } = Arguments::parse();
    let Some(mut bench) = Bench::new(&object) else { return };
    println!("{:<36} {:>7} {:>7} {:>7}", "ns beyond a pass-all program", "best", "median", "limit");
    for cost in bench.measure(cases(), rounds.max(1)) {
        let limit = cost.case.limit.map_or(String::new(), |limit| format!("{limit:.0}"));
        println!("{:<36} {:>7.1} {:>7.1} {limit:>7}", cost.case.name, cost.best, cost.median);
    }
}
