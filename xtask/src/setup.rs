//! Installs what is missing: the toolchain's components, and the system's tools.

use std::io::{IsTerminal, Write, stdin, stdout};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{cargo, installed, is_root, run, succeeds};

/// Programs that building and testing call, and the Debian packages that have them.
const TOOLS: [(&str, &str); 21] = [
    ("cc", "gcc"),
    ("bpftool", "bpftool"),
    ("ip", "iproute2"),
    ("arping", "iputils-arping"),
    ("ping", "iputils-ping"),
    ("nft", "nftables"),
    ("tcpdump", "tcpdump"),
    ("nsenter", "util-linux"),
    ("chrt", "util-linux"),
    ("sysctl", "procps"),
    ("mount", "mount"),
    ("ethtool", "ethtool"),
    ("dig", "bind9-dnsutils"),
    ("named", "bind9"),
    ("rndc", "bind9-utils"),
    ("knotd", "knot"),
    ("unbound", "unbound"),
    ("snmptrapd", "snmptrapd"),
    ("smilint", "smitools"),
    ("setpriv", "util-linux"),
    ("systemd-analyze", "systemd"),
];

/// Files that building and testing read, and the Debian packages that have them.
const FILES: [(&str, &str); 2] = [
    ("/usr/include/stdio.h", "libc6-dev"),
    // Reads the metrics in tests.
    ("/usr/lib/python3/dist-packages/prometheus_client/openmetrics", "python3-prometheus-client"),
];

/// Installs everything that is missing. Asks first, unless this is root or `yes` is said.
///
/// # Errors
/// It may not, or could not; the message has the list.
pub fn setup(yes: bool) -> Result<()> {
    toolchain()?;
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    if !Path::new("/etc/debian_version").exists() {
        bail!("please install what these Debian packages have: {}", missing.join(" "));
    }
    let script = format!(
        "apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy \
         --no-install-recommends {}",
        missing.join(" ")
    );
    println!("missing: {}", missing.join(" "));
    let mut shell = if is_root() {
        Command::new("sh")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.arg("sh");
        if !yes && !agreed(&format!("sudo sh -c '{script}'"))? {
            bail!("not installed; do it yourself, then call this again");
        }
        sudo
    };
    run(shell.args(["-c", &script])).context("installing packages")?;
    let still = self::missing();
    if !still.is_empty() {
        bail!("installed, and yet missing: {}", still.join(" "));
    }
    Ok(())
}

/// Sees to it that the toolchain has all its components. rustup installs the toolchain itself, and
/// those named in `rust-toolchain.toml`, unless it is told to use another.
///
/// # Errors
/// They cannot be installed.
pub fn toolchain() -> Result<()> {
    let mut wanted = Vec::new();
    for (component, works) in [
        ("rustfmt", succeeds(&mut cargo(&["fmt", "--version"]))),
        ("clippy", succeeds(&mut cargo(&["clippy", "--version"]))),
        ("rust-src", sources()?),
    ] {
        if !works {
            wanted.push(component);
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    run(Command::new("rustup").args(["component", "add"]).args(wanted))
        .context("installing components of the toolchain")
}

/// Whether the standard library's sources are there, from which that of BPF is built.
fn sources() -> Result<bool> {
    let rustc = Command::new("rustc").args(["--print", "sysroot"]).output();
    let sysroot = rustc.context("running rustc: is rustup installed?")?.stdout;
    let sysroot = String::from_utf8(sysroot).context("rustc --print sysroot")?;
    Ok(Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core").exists())
}

/// Packages to install, each once.
fn missing() -> Vec<&'static str> {
    let tools = TOOLS.iter().filter(|(tool, _)| !installed(tool));
    let files = FILES.iter().filter(|(file, _)| !Path::new(file).exists());
    let mut packages: Vec<_> = tools.chain(files).map(|(_, package)| *package).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

/// Asks on the terminal; without one, nobody agrees.
fn agreed(command: &str) -> Result<bool> {
    println!("This would run: {command}");
    if !stdin().is_terminal() {
        return Ok(false);
    }
    print!("Go ahead? [y/N] ");
    stdout().flush()?;
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
