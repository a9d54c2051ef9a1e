//! Many entries of a map written with one system call, which aya has no name for.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use aya::Pod;
use aya::maps::MapData;

/// `BPF_MAP_UPDATE_BATCH` (Linux 5.6).
const UPDATE: libc::c_int = 26;

/// `union bpf_attr`, as far as it is about many entries.
#[repr(C)]
struct Attributes {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Not all entries were written.
#[derive(Debug)]
pub(super) struct Stopped {
    /// Those before this one were, it was not, and those behind it were not tried.
    pub(super) at: usize,
    /// Why.
    pub(super) error: io::Error,
}

/// Writes `values` under `keys`, one to one, over what is there. `K` and `V` are as long as a key and a value of the map.
pub(super) fn update<K: Pod, V: Pod>(
    map: &MapData,
    keys: &[K],
    values: &[V],
) -> Result<(), Stopped> {
    update_per_cpu(map, keys, values, 1)
}

/// As [`update`], in a map that has `cpus` values for each key, which follow each other in `values`
/// and are a multiple of eight bytes long.
pub(super) fn update_per_cpu<K: Pod, V: Pod>(
    map: &MapData,
    keys: &[K],
    values: &[V],
    cpus: usize,
) -> Result<(), Stopped> {
    let stopped = |at, error| Err(Stopped { at, error });
    if keys.is_empty() {
        return Ok(());
    }
    // The kernel reads as many values.
    if values.len() < keys.len().saturating_mul(cpus) {
        return stopped(0, io::Error::from_raw_os_error(libc::EINVAL));
    }
    let (Ok(count), Ok(map_fd)) =
        (u32::try_from(keys.len()), u32::try_from(map.fd().as_fd().as_raw_fd()))
    else {
        return stopped(0, io::Error::from_raw_os_error(libc::EINVAL));
    };
    let mut attributes = Attributes {
        in_batch: 0,
        out_batch: 0,
        keys: keys.as_ptr() as u64,
        values: values.as_ptr() as u64,
        count,
        map_fd,
        elem_flags: 0,
        flags: 0,
    };
    #[allow(unsafe_code, reason = "a system call without a safe name")]
    // SAFETY: the kernel reads `count` keys and values, which live until it returns and are as long
    // as the map's (the callers' types, checked when the map was opened), and writes into
    // `attributes` no more than its size.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, UPDATE, &raw mut attributes, size_of::<Attributes>())
    };
    if result < 0 {
        let error = io::Error::last_os_error();
        // Where the kernel did not begin it says nothing.
        let at = usize::try_from(attributes.count).ok().filter(|&at| at < keys.len());
        return stopped(at.unwrap_or(0), error);
    }
    Ok(())
}
