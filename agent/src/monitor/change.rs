//! A group that runs is given another configuration, without its being stopped.

use std::sync::{Arc, PoisonError};

use async_snmp::v3::AuthoritativeEngine;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::driver::{Input, Reconfigure};
use super::{Monitor, keep_zone, loads};
use crate::config::checked;
use crate::events::EventLog;
use crate::objects::{Objects, Pool};
use crate::traps::{Speaker, Traps};
use crate::wire::{Encoder, GroupTag, WireError};

/// What a change needs from the agent.
pub struct ChangeMeans<'a> {
    /// Where slow work runs.
    pub runtime: &'a Handle,
    /// The tests and loads of the agent's groups.
    pub objects: &'a Pool,
    /// Where events are written down.
    pub log: &'a Arc<EventLog>,
    /// Who speaks in notifications of version 3.
    pub engine: Option<AuthoritativeEngine>,
}

/// A change of which everything that can fail has been done.
#[derive(Debug)]
pub struct PreparedChange<'a> {
    old: &'a checked::Group,
    new: &'a checked::Group,
    encoder: Option<Encoder>,
}

impl<'a> PreparedChange<'a> {
    /// Between two configurations of one group that have its name, its address and its interfaces
    /// in common.
    ///
    /// # Errors
    /// There is no randomness for new keys.
    pub fn new(old: &'a checked::Group, new: &'a checked::Group) -> Result<Self, WireError> {
        let tag = GroupTag::new(&new.settings.name, new.address);
        let encoder = (old.seal != new.seal)
            .then(|| Encoder::new(tag, new.settings.host, &new.seal))
            .transpose()?;
        Ok(Self { old, new, encoder })
    }

    /// What it leads to.
    #[must_use]
    pub const fn new_config(&self) -> &'a checked::Group {
        self.new
    }
}

impl Monitor {
    /// Changes what differs, and nothing else. False where the driver has ended.
    pub async fn change(&self, change: PreparedChange<'_>, means: ChangeMeans<'_>) -> bool {
        let PreparedChange { old, new, encoder } = change;
        if old.scripts != new.scripts {
            self.scripts.change(new.scripts.clone());
        }
        // The zone goes by the water marks, too.
        let rezoned = old.dns != new.dns || old.settings.balance != new.settings.balance;
        let views = rezoned.then(|| {
            let (views, names) = keep_zone(means.runtime, new, means.log);
            *self.names.lock().unwrap_or_else(PoisonError::into_inner) = names;
            views
        });
        let (done, waiting) = oneshot::channel();
        let reconfigure = Reconfigure {
            settings: (old.settings != new.settings).then(|| Box::new(new.settings.clone())),
            seal: encoder.map(|encoder| (encoder, new.seal.clone())),
            views,
            done,
        };
        let input = Input::Reconfigure(Box::new(reconfigure));
        if self.inbox.send(Box::new(input)).is_err() {
            return false;
        }
        let taken = waiting.await.is_ok();
        self.change_traps(old, new, means.runtime, means.engine).await;
        self.change_objects(old, new, means.runtime, means.objects).await;
        taken
    }

    async fn change_traps(
        &self,
        old: &checked::Group,
        new: &checked::Group,
        runtime: &Handle,
        engine: Option<AuthoritativeEngine>,
    ) {
        if old.traps == new.traps {
            return;
        }
        let (group, host) = (new.settings.name.clone(), new.settings.host);
        let speaker = Speaker { group, host, engine };
        let counters = Arc::clone(&self.traps);
        let traps = Traps::go_on(runtime, new.traps.as_ref(), &speaker, counters);
        if self.other_traps.send(traps).await.is_err() {
            tracing::debug!(group = speaker.group, "it reports no more");
        }
    }

    async fn change_objects(
        &self,
        old: &checked::Group,
        new: &checked::Group,
        runtime: &Handle,
        pool: &Pool,
    ) {
        if old.tests != new.tests {
            let tests = new.tests.iter().cloned().map(|test| pool.test(test)).collect();
            self.objects.lock().unwrap_or_else(PoisonError::into_inner).test(tests);
        }
        if old.loads != new.loads {
            let loads = loads(runtime, pool, &new.loads, &self.traffic);
            Objects::resample(&self.objects, runtime, loads).await;
        }
    }
}
