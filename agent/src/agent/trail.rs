//! What a start has changed so far, so that one that fails changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::SHUTDOWN_EXTRA;
use super::boot;
use super::control::{Control, Running};
use super::planes::{Planes, Way};
use super::quiesced::Quiesced;
use crate::config::checked::{Config, DataPlaneKind, Interface};
use crate::data_plane::bpf::{self, BpfError, BpfPlane, Place};
use crate::events::EventLog;
use crate::group::Event;

/// The changes of a start, in the order they are made. Either [`keep`](Self::keep) or
/// [`undo`](Self::undo) ends it.
pub(super) struct Trail<'a> {
    config: &'a Config,
    /// An earlier agent left maps and links, which a new one needs: they stay.
    adopted: bool,
    boot_known: bool,
    plane: Option<(BpfPlane, Place)>,
    /// Interfaces that did not run the program before.
    attached: Vec<&'a Interface>,
    pub(super) groups: Vec<Running>,
}

impl<'a> Trail<'a> {
    /// Looks at what there is. Nothing may have been changed yet.
    pub(super) fn begin(config: &'a Config) -> Self {
        Self {
            config,
            adopted: bpf::exists(&config.agent.bpf_dir),
            boot_known: boot::is_known(&config.agent.run_dir),
            plane: None,
            attached: Vec::new(),
            groups: Vec::new(),
        }
    }

    /// Opens the maps, where there are to be any.
    pub(super) fn open(&mut self) -> Result<Planes, BpfError> {
        match self.config.agent.data_plane {
            DataPlaneKind::Xdp => {
                let opened = BpfPlane::open_for_now(&self.config.agent.bpf_dir)?;
                let plane = self.plane.insert(opened).0.clone();
                Ok(Planes::Xdp(plane.logging_packets(self.config.agent.log_packets)))
            }
            DataPlaneKind::Kernel => Ok(Planes::Kernel),
        }
    }

    /// Has addresses answered for on all service interfaces. Says how, by index.
    pub(super) fn attach(&mut self, planes: &Planes) -> anyhow::Result<BTreeMap<u32, Way>> {
        let mut ways = BTreeMap::new();
        for (index, interface) in super::service_interfaces(self.config) {
            let (way, newly) = planes.attach(interface, self.config.agent.xdp_mode)?;
            if newly {
                self.attached.push(interface);
            }
            ways.insert(index, way);
        }
        Ok(ways)
    }

    /// The start succeeded. The place of the maps is this agent's for as long as it is held.
    pub(super) fn keep(self) -> Option<Place> {
        let (_, mut place) = self.plane?;
        place.keep();
        Some(place)
    }

    /// The start failed. What cannot be undone is logged: the reason of the failure matters more.
    pub(super) async fn undo(self) {
        let agent = &self.config.agent;
        // What is written down about quiesced groups stays as it is.
        let quiesced = Quiesced::none(&agent.run_dir);
        let log = Arc::new(EventLog::new());
        let groups = Arc::new(Control::new(agent.host, self.groups, log, quiesced, None));
        groups.tell_all(&Event::Shutdown);
        if let Err(error) = groups.join(SHUTDOWN_EXTRA).await {
            tracing::warn!("undoing the start: {error}");
        }
        drop(groups);
        if let Some((plane, _)) = &self.plane
            && let Err(error) = Planes::Xdp(plane.clone()).disarm(self.config).await
        {
            tracing::warn!("undoing the start: {error}");
        }
        if let Some((plane, place)) = self.plane {
            let undone = if self.adopted {
                self.attached.iter().try_for_each(|interface| plane.detach(interface))
            } else {
                bpf::clean(&agent.bpf_dir).map(drop)
            };
            if let Err(error) = undone {
                tracing::warn!("undoing the start: {error}");
            }
            drop(place);
        }
        if !self.boot_known
            && boot::is_known(&agent.run_dir)
            && let Err(error) = boot::forget(&agent.run_dir)
        {
            tracing::warn!("undoing the start: the boot epoch: {error}");
        }
    }
}
