//! Three hosts, a client, and one fault after another: what does the client see?

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use rais_tests::demo::{Demo, HEARTBEAT, QUORUM, Row, TIMEOUT, medians, run_all, table};
use rais_tests::family::Family;
use rais_tests::netns::clean_up_on_signal;

/// Three hosts, a client, and one fault after another: what does the client see?
///
/// Exits with 0 if every fault was survived, with 1 otherwise. Needs root. Everything it makes is
/// gone afterwards.
#[derive(Parser)]
struct Arguments {
    /// Leave the hosts running afterwards, until Ctrl-C.
    #[arg(long)]
    keep: bool,
    /// Repeat all faults; the table shows medians.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// The family of all addresses; none is of the other.
    #[arg(long, value_enum, default_value_t)]
    family: Family,
    /// Print what was measured as JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("rais-demo: {e:#}");
            ExitCode::FAILURE
        }
    }
}

/// True if every fault was survived.
fn run(arguments: &Arguments) -> Result<bool> {
    clean_up_on_signal()?;
    say("three hosts start, each with an agent and an echo service");
    let mut demo = Demo::start(arguments.family)?;
    say(&demo.holders()?);
    let mut runs: Vec<Vec<Row>> = Vec::new();
    for number in 1..=arguments.runs {
        if arguments.runs > 1 {
            say(&format!("run {number} of {}", arguments.runs));
        }
        demo.remove_fourth()?;
        runs.push(run_all(&mut demo, &mut say)?);
    }
    say(&demo.holders()?);
    print(arguments, &runs)?;
    if arguments.keep {
        demo.print_hints();
        loop {
            std::thread::park();
        }
    }
    Ok(runs.iter().flatten().all(|row| row.survived))
}

/// Progress goes to standard error: standard output has only the result.
fn say(line: &str) {
    eprintln!("{line}");
}

fn print(arguments: &Arguments, runs: &[Vec<Row>]) -> Result<()> {
    let lines = medians(runs);
    if arguments.json {
        let result = serde_json::json!({
            "family": if arguments.family == Family::V6 { "v6" } else { "v4" },
            "heartbeat_ms": HEARTBEAT.as_millis(),
            "timeout_ms": TIMEOUT.as_millis(),
            "quorum": QUORUM,
            "runs": runs,
            "medians": lines,
        });
        println!("{}", serde_json::to_string_pretty(&result)?);
    } else {
        println!("heartbeat {HEARTBEAT:?}, timeout {TIMEOUT:?}, quorum {QUORUM}");
        print!("{}", table(&lines));
    }
    Ok(())
}
