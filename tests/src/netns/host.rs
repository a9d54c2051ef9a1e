//! One host of a bed: a network namespace, perhaps an agent, perhaps services.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::leftovers::VARIABLE;
use super::process::{binary, in_netns, output, prompt};
use crate::family::Family;
use crate::probe::confined::Limits;
use crate::status::Status;
use crate::wait;

/// How much of an agent's log a failure shows.
const LOG_LINES: usize = 40;

/// `1`: every agent is [confined](Host::confine).
const CONFINED: &str = "RAIS_CONFINED";

/// The unit that is installed with the agent.
#[must_use]
pub fn unit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/rais.service")
}

/// A host. Its processes end when it is dropped; its namespace goes with the bed.
#[derive(Debug)]
pub struct Host {
    bed: String,
    name: String,
    netns: String,
    address: IpAddr,
    dir: PathBuf,
    bpf_dir: PathBuf,
    agent: Option<Child>,
    /// The agent's program, where it is not the one built with this.
    program: Option<PathBuf>,
    records: bool,
    confined: bool,
    without_bpf: bool,
    services: Vec<Child>,
}

/// What the agents of a group are told, apart from what the bed decides.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// `heartbeat`
    pub heartbeat: Duration,
    /// `timeout`
    pub timeout: Duration,
    /// `preferred`
    pub preferred: Vec<IpAddr>,
    /// `floating`
    pub floating: Vec<IpAddr>,
    /// `quorum`
    pub quorum: u32,
}

impl AgentConfig {
    /// The configuration file for `host`, with the group key in `key_file`.
    #[must_use]
    pub fn toml(&self, host: &Host, key_file: &Path) -> String {
        let addresses = |list: &[IpAddr]| {
            list.iter().map(|a| format!("\"{a}\"")).collect::<Vec<_>>().join(", ")
        };
        let Self { heartbeat, timeout, preferred, floating, quorum } = self;
        let (preferred, floating) = (addresses(preferred), addresses(floating));
        format!(
            r#"[agent]
host_id = "{id}"
run_dir = "{run_dir}"
bpf_dir = "{bpf_dir}"

[[group]]
name = "demo"
address = "{group}"
control_interfaces = ["eth0"]
service_interface = "eth0"
key_files = ["{key}"]
heartbeat = "{heartbeat}us"
timeout = "{timeout}us"
preferred = [{preferred}]
floating = [{floating}]
quorum = {quorum}
"#,
            id = host.address,
            group = Family::of(host.address).group(),
            run_dir = host.run_dir().display(),
            bpf_dir = host.bpf_dir.display(),
            key = key_file.display(),
            heartbeat = heartbeat.as_micros(),
            timeout = timeout.as_micros(),
        )
    }
}

impl Host {
    pub(super) fn new(
        bed: &str,
        name: &str,
        netns: String,
        address: IpAddr,
        dir: PathBuf,
        bpf_dir: PathBuf,
    ) -> Self {
        let (bed, name) = (bed.to_owned(), name.to_owned());
        let (agent, program, services) = (None, None, Vec::new());
        let confined = std::env::var_os(CONFINED).is_some_and(|value| value == "1");
        let records = false;
        Self {
            bed,
            name,
            netns,
            address,
            dir,
            bpf_dir,
            agent,
            program,
            records,
            confined,
            without_bpf: false,
            services,
        }
    }

    /// Its name in the bed.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its network namespace.
    #[must_use]
    pub fn netns(&self) -> &str {
        &self.netns
    }

    /// Its own address on `eth0`, which is its host id.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// Where its agent pins maps and link.
    #[must_use]
    pub fn bpf_dir(&self) -> &Path {
        &self.bpf_dir
    }

    /// Where its agent's socket is.
    #[must_use]
    pub fn run_dir(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// The agent's control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.run_dir().join("rais.sock")
    }

