//! The data plane where there is no BPF: the kernel itself answers for an address that is on the
//! service interface, so an address is there exactly while it is open and the lease lives.
//!
//! Opening and fencing are requests to the kernel, done when they return: some tenths of a
//! millisecond each, which is why a group may hold [`MAX_HELD`] addresses so and no more. Each
//! address is put there to go by itself (`valid_lft`): that is the lease as the kernel knows it, in
//! whole seconds. A thread (`rais-lease`) renews it while the lease lives, and takes the addresses
//! off in the instant in which the lease ends, where it gets to run. Where it does not, the process
//! being frozen or dead, the host goes on answering until the kernel's own time is over: up to
//! [`OVERHANG`] longer than the lease, in which others may have taken over. That, and that nothing
//! can be handed over without a gap, is what the XDP program does better.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use rais_common::time::Time;

use super::{DataPlane, DataPlaneError};
use crate::clock;
use crate::privileges;
use crate::realtime;

/// Most addresses of a group that a host holds so: putting them there is done between heartbeats.
pub const MAX_HELD: usize = 256;

/// How much longer than its lease a frozen or killed host may answer, at most: the kernel counts
/// in whole seconds, and looks after addresses some hundred milliseconds late.
pub const OVERHANG: Duration = Duration::from_millis(1_500);

/// How often the kernel's time is renewed.
const RENEW: Duration = Duration::from_millis(200);

/// The kernel may end an address so much too early (`ADDRCONF_TIMER_FUZZ`).
const FUZZ: Duration = Duration::from_millis(250);

/// So many addresses are renewed while the driver waits for its turn.
const AT_ONCE: usize = 16;

/// Puts addresses on the service interface, and takes them off: done when it returns.
pub trait Interface: Send + 'static {
    /// Puts these there, or renews those that are there: each goes by itself after so many seconds.
    /// An answer to each.
    fn put(&mut self, addresses: &[IpAddr], seconds: u32) -> Vec<io::Result<()>>;

    /// Takes these off. Success where one is not there, or the interface is gone. An answer to
    /// each.
    fn take(&mut self, addresses: &[IpAddr]) -> Vec<io::Result<()>>;
}

/// One group's addresses on its service interface. Dropped, it takes them off once the lease ends.
pub struct KernelPlane {
    shared: Arc<Shared>,
    keeper: Thread,
}

/// What the driver and the thread that renews share.
struct Shared {
    /// When the lease ends, in ns.
    until: AtomicU64,
    /// The driver has ended.
    ended: AtomicBool,
    held: Mutex<Held>,
}

struct Held {
    interface: Box<dyn Interface>,
    open: BTreeSet<IpAddr>,
    /// Those that are open may be on the interface.
    there: bool,
    /// It was said that renewing fails, and it has not worked since.
    complained: bool,
}

impl KernelPlane {
    /// Holds no address yet, and has no lease. `realtime`: the thread that renews is to run before
    /// ordinary work.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(interface: impl Interface, realtime: bool) -> io::Result<Self> {
        let held = Held {
            interface: Box::new(interface),
            open: BTreeSet::new(),
            there: false,
            complained: false,
        };
        let shared = Arc::new(Shared {
            until: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            held: Mutex::new(held),
        });
        let kept = Arc::clone(&shared);
        let keeper = thread::Builder::new().name("rais-lease".to_owned()).spawn(move || {
            privileges::settle_this_thread();
            realtime::raise_this_thread(realtime);
            kept.keep();
        })?;
        Ok(Self { shared, keeper: keeper.thread().clone() })
    }

    fn fail(what: String, error: io::Error) -> DataPlaneError {
        DataPlaneError { what, source: Box::new(error) }
    }
}

impl Drop for KernelPlane {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.keeper.unpark();
    }
}

impl Shared {
    fn until(&self) -> Time {
        Time::from_nanos(self.until.load(Ordering::Relaxed))
    }

    /// A change is whole before the lock is given back.
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread: renews, or takes off, until the driver has ended and nothing is left.
    fn keep(&self) {
        let mut renew_at = Time::ZERO;
        loop {
            let (now, until) = (clock::now(), self.until());
            let live = now < until;
            if !live {
                self.held().lapse();
            } else if now >= renew_at {
                self.renew();
                renew_at = now + RENEW;
            }
            if self.ended.load(Ordering::Relaxed) && (!live || self.held().open.is_empty()) {
                return;
            }
            let wake = if live { renew_at.min(until) } else { now + RENEW };
            thread::park_timeout(wake.since(clock::now()));
        }
    }

