//! The demonstration, from a machine that has nothing but rustup.

use std::io::{IsTerminal, stdin};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{cargo, is_root, root, run};
use crate::{build_ebpf, setup};

/// Sets everything up, builds what the tests use too, and runs the demonstration as root.
///
/// # Errors
/// Something could not be built, or a fault was not survived.
pub fn demo(arguments: &[String]) -> Result<()> {
    setup::setup(false)?;
    build_ebpf::build_ebpf().context("building the XDP program")?;
    run(&mut cargo(&["build", "-p", "rais", "-p", "rais-tests", "--bins"]))?;
    let demo = root()?.join("target/debug/rais-demo");
    let mut command = if is_root() {
        Command::new(demo)
    } else {
        if !stdin().is_terminal() {
            bail!("network namespaces need root: call this as root");
        }
        println!("Network namespaces need root: sudo will ask for it.");
        let mut sudo = Command::new("sudo");
        sudo.arg(demo);
        sudo
    };
    run(command.args(arguments))
}
