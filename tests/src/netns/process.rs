//! Programs of this project and others, run inside a host's network namespace.

use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

use super::Host;
use crate::probe::Report;

/// A program of this project, built with this one.
///
/// # Errors
/// It is not beside the running one: it was not built.
pub fn binary(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("where is this program?")?;
    let mut dir = own.parent().unwrap_or(Path::new("/"));
    if dir.ends_with("deps") {
        dir = dir.parent().unwrap_or(dir);
    }
    let path = dir.join(name);
    if !path.exists() {
        bail!("{} is missing: build it first", path.display());
    }
    Ok(path)
}

/// `program` in a network namespace and in no other.
pub(super) fn in_netns(netns: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{netns}")).arg("--").arg(program);
    command
}

/// Runs to the end; its standard output.
pub(super) fn output(command: &mut Command) -> Result<String> {
    let done = command.output().with_context(|| format!("running {command:?}"))?;
    if !done.status.success() {
        bail!("{command:?}: {}: {}", done.status, String::from_utf8_lossy(&done.stderr).trim());
    }
    String::from_utf8(done.stdout).with_context(|| format!("reading the output of {command:?}"))
}

/// Runs to the end, fed with `input`.
pub(super) fn run_with_input(command: &mut Command, input: &str) -> Result<()> {
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("running {command:?}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let done = child.wait_with_output()?;
    if !done.status.success() {
        bail!("{command:?}: {}: {}", done.status, String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(())
}

/// A program that measures time goes before others, where this machine lets it. Otherwise it still
/// runs, and its reports say how late it was.
pub(super) fn prompt(program: &Path) -> Vec<std::ffi::OsString> {
    static PERMITTED: OnceLock<bool> = OnceLock::new();
    let permitted = PERMITTED.get_or_init(|| {
        let mut probe = Command::new("chrt");
        probe.args(["--fifo", "1", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    });
    let mut words = Vec::new();
    if *permitted {
        words.extend(["chrt", "--fifo", "1"].map(Into::into));
    }
    words.push(program.into());
    words
}

/// A running `rais-probe watch`; ends when dropped.
#[derive(Debug)]
pub struct Watch {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

/// Begins to watch `addresses` from `client`, with the probe's own periods.
///
/// # Errors
/// `ip` or the probe could not be run.
pub fn watch(client: &Host, addresses: &[IpAddr]) -> Result<Watch> {
    watch_closely(client, addresses, &[])
}

/// As [`watch`], with more arguments for the probe.
///
/// # Errors
/// As [`watch`].
pub fn watch_closely(client: &Host, addresses: &[IpAddr], how: &[&str]) -> Result<Watch> {
    super::ip(&["-n", client.netns(), "link", "set", "eth0", "promisc", "on"])?;
    let mut words = prompt(&binary("rais-probe")?).into_iter();
    let mut command = client.command(words.next().unwrap_or_default());
    command.args(words).arg("watch").args(how);
    for address in addresses {
        command.arg("--address").arg(address.to_string());
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().context("starting the watch")?;
    let stdin = child.stdin.take();
    let stdout = child.stdout.take().context("the watch has no output")?;
    Ok(Watch { child, stdin, stdout: BufReader::new(stdout) })
}

impl Watch {
    /// What was seen since the last report, up to 100 ms ago.
    ///
    /// # Errors
    /// The watch ended, or made no sense.
    pub fn report(&mut self) -> Result<Report> {
        let stdin = self.stdin.as_mut().context("the watch has no input")?;
        stdin.write_all(b"\n").context("asking the watch")?;
        let mut line = String::new();
        self.stdout.read_line(&mut line).context("reading from the watch")?;
        serde_json::from_str(&line).with_context(|| format!("the watch said {line:?}"))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stdin = None;
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
