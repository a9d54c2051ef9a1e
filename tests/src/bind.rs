//! BIND on a host of a bed: somebody else's name server.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::netns::Host;
use crate::wait;

/// How long the server may take to answer, or to end.
const LIMIT: Duration = Duration::from_secs(20);

/// A name server that runs on a host, with files in a directory of its own. Ends when dropped.
#[derive(Debug)]
pub struct Bind {
    dir: PathBuf,
    address: String,
    child: Option<Child>,
}

impl Bind {
    /// Starts a server on this host, its files in `dir`, with these zones in its configuration.
    /// `DIR` in them stands for the directory.
    ///
    /// # Errors
    /// It does not start, or does not answer.
    pub fn start(host: &Host, dir: &Path, zones: &str) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let shown = dir.display();
        let address = host.address().to_string();
        let text = format!(
            "options {{ directory \"{shown}\"; pid-file none; lock-file none; session-keyfile none; \
             listen-on {{ {address}; }}; listen-on-v6 {{ none; }}; recursion no; \
             dnssec-validation no; notify no; }};\n{}\n",
            zones.replace("DIR", &shown.to_string())
        );
        fs::write(dir.join("named.conf"), text)?;
        let mut server = Self { dir: dir.to_owned(), address, child: None };
        server.restart(host)?;
        Ok(server)
    }

    /// Starts a server on this host that has the zone `web.example.net` in the file `zone` of `dir`,
    /// which is there already. Returned with it is the command that makes it read that again, for a
    /// configuration.
    ///
    /// # Errors
    /// It does not start, or does not answer.
    pub fn with_file(host: &Host, dir: &Path) -> Result<(Self, String)> {
        let control = key(dir, "rndc.key", "hmac-sha256", "rndc")?;
        let (control, address) = (control.display(), host.address());
        let text = format!(
            "include \"{control}\";\ncontrols {{ inet {address} port 953 allow {{ any; }} keys {{ \
             rndc; }}; }};\nzone \"web.example.net\" {{ type primary; file \"DIR/zone\"; }};\n"
        );
        let reload = format!(
            "['/usr/sbin/rndc', '-k', '{control}', '-s', '{address}', 'reload', 'web.example.net']"
        );
        Ok((Self::start(host, dir, &text)?, reload))
    }

    /// Starts it where it does not run, and waits until it answers.
    ///
    /// # Errors
    /// It does not.
    pub fn restart(&mut self, host: &Host) -> Result<()> {
        let log = File::create(self.dir.join("named.log"))?;
        let mut command = host.command("named");
        command.args(["-4", "-g", "-n", "1", "-c"]).arg(self.dir.join("named.conf"));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.child = Some(command.spawn().context("starting named")?);
        let server = format!("@{}", self.address);
        let answers = wait::until("BIND to answer", LIMIT, || {
            let ask = host.run("dig", &[&server, "+time=1", "+tries=1", ".", "SOA"]);
            Ok(ask.ok().map(drop))
        });
        answers.with_context(|| self.log())
    }

    /// Kills it.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("it does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Has it end by itself, so that all it knows is in its files.
    ///
    /// # Errors
    /// It does not run, or does not end.
    pub fn stop(&mut self) -> Result<()> {
        let mut child = self.child.take().context("it does not run")?;
        kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGTERM)?;
        let ended = wait::until("BIND to end", LIMIT, || Ok(child.try_wait()?));
        ended.map(drop)
    }

    /// What it has said.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("named.log")).unwrap_or_default()
    }
}

impl Drop for Bind {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// A key for signing, as a file that only its owner may read.
///
/// # Errors
/// `tsig-keygen` is missing or fails.
pub fn key(dir: &Path, file: &str, algorithm: &str, name: &str) -> Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt;

    let made = Command::new("tsig-keygen").args(["-a", algorithm, name]).output();
    let made = made.context("running tsig-keygen")?;
    anyhow::ensure!(made.status.success(), "tsig-keygen failed");
    let path = dir.join(file);
    fs::write(&path, made.stdout)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    Ok(path)
}
