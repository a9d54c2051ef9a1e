//! A machine without BPF, for one program: a seccomp filter refuses the system call.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};
use nix::libc;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

/// Becomes `program`, for which `bpf(2)` fails with `errno`. Returns only where that fails.
///
/// # Errors
/// The filter cannot be applied, or there is no such program.
pub fn run(errno: u32, program: &[OsString]) -> Result<()> {
    let (name, arguments) = program.split_first().context("which program?")?;
    let rules = [(libc::SYS_bpf, Vec::new())].into_iter().collect();
    let architecture = std::env::consts::ARCH.try_into().context("seccomp on this machine")?;
    let (others, these) = (SeccompAction::Allow, SeccompAction::Errno(errno));
    let filter = SeccompFilter::new(rules, others, these, architecture).context("the filter")?;
    let filter = BpfProgram::try_from(filter).context("compiling the filter")?;
    apply_filter(&filter).context("applying the filter")?;
    let failed = Command::new(name).args(arguments).exec();
    Err(failed).with_context(|| format!("running {}", name.display()))
}
