//! The directory that keeps links and maps alive without the agent.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, SYSFS_MAGIC, statfs};

use super::error::BpfError;

/// Makes `dir` a directory on a bpffs, mounting one where needed: at `dir`, or, since nothing can
/// be created in sysfs, at the existing directory above it (`/sys/fs/bpf`).
///
/// # Errors
/// No permission, no bpffs in this kernel, or not a path for it.
pub(super) fn ensure_bpffs(dir: &Path) -> Result<(), BpfError> {
    let fail = |error| BpfError::new(format!("bpffs at {}", dir.display()), error);
    let existing = dir.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
    let kind = statfs(existing).map_err(|errno| fail(errno.into()))?.filesystem_type();
    if kind == BPF_FS_MAGIC {
        return create(dir).map_err(fail);
    }
    if kind == SYSFS_MAGIC {
        mount_bpffs(existing).map_err(|errno| fail(errno.into()))?;
        return create(dir).map_err(fail);
    }
    create(dir).map_err(fail)?;
    mount_bpffs(dir).map_err(|errno| fail(errno.into()))
}

/// Creates `dir` and what is missing above it, for the owner only. bpffs keeps names with a dot
/// for itself and refuses them with EPERM, which would read as a lack of privilege.
fn create(dir: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().recursive(true).mode(0o700).create(dir) {
        Err(error)
            if error.raw_os_error() == Some(Errno::EPERM as i32)
                && dir.to_string_lossy().contains('.') =>
        {
            Err(io::Error::other("a directory on bpffs cannot have a dot in its name"))
        }
        result => result,
    }
}

/// Mounts a new, empty bpffs.
fn mount_bpffs(at: &Path) -> nix::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_RELATIME;
    mount(Some("bpf"), at, Some("bpf"), flags, Some("mode=0700"))
}
