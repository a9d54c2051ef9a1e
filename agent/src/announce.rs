//! Telling the neighbours where an address is now: gratuitous ARP and unsolicited neighbour
//! advertisements, on raw frames.

mod frame;
mod packet_socket;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

pub use frame::{ArpForm, gratuitous_arp, neighbour_advertisement};
pub use packet_socket::PacketSocket;

use rais_common::time::Time;

use crate::clock;
use crate::config::checked::Interface;
use crate::privileges;

/// Most addresses that wait to be announced: twice as many as there can be. What does not fit is
/// dropped and counted; owners repeat their announcements.
const WAITING_LIMIT: usize = 2 * rais_common::maps::MAX_ADDRESSES as usize;

/// So many frames at most are handed to the interface in so much time, and with one system call:
/// everybody on the network has to take all of them.
const FRAMES: usize = 128;
const PAUSE: Duration = Duration::from_micros(500);

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
    queue: Sender<Waiting>,
    counts: Arc<Counts>,
}

/// Addresses that wait for their turn.
#[derive(Debug)]
struct Waiting {
    addresses: Vec<IpAddr>,
    until: Time,
}

#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    /// Addresses in the queue.
    waiting: AtomicUsize,
}

impl Announcer {
    /// Opens a packet socket on `interface`, in the network namespace of this thread, and starts
    /// the thread. With `all_multicast` the interface takes in the frames of all multicast groups
    /// meanwhile: neighbour solicitations for addresses that are on no interface are among them.
    ///
    /// # Errors
    /// [`AnnounceError`]: there is no announcer.
    pub fn start(interface: &Interface, all_multicast: bool) -> Result<Self, AnnounceError> {
        let socket = PacketSocket::open_to_send(interface.index).and_then(|socket| {
            if all_multicast {
                socket.take_all_multicast(interface.index)?;
            }
            Ok(socket)
        });
        let socket = socket.map_err(|source| AnnounceError::Socket {
            interface: interface.name.clone(),
            source,
        })?;
        #[allow(clippy::disallowed_methods, reason = "bounded by what it holds: WAITING_LIMIT")]
        let (queue, waiting) = channel();
        let counts = Arc::new(Counts::default());
        let work = Work {
            socket,
            mac: interface.mac,
            interface: interface.name.clone(),
            counts: Arc::clone(&counts),
        };
        std::thread::Builder::new()
            .name("rais-announce".to_owned())
            .spawn(move || {
                privileges::settle_this_thread();
                work.run(&waiting);
            })
            .map_err(AnnounceError::Thread)?;
        Ok(Self { queue, counts })
    }

    /// Queues these addresses, in this order. Never waits: what finds no room is counted as
    /// dropped. What has not left before `until`, the end of the lease, is dropped too: an agent
    /// that was paused must not announce what it has lost.
    pub fn announce(&self, addresses: Vec<IpAddr>, until: Time) {
        let count = addresses.len();
        let before = self.counts.waiting.fetch_add(count, Ordering::Relaxed);
        let room = before.saturating_add(count) <= WAITING_LIMIT;
        if !room || self.queue.send(Waiting { addresses, until }).is_err() {
            self.counts.waiting.fetch_sub(count, Ordering::Relaxed);
            self.counts.left_out(count);
        }
    }

