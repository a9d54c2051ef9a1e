//! Claims of other machines to addresses this host holds, from the ring buffer `EVENTS`.

#![allow(unsafe_code, reason = "tokio wants a promise about the file descriptor; see SAFETY")]

use std::io;
use std::net::IpAddr;
use std::path::Path;

use aya::maps::{Map, MapData, RingBuf};
use rais_common::maps::ServiceKey;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::error::BpfError;
use super::plane;

/// Another machine said that it has an address this host holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The address.
    pub address: IpAddr,
    /// Index of the interface where it was heard.
    pub ifindex: u32,
    /// The other machine's hardware address.
    pub mac: [u8; 6],
}

/// Reads claims as they come. There must be one reader only on a machine: each takes records away
/// from the others.
pub struct Conflicts {
    ring: AsyncFd<RingBuf<MapData>>,
}

impl Conflicts {
    /// Opens the ring buffer and drops what is in it: it was meant for an agent before this one.
    pub(super) fn new(dir: &Path) -> Result<Self, BpfError> {
        let mut ring: RingBuf<MapData> = plane::open_map(dir, "EVENTS", Map::RingBuf)?;
        while ring.next().is_some() {}
        // SAFETY: the ring buffer owns its descriptor, names the same one every time, and closes it
        // only when it is dropped, by the `AsyncFd` that owns it.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }
            .map_err(|error| BpfError::new("waiting for claims of other machines", error))?;
        Ok(Self { ring })
    }

    /// Waits for the next claim. Cancel safe: a claim is taken only when it is returned.
    ///
    /// # Errors
    /// The runtime failed to wait for the ring buffer.
    pub async fn next(&mut self) -> io::Result<Conflict> {
        loop {
            while let Some(record) = self.ring.get_mut().next() {
                if let Some(conflict) = parse(&record) {
                    return Ok(conflict);
                }
            }
            self.ring.readable_mut().await?.clear_ready();
        }
    }
}

/// Reads a `ConflictEvent` from its bytes. None: too short, which the program never writes.
fn parse(record: &[u8]) -> Option<Conflict> {
    let (address, rest) = record.split_first_chunk::<16>()?;
    let (ifindex, rest) = rest.split_first_chunk::<4>()?;
    let (mac, _) = rest.split_first_chunk::<6>()?;
    let key = ServiceKey { address: *address, ifindex: u32::from_ne_bytes(*ifindex) };
    Some(Conflict { address: plane::address(&key), ifindex: key.ifindex, mac: *mac })
}

#[cfg(test)]
mod tests {
    use super::*;

    // Input: a record's bytes. Output: the claim; nothing where bytes are missing.
    #[test]
    fn a_record_is_read_field_by_field() {
        let mut record = rais_common::maps::mapped([10, 0, 0, 1]).to_vec();
        record.extend(3_u32.to_ne_bytes());
        record.extend([2, 0, 0, 0, 0, 9, 0, 0]);
        let expected =
            Conflict { address: IpAddr::from([10, 0, 0, 1]), ifindex: 3, mac: [2, 0, 0, 0, 0, 9] };
        assert_eq!(parse(&record), Some(expected));
        for length in 0..26 {
            assert_eq!(parse(&record[..length]), None, "{length} bytes");
        }
    }
}
