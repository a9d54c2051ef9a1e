//! What it takes to start a group: when the agent starts, and when one is added later.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context;
use async_snmp::v3::AuthoritativeEngine;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::control::Running;
use super::leftovers::take_off;
use super::planes::{self, Planes, Way};
use crate::addresses::{Addresses, Place};
use crate::config::checked::{self, Interface};
use crate::data_plane::bpf::Reader;
use crate::events::EventLog;
use crate::monitor::{Means, Prepared};
use crate::objects::Pool;
use crate::record::Recorders;

/// What groups have in common.
pub(super) struct Workshop {
    pub runtime: Handle,
    pub planes: Planes,
    pub addresses: Addresses,
    pub log: Arc<EventLog>,
    /// Tests and loads.
    pub objects: Pool,
    pub recorders: Recorders,
    /// How addresses are answered for on each service interface, by index.
    pub ways: BTreeMap<u32, Way>,
    /// Who speaks in notifications of version 3.
    pub engine: Option<AuthoritativeEngine>,
    /// Told the name of a group whose driver has ended.
    pub ended: mpsc::Sender<String>,
    pub realtime: bool,
}

/// A group that can be started without anything failing.
pub(super) struct Ready<'a> {
    group: &'a checked::Group,
    slot: u32,
    reader: Option<Reader>,
    way: Way,
    prepared: Prepared<'a>,
}

impl Workshop {
    /// Prepares a group, whose service interface is in use. `slot` is its place in
    /// `LEASES`; `boot` is higher than at any start of a group of its name before.
    ///
    /// # Errors
    /// What it needs is not to be had. Nothing is left of it.
    pub(super) fn prepare<'a>(
        &'a self,
        group: &'a checked::Group,
        slot: u32,
        boot: u64,
        quiesced: bool,
    ) -> anyhow::Result<Ready<'a>> {
        let name = &group.settings.name;
        let interface = &group.service_interface;
        let traffic = self.planes.reader(slot, interface)?;
        let means = Means {
            runtime: &self.runtime,
            objects: &self.objects,
            boot,
            plane: self.planes.group(slot, interface, self.realtime)?,
            traffic: Box::new(move || planes::group_traffic(traffic.as_ref())),
            addresses: self.addresses.clone(),
            log: Arc::clone(&self.log),
            realtime: self.realtime,
            quiesced,
            recorder: self.recorders.of(name),
            engine: self.engine.clone(),
            ended: self.ended.clone(),
        };
        let reader = self.planes.reader(slot, interface)?;
        let way = self.ways.get(&interface.index).cloned().unwrap_or_default();
        let prepared = Prepared::new(group, means).with_context(|| format!("group `{name}`"))?;
        Ok(Ready { group, slot, reader, way, prepared })
    }

    /// Takes off an interface what an agent before this one left there. No group may use it.
    ///
    /// # Errors
    /// The kernel refused.
    pub(super) async fn clear(&self, interface: &Interface) -> anyhow::Result<()> {
        let place = Place::Interface(interface.index);
        let ours = self.addresses.ours(place).await?;
        take_off(&self.addresses, ours.into_iter().map(|address| (place, address)).collect())
            .await?;
        Ok(())
    }
}

impl Ready<'_> {
    pub(super) fn name(&self) -> &str {
        &self.group.settings.name
    }

    pub(super) fn start(self) -> Running {
        Running::new(self.group, self.slot, self.prepared.start(), self.reader, self.way)
    }
}
