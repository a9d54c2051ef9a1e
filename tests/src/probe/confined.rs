//! The restrictions of a unit without its service manager: what `SystemCallFilter` and
//! `RestrictAddressFamilies` allow, for one program. Capabilities are for `setpriv` to limit.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

/// Numbers of system calls, as C programs are told.
const NUMBERS: [&str; 2] =
    ["/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm-generic/unistd.h"];

/// The settings of a unit that limit what its processes may do.
#[derive(Debug)]
pub struct Limits {
    /// `CapabilityBoundingSet`, in lower case and without `cap_`, as `setpriv` has them.
    pub capabilities: Vec<String>,
    calls: BTreeSet<String>,
    families: Vec<String>,
}

impl Limits {
    /// What the unit at `path` says.
    ///
    /// # Errors
    /// It says nothing, or something that is not understood here.
    pub fn of_unit(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let words = |key: &str| -> Vec<String> {
            let lines = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
        };
        let capability = |name: &String| name.to_lowercase().replacen("cap_", "", 1);
        let capabilities: Vec<_> = words("CapabilityBoundingSet").iter().map(capability).collect();
        let (allowed, families) = (words("SystemCallFilter"), words("RestrictAddressFamilies"));
        for list in [&capabilities, &allowed, &families] {
            if list.is_empty() || list.iter().any(|word| word.starts_with('~')) {
                bail!("{}: expected lists of what is allowed, found {list:?}", path.display());
            }
        }
        let mut calls = BTreeSet::new();
        for name in allowed {
            expand(&name, &mut calls)?;
        }
        Ok(Self { capabilities, calls, families })
    }

    /// The filter for system calls; others fail with EPERM, as the unit has it.
    fn filter(&self) -> Result<BpfProgram> {
        let numbers = numbers()?;
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
        // Those that this machine does not have need not be allowed.
        for number in self.calls.iter().filter_map(|name| numbers.get(name)) {
            rules.insert(*number, Vec::new());
        }
        let family = |name: &String| {
            let number = match name.as_str() {
                "AF_UNIX" => libc::AF_UNIX,
                "AF_INET" => libc::AF_INET,
                "AF_INET6" => libc::AF_INET6,
                "AF_NETLINK" => libc::AF_NETLINK,
                "AF_PACKET" => libc::AF_PACKET,
                other => bail!("which number has {other}?"),
            };
            let (length, equal) = (SeccompCmpArgLen::Dword, SeccompCmpOp::Eq);
            let condition = SeccompCondition::new(0, length, equal, number.try_into()?)?;
            Ok(SeccompRule::new(vec![condition])?)
        };
        rules.insert(libc::SYS_socket, self.families.iter().map(family).collect::<Result<_>>()?);
        let refused = SeccompAction::Errno(libc::EPERM.try_into()?);
        let architecture = std::env::consts::ARCH.try_into().context("seccomp here")?;
        let filter = SeccompFilter::new(rules, refused, SeccompAction::Allow, architecture)?;
        BpfProgram::try_from(filter).context("compiling the filter")
    }
}

/// Adds what a name stands for, groups of names included.
fn expand(name: &str, calls: &mut BTreeSet<String>) -> Result<()> {
    if !name.starts_with('@') {
        calls.insert(name.to_owned());
        return Ok(());
    }
    let done = Command::new("systemd-analyze").args(["syscall-filter", name]).output();
    let text = String::from_utf8(done.context("running systemd-analyze")?.stdout)?;
    let inside = text.lines().filter(|line| line.starts_with("    ")).map(str::trim);
    for inner in inside.filter(|line| !line.starts_with('#')) {
        expand(inner, calls)?;
    }
    if calls.is_empty() {
        bail!("systemd-analyze knows no {name}");
    }
    Ok(())
}

fn numbers() -> Result<BTreeMap<String, i64>> {
    let found = NUMBERS.iter().find_map(|path| fs::read_to_string(path).ok());
    let text = found.context("no <asm/unistd.h> on this machine")?;
    let lines = text.lines().filter_map(|line| line.strip_prefix("#define __NR_"));
    let pairs = lines.filter_map(|line| {
        let (name, number) = line.split_once(char::is_whitespace)?;
        Some((name.to_owned(), number.trim().parse().ok()?))
    });
    Ok(pairs.collect())
}

/// Becomes `program`, restricted as the unit's processes are. Returns only where that fails.
///
/// # Errors
/// The unit is not understood, the filter cannot be applied, or there is no such program.
pub fn run(unit: &Path, program: &[OsString]) -> Result<()> {
    let (name, arguments) = program.split_first().context("which program?")?;
    let filter = Limits::of_unit(unit)?.filter()?;
    apply_filter(&filter).context("applying the filter")?;
    let failed = Command::new(name).args(arguments).exec();
    Err(failed).with_context(|| format!("running {}", name.display()))
}
