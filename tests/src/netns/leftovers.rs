//! What a bed leaves in the system, found by its name alone: so it can be taken away by its own
//! `Drop`, on a signal, or by a later process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};

use crate::wait;

/// Where network namespaces have their names.
const NETNS: &str = "/run/netns";
/// Set in the environment of every process of a bed.
pub(super) const VARIABLE: &str = "RAIS_BED";

/// The directory of a bed.
pub(super) fn directory(id: &str) -> PathBuf {
    PathBuf::from(format!("/run/rais-test-{id}"))
}

/// The network namespace of a host of a bed.
pub(super) fn netns(id: &str, name: &str) -> String {
    format!("rais-{id}-{name}")
}

/// What there still is of a bed, in words: nothing, once it was dropped.
#[must_use]
pub fn bystander(id: &str) -> Vec<String> {
    let dir = directory(id);
    let mut left: Vec<String> = processes(id).iter().map(|pid| format!("process {pid}")).collect();
    left.extend(namespaces(id).iter().map(|name| format!("namespace {name}")));
    left.extend(mounts(&dir).iter().map(|path| format!("mount {}", path.display())));
    left.extend(dir.exists().then(|| format!("directory {}", dir.display())));
    left
}

/// Takes away everything of a bed, as far as it goes.
pub(super) fn remove(id: &str) {
    // A script may start another process while its parent dies: look again until none is left.
    wait::until("the bed's processes to end", Duration::from_secs(5), || {
        let found = processes(id);
        for pid in &found {
            kill(*pid, Signal::SIGKILL).ok();
        }
        Ok(found.is_empty().then_some(()))
    })
    .ok();
    for name in namespaces(id) {
        Command::new("ip").args(["netns", "delete", &name]).status().ok();
    }
    let dir = directory(id);
    for path in mounts(&dir) {
        umount2(&path, MntFlags::MNT_DETACH).ok();
    }
    fs::remove_dir_all(&dir).ok();
}

/// Takes away the beds of processes that are no more.
pub fn sweep() {
    let mut ids: Vec<String> = entries(NETNS).iter().filter_map(|n| bed_of(n, "rais-")).collect();
    ids.extend(entries("/run").iter().filter_map(|n| bed_of(n, "rais-test-")));
    ids.sort();
    ids.dedup();
    for id in ids.iter().filter(|id| !owner_lives(id)) {
        remove(id);
    }
}

/// From here on, Ctrl-C and SIGTERM take away this process's beds and end it with 130.
///
/// # Errors
/// The signals cannot be listened for.
pub fn clean_up_on_signal() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    std::thread::Builder::new().name("clean-up".into()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        let own = std::process::id().to_string();
        for id in entries("/run").iter().filter_map(|name| bed_of(name, "rais-test-")) {
            if id.split('-').next() == Some(&own) {
                remove(&id);
            }
        }
        std::process::exit(130);
    })?;
    Ok(())
}

/// The bed in a name such as `rais-123-1-h1`: the two numbers after the prefix.
fn bed_of(name: &str, prefix: &str) -> Option<String> {
    let mut parts = name.strip_prefix(prefix)?.split('-');
    let (process, number) = (parts.next()?, parts.next()?);
    let numbers = process.parse::<u32>().is_ok() && number.parse::<u32>().is_ok();
    numbers.then(|| format!("{process}-{number}"))
}

fn owner_lives(id: &str) -> bool {
    id.split('-').next().is_some_and(|pid| Path::new("/proc").join(pid).exists())
}

fn namespaces(id: &str) -> Vec<String> {
    let prefix = netns(id, "");
    entries(NETNS).into_iter().filter(|name| name.starts_with(&prefix)).collect()
}

/// Mount points below `dir`, the last mounted first.
fn mounts(dir: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(1)).map(PathBuf::from);
    let mut points: Vec<PathBuf> = points.filter(|point| point.starts_with(dir)).collect();
    points.reverse();
    points
}

/// Processes that carry the bed's name in their environment and are not merely waiting to be
/// collected by their parent.
fn processes(id: &str) -> Vec<Pid> {
    let wanted = format!("{VARIABLE}={id}");
    let carries = |pid: &i32| {
        // The environment of a process that ended reads as empty.
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
    };
    let all = entries("/proc").into_iter().filter_map(|name| name.parse().ok());
    all.filter(carries).map(Pid::from_raw).collect()
}

/// Names in a directory; none if it cannot be read.
fn entries(dir: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::bed_of;

    #[test]
    fn only_names_of_beds_are_taken_for_beds() {
        assert_eq!(bed_of("rais-12-1-h1", "rais-").as_deref(), Some("12-1"));
        assert_eq!(bed_of("rais-test-12-3", "rais-test-").as_deref(), Some("12-3"));
        for other in ["rais-bpf-1-h1", "rais-test-12-1", "rais-12", "rais-12-h1", "web-12-1"] {
            assert_eq!(bed_of(other, "rais-"), None, "{other}");
        }
    }
}
