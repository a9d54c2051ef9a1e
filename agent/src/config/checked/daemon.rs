//! The agent as a service of its machine: who may ask it, what it may do, what it says.

use rustix::thread::CapabilitySet;

/// Of `[agent]`: what concerns the process rather than its groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// Who may open the control socket.
    pub socket: SocketAccess,
    /// What scripts may do beyond what the agent itself needs; none: whatever the agent was
    /// started with, nothing is dropped.
    pub script_capabilities: Option<CapabilitySet>,
    /// Which log lines are written, as `RAIS_LOG` has it; none: the default.
    pub log: Option<String>,
}

/// Who may open the control socket: the permissions of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketAccess {
    /// User id of the owner; none: the agent's own.
    pub owner: Option<u32>,
    /// Group id; none: the agent's own.
    pub group: Option<u32>,
    /// Permission bits.
    pub mode: u32,
}

impl Default for SocketAccess {
    fn default() -> Self {
        Self { owner: None, group: None, mode: 0o660 }
    }
}