    /// Renews what is open, some at a time, for as long as the lease lives.
    fn renew(&self) {
        let mut after = Bound::Unbounded;
        loop {
            let mut held = self.held();
            let rest = held.open.range((after, Bound::Unbounded));
            let some: Vec<IpAddr> = rest.take(AT_ONCE).copied().collect();
            let Some(seconds) = seconds(self.until().since(clock::now())) else { return };
            let Some(&last) = some.last() else { return };
            held.renew(&some, seconds);
            after = Bound::Excluded(last);
        }
    }
}

/// For how long the kernel is to keep an address whose lease lasts so much longer: at least as
/// long, in whole seconds. None: the lease has ended.
fn seconds(left: Duration) -> Option<u32> {
    let whole = (left + FUZZ).as_millis().div_ceil(1_000);
    (!left.is_zero()).then(|| u32::try_from(whole).unwrap_or(u32::MAX))
}

impl Held {
    fn renew(&mut self, addresses: &[IpAddr], seconds: u32) {
        self.there = true;
        let failed = first_failure(addresses, self.interface.put(addresses, seconds));
        match failed {
            Some((address, error)) if !self.complained => {
                tracing::error!(%address, "it may go off its interface: not renewed: {error}");
                self.complained = true;
            }
            Some(_) => {}
            None => self.complained = false,
        }
    }

    /// The lease has ended: nothing stays.
    fn lapse(&mut self) {
        if !std::mem::take(&mut self.there) {
            return;
        }
        let open: Vec<IpAddr> = self.open.iter().copied().collect();
        if let Some((address, error)) = first_failure(&open, self.interface.take(&open)) {
            tracing::error!(%address, "the lease has ended, and it stays for now: {error}");
            self.there = true;
        }
    }
}

/// The first address for which the answer is no success.
fn first_failure(
    addresses: &[IpAddr],
    answers: Vec<io::Result<()>>,
) -> Option<(IpAddr, io::Error)> {
    let mut answers = addresses.iter().zip(answers);
    answers.find_map(|(&address, answer)| Some((address, answer.err()?)))
}

impl DataPlane for KernelPlane {
    fn places_addresses(&self) -> bool {
        true
    }

    fn fence(&mut self, address: IpAddr) -> Result<(), DataPlaneError> {
        self.fence_all(&[address])
    }

    fn fence_all(&mut self, addresses: &[IpAddr]) -> Result<(), DataPlaneError> {
        let mut held = self.shared.held();
        for address in addresses {
            held.open.remove(address);
        }
        let answers = held.interface.take(addresses);
        first_failure(addresses, answers).map_or(Ok(()), |(address, error)| {
            Err(Self::fail(format!("taking {address} off its interface"), error))
        })
    }

    fn open(&mut self, address: IpAddr) -> Result<(), DataPlaneError> {
        let what = || format!("putting {address} on its interface");
        let mut held = self.shared.held();
        if held.open.len() >= MAX_HELD && !held.open.contains(&address) {
            let full = format!("without BPF a group holds {MAX_HELD} addresses on a host at most");
            return Err(Self::fail(what(), io::Error::other(full)));
        }
        // Without a lease it is put there once there is one.
        if let Some(seconds) = seconds(self.shared.until().since(clock::now())) {
            let answers = held.interface.put(&[address], seconds);
            if let Some((_, error)) = first_failure(&[address], answers) {
                return Err(Self::fail(what(), error));
            }
            held.there = true;
        }
        held.open.insert(address);
        Ok(())
    }

    fn stage(&mut self, _address: IpAddr, _from: [u8; 6]) -> Result<(), DataPlaneError> {
        Err(Self::fail("taking over without a gap".to_owned(), io::ErrorKind::Unsupported.into()))
    }

    fn forward(
        &mut self,
        _address: IpAddr,
        _to: [u8; 6],
        _until: Time,
        _leased: bool,
    ) -> Result<(), DataPlaneError> {
        Err(Self::fail("handing over without a gap".to_owned(), io::ErrorKind::Unsupported.into()))
    }

    fn forget(&mut self, _address: IpAddr) -> Result<(), DataPlaneError> {
        // A fenced address has left nothing.
        Ok(())
    }

    fn lease(&mut self, until: Time) -> Result<(), DataPlaneError> {
        let before = self.shared.until.swap(until.as_nanos(), Ordering::Relaxed);
        // The thread would look too late.
        if until.as_nanos() < before || clock::now().as_nanos() >= before {
            self.keeper.unpark();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
