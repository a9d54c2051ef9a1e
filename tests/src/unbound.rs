//! Unbound on a host of a bed: somebody else's resolver.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::netns::Host;
use crate::wait;

/// How long the resolver may take to answer.
const LIMIT: Duration = Duration::from_secs(20);

/// How a resolver gets at a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It asks the zone's servers, as it would any other's: `stub-zone`.
    Stub,
    /// It lets them do the work: `forward-zone`.
    Forward,
}

/// A resolver that runs on a host. Ends when dropped.
#[derive(Debug)]
pub struct Unbound {
    dir: PathBuf,
    child: Child,
}

impl Unbound {
    /// Starts a resolver on this host, its files in `dir`, that finds `zone` on these servers. All
    /// else is as it comes.
    ///
    /// # Errors
    /// It does not start, or does not answer.
    pub fn start(
        host: &Host,
        dir: &Path,
        zone: &str,
        way: Way,
        servers: &[Ipv4Addr],
    ) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let address = host.address();
        let (section, key) = match way {
            Way::Stub => ("stub-zone", "stub-addr"),
            Way::Forward => ("forward-zone", "forward-addr"),
        };
        let servers: Vec<String> = servers.iter().map(|s| format!("    {key}: {s}\n")).collect();
        let servers = servers.concat();
        let shown = dir.display();
        let text = format!(
            "server:\n    directory: \"{shown}\"\n    chroot: \"\"\n    username: \"\"\n    pidfile: \
             \"\"\n    use-syslog: no\n    do-daemonize: no\n    interface: {address}\n    \
             access-control: 10.77.0.0/24 allow\n    module-config: \"iterator\"\n{section}:\n    \
             name: \"{zone}\"\n{servers}"
        );
        fs::write(dir.join("unbound.conf"), text)?;
        let log = File::create(dir.join("unbound.log"))?;
        let mut command = host.command("unbound");
        command.arg("-d").arg("-c").arg(dir.join("unbound.conf"));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("starting unbound")?;
        let resolver = Self { dir: dir.to_owned(), child };
        let server = format!("@{address}");
        let answers = wait::until("unbound to answer", LIMIT, || {
            let all = [server.as_str(), "+time=1", "+tries=1", "localhost", "A"];
            Ok(host.run("dig", &all).ok().map(drop))
        });
        answers.with_context(|| resolver.log())?;
        Ok(resolver)
    }

    /// What it has said.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("unbound.log")).unwrap_or_default()
    }
}

impl Drop for Unbound {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
