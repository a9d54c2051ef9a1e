//! Asking an agent over its control socket. Blocking: for commands, not for the agent.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Command, Reply, Request};

/// Longest reply understood, in bytes: more than any status or log that an agent can have.
const MAX_REPLY: u64 = 64 << 20;

/// So long an agent may take for a reply: longer than it gives itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens at the socket.
    #[error(
        "no agent at {}: {source}; is `rais run` running, and is its `run_dir` where --socket \
         points?",
        socket.display()
    )]
    NoAgent {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The socket may not be opened.
    #[error("{}: {source}; run this as root", socket.display())]
    Denied {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The agent refused.
    #[error("{0}")]
    Refused(String),
    /// The agent is there and says nothing: it is stopped, or has no time.
    #[error("the agent has not answered for {} s", PATIENCE.as_secs())]
    Silent,
    /// The conversation broke off.
    #[error("the agent's answer cannot be read: {0}")]
    Broken(#[source] io::Error),
}

impl From<io::Error> for AskError {
    fn from(error: io::Error) -> Self {
        // Linux reports a timeout of a socket as the former, other systems as the latter.
        if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) {
            Self::Silent
        } else {
            Self::Broken(error)
        }
    }
}

/// A connection on which one request was sent.
#[derive(Debug)]
pub struct Answers {
    read: BufReader<UnixStream>,
}

/// Sends `request` to the agent at `socket`.
///
/// # Errors
/// No agent is there, or it went away.
pub fn ask(socket: &Path, request: &Request) -> Result<Answers, AskError> {
    let mut stream = UnixStream::connect(socket).map_err(|source| {
        let socket = socket.to_owned();
        if source.kind() == io::ErrorKind::PermissionDenied {
            AskError::Denied { socket, source }
        } else {
            AskError::NoAgent { socket, source }
        }
    })?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // Who follows waits as long as nothing happens, and a move takes as long as scripts may.
    let patient = request.follow || request.cmd == Command::Move;
    stream.set_read_timeout((!patient).then_some(PATIENCE))?;
    let mut line = serde_json::to_vec(request).map_err(io::Error::from)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    Ok(Answers { read: BufReader::new(stream) })
}

impl Answers {
    /// The next reply; none where the agent has closed the connection.
    ///
    /// # Errors
    /// The agent refused, or its reply is not one.
    pub fn next_reply(&mut self) -> Result<Option<Reply>, AskError> {
        let mut line = Vec::new();
        (&mut self.read).take(MAX_REPLY).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(None);
        }
        let reply: Reply = serde_json::from_slice(&line).map_err(io::Error::from)?;
        if reply.ok {
            Ok(Some(reply))
        } else {
            Err(AskError::Refused(reply.error.unwrap_or_else(|| "refused without a reason".into())))
        }
    }
}

/// The one reply to `request`.
///
/// # Errors
/// No agent is there, it refused, or it went away.
pub fn ask_once(socket: &Path, request: &Request) -> Result<Reply, AskError> {
    ask(socket, request)?
        .next_reply()?
        .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof).into())
}
