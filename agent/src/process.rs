//! Other people's programs: run with a deadline, and gone after it.
//!
//! A program gets a process group of its own, no input, and one pipe for both its outputs. It is
//! started from a thread of the tokio runtime, which is not realtime and blocks no signals, so it
//! inherits neither; the standard library also empties the signal mask of what it starts.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};

use crate::service_manager;

/// How much of a program's output is kept: the end of it, where errors are.
const OUTPUT_LIMIT: usize = 4096;

/// Most reads of what is left in the pipe after a program ended: a whole pipe of 64 KiB. What it
/// left running may go on writing for ever.
const LAST_READS: usize = 16;

/// How long to wait for a killed program to be gone. One in an uninterruptible system call may
/// take longer; then the runtime collects it later.
const REAP_LIMIT: Duration = Duration::from_secs(1);

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// A path, or a name to be found in `PATH`.
    pub path: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// What to add to the agent's own environment.
    pub environment: Vec<(&'static str, String)>,
}

impl Program {
    /// A command of a configuration: the program and its arguments, told what for. An empty one
    /// cannot be started.
    #[must_use]
    pub fn of_command(command: Vec<String>, event: &str) -> Self {
        let mut words = command.into_iter();
        Self {
            path: PathBuf::from(words.next().unwrap_or_default()),
            arguments: words.map(OsString::from).collect(),
            environment: vec![("RAIS_EVENT", event.to_owned())],
        }
    }
}

/// A program did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It did not start: missing, not executable, or the system has no room for it.
    #[error("{path} could not be started: {source}", path = path.display())]
    Start {
        /// The program.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It ended with a code other than 0.
    #[error("{path} exited with {code}{output}", path = path.display())]
    Exit {
        /// The program.
        path: PathBuf,
        /// Its code.
        code: i32,
        /// What it said last.
        output: Output,
    },
    /// A signal ended it.
    #[error("{path} was ended by signal {signal}{output}", path = path.display())]
    Signal {
        /// The program.
        path: PathBuf,
        /// The number of the signal.
        signal: i32,
        /// What it said last.
        output: Output,
    },
    /// It ran into its deadline; it and its process group were killed.
    #[error("{path} took longer than {limit:?} and was killed{output}", path = path.display())]
    Deadline {
        /// The program.
        path: PathBuf,
        /// Its deadline.
        limit: Duration,
        /// What it said last.
        output: Output,
    },
    /// The system lost track of it.
    #[error("{path} could not be waited for: {source}", path = path.display())]
    Wait {
        /// The program.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The end of what a program said, at most 4 KiB, for people: shown after a colon where there is
/// any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    kept: Vec<u8>,
    /// There was more before.
    cut: bool,
}

impl Output {
    /// The text, without space around it. What is not UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.kept).trim().to_owned()
    }

    /// The first line, without its end; empty where nothing was said, none where so much was said
    /// that it was not kept. What is not UTF-8 is replaced.
    #[must_use]
    pub fn first_line(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.kept);
        (!self.cut).then(|| text.lines().next().unwrap_or_default().to_owned())
    }

    fn push(&mut self, more: &[u8]) {
        self.kept.extend_from_slice(more);
        let excess = self.kept.len().saturating_sub(OUTPUT_LIMIT);
        self.kept.drain(..excess);
        self.cut |= excess > 0;
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = self.text();
        if text.is_empty() { Ok(()) } else { write!(f, ": {text}") }
    }
}

/// Runs `program` until it ends, or until `limit` has passed: then it is killed with its whole
/// process group. So it is when the future is dropped.
///
/// A program that ended well may leave others running in its group; they keep the pipe, which
/// nobody reads any more.
///
/// # Errors
/// [`ProcessError`], unless it exits with 0.
pub async fn run(program: &Program, limit: Duration) -> Result<Output, ProcessError> {
    let path = || program.path.clone();
    let mut running =
        Running::start(program).map_err(|source| ProcessError::Start { path: path(), source })?;
    let status = match tokio::time::timeout(limit, running.status()).await {
        Ok(Ok(status)) => status,
        Ok(Err(source)) => return Err(ProcessError::Wait { path: path(), source }),
        Err(_late) => {
            running.kill().await;
            let output = running.output();
            return Err(ProcessError::Deadline { path: path(), limit, output });
        }
    };
    verdict(status, program, running.output())
}

fn verdict(status: ExitStatus, program: &Program, output: Output) -> Result<Output, ProcessError> {
    use std::os::unix::process::ExitStatusExt;

    let path = program.path.clone();
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(output),
        (Some(code), _) => Err(ProcessError::Exit { path, code, output }),
        (None, signal) => Err(ProcessError::Signal { path, signal: signal.unwrap_or(0), output }),
    }
}

/// A program that was started. Dropping it kills its process group, if it has not ended.
struct Running {
    child: Child,
    pipe: pipe::Receiver,
    output: Output,
}

impl Running {
    fn start(program: &Program) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        let pipe = pipe::Receiver::from_owned_fd(reader.into())?;
        let mut command = Command::new(&program.path);
        // What the service manager wants to hear is the agent's to say.
        for name in service_manager::VARIABLES {
            command.env_remove(name);
        }
        let child = command
            .args(&program.arguments)
            .envs(program.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .process_group(0)
            .spawn()?;
        Ok(Self { child, pipe, output: Output::default() })
    }

    /// Waits for the end of the program, not of its output: what it leaves running may keep the
    /// pipe open.
    async fn status(&mut self) -> io::Result<ExitStatus> {
        let mut open = true;
        loop {
            tokio::select! {
                status = self.child.wait() => return status,
                ready = self.pipe.readable(), if open => {
                    ready?;
                    open = self.read();
                }
            }
        }
    }

    /// Takes what is in the pipe. False at its end.
    fn read(&mut self) -> bool {
        let mut buffer = [0; OUTPUT_LIMIT];
        match self.pipe.try_read(&mut buffer) {
            Ok(0) => false,
            Ok(length) => {
                self.output.push(buffer.get(..length).unwrap_or_default());
                true
            }
            Err(e) => e.kind() == io::ErrorKind::WouldBlock,
        }
    }

    /// What it said last, including what is still in the pipe.
    fn output(&mut self) -> Output {
        let mut buffer = [0; OUTPUT_LIMIT];
        for _ in 0..LAST_READS {
            match self.pipe.try_read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(length) => self.output.push(buffer.get(..length).unwrap_or_default()),
            }
        }
        std::mem::take(&mut self.output)
    }

    /// Kills the process group and collects the program.
    async fn kill(&mut self) {
        self.kill_group();
        match tokio::time::timeout(REAP_LIMIT, self.child.wait()).await {
            Ok(Ok(_)) => {}
            Ok(Err(e)) => tracing::warn!("a killed program could not be waited for: {e}"),
            Err(_late) => tracing::warn!("a killed program is still there after {REAP_LIMIT:?}"),
        }
    }

    fn kill_group(&self) {
        // Without an id it was collected already, and its number may be another's by now.
        let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) else { return };
        if let Err(e) = killpg(Pid::from_raw(id), Signal::SIGKILL) {
            tracing::warn!("process group {id} could not be killed: {e}");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill_group();
    }
}

#[cfg(test)]
mod tests;
