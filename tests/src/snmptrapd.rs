//! A real receiver of SNMP notifications, `snmptrapd` of Net-SNMP, which knows this project's MIB.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::wait;

/// Where it listens.
pub const PORT: u16 = 9_162;

/// The user of version 3, and its passwords.
pub const USER: &str = "rais-user";
/// For signing.
pub const AUTH_PASSWORD: &str = "authpassword-1";
/// For encrypting.
pub const PRIVACY_PASSWORD: &str = "privpassword-2";

/// A running receiver. Ends when it is dropped.
#[derive(Debug)]
pub struct Receiver {
    child: Child,
    log: PathBuf,
}

/// The directory with this project's MIB.
#[must_use]
pub fn own_mibs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/mib")
}

/// The directory with the modules that every MIB is made of: Debian has them not, but the sources
/// of the crate `mib-rs` do.
///
/// # Errors
/// cargo does not know where they are.
pub fn standard_mibs() -> Result<PathBuf> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Crates of other platforms may not be there.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    cargo.args(["metadata", "--format-version=1", "--offline", "--filter-platform", &platform]);
    cargo.arg("--manifest-path");
    let output = cargo.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let packages = metadata.get("packages").and_then(Value::as_array).context("no packages")?;
    let named = |p: &&Value| p.get("name").and_then(Value::as_str) == Some("mib-rs");
    let package = packages.iter().find(named).context("no mib-rs")?;
    let manifest = package.get("manifest_path").and_then(Value::as_str).context("no path")?;
    let dir = Path::new(manifest).with_file_name("src/lower/embedded");
    if dir.join("SNMPv2-SMI").exists() { Ok(dir) } else { bail!("no MIBs in {}", dir.display()) }
}

impl Receiver {
    /// Starts it by `program`, `snmptrapd` somewhere, with its files in `dir`. It takes
    /// notifications of version 2c of the community `public`, and of version 3 of [`USER`]: informs
    /// signed and encrypted by `inform`, such as `SHA-256` and `AES`, and from the engines of these
    /// ids in the same way.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(
        mut program: Command,
        dir: &Path,
        algorithms: (&str, &str),
        engines: &[String],
    ) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let (auth, privacy) = algorithms;
        let user = format!("{USER} {auth} {AUTH_PASSWORD} {privacy} {PRIVACY_PASSWORD}\n");
        let mut config = format!("authCommunity log public\ncreateUser {user}");
        for engine in engines {
            write!(config, "createUser -e 0x{engine} {user}")?;
        }
        writeln!(config, "authUser log {USER} priv")?;
        let (path, log) = (dir.join("snmptrapd.conf"), dir.join("received"));
        fs::write(&path, config)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        let mibs = format!("{}:{}", standard_mibs()?.display(), own_mibs().display());
        program.args(["-f", "-n", "-C", "-c"]).arg(&path).args(["-M", &mibs, "-m", "RAIS-MIB"]);
        program.arg("-Lf").arg(&log).args(["-F", "%v\n", "-OQ"]).arg(format!("udp:0.0.0.0:{PORT}"));
        program.env("SNMP_PERSISTENT_DIR", dir).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = program.stderr(Stdio::null()).spawn().context("starting snmptrapd")?;
        let started = wait::until("snmptrapd", Duration::from_secs(10), || {
            if child.try_wait()?.is_some() {
                bail!("it ended: {}", fs::read_to_string(&log).unwrap_or_default());
            }
            let text = fs::read_to_string(&log).unwrap_or_default();
            Ok(text.contains("NET-SNMP version").then_some(()))
        });
        let receiver = Self { child, log };
        started.map(|()| receiver)
    }

    /// All that was received: a line each, `name = value` between tabs.
    #[must_use]
    pub fn received(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let notification = |line: &&str| line.contains(" = RAIS-MIB::");
        text.lines().filter(notification).map(str::to_owned).collect()
    }

    /// Waits for a notification of this name that has all these values.
    ///
    /// # Errors
    /// It does not come within `limit`.
    pub fn wait(&self, name: &str, values: &[(&str, &str)], limit: Duration) -> Result<String> {
        let kind = format!("RAIS-MIB::{name}");
        let values: Vec<String> =
            values.iter().map(|(object, text)| format!("RAIS-MIB::{object}.0 = {text}")).collect();
        let fits = |line: &String| {
            let fields: Vec<&str> = line.split('\t').map(str::trim).collect();
            fields.iter().any(|field| field.ends_with(&format!(" = {kind}")))
                && values.iter().all(|value| fields.contains(&value.as_str()))
        };
        wait::until(&format!("{name} {values:?}"), limit, || {
            Ok(self.received().into_iter().find(fits))
        })
        .with_context(|| fs::read_to_string(&self.log).unwrap_or_default())
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
