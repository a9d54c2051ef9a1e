//! What the agent may do after its start: capabilities(7) beyond these are given up for good, and
//! nothing that it runs can get more (`no_new_privs`).
//!
//! Capabilities belong to threads. The first thread [limits](limit) itself before there are others,
//! to what the start needs besides; each thread, and the first after the start, then
//! [settles](settle_this_thread) for what is kept.

use std::io;
use std::sync::OnceLock;

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs,
};

/// What the agent itself needs for as long as it runs: addresses, XDP links and raw frames; maps;
/// real-time priority of threads to come and memory that stays; a name service on port 53.
pub const NEEDED: CapabilitySet = CapabilitySet::NET_ADMIN
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::BPF)
    .union(CapabilitySet::SYS_NICE)
    .union(CapabilitySet::IPC_LOCK)
    .union(CapabilitySet::NET_BIND_SERVICE);

/// What only the start needs: mounting a bpffs and telling whose program is in the way; a program
/// that the verifier does not arm against its own agent; the owner of the control socket; limiting
/// what programs that are run can ever get.
const START: CapabilitySet = CapabilitySet::SYS_ADMIN
    .union(CapabilitySet::PERFMON)
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::SETPCAP);

/// What is kept. Not set where nothing is dropped.
static KEPT: OnceLock<CapabilitySet> = OnceLock::new();

/// From here on this process keeps what it [needs](NEEDED) and `scripts`, and for its start a
/// little more. To be called once, while there is one thread.
///
/// # Errors
/// The system refuses.
pub fn limit(scripts: CapabilitySet) -> io::Result<()> {
    let kept = NEEDED | scripts;
    set_no_new_privs(true)?;
    for beyond in CapabilitySet::all().iter().filter(|&one| !(kept | START).contains(one)) {
        match remove_capability_from_bounding_set(beyond) {
            // This kernel may not have that one.
            Ok(()) | Err(Errno::INVAL) => {}
            // Without CAP_SETPCAP the bounding set stays; `no_new_privs` lets nobody use it.
            Err(Errno::PERM) => break,
            Err(error) => return Err(error.into()),
        }
    }
    keep_only(kept | START)?;
    KEPT.get_or_init(|| kept);
    Ok(())
}

/// This thread gives up what only the start needed, if privileges are dropped at all. Each thread
/// of the agent says so when it begins.
pub fn settle_this_thread() {
    let Some(kept) = KEPT.get() else { return };
    if let Err(error) = keep_only(*kept) {
        tracing::error!("privileges of a thread cannot be dropped: {error}");
        // Giving up a capability does not fail. If it does, nothing that follows can be trusted.
        std::process::abort();
    }
}

/// Gives up all of this thread's capabilities but these.
fn keep_only(kept: CapabilitySet) -> io::Result<()> {
    let held = capabilities(None)?.permitted & kept;
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: held, permitted: held, inheritable: none };
    Ok(set_capabilities(None, sets)?)
}