    /// A program on this host, not yet started.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = in_netns(&self.netns, program);
        command.env(VARIABLE, &self.bed);
        command
    }

    /// Runs a program on this host to its end; its standard output.
    ///
    /// # Errors
    /// It could not be run, or failed.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        output(self.command(program).args(arguments))
    }

    /// Starts the echo service, which answers with this host's name.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_service(&mut self) -> Result<()> {
        let mut words = prompt(&binary("rais-probe")?).into_iter();
        let mut command = self.command(words.next().unwrap_or_default());
        command.args(words).args(["serve", "--name", &self.name]).stdout(Stdio::piped());
        let mut child = command.spawn().context("starting the echo service")?;
        let stdout = child.stdout.take();
        self.services.push(child);
        let mut line = String::new();
        BufReader::new(stdout.context("no output")?).read_line(&mut line)?;
        if line.is_empty() {
            bail!("{}: the echo service did not start", self.name);
        }
        Ok(())
    }

    /// Writes the configuration and starts the agent with it. Its log goes on in one file.
    ///
    /// # Errors
    /// One runs already, there is no `rais`, or files cannot be written.
    pub fn start_agent(&mut self, config: &str) -> Result<()> {
        self.configure(config)?;
        self.restart_agent()
    }

    /// Writes the configuration for the next start or reload.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn configure(&self, config: &str) -> Result<()> {
        let path = self.dir.join("rais.toml");
        fs::write(&path, config).with_context(|| format!("writing {}", path.display()))
    }

    /// Starts the agent with the configuration it last had.
    ///
    /// # Errors
    /// As [`start_agent`](Self::start_agent).
    pub fn restart_agent(&mut self) -> Result<()> {
        if let Some(pid) = self.agent_pid() {
            bail!("{}: the agent runs already, as process {pid}", self.name);
        }
        let log = self.log()?;
        let program = self.program.clone().map_or_else(|| binary("rais"), Ok)?;
        let mut command = match (self.without_bpf, self.confined) {
            (true, _) => self.command_without_bpf(&program)?,
            (false, true) => self.confined_command(&program)?,
            (false, false) => self.command(program),
        };
        command.arg("run").arg("--config").arg(self.dir.join("rais.toml"));
        if self.records {
            command.arg("--record").arg(self.recording());
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.agent = Some(command.spawn().context("starting the agent")?);
        Ok(())
    }

    /// Agents that are started from now on may do what the unit in `packaging` lets them do, and no
    /// more, as far as capabilities and system calls go.
    pub const fn confine(&mut self) {
        self.confined = true;
    }

    /// For agents that are started from now on the kernel has no `bpf` system call.
    pub const fn take_bpf_away(&mut self) {
        self.without_bpf = true;
    }

    fn command_without_bpf(&self, program: &Path) -> Result<Command> {
        let mut command = self.command(binary("rais-probe")?);
        command.args(["without-bpf", "--"]).arg(program);
        Ok(command)
    }

    fn confined_command(&self, program: &Path) -> Result<Command> {
        let unit = unit();
        let limits = Limits::of_unit(&unit)?;
        let bounding = format!("-all,+{}", limits.capabilities.join(",+"));
        let mut command = self.command("setpriv");
        command.args(["--no-new-privs", "--inh-caps", "-all", "--bounding-set", &bounding]);
        command.arg(binary("rais-probe")?).args(["confined", "--unit"]).arg(unit);
        command.arg("--").arg(program);
        Ok(command)
    }

    /// Agents that are started from now on are another program file: a copy of the one that was
    /// built, as an upgrade brings it.
    ///
    /// # Errors
    /// It cannot be copied.
    pub fn upgrade(&mut self) -> Result<()> {
        let copy = self.dir.join("rais-upgraded");
        fs::copy(binary("rais")?, &copy).context("copying rais")?;
        self.program = Some(copy);
        Ok(())
    }

    /// Agents that are started from now on record what they are told and decide.
    pub const fn record(&mut self) {
        self.records = true;
    }

    /// Where to.
    #[must_use]
    pub fn recording(&self) -> PathBuf {
        self.dir.join("record.jsonl")
    }

    /// The agent's process id while it runs.
    pub fn agent_pid(&mut self) -> Option<u32> {
        let agent = self.agent.as_mut()?;
        matches!(agent.try_wait(), Ok(None)).then(|| agent.id())
    }

    /// SIGKILL, and waits for the end.
    ///
    /// # Errors
    /// No agent runs.
    pub fn kill_agent(&mut self) -> Result<()> {
        let mut agent = self.agent.take().context("no agent was started")?;
        agent.kill().context("killing the agent")?;
        agent.wait().context("waiting for the killed agent")?;
        Ok(())
    }

    /// SIGSTOP: the agent stands still and knows nothing of it.
    ///
    /// # Errors
    /// No agent runs.
    pub fn freeze_agent(&mut self) -> Result<()> {
        self.signal_agent(Signal::SIGSTOP)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// No agent runs.
    pub fn thaw_agent(&mut self) -> Result<()> {
        self.signal_agent(Signal::SIGCONT)
    }

    /// SIGHUP; does not wait for what comes of it.
    ///
    /// # Errors
    /// No agent runs.
    pub fn hang_up_agent(&mut self) -> Result<()> {
        self.signal_agent(Signal::SIGHUP)
    }

    /// SIGTERM; does not wait for the end.
    ///
    /// # Errors
    /// No agent runs.
    pub fn terminate_agent(&mut self) -> Result<()> {
        self.signal_agent(Signal::SIGTERM)
    }

    /// Waits until the agent has ended by itself.
    ///
    /// # Errors
    /// It has not within `limit`, or none was started.
    pub fn wait_agent_end(&mut self, limit: Duration) -> Result<ExitStatus> {
        let agent = self.agent.as_mut().context("no agent was started")?;
        let ended = wait::until("the agent to end", limit, || Ok(agent.try_wait()?));
        let status = ended.map_err(|e| self.with_log(&e))?;
        self.agent = None;
        Ok(status)
    }

    fn signal_agent(&mut self, signal: Signal) -> Result<()> {
        let pid = self.agent_pid().with_context(|| format!("{}: no agent runs", self.name))?;
        kill(Pid::from_raw(i32::try_from(pid)?), signal)
            .with_context(|| format!("sending {signal}"))
    }

    /// Asks the agent for its status; `None` while it does not answer.
    ///
    /// # Errors
    /// There is no `rais`, or the answer makes no sense.
    pub fn status(&self) -> Result<Option<Status>> {
        let mut command = Command::new(binary("rais")?);
        command.args(["status", "--json", "--socket"]).arg(self.socket());
        let done = command.env(VARIABLE, &self.bed).output().context("asking for the status")?;
        if !done.status.success() {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&done.stdout);
        serde_json::from_str(&text).map(Some).with_context(|| format!("status said {text}"))
    }

    /// Waits until the agent's status is as wanted. `what` completes "waited 5 s for …".
    ///
    /// # Errors
    /// It is not within `limit`, or the agent ended; the message shows its log.
    pub fn wait_status(
        &mut self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Status) -> bool,
    ) -> Result<Status> {
        let mut last = None;
        let answer = wait::until(what, limit, || {
            if self.agent.is_some() && self.agent_pid().is_none() {
                bail!("the agent ended");
            }
            last = self.status()?;
            Ok(last.clone().filter(|status| wanted(status)))
        });
        answer.map_err(|e| {
            let seen = last.map_or("no status".into(), |status| format!("{status:?}"));
            self.with_log(&e.context(seen))
        })
    }

    /// The end of the agent's log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.dir.join("agent.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default();
        tail.iter().fold(String::new(), |mut text, line| {
            writeln!(text, "    {line}").ok();
            text
        })
    }

    fn with_log(&self, error: &anyhow::Error) -> anyhow::Error {
        anyhow::anyhow!("{}: {error:#}\n  its agent's log ends:\n{}", self.name, self.log_tail())
    }

    fn log(&self) -> Result<File> {
        let path = self.dir.join("agent.log");
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
        file.with_context(|| format!("opening {}", path.display()))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for child in self.agent.iter_mut().chain(&mut self.services) {
            child.kill().ok();
            child.wait().ok();
        }
    }
}
