//! What can go wrong between the agent and the kernel's BPF, with the remedy in the message.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use nix::libc;

use crate::causes::in_words;

/// A BPF operation failed.
#[derive(Debug, thiserror::Error)]
pub enum BpfError {
    /// The agent may not.
    #[error(
        "{what}: {}; run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW (CAP_SYS_ADMIN to \
         mount bpffs), and in a container allow it the bpf system call; where that cannot be, \
         `data_plane = \"kernel\"` does without BPF",
        in_words(source.as_ref())
    )]
    NoPermission {
        /// What was tried.
        what: String,
        /// What the system said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The kernel cannot.
    #[error(
        "{what}: {}; this kernel has no BPF for it: Linux 5.18 or later with CONFIG_BPF_SYSCALL \
         and bpffs is needed; `data_plane = \"kernel\"` does without BPF",
        in_words(source.as_ref())
    )]
    Unsupported {
        /// What was tried.
        what: String,
        /// What the system said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Another XDP program is on the interface. It was left alone.
    #[error(
        "{interface} already runs the XDP program `{program}` (id {id}), which this agent did not \
         attach. `bpftool net` and `bpftool link` show whose it is; if it may go: \
         `ip link set dev {interface} xdp off`, or `bpftool link detach` where it is held by a link"
    )]
    Foreign {
        /// The interface.
        interface: String,
        /// The program's name, as far as it can be learnt.
        program: String,
        /// The program's id.
        id: u32,
    },
    /// There can be no directory where one is wanted.
    #[error(
        "bpffs at {}: {source}; let `bpf_dir` name a directory that can be made, such as \
         /sys/fs/bpf/rais",
        bpf_dir.display()
    )]
    NoPlace {
        /// `bpf_dir`
        bpf_dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another agent uses the maps. They were left alone.
    #[error(
        "another agent is running with the maps in {}; stop it first, or give this one a `bpf_dir` \
         and service interfaces of its own",
        bpf_dir.display()
    )]
    Busy {
        /// `bpf_dir`
        bpf_dir: PathBuf,
    },
    /// The interface was there when the configuration was checked.
    #[error(
        "there is no interface {interface} any more; bring it back, or name another one as \
         `service_interface`"
    )]
    NoInterface {
        /// The interface.
        interface: String,
    },
    /// The interface cannot run the program in the mode asked for.
    #[error(
        "{interface} cannot run an XDP program in {mode} mode: {}; try `xdp_mode = \"auto\"` or \
         \"generic\"",
        in_words(source.as_ref())
    )]
    Mode {
        /// The interface.
        interface: String,
        /// The mode.
        mode: &'static str,
        /// What the system said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Anything else.
    #[error("{what}: {}", in_words(source.as_ref()))]
    Other {
        /// What was tried.
        what: String,
        /// What the system said.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl BpfError {
    /// Sorts a failure by its error number.
    pub(super) fn new(
        what: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        let (what, source) = (what.into(), source.into());
        match errno(source.as_ref()) {
            Some(libc::EPERM | libc::EACCES) => Self::NoPermission { what, source },
            Some(libc::ENOSYS | libc::ENODEV) => Self::Unsupported { what, source },
            _ => Self::Other { what, source },
        }
    }
}

/// The error number at the root of `error`, where there is one.
pub(super) fn errno(error: &(dyn Error + 'static)) -> Option<i32> {
    let mut next = Some(error);
    while let Some(error) = next {
        let code = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
        let code = code.or_else(|| error.downcast_ref::<nix::Error>().map(|&e| e as i32));
        if code.is_some() {
            return code;
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    // Input: an error number, plain and buried in a library's error. Output: the kind of error.
    #[test]
    fn failures_are_sorted_by_their_number() {
        let cases = [
            (libc::EPERM, "; run as root"),
            (libc::EACCES, "; run as root"),
            (libc::ENOSYS, "has no BPF"),
            (libc::ENODEV, "has no BPF"),
            (libc::ENOMEM, ""),
        ];
        for (number, expected) in cases {
            let plain = io::Error::from_raw_os_error(number);
            let buried = aya::maps::MapError::SyscallError(aya::sys::SyscallError {
                call: "bpf_map_update_elem",
                io_error: io::Error::from_raw_os_error(number),
            });
            for error in [BpfError::new("trying", plain), BpfError::new("trying", buried)] {
                let text = error.to_string();
                assert!(text.starts_with("trying: "), "{text}");
                assert!(text.contains(&format!("(os error {number})")), "{text}");
                assert!(text.contains(expected), "{number}: {text}");
                assert_eq!(text.contains(';'), !expected.is_empty(), "{number}: {text}");
                assert_eq!(in_words(&error), text, "the cause is in it already");
            }
        }
    }
}
