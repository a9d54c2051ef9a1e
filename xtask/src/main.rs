//! The project's own tasks: `cargo xtask TASK`.

#![allow(unreachable_pub, reason = "a program has nobody outside to be reached from")]

mod alerts;
mod bench;
mod broken_rules;
mod build_ebpf;
mod command;
mod demo;
mod fuzz;
mod model;
mod mutants;
mod setup;
mod simulate;
mod test;
mod tidy;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// The project's own tasks. `demo` and `test` do all of their own set-up.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Installs what building and testing need and this machine does not have.
    Setup {
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Builds the XDP program.
    BuildEbpf,
    /// Three hosts, a client, and one fault after another: what does the client see?
    Demo {
        /// For the demonstration: --keep, --runs N, --family v6, --json.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Checks everything there is to check.
    Test {
        /// Install what is missing without asking.
        #[arg(long)]
        yes: bool,
    },
    /// Checks the rules of ARCHITECTURE.md that a machine can check.
    Tidy,
    /// Checks the alert rules in docs with Prometheus' own checker.
    Alerts,
    /// Runs simulated clusters, each from a seed of its own.
    Simulate {
        /// For the simulation: --seeds N, --seed FIRST, --hosts N; --crowd `HOSTSxADDRESSES` for one
        /// large group of which many hosts die; --help lists all.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Fuzzes: what may come from outside must not make the agent panic, or break a promise.
    Fuzz {
        /// One of `tests/src/fuzz.rs`; all, one after another, where not given.
        target: Option<String>,
        /// How long each.
        #[arg(long, default_value_t = 120)]
        seconds: u64,
    },
    /// Checks every run of a few hosts with so many faults.
    Model {
        /// For the model checker: --faults N, --kinds LIST, --depth N, --limit SECONDS; --help
        /// lists all.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Breaks one rule after another, and sees that the simulation or the model checker notices.
    BrokenRules {
        /// Only those whose description has this in it.
        #[arg(default_value = "")]
        only: String,
    },
    /// Changes the group in every small way, and sees that a unit test notices: an hour.
    Mutants {
        /// Only those whose name matches this expression.
        #[arg(default_value = "")]
        only: String,
    },
    /// Measures: the demonstration several times, medians; or what it is told to.
    Bench {
        /// How many times.
        #[arg(long, default_value_t = 5)]
        runs: u32,
        /// What else than the demonstration.
        #[arg(value_enum)]
        what: Option<bench::What>,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("xtask: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    // Tasks may be called from any directory of the project.
    std::env::set_current_dir(command::root()?)?;
    match task {
        Task::Setup { yes } => setup::setup(yes),
        Task::BuildEbpf => {
            setup::toolchain()?;
            build_ebpf::build_ebpf()
        }
        Task::Demo { arguments } => demo::demo(&arguments),
        Task::Test { yes } => test::test(yes),
        Task::Tidy => tidy::tidy(),
        Task::Alerts => alerts::alerts(),
        Task::Simulate { arguments } => simulate::simulate(&arguments),
        Task::Fuzz { target, seconds } => fuzz::fuzz(target.as_deref(), seconds),
        Task::Model { arguments } => model::model(&arguments),
        Task::BrokenRules { only } => broken_rules::broken_rules(&only),
        Task::Mutants { only } => mutants::mutants(&only),
        Task::Bench { runs, what } => bench::bench(runs, what),
    }
}
