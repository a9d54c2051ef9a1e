//! Knot on a host of a bed: somebody else's name server.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::netns::Host;
use crate::wait;

/// How long the server may take to have the zone.
const LIMIT: Duration = Duration::from_secs(20);

/// The zone that it has.
pub const ZONE: &str = "web.example.net";

/// A name server that runs on a host, with one zone in a file of its own. Ends when dropped.
#[derive(Debug)]
pub struct Knot {
    dir: PathBuf,
    child: Child,
}

impl Knot {
    /// Starts a server on this host, its files in `dir`, and waits until it has the zone [`ZONE`].
    /// Where there is a key, as [`key`](crate::bind::key) makes it with `hmac-sha512` and the name
    /// `updates`, the zone may be updated with it.
    ///
    /// # Errors
    /// It does not start, or does not answer.
    pub fn start(host: &Host, dir: &Path, key: Option<&Path>) -> Result<Self> {
        fs::create_dir_all(dir.join("db"))?;
        let (shown, address) = (dir.display(), host.address());
        let zone = format!("$TTL 60\n@ SOA ns host 1 60 60 60 60\n@ NS ns\nns A {address}\n");
        fs::write(dir.join("zone"), zone)?;
        let (mut keys, mut acl) = (String::new(), "");
        if let Some(key) = key {
            let text = fs::read_to_string(key)?;
            let secret = text.split('"').nth(3).context("no secret in the key")?;
            keys = format!(
                "key:\n  - id: updates\n    algorithm: hmac-sha512\n    secret: {secret}\nacl:\n  - \
                 id: up\n    key: updates\n    action: update\n"
            );
            acl = "    acl: up\n";
        }
        let text = format!(
            "server:\n    listen: {address}@53\n    rundir: {shown}\nlog:\n  - target: stderr\n    \
             any: info\ndatabase:\n    storage: {shown}/db\n{keys}zone:\n  - domain: {ZONE}\n    \
             storage: {shown}\n    file: zone\n{acl}"
        );
        fs::write(dir.join("knot.conf"), text)?;
        let log = File::create(dir.join("knot.log"))?;
        let mut command = host.command("knotd");
        command.arg("-c").arg(dir.join("knot.conf"));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("starting knotd")?;
        let server = Self { dir: dir.to_owned(), child };
        let at = format!("@{address}");
        let answers = wait::until("Knot to have the zone", LIMIT, || {
            let all = [at.as_str(), "+time=1", "+tries=1", "+short", ZONE, "SOA"];
            Ok(host.run("dig", &all).ok().filter(|said| !said.is_empty()))
        });
        answers.with_context(|| server.log())?;
        Ok(server)
    }

    /// The command that makes it read its zone again, for a configuration.
    #[must_use]
    pub fn reload(dir: &Path) -> String {
        let socket = dir.join("knot.sock");
        format!("['/usr/sbin/knotc', '-s', '{}', 'zone-reload', '{ZONE}']", socket.display())
    }

    /// What it has said.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("knot.log")).unwrap_or_default()
    }
}

impl Drop for Knot {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