    /// How many addresses wait for their turn.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.counts.waiting.load(Ordering::Relaxed)
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

#[allow(clippy::disallowed_methods, reason = "it is to pass: nothing is waited for")]
fn pause(span: Duration) {
    std::thread::sleep(span);
}

impl Counts {
    fn left_out(&self, addresses: usize) {
        let addresses = u64::try_from(addresses).unwrap_or(u64::MAX);
        self.dropped.fetch_add(addresses, Ordering::Relaxed);
    }
}

/// Both forms of ARP, since some neighbours heed only one of them, and who is first. A switch that
/// lets few announcements through must not always lose the same: another form, and another
/// address, begin each time, the latter so that with time each is near the beginning (steps of the
/// golden ratio).
fn begin(turn: u32, addresses: &mut [IpAddr]) -> [ArpForm; 2] {
    let count = u64::try_from(addresses.len()).unwrap_or(0);
    let step = u64::from(turn.wrapping_mul(0x9e37_79b9));
    let first = usize::try_from((step * count) >> 32).unwrap_or(0);
    addresses.rotate_left(first);
    let mut forms = [ArpForm::Request, ArpForm::Reply];
    if turn % 2 == 1 {
        forms.reverse();
    }
    forms
}

impl Work {
    fn run(&self, waiting: &Receiver<Waiting>) {
        let mut failing = false;
        let mut next = clock::now();
        let mut turn = 0_u32;
        while let Ok(Waiting { mut addresses, until }) = waiting.recv() {
            let forms = begin(turn, &mut addresses);
            turn = turn.wrapping_add(1);
            // First one for each address, then the other: where there are many, none waits for the
            // second of another.
            for (round, form) in forms.into_iter().enumerate() {
                for some in addresses.chunks(FRAMES) {
                    let frames: Vec<_> =
                        some.iter().filter_map(|&a| self.frame(round, form, a)).collect();
                    if frames.is_empty() {
                        continue;
                    }
                    pause(next.since(clock::now()));
                    if clock::now() >= until {
                        self.counts.left_out(if round == 0 { some.len() } else { 0 });
                        continue;
                    }
                    next = clock::now() + PAUSE;
                    failing = self.send(&frames, failing);
                }
            }
            self.counts.waiting.fetch_sub(addresses.len(), Ordering::Relaxed);
        }
    }

    /// What announces an address in this round, where it is ARP in this form.
    fn frame(&self, round: usize, form: ArpForm, address: IpAddr) -> Option<Vec<u8>> {
        match address {
            IpAddr::V4(address) => Some(gratuitous_arp(form, self.mac, address).into()),
            IpAddr::V6(address) if round == 0 => {
                Some(neighbour_advertisement(self.mac, address).into())
            }
            IpAddr::V6(_) => None,
        }
    }

    /// Sends these. Tells whether the interface takes none; said once per occurrence: one that is
    /// down fails for every address.
    fn send(&self, frames: &[Vec<u8>], mut failing: bool) -> bool {
        let mut rest = frames;
        while !rest.is_empty() {
            let (sent, error) = match self.socket.send_all(rest) {
                Ok(sent) => (sent, None),
                Err(e) => (0, Some(e)),
            };
            self.counts.sent.fetch_add(u64::try_from(sent).unwrap_or(0), Ordering::Relaxed);
            let mut done = sent;
            if let Some(error) = error {
                if !failing {
                    tracing::warn!(interface = self.interface, "announcement: {error}");
                }
                self.counts.failed.fetch_add(1, Ordering::Relaxed);
                done += 1;
                failing = true;
            } else {
                failing = false;
            }
            rest = rest.get(done.max(1)..).unwrap_or_default();
        }
        failing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    // Input: turns, of which a switch lets the first two addresses through. Output: each address
    // has been among them before long, in either form.
    #[test]
    fn nobody_is_always_last() {
        for count in 1..=16 {
            let all: Vec<IpAddr> = (0..count).map(|n| IpAddr::from([192, 0, 2, n])).collect();
            let mut seen = [BTreeSet::new(), BTreeSet::new()];
            for turn in 0..6 * u32::from(count) {
                let mut addresses = all.clone();
                let forms = begin(turn, &mut addresses);
                assert_ne!(forms[0], forms[1]);
                let first = usize::from(forms[0] == ArpForm::Request);
                seen[first].extend(addresses.iter().take(2).copied());
                addresses.sort();
                assert_eq!(addresses, all, "none is left out");
            }
            assert!(seen.iter().all(|seen| seen.len() == all.len()), "{count}: {seen:?}");
        }
    }
}
