//! Everything there is to check, in the order in which a mistake shows soonest.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::command::{cargo, installed, is_root, root, run, succeeds};
use crate::{alerts, build_ebpf, setup, simulate, tidy};

/// Test files of `tests/tests` that need neither root nor BPF. Any other may need both, and
/// measures time: its tests run one after another.
const UNPRIVILEGED: [&str; 10] = [
    "cli",
    "cli_terminal",
    "fuzz",
    "model",
    "pauses",
    "replay",
    "scale",
    "simulation",
    "wire",
    "wire_hostile",
];

/// Simulated clusters in every run of the tests.
const SEEDS: &str = "200";

/// A run of the tests: what was done, and what was not.
struct Run {
    done: Vec<(String, Duration)>,
    skipped: Vec<String>,
}

/// Runs all checks; stops at the first that fails.
///
/// # Errors
/// A check failed, or in CI one could not be made.
pub fn test(yes: bool) -> Result<()> {
    let mut tests = Run { done: Vec::new(), skipped: Vec::new() };
    let result = tests.all(yes);
    tests.summary(result.is_ok());
    result
}

impl Run {
    fn all(&mut self, yes: bool) -> Result<()> {
        self.step("set-up", || setup::setup(yes))?;
        self.step("format", || run(&mut cargo(&["fmt", "--all", "--check"])))?;
        self.step("tidy", tidy::tidy)?;
        self.step("alert rules", alerts::alerts)?;
        self.step("XDP program", build_ebpf::build_ebpf)?;
        self.step("clippy", || {
            run(&mut cargo(&["clippy", "--all-targets", "--", "-D", "warnings"]))
        })?;
        self.step("clippy of the XDP program", build_ebpf::clippy_ebpf)?;
        self.step("agent", || {
            run(&mut cargo(&["build", "-p", "rais", "-p", "rais-tests", "--bins"]))
        })?;
        let members = ["-p", "rais", "-p", "rais-common", "-p", "xtask"];
        self.step("unit tests", || run(cargo(&["test", "-q"]).args(members)))?;
        self.step("unit tests of the test bed", || {
            run(&mut cargo(&["test", "-q", "-p", "rais-tests", "--lib", "--bins"]))
        })?;
        let (privileged, unprivileged) = test_files()?;
        for name in &unprivileged {
            self.step(&format!("{name} tests"), || {
                run(&mut cargo(&["test", "-q", "-p", "rais-tests", "--test", name]))
            })?;
        }
        self.step(&format!("{SEEDS} simulated clusters"), || {
            simulate::simulate(&["--seeds", SEEDS])
        })?;
        self.privileged(&privileged)
    }

    /// Tests against this machine's kernel.
    fn privileged(&mut self, names: &[String]) -> Result<()> {
        if let Some(reason) = no_kernel_tests() {
            for name in names {
                self.skipped.push(format!("{name} tests: {reason}"));
            }
            if in_ci() {
                bail!("{reason}, and in CI nothing is skipped");
            }
            return Ok(());
        }
        for name in names {
            self.step(&format!("{name} tests"), || {
                let test = ["test", "-q", "-p", "rais-tests", "--test", name];
                run(cargo(&test).args(["--", "--test-threads=1"]))
            })?;
        }
        for kind in missing_kinds() {
            self.skipped.push(format!("links tests on {kind} devices: this kernel has none"));
        }
        Ok(())
    }

    /// One check, announced, with its time.
    fn step(&mut self, name: &str, check: impl FnOnce() -> Result<()>) -> Result<()> {
        println!("\n=== {name}");
        let start = now();
        check().with_context(|| format!("{name} failed"))?;
        let took = now().saturating_sub(start);
        println!("=== {name}: good, {:.1} s", took.as_secs_f64());
        self.done.push((name.to_owned(), took));
        Ok(())
    }

    fn summary(&self, good: bool) {
        println!("\n=== summary");
        for (name, took) in &self.done {
            println!("good     {:>6.1} s  {name}", took.as_secs_f64());
        }
        for skipped in &self.skipped {
            println!("SKIPPED            {skipped}");
        }
        let total: Duration = self.done.iter().map(|(_, took)| *took).sum();
        match (good, self.skipped.len()) {
            (false, _) => println!("FAILED   the check after these; its output is above"),
            (true, 0) => println!("All good in {:.0} s.", total.as_secs_f64()),
            (true, n) => println!("Good as far as it went: {n} checks were SKIPPED."),
        }
    }
}

/// Names of the files in `tests/tests`: those that need the kernel, and the others.
fn test_files() -> Result<(Vec<String>, Vec<String>)> {
    let dir = root()?.join("tests/tests");
    let mut names = Vec::new();
    for entry in dir.read_dir().with_context(|| format!("reading {}", dir.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names.into_iter().partition(|name| !UNPRIVILEGED.contains(&name.as_str())))
}

/// Why tests against the kernel cannot be made here.
fn no_kernel_tests() -> Option<&'static str> {
    if !is_root() {
        Some("not root")
    } else if !installed("bpftool") || !succeeds(Command::new("bpftool").args(["prog", "list"])) {
        Some("no BPF on this machine")
    } else {
        None
    }
}

/// The kinds of network devices of the `links` tests that this kernel does not have: a virtual
/// machine with a distribution's kernel has them all.
fn missing_kinds() -> impl Iterator<Item = &'static str> {
    ["bond", "ipvlan", "macvlan", "team", "vlan", "vrf"].into_iter().filter(|kind| {
        let mut add = Command::new("unshare");
        add.args(["--net", "ip", "link", "add", "rais-try", "type", kind]);
        // Most want more said; that is another error.
        let output = add.output().map(|output| output.stderr).unwrap_or_default();
        String::from_utf8_lossy(&output).contains("Unknown device type")
    })
}

fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}

/// Time since some moment, for how long a check took.
fn now() -> Duration {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
    now.map_or(Duration::ZERO, Duration::from)
}
