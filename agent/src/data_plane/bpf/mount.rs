//! The directory that keeps links and maps alive without the agent.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statfs::{BPF_FS_MAGIC, SYSFS_MAGIC, statfs};

use super::error::BpfError;
use crate::made::Made;

/// What had to be made for a directory on a bpffs: perhaps a mount, perhaps directories. They go
/// when this is dropped, unless kept.
#[derive(Debug)]
pub struct Place {
    /// Where. It goes first: a directory cannot go while something is mounted on it.
    mounted: Option<PathBuf>,
    directories: Made,
    /// Held for as long as this lives.
    lock: Option<Flock<File>>,
}

impl Place {
    /// Makes `dir` a directory on a bpffs, mounting one where needed: at `dir`, or, since nothing
    /// can be created in sysfs, at the existing directory above it (`/sys/fs/bpf`).
    ///
    /// # Errors
    /// No permission, no bpffs in this kernel, or not a path for it. Nothing was made then.
    pub(super) fn make(dir: &Path) -> Result<Self, BpfError> {
        let fail = |error: io::Error| match error.raw_os_error() {
            // As below /proc, where nothing can be made.
            Some(libc::ENOENT | libc::ENOTDIR | libc::EEXIST | libc::EROFS) => {
                let bpf_dir = dir.to_owned();
                BpfError::NoPlace { bpf_dir, source: error }
            }
            _ => BpfError::new(format!("bpffs at {}", dir.display()), error),
        };
        let existing = dir.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
        let kind = statfs(existing).map_err(|errno| fail(errno.into()))?.filesystem_type();
        if kind == BPF_FS_MAGIC {
            let directories = create(dir).map_err(fail)?;
            return Self { mounted: None, directories, lock: None }.locked(dir);
        }
        if kind == SYSFS_MAGIC {
            // Unmounting takes what is made in it along.
            let directories = Made::default();
            let mut place = Self { mounted: None, directories, lock: None };
            mount_bpffs(existing).map_err(|errno| fail(errno.into()))?;
            place.mounted = Some(existing.to_owned());
            create(dir).map_err(fail)?.keep();
            return place.locked(dir);
        }
        let directories = create(dir).map_err(fail)?;
        mount_bpffs(dir).map_err(|errno| fail(errno.into()))?;
        Self { mounted: Some(dir.to_owned()), directories, lock: None }.locked(dir)
    }

    /// Takes the place for this process alone: two agents, even with run directories of their own,
    /// would withdraw one another's addresses.
    fn locked(mut self, dir: &Path) -> Result<Self, BpfError> {
        let fail = |error: io::Error| BpfError::new(format!("locking {}", dir.display()), error);
        let directory = File::open(dir).map_err(fail)?;
        match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => self.lock = Some(lock),
            Err((_, Errno::EWOULDBLOCK)) => {
                return Err(BpfError::Busy { bpf_dir: dir.to_owned() });
            }
            Err((_, errno)) => return Err(fail(errno.into())),
        }
        Ok(self)
    }

    /// It is to stay.
    pub fn keep(&mut self) {
        self.mounted = None;
        self.directories.keep();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // An open directory would keep the mount busy.
        self.lock = None;
        if let Some(at) = &self.mounted
            && let Err(error) = umount2(at, MntFlags::UMOUNT_NOFOLLOW)
        {
            tracing::warn!("the bpffs at {} stays: {error}", at.display());
        }
    }
}

/// Creates `dir` and what is missing above it, for the owner only. bpffs keeps names with a dot
/// for itself and refuses them with EPERM, which would read as a lack of privilege.
fn create(dir: &Path) -> io::Result<Made> {
    match Made::directories(dir, 0o700) {
        Err(error)
            if error.raw_os_error() == Some(Errno::EPERM as i32)
                && dir.to_string_lossy().contains('.') =>
        {
            Err(io::Error::other(
                "a directory on bpffs cannot have a dot in its name; choose another `bpf_dir`",
            ))
        }
        result => result,
    }
}

/// Mounts a new, empty bpffs.
fn mount_bpffs(at: &Path) -> nix::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_RELATIME;
    mount(Some("bpf"), at, Some("bpf"), flags, Some("mode=0700"))
}
