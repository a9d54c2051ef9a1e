//! Asking an agent over its control socket. Blocking: for commands, not for the agent.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Reply, Request};

/// Longest reply understood, in bytes: more than any status or log that an agent can have.
const MAX_REPLY: u64 = 64 << 20;

/// So long an agent may take for a reply: longer than it gives itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// So long the answer may take to come after what it tells of has ended.
const SLACK: Duration = Duration::from_secs(5);

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
    #[error(
        "{}: {source}; run this as root, or to look only as a user of the socket's group \
         (`socket_group`)",
        socket.display()
    )]
    Denied {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The agent refused.
    #[error("{0}")]
    Refused(String),
    /// The agent is there and says nothing.
    #[error("the agent has not answered for {} s: it is stopped, or has no time", .0.as_secs())]
    Silent(Duration),
    /// The conversation broke off.
    #[error("the agent's answer cannot be read: {0}")]
    Broken(#[source] io::Error),
}

impl AskError {
    /// What an error means on a connection whose other end was given so long.
    fn after(patience: Option<Duration>) -> impl Fn(io::Error) -> Self {
        move |error| match (error.kind(), patience) {
            // Linux reports a timeout of a socket as the former, other systems as the latter.
            (io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut, Some(span)) => Self::Silent(span),
            (_, _) => Self::Broken(error),
        }
    }
}

/// A connection on which one request was sent.
#[derive(Debug)]
pub struct Answers {
    read: BufReader<UnixStream>,
    patience: Option<Duration>,
}

/// Sends `request` to the agent at `socket`. Each answer is waited for no longer than an agent
/// that has time for it needs; one that follows waits for ever.
///
/// # Errors
/// No agent is there, or it went away.
pub fn ask(socket: &Path, request: &Request) -> Result<Answers, AskError> {
    ask_within(socket, request, (!request.follow).then_some(PATIENCE))
}

/// As [`ask`], but each answer may take so long.
fn ask_within(
    socket: &Path,
    request: &Request,
    patience: Option<Duration>,
) -> Result<Answers, AskError> {
    let mut stream = UnixStream::connect(socket).map_err(|source| {
        let socket = socket.to_owned();
        if source.kind() == io::ErrorKind::PermissionDenied {
            AskError::Denied { socket, source }
        } else {
            AskError::NoAgent { socket, source }
        }
    })?;
    let prepared = stream
        .set_write_timeout(Some(PATIENCE))
        .and_then(|()| stream.set_read_timeout(patience))
        .and_then(|()| Ok(serde_json::to_vec(request)?));
    let mut line = prepared.map_err(AskError::Broken)?;
    line.push(b'\n');
    stream.write_all(&line).map_err(AskError::after(Some(PATIENCE)))?;
    Ok(Answers { read: BufReader::new(stream), patience })
}

impl Answers {
    /// The next reply; none where the agent has closed the connection.
    ///
    /// # Errors
    /// The agent refused, or its reply is not one.
    pub fn next_reply(&mut self) -> Result<Option<Reply>, AskError> {
        let mut line = Vec::new();
        let read = (&mut self.read).take(MAX_REPLY).read_until(b'\n', &mut line);
        read.map_err(AskError::after(self.patience))?;
        if line.is_empty() {
            return Ok(None);
        }
        let reply: Reply =
            serde_json::from_slice(&line).map_err(|error| AskError::Broken(error.into()))?;
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
    one(ask(socket, request)?)
}

/// As [`ask_once`], for what takes the agent as long as `limit`.
///
/// # Errors
/// As [`ask_once`].
pub fn ask_long(socket: &Path, request: &Request, limit: Duration) -> Result<Reply, AskError> {
    one(ask_within(socket, request, Some(limit.saturating_add(SLACK)))?)
}

fn one(mut answers: Answers) -> Result<Reply, AskError> {
    let reply = answers.next_reply()?;
    reply.ok_or_else(|| AskError::Broken(io::ErrorKind::UnexpectedEof.into()))
}
