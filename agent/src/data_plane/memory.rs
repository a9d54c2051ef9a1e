//! A data plane without a kernel, for simulation: the same rules on a table in memory.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rais_common::handover::{Way, way};
use rais_common::maps::{
    STATE_FENCED, STATE_FORWARDED, STATE_LEFT, STATE_OPEN, STATE_STAGED, ServiceEntry,
};
use rais_common::time::Time;

use super::{DataPlane, DataPlaneError};

/// One group's data plane on one simulated host. Clones share the table, so that a test can look
/// on while the group's driver owns another clone.
#[derive(Clone, Debug, Default)]
pub struct MemoryPlane {
    /// The hardware address of the simulated interface.
    mac: [u8; 6],
    table: Arc<Mutex<Table>>,
}

/// What the BPF maps would hold.
#[derive(Debug, Default)]
struct Table {
    entries: BTreeMap<IpAddr, ServiceEntry>,
    lease: Time,
}

impl MemoryPlane {
    /// An empty one, behind an interface with this hardware address.
    #[must_use]
    pub fn new(mac: [u8; 6]) -> Self {
        Self { mac, table: Arc::default() }
    }

    /// What an agent leaves to the next one on this host: what it has handed over and is still
    /// sent on, and no lease.
    pub fn take_over(&mut self, now: Time) {
        let mut table = self.table();
        table.lease = Time::ZERO;
        table.entries.retain(|_, e| e.state == STATE_LEFT && !e.is_over(now.as_nanos()));
    }

    /// What becomes of a packet for the address that `source` sent to this host: whether it is
    /// accepted, and where else it goes. None: nowhere.
    #[must_use]
    pub fn arrives(&self, address: IpAddr, now: Time, source: [u8; 6]) -> Option<Arrival> {
        if self.answers(address, now) {
            return Some(Arrival::Accepted);
        }
        let table = self.table();
        let entry = table.entries.get(&address)?;
        let forwards = entry.forwards(table.lease.as_nanos(), now.as_nanos());
        match way(entry, forwards, self.mac, source) {
            Way::Accept => Some(Arrival::Accepted),
            Way::Forward => Some(Arrival::SentOn(entry.peer)),
            Way::Drop => None,
        }
    }

    /// Whether this host answers for the address at `now`: it is open and the lease lives.
    #[must_use]
    pub fn answers(&self, address: IpAddr, now: Time) -> bool {
        let table = self.table();
        let deadline = table.lease.as_nanos();
        table.entries.get(&address).is_some_and(|e| e.is_live(deadline, now.as_nanos()))
    }

    /// Whether packets for the address are dropped at `now`: it has an entry and is not answered.
    #[must_use]
    pub fn drops(&self, address: IpAddr, now: Time) -> bool {
        self.table().entries.contains_key(&address) && !self.answers(address, now)
    }

    /// The addresses that have an entry, open or fenced, ascending.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.table().entries.keys().copied().collect()
    }

    /// The addresses that are open, ascending, whether or not the lease lives.
    #[must_use]
    pub fn open_addresses(&self) -> Vec<IpAddr> {
        let table = self.table();
        let open = table.entries.iter().filter(|(_, entry)| entry.state == STATE_OPEN);
        open.map(|(&address, _)| address).collect()
    }

    /// When the lease ends; [`Time::ZERO`] where there never was one.
    #[must_use]
    pub fn lease_deadline(&self) -> Time {
        self.table().lease
    }

    /// The table. A panic of another holder leaves it whole: each change is one assignment.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the entry of an address.
    fn put(&self, address: IpAddr, state: u16, peer: [u8; 6], until: Time) {
        let until = until.as_nanos();
        let entry = ServiceEntry { peer, until, ..ServiceEntry::new(0, state, self.mac) };
        self.table().entries.insert(address, entry);
    }
}

/// What becomes of a packet that is not dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// This host takes it.
    Accepted,
    /// It goes on to the host with this hardware address.
    SentOn([u8; 6]),
}

impl DataPlane for MemoryPlane {
    fn fence(&mut self, address: IpAddr) -> Result<(), DataPlaneError> {
        self.put(address, STATE_FENCED, [0; 6], Time::ZERO);
        Ok(())
    }

    fn open(&mut self, address: IpAddr) -> Result<(), DataPlaneError> {
        self.put(address, STATE_OPEN, [0; 6], Time::ZERO);
        Ok(())
    }

    fn stage(&mut self, address: IpAddr, from: [u8; 6]) -> Result<(), DataPlaneError> {
        self.put(address, STATE_STAGED, from, Time::ZERO);
        Ok(())
    }

    fn forward(
        &mut self,
        address: IpAddr,
        to: [u8; 6],
        until: Time,
        leased: bool,
    ) -> Result<(), DataPlaneError> {
        self.put(address, if leased { STATE_FORWARDED } else { STATE_LEFT }, to, until);
        Ok(())
    }

    fn forget(&mut self, address: IpAddr) -> Result<(), DataPlaneError> {
        self.table().entries.remove(&address);
        Ok(())
    }

    fn lease(&mut self, until: Time) -> Result<(), DataPlaneError> {
        self.table().lease = until;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Input: the calls of an acquisition, a lapse, a renewal and a release. Output: who answers.
    #[test]
    fn an_address_is_answered_only_while_open_and_leased() {
        let address = IpAddr::from([10, 77, 0, 101]);
        let at = Time::from_nanos;
        let view = MemoryPlane::default();
        let mut plane = view.clone();
        let mut step = |change: &mut dyn FnMut(&mut MemoryPlane), now, answers, drops| {
            change(&mut plane);
            assert_eq!(view.answers(address, at(now)), answers, "answers at {now}");
            assert_eq!(view.drops(address, at(now)), drops, "drops at {now}");
        };
        step(&mut |_| (), 0, false, false);
        step(&mut |p| p.lease(at(100)).unwrap(), 1, false, false);
        step(&mut |p| p.fence(address).unwrap(), 2, false, true);
        step(&mut |p| p.open(address).unwrap(), 3, true, false);
        step(&mut |_| (), 99, true, false);
        step(&mut |_| (), 100, false, true);
        step(&mut |p| p.lease(at(200)).unwrap(), 150, true, false);
        step(&mut |p| p.lease(Time::ZERO).unwrap(), 150, false, true);
        step(&mut |p| p.forget(address).unwrap(), 150, false, false);
    }
}
