//! Real-time priority and locked memory for the protocol threads.

use nix::sys::mman::{MlockAllFlags, mlockall};
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// Above ordinary work, below the kernel's own interrupt threads (50).
const PRIORITY: u8 = 40;

/// Locks the process' memory, so that a page fault cannot hold a heartbeat up.
///
/// # Errors
/// In words; the agent works without it.
pub fn lock_memory() -> Result<(), String> {
    mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE).map_err(|e| e.to_string())
}

/// `SCHED_FIFO` for the calling thread, where `wanted` and permitted. A thread without it works
/// too, only later on a busy machine.
pub fn raise_this_thread(wanted: bool) {
    if !wanted {
        return;
    }
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    let raised = ThreadPriorityValue::try_from(PRIORITY).is_ok_and(|value| {
        let priority = ThreadPriority::Crossplatform(value);
        set_thread_priority_and_policy(thread_native_id(), priority, policy).is_ok()
    });
    if !raised {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        tracing::warn!(thread = name, "no real-time priority: it needs CAP_SYS_NICE");
    }
}
