//! Fuzzing: the targets of `tests/src/fuzz.rs` under libFuzzer.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::command::{cargo, run, succeeds};

/// What is installed where there is none. It drives libFuzzer, which the targets bring along.
const CARGO_FUZZ: &str = "cargo-fuzz@0.13.2";

/// A target may not take more memory than this for any input, nor more seconds.
const MEGABYTES: u32 = 1_024;
const LONGEST: u32 = 5;

/// Fuzzes one target, or all in turn, for so many seconds each. What is found on the way is kept
/// in `target/fuzz-corpus`; the seeds in `fuzz/corpus` are not touched.
///
/// # Errors
/// A target failed: the input is in `fuzz/artifacts`, and the output says how to repeat it.
pub fn fuzz(target: Option<&str>, seconds: u64) -> Result<()> {
    let targets = targets()?;
    if let Some(target) = target
        && !targets.iter().any(|name| name == target)
    {
        bail!("there is no target `{target}`; there are: {}", targets.join(", "));
    }
    if !succeeds(&mut cargo(&["fuzz", "--version"])) {
        run(&mut cargo(&["install", "--locked", CARGO_FUZZ])).context("installing cargo-fuzz")?;
    }
    for name in targets.iter().filter(|name| target.is_none_or(|target| target == *name)) {
        let found = format!("target/fuzz-corpus/{name}");
        fs::create_dir_all(&found).with_context(|| format!("making {found}"))?;
        println!("\n=== {name}, {seconds} s");
        // No sanitizer: there is no `unsafe` behind any target, and each costs half the speed.
        let mut fuzz =
            cargo(&["fuzz", "run", "--sanitizer", "none", "--target-dir", "target/fuzz"]);
        fuzz.args([name, &found, &format!("fuzz/corpus/{name}"), "--"])
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-rss_limit_mb={MEGABYTES}"))
            .arg(format!("-timeout={LONGEST}"))
            .arg("-print_final_stats=1")
            // Instrumentation is unstable in cargo, not in the compiler that is pinned.
            .env("RUSTC_BOOTSTRAP", "1");
        run(&mut fuzz)?;
    }
    Ok(())
}

/// Names of all targets.
fn targets() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir("fuzz/targets").context("fuzz/targets")? {
        names.extend(entry?.path().file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}
