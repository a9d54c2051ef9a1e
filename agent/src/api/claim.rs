//! One agent a run directory: the lock, and the socket that goes with it.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use tokio::net::UnixListener;

use crate::config::checked::SocketAccess;
use crate::made::Made;

/// Name of the socket in the run directory.
pub const SOCKET_NAME: &str = "rais.sock";

/// Name of the lock in the run directory. The kernel lets go of it when its holder dies.
pub const LOCK_NAME: &str = "rais.lock";

/// Name of a socket that is not ready yet. Not longer than [`SOCKET_NAME`], because the length
/// of a socket's path is limited.
const NEW_NAME: &str = "rais.new";

/// Why a run directory could not be claimed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// An agent runs there. Nothing was changed.
    #[error("an agent is running already, at {}; stop it first", .0.display())]
    Busy(PathBuf),
    /// The directory or the lock cannot be used.
    #[error("{}: {source}; {}", path.display(), remedy(source))]
    Io {
        /// What cannot be used.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The control socket cannot be given to its owner or group.
    #[error(
        "{}: it cannot be given to `socket_owner` and `socket_group`: {source}; run as root, or \
         name a group that this user is in",
        path.display()
    )]
    Owner {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What to do about a directory or a lock that cannot be used.
fn remedy(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::PermissionDenied {
        "run as root, or let `run_dir` name a directory that this user may write to"
    } else {
        "let `run_dir` name a directory where files can be made, such as /run/rais"
    }
}

/// This process is the only one to act for a run directory until this is dropped.
#[derive(Debug)]
pub struct Claim {
    socket: PathBuf,
    /// The lock's file and the directories, where they were not there before. First, so that they
    /// go while the lock is held.
    made: Made,
    _lock: Flock<File>,
}

/// Claims `run_dir`, which is made if it is not there. To be called before anything is changed.
/// What this makes goes with the claim, unless it is [kept](Server::keep).
///
/// # Errors
/// Another process has it, or the system refuses.
pub fn claim(run_dir: &Path) -> Result<Claim, ClaimError> {
    let error = |path: &Path| {
        let path = path.to_owned();
        move |source| ClaimError::Io { path, source }
    };
    let mut made = Made::directories(run_dir, 0o755).map_err(error(run_dir))?;
    let socket = run_dir.join(SOCKET_NAME);
    let lock = run_dir.join(LOCK_NAME);
    let mut open = OpenOptions::new();
    open.write(true).mode(0o600);
    let file = match open.clone().create_new(true).open(&lock) {
        Ok(file) => {
            made.add(&lock);
            file
        }
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            open.open(&lock).map_err(error(&lock))?
        }
        Err(e) => return Err(error(&lock)(e)),
    };
    let held = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(held) => held,
        Err((_, Errno::EWOULDBLOCK)) => return Err(ClaimError::Busy(socket)),
        Err((_, errno)) => return Err(error(&lock)(errno.into())),
    };
    // One that failed to start may have removed the file meanwhile, and another may have made it.
    let inode = |about: io::Result<fs::Metadata>| about.map(|about| about.ino()).ok();
    if inode(held.metadata()) != inode(fs::metadata(&lock)) {
        made.keep();
        return Err(ClaimError::Busy(socket));
    }
    // Should the lock's file have been removed while its holder runs, the holder still listens.
    if UnixStream::connect(&socket).is_ok() {
        return Err(ClaimError::Busy(socket));
    }
    Ok(Claim { socket, made, _lock: held })
}

impl Claim {
    /// Opens the control socket for those who may, in the place of one that a dead agent left. To
    /// be called on a tokio runtime.
    ///
    /// # Errors
    /// The system refuses.
    pub fn listen(self, access: SocketAccess) -> Result<Server, ClaimError> {
        let listener = self.bind(access)?;
        Ok(Server { listener, claim: self })
    }

    /// The socket appears under its name only once it belongs to the right ones.
    fn bind(&self, access: SocketAccess) -> Result<UnixListener, ClaimError> {
        let new = self.socket.with_file_name(NEW_NAME);
        let fail = |source| ClaimError::Io { path: self.socket.clone(), source };
        match fs::remove_file(&new) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(fail(e)),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(&new).map_err(fail)?;
        let SocketAccess { owner, group, mode } = access;
        // For nobody else, until it has its owner.
        fs::set_permissions(&new, Permissions::from_mode(0o600)).map_err(fail)?;
        if owner.is_some() || group.is_some() {
            chown(&new, owner, group).map_err(|source| {
                fs::remove_file(&new).ok();
                ClaimError::Owner { path: self.socket.clone(), source }
            })?;
        }
        fs::set_permissions(&new, Permissions::from_mode(mode)).map_err(fail)?;
        fs::rename(&new, &self.socket).map_err(fail)?;
        Ok(listener)
    }
}

/// The open control socket. Its file goes when this is dropped.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    claim: Claim,
}

impl Server {
    /// The start has succeeded: the run directory and the lock's file stay.
    pub fn keep(&mut self) {
        self.claim.made.keep();
    }

    pub(super) fn listener(&self) -> &UnixListener {
        &self.listener
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_file(&self.claim.socket) {
            tracing::debug!("control socket {}: {e}", self.claim.socket.display());
        }
    }
}
