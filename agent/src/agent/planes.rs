//! What answers for the addresses of all groups: the XDP program, or the kernel by itself.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context;

use super::leftovers;
use crate::addresses::{Addresses, Leased};
use crate::config::checked::{Config, DataPlaneKind, Interface, XdpMode};
use crate::data_plane::DataPlane;
use crate::data_plane::bpf::{self, Attachment, BpfPlane, Conflicts, PacketLog, Reader};
use crate::data_plane::kernel::{self, KernelPlane};
use crate::objects::Counted;

/// What a host without BPF does worse, for the status, the log and `rais check`.
pub(super) const WITHOUT_BPF: &str = "\
    without BPF: a host whose agent is frozen or killed may answer for up to 1.5 s beside the one \
    that took over, and moves leave a short gap";

/// What answers.
#[derive(Clone, Debug)]
pub(super) enum Planes {
    Xdp(BpfPlane),
    Kernel,
}

/// How it does so on an interface.
#[derive(Clone, Debug, Default)]
pub(super) struct Way {
    /// `xdp` or `kernel`
    pub kind: &'static str,
    /// Of the XDP program: the mode in force.
    pub mode: &'static str,
    /// What is to be known about that. Empty: nothing.
    pub note: String,
}

impl Planes {
    /// Takes away what an agent before this one left. Says what it was.
    ///
    /// # Errors
    /// The kernel refused; or the XDP program was left, and this agent is to do without.
    pub(super) async fn take_away(
        &self,
        addresses: &Addresses,
        config: &Config,
    ) -> anyhow::Result<Vec<String>> {
        match self {
            Self::Xdp(plane) => leftovers::take_away(plane, addresses, config).await,
            Self::Kernel => {
                let dir = &config.agent.bpf_dir;
                anyhow::ensure!(
                    !bpf::exists(dir),
                    "an agent before this one left its XDP program, which is pinned below {} and \
                     would drop what comes for its addresses; `rais clean` takes it away",
                    dir.display()
                );
                leftovers::take_off_marked(addresses, config).await
            }
        }
    }

    /// Has it answer on an interface. Says how, and whether the XDP program was brought there.
    ///
    /// # Errors
    /// The XDP program cannot be attached.
    pub(super) fn attach(
        &self,
        interface: &Interface,
        mode: XdpMode,
    ) -> anyhow::Result<(Way, bool)> {
        let Self::Xdp(plane) = self else {
            let kind = DataPlaneKind::Kernel.word();
            return Ok((Way { kind, mode: "", note: WITHOUT_BPF.to_owned() }, false));
        };
        let Attachment { mode, why, adopted, log } = plane.attach(interface, mode)?;
        if let Some(log) = log {
            tokio::spawn(write_down(log));
        }
        let (name, word) = (&interface.name, mode.word());
        let note = why.unwrap_or_default();
        tracing::info!(interface = name, mode = word, adopted, note, "XDP program attached");
        let kind = DataPlaneKind::Xdp.word();
        Ok((Way { kind, mode: word, note }, !adopted))
    }

    /// Takes off an interface what [`attach`](Self::attach) brought there.
    ///
    /// # Errors
    /// It stays.
    pub(super) fn detach(&self, interface: &Interface) -> anyhow::Result<()> {
        match self {
            Self::Xdp(plane) => Ok(plane.detach(interface)?),
            Self::Kernel => Ok(()),
        }
    }

    /// The data plane of one group, whose place in `LEASES` is `slot`.
    ///
    /// # Errors
    /// No maps, no netlink socket or no thread.
    pub(super) fn group(
        &self,
        slot: u32,
        interface: &Interface,
        realtime: bool,
    ) -> anyhow::Result<Box<dyn DataPlane>> {
        match self {
            Self::Xdp(plane) => Ok(Box::new(plane.group(slot, interface)?)),
            Self::Kernel => {
                let leased = Leased::connect(interface.index)?;
                let plane = KernelPlane::start(leased, realtime).context("thread rais-lease")?;
                Ok(Box::new(plane))
            }
        }
    }

    /// What it counts for a group. Without BPF nothing is counted.
    ///
    /// # Errors
    /// The maps cannot be opened.
    pub(super) fn reader(
        &self,
        slot: u32,
        interface: &Interface,
    ) -> anyhow::Result<Option<Reader>> {
        match self {
            Self::Xdp(plane) => Ok(Some(plane.reader(slot, interface)?)),
            Self::Kernel => Ok(None),
        }
    }

    /// Claims of other machines, which the XDP program alone sees.
    ///
    /// # Errors
    /// The map cannot be opened.
    pub(super) fn conflicts(&self) -> anyhow::Result<Option<Conflicts>> {
        match self {
            Self::Xdp(plane) => Ok(Some(plane.conflicts()?)),
            Self::Kernel => Ok(None),
        }
    }

    /// After all groups have ended: takes away what was put in place beforehand.
    ///
    /// # Errors
    /// The kernel refused.
    pub(super) async fn disarm(&self, config: &Config) -> anyhow::Result<()> {
        match self {
            Self::Xdp(plane) => leftovers::disarm(plane, config).await,
            Self::Kernel => Ok(()),
        }
    }
}

/// How often what the XDP program logs is looked for.
const LOOK: Duration = Duration::from_millis(200);

/// Writes to the log what the XDP program logs, for as long as the agent runs.
async fn write_down(mut log: PacketLog) {
    let mut looks = tokio::time::interval(LOOK);
    loop {
        looks.tick().await;
        log.write_down();
    }
}

/// The traffic of a group.
///
/// # Errors
/// In words.
pub(super) fn group_traffic(reader: Option<&Reader>) -> Result<Counted, String> {
    let counted = reader.map(Reader::group_traffic).transpose().map_err(|e| e.to_string())?;
    Ok(counted.unwrap_or_default())
}

impl kernel::Interface for Leased {
    fn put(&mut self, addresses: &[IpAddr], seconds: u32) -> Vec<io::Result<()>> {
        Self::put(self, addresses, seconds)
    }

    fn take(&mut self, addresses: &[IpAddr]) -> Vec<io::Result<()>> {
        Self::take(self, addresses)
    }
}
