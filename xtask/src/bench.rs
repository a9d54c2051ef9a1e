//! Measurements.

use anyhow::Result;
use clap::ValueEnum;

use crate::command::{cargo, run};
use crate::{build_ebpf, demo};

/// What can be measured apart from the demonstration.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum What {
    /// How many questions the built-in name server answers on one core, what that does to
    /// heartbeats, and how soon the zone says what has changed, with each backend. Needs root.
    Dns,
    /// What the XDP program costs a packet, in nanoseconds. Needs root.
    DataPlane,
    /// What a heartbeat and a failure cost a group, against the number of hosts.
    Group,
    /// How long 10,000 addresses are without a holder after theirs was cut off, in each way of
    /// holding them. Needs root.
    Addresses,
}

/// Measures so many times: runs the demonstration and prints medians, or what is asked for.
///
/// # Errors
/// As the demonstration's; something could not be built.
pub fn bench(runs: u32, what: Option<What>) -> Result<()> {
    let runs = runs.to_string();
    match what {
        None => demo::demo(&["--runs".into(), runs]),
        Some(What::Group) => {
            let program = ["run", "-q", "--release", "-p", "rais-tests", "--bin", "rais-crowd"];
            run(&mut cargo(&program))
        }
        Some(What::Dns) => {
            build_ebpf::build_ebpf()?;
            run(&mut cargo(&["build", "-q", "--release", "-p", "rais"]))?;
            let program = ["run", "-q", "--release", "-p", "rais-tests", "--bin", "rais-questions"];
            run(cargo(&program).args(["--", "--rounds", &runs]))
        }
        Some(What::Addresses) => {
            build_ebpf::build_ebpf()?;
            // The agent is started by its path, beside the program that measures.
            run(&mut cargo(&["build", "-q", "--release", "-p", "rais", "-p", "rais-tests"]))?;
            let program =
                ["run", "-q", "--release", "-p", "rais-tests", "--bin", "rais-many", "--"];
            run(cargo(&program).args(["--runs", &runs]))
        }
        Some(What::DataPlane) => {
            build_ebpf::build_ebpf()?;
            let program = ["run", "-q", "-p", "rais-tests", "--bin", "rais-bench", "--"];
            run(cargo(&program).args(["--rounds", &runs]))
        }
    }
}
