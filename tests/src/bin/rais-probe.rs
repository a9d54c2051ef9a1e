//! Measures what a client of a service address sees, and runs programs where BPF is missing.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};
use rais_tests::probe::{confined, echo, watch, without_bpf};

/// Measures what a client of a service address sees.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answers echoes on every address of this host, naming itself.
    Serve {
        /// UDP port.
        #[arg(long, default_value_t = 7)]
        port: u16,
        /// The name it answers with.
        #[arg(long)]
        name: String,
    },
    /// Sends echoes and ARP requests, or neighbour solicitations; reports a line of JSON for every line on standard input, and
    /// one at the end. The interface must be promiscuous.
    Watch(WatchArguments),
    /// Runs a program for which only those system calls work that a unit allows.
    Confined {
        /// The unit's file.
        #[arg(long)]
        unit: PathBuf,
        /// The program and its arguments.
        #[arg(last = true, required = true)]
        program: Vec<OsString>,
    },
    /// Runs a program for which the kernel has no `bpf` system call.
    WithoutBpf {
        /// Its error number instead: 38 is ENOSYS, 1 is EPERM.
        #[arg(long, default_value_t = 38)]
        errno: u32,
        /// The program and its arguments.
        #[arg(last = true, required = true)]
        program: Vec<OsString>,
    },
}

#[derive(clap::Args)]
struct WatchArguments {
    /// A service address; may be repeated, with others of its family.
    #[arg(long = "address", required = true)]
    addresses: Vec<IpAddr>,
    /// UDP port of the echo service.
    #[arg(long, default_value_t = 7)]
    port: u16,
    /// Where requests go out.
    #[arg(long, default_value = "eth0")]
    interface: String,
    /// Microseconds between echoes.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(100..))]
    period_us: u64,
    /// Microseconds between ARP requests, or neighbour solicitations.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(2_000..))]
    ask_period_us: u64,
    /// For how long; else until standard input closes.
    #[arg(long)]
    for_ms: Option<u64>,
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Serve { port, name } => echo::serve(port, &name),
        Command::Confined { unit, program } => confined::run(&unit, &program),
        Command::WithoutBpf { errno, program } => without_bpf::run(errno, &program),
        Command::Watch(arguments) => {
            let options = watch::Options {
                addresses: arguments.addresses,
                port: arguments.port,
                interface: arguments.interface,
                period: Duration::from_micros(arguments.period_us),
                ask_period: Duration::from_micros(arguments.ask_period_us),
                length: arguments.for_ms.map(Duration::from_millis),
            };
            watch::run(&options, &mut std::io::stdout().lock())
        }
    }
}
