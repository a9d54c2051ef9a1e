//! Telling the neighbours where an address is now: gratuitous ARP and unsolicited neighbour
//! advertisements, on raw frames.

mod frame;
mod packet_socket;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

pub use frame::{ArpForm, gratuitous_arp, neighbour_advertisement};
pub use packet_socket::PacketSocket;

use rais_common::time::Time;

use crate::clock;
use crate::config::checked::Interface;

/// Most addresses that wait to be announced. What does not fit is dropped and counted; owners
/// repeat their announcements.
const WAITING_LIMIT: usize = 16_384;

/// An announcer could not be started.
#[derive(Debug, thiserror::Error)]
pub enum AnnounceError {
    /// No packet socket on the interface.
    #[error("packet socket on {interface}: {source}; run as root, or with CAP_NET_RAW")]
    Socket {
        /// Name of the interface.
        interface: String,
        /// What the system said.
        source: io::Error,
    },
    /// No thread.
    #[error("thread rais-announce: {0}")]
    Thread(#[source] io::Error),
}

/// What an announcer did since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnnounceCounters {
    /// Frames handed to the interface.
    pub sent: u64,
    /// Frames the interface did not take.
    pub failed: u64,
    /// Addresses that found no room in the queue, or were no longer this host's when their turn
    /// came.
    pub dropped: u64,
}

/// Announces addresses on one service interface, from a thread of its own (`rais-announce`),
/// which ends after this is dropped and what waits was sent.
#[derive(Debug)]
pub struct Announcer {
    queue: SyncSender<Waiting>,
    counts: Arc<Counts>,
}

/// An address that waits for its turn.
#[derive(Debug)]
struct Waiting {
    address: IpAddr,
    until: Time,
}

#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

impl Announcer {
    /// Opens a packet socket on `interface`, in the network namespace of this thread, and starts
    /// the thread.
    ///
    /// # Errors
    /// [`AnnounceError`]: there is no announcer.
    pub fn start(interface: &Interface) -> Result<Self, AnnounceError> {
        let socket = PacketSocket::open_to_send(interface.index).map_err(|source| {
            AnnounceError::Socket { interface: interface.name.clone(), source }
        })?;
        let (queue, waiting) = sync_channel(WAITING_LIMIT);
        let counts = Arc::new(Counts::default());
        let work = Work {
            socket,
            mac: interface.mac,
            interface: interface.name.clone(),
            counts: Arc::clone(&counts),
        };
        std::thread::Builder::new()
            .name("rais-announce".to_owned())
            .spawn(move || work.run(&waiting))
            .map_err(AnnounceError::Thread)?;
        Ok(Self { queue, counts })
    }

    /// Queues these addresses, in this order. Never waits: what finds no room is counted as
    /// dropped. What has not left before `until`, the end of the lease, is dropped too: an agent
    /// that was paused must not announce what it has lost.
    pub fn announce(&self, addresses: Vec<IpAddr>, until: Time) {
        for address in addresses {
            match self.queue.try_send(Waiting { address, until }) {
                Ok(()) => {}
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                    self.counts.dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// What was done so far.
    #[must_use]
    pub fn counters(&self) -> AnnounceCounters {
        AnnounceCounters {
            sent: self.counts.sent.load(Ordering::Relaxed),
            failed: self.counts.failed.load(Ordering::Relaxed),
            dropped: self.counts.dropped.load(Ordering::Relaxed),
        }
    }
}

/// The thread's own.
struct Work {
    socket: PacketSocket,
    mac: [u8; 6],
    interface: String,
    counts: Arc<Counts>,
}

impl Work {
    fn run(&self, waiting: &Receiver<Waiting>) {
        let mut failing = false;
        while let Ok(Waiting { address, until }) = waiting.recv() {
            if clock::now() >= until {
                self.counts.dropped.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let result = self.announce(address);
            // Once per occurrence: an interface that is down fails for every address.
            match &result {
                Err(e) if !failing => {
                    tracing::warn!(interface = self.interface, %address, "announcement: {e}");
                }
                Ok(()) | Err(_) => {}
            }
            failing = result.is_err();
        }
    }

    /// One address: both forms of ARP, since some neighbours heed only one of them, or a
    /// neighbour advertisement.
    fn announce(&self, address: IpAddr) -> io::Result<()> {
        match address {
            IpAddr::V4(address) => {
                self.send(&gratuitous_arp(ArpForm::Request, self.mac, address))?;
                self.send(&gratuitous_arp(ArpForm::Reply, self.mac, address))
            }
            IpAddr::V6(address) => self.send(&neighbour_advertisement(self.mac, address)),
        }
    }

    fn send(&self, frame: &[u8]) -> io::Result<()> {
        let result = self.socket.send(frame);
        let count = if result.is_ok() { &self.counts.sent } else { &self.counts.failed };
        count.fetch_add(1, Ordering::Relaxed);
        result
    }
}
