//! The project's own tasks.

mod build_ebpf;

use clap::Parser;

/// What can be asked for.
#[derive(Parser)]
enum Task {
    /// Compile the XDP program.
    BuildEbpf,
    /// Run clippy on the XDP program.
    ClippyEbpf,
}

fn main() -> anyhow::Result<()> {
    match Task::parse() {
        Task::BuildEbpf => build_ebpf::build_ebpf(),
        Task::ClippyEbpf => build_ebpf::clippy_ebpf(),
    }
}
