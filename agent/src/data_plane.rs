//! Holding addresses: what answers for them, and until when.

pub mod bpf;
pub mod kernel;
pub mod memory;

use std::net::IpAddr;

use rais_common::time::Time;

/// A change of the data plane failed.
#[derive(Debug, thiserror::Error)]
#[error("data plane: {what}: {source}")]
pub struct DataPlaneError {
    /// What was tried.
    pub what: String,
    /// What the system said.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Answers for exactly the open addresses of one group while its lease lives.
///
/// Each call is quick enough for the heartbeat path: a map write or, without BPF, a short request
/// to the kernel; never a wait. After [`fence`](Self::fence) returned, no packet to the address is
/// answered or accepted on this host until [`open`](Self::open).
pub trait DataPlane: Send {
    /// Addresses are put on the interface and taken off by this itself: nobody else is to.
    fn places_addresses(&self) -> bool {
        false
    }

    /// This address is this host's, and is not to be answered for. Requests and traffic for it
    /// are dropped, so that the kernel does not answer in our stead.
    ///
    /// # Errors
    /// The address may still be answered for: revoke the lease.
    fn fence(&mut self, address: IpAddr) -> Result<(), DataPlaneError>;

    /// As [`fence`](Self::fence), of many.
    ///
    /// # Errors
    /// Some may still be answered for: revoke the lease.
    fn fence_all(&mut self, addresses: &[IpAddr]) -> Result<(), DataPlaneError> {
        addresses.iter().try_for_each(|&address| self.fence(address))
    }

    /// As [`fence_all`](Self::fence_all), of addresses that may be opened one day: what takes time
    /// is made ready for that.
    ///
    /// # Errors
    /// Some may still be answered for, or are not ready.
    fn prepare(&mut self, addresses: &[IpAddr]) -> Result<(), DataPlaneError> {
        self.fence_all(addresses)
    }

    /// Makes what takes time of opening these, whoever has them now, as far as there is room for it.
    /// Nothing is answered for, dropped or let through by that.
    ///
    /// # Errors
    /// Not all of it is made; it is when they are opened.
    fn count_beforehand(&mut self, _addresses: &[IpAddr]) -> Result<(), DataPlaneError> {
        Ok(())
    }

    /// Whether opening this address takes no longer than a write.
    fn is_prepared(&self, _address: IpAddr) -> bool {
        true
    }

    /// Answer for this address while the lease lives.
    ///
    /// # Errors
    /// The address is not answered for.
    fn open(&mut self, address: IpAddr) -> Result<(), DataPlaneError>;

    /// As [`open`](Self::open), of many.
    ///
    /// # Errors
    /// The place of the first that failed, which is not answered for. Those before it are; those
    /// behind it were not tried.
    fn open_all(&mut self, addresses: &[IpAddr]) -> Result<(), (usize, DataPlaneError)> {
        let mut each = addresses.iter().enumerate();
        each.try_for_each(|(n, &address)| self.open(address).map_err(|error| (n, error)))
    }

    /// This address is about to be taken over from the host with this hardware address, which
    /// holds it still: it is not answered for, and accepted is what that host sends on. What comes
    /// from others is sent to that host. Both while the lease lives, and until
    /// [`open`](Self::open).
    ///
    /// # Errors
    /// It is as it was before.
    fn stage(&mut self, address: IpAddr, from: [u8; 6]) -> Result<(), DataPlaneError>;

    /// This address was handed over: as [`fence`](Self::fence), but until `until` what still comes
    /// for it is sent on to the host with this hardware address. `leased`: only while the lease
    /// lives. An agent that ends leaves it without one.
    ///
    /// # Errors
    /// The address may still be answered for.
    fn forward(
        &mut self,
        address: IpAddr,
        to: [u8; 6],
        until: Time,
        leased: bool,
    ) -> Result<(), DataPlaneError>;

    /// This address is none of this host's any more; packets for it pass untouched.
    ///
    /// # Errors
    /// The address stays fenced.
    fn forget(&mut self, address: IpAddr) -> Result<(), DataPlaneError>;

    /// The group's lease ends at `until`, wherever that lies. [`Time::ZERO`] revokes it.
    ///
    /// # Errors
    /// The lease is as it was.
    fn lease(&mut self, until: Time) -> Result<(), DataPlaneError>;
}
