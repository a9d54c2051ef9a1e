//! Reads the control sockets: one a control interface, drained by the receive thread as soon as
//! something arrives, and by the driver before it judges anyone by silence.

use std::collections::BTreeMap;
use std::io::{self, IoSliceMut, PipeReader, PipeWriter};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use rais_common::time::Time;
use socket2::Socket;

mod arrival;
mod counters;
mod link;

pub use counters::ReceiveCounters;

use super::socket::SetUpError;
use crate::clock;
use crate::config::checked::{Interface, Seal};
use crate::group::{Event, HostId, Message};
use crate::privileges;
use crate::realtime;
use crate::wire::{Decoder, MAX_MESSAGE, Refusal};
use arrival::Clocks;

/// Most datagrams read from one socket in one [`Receiver::drain`].
const BATCH: usize = 256;

/// How long the thread leaves a socket alone that reports an error.
const REST: Duration = Duration::from_millis(100);

/// What one [`Receiver::drain`] found.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Datagrams read, including those that were refused.
    pub datagrams: usize,
    /// Every socket was read until it was empty. Else there is more: drain again.
    pub empty: bool,
}

/// The control sockets of one group, and the state of its wire.
///
/// Shared by the receive thread and the driver behind a mutex. Whoever drains hands the events
/// on, in their order, before it lets go of the lock.
#[derive(Debug)]
pub struct Receiver {
    links: Arc<[Link]>,
    /// For each link, the clocks just before it was last seen empty.
    empty_at: Vec<Clocks>,
    decoder: Decoder,
    /// For each link, how many datagrams the kernel had no room for, modulo 2^32.
    overflows: Vec<u32>,
    /// When each host was last heard on each link, copies of messages included.
    heard: BTreeMap<HostId, Vec<Option<Time>>>,
    counters: Arc<ReceiveCounters>,
    buffer: Box<[u8]>,
    control: Vec<u8>,
}

/// One control socket.
#[derive(Debug)]
struct Link {
    interface: String,
    socket: Socket,
}

impl Receiver {
    /// Listens to `group`, a multicast address, on each of these interfaces.
    ///
    /// # Errors
    /// An interface is not there, or the agent lacks `CAP_NET_RAW`.
    pub fn open(
        group: SocketAddr,
        interfaces: &[Interface],
        decoder: Decoder,
    ) -> Result<Self, SetUpError> {
        let open = |interface| link::open(group, interface);
        let links: Arc<[Link]> = interfaces.iter().map(open).collect::<Result<_, _>>()?;
        // The sockets are new: nothing is older than this.
        let empty_at = vec![Clocks::read(); links.len()];
        Ok(Self {
            overflows: vec![0; links.len()],
            links,
            empty_at,
            decoder,
            heard: BTreeMap::new(),
            counters: Arc::default(),
            buffer: vec![0; MAX_MESSAGE + 1].into_boxed_slice(),
            control: nix::cmsg_space!(nix::libc::timespec, u32),
        })
    }

    /// The counters, to be read without the lock.
    #[must_use]
    pub fn counters(&self) -> Arc<ReceiveCounters> {
        Arc::clone(&self.counters)
    }

    /// Other keys from now on: see [`Decoder::rekey`].
    pub fn rekey(&mut self, own_salt: u64, seal: &Seal) {
        self.decoder.rekey(own_salt, seal);
    }

    /// Every other host heard so far, and when it was last heard on each control interface.
    pub fn heard(
        &self,
    ) -> impl Iterator<Item = (HostId, impl Iterator<Item = (&str, Option<Time>)> + '_)> + '_ {
        self.heard.iter().map(|(host, times)| {
            let names = self.links.iter().map(|link| link.interface.as_str());
            (*host, names.zip(times.iter().copied()))
        })
    }

    /// Reads what has arrived, and hands on each message that is genuine and fresh as
    /// [`Event::Received`]. Never waits, and reads a bounded number of datagrams.
    pub fn drain(&mut self, sink: &mut dyn FnMut(Event)) -> Drained {
        let mut drained = Drained { datagrams: 0, empty: true };
        let links = Arc::clone(&self.links);
        for (index, link) in links.iter().enumerate() {
            let (datagrams, empty) = self.drain_link(index, link, sink);
            drained.datagrams += datagrams;
            drained.empty &= empty;
        }
        drained
    }

    /// Returns how many datagrams were read, and whether that was all of them. A socket that
    /// fails gives nothing now, and does not keep the others waiting.
    fn drain_link(
        &mut self,
        index: usize,
        link: &Link,
        sink: &mut dyn FnMut(Event),
    ) -> (usize, bool) {
        for count in 0..BATCH {
            let before = Clocks::read();
            let read = match read(&link.socket, &mut self.buffer, &mut self.control) {
                Ok(read) => read,
                Err(Errno::EAGAIN) => {
                    if let Some(empty_at) = self.empty_at.get_mut(index) {
                        *empty_at = before;
                    }
                    return (count, true);
                }
                Err(Errno::EINTR) => continue,
                Err(_) => {
                    self.counters.count_error();
                    return (count, true);
                }
            };
            let now = Clocks::read();
            let empty_at = self.empty_at.get(index).copied().unwrap_or(now);
            let at = read.stamp.map_or(now.boot, |stamp| arrival::time(stamp, empty_at, now));
            self.note_overflow(index, read.overflow);
            if let Some(message) = self.accept(index, read.length, at) {
                sink(Event::Received { at, message });
            }
        }
        (BATCH, false)
    }

    /// Decodes what is in the buffer and keeps the books.
    fn accept(&mut self, link: usize, length: usize, at: Time) -> Option<Message> {
        // The buffer is longer than any message: what fills it is refused as too long.
        let datagram = self.buffer.get(..length).unwrap_or(&self.buffer);
        match self.decoder.decode(datagram) {
            Ok(message) => {
                self.counters.count(&message.body);
                self.note(message.source, link, at);
                Some(message)
            }
            Err(refusal) => {
                self.counters.refusals.count(refusal);
                if let Refusal::Duplicate(source) | Refusal::Late(source) = refusal {
                    self.note(source, link, at);
                }
                None
            }
        }
    }

    fn note_overflow(&mut self, link: usize, overflow: Option<u32>) {
        if let Some(new) = overflow
            && let Some(old) = self.overflows.get_mut(link)
        {
            self.counters.count_overflow(new.wrapping_sub(*old));
            *old = new;
        }
    }

    /// The decoder knows a bounded number of hosts, and so does this.
    fn note(&mut self, host: HostId, link: usize, at: Time) {
        let links = self.links.len();
        let times = self.heard.entry(host).or_insert_with(|| vec![None; links]);
        if let Some(time) = times.get_mut(link) {
            *time = Some(at);
        }
    }
}

/// One datagram, which is in the buffer, and what the kernel says about it.
#[derive(Default)]
struct Read {
    length: usize,
    /// When it was received, in nanoseconds since 1970.
    stamp: Option<u64>,
    /// How many datagrams the socket had no room for so far, modulo 2^32.
    overflow: Option<u32>,
}

fn read(socket: &Socket, buffer: &mut [u8], control: &mut [u8]) -> Result<Read, Errno> {
    let mut parts = [IoSliceMut::new(buffer)];
    let got = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(control), MsgFlags::MSG_DONTWAIT)?;
    let mut read = Read { length: got.bytes, ..Read::default() };
    for notice in got.cmsgs().into_iter().flatten() {
        if let ControlMessageOwned::RxqOvfl(overflow) = notice {
            read.overflow = Some(overflow);
        } else {
            read.stamp = read.stamp.or_else(|| wall_stamp(&notice));
        }
    }
    Ok(read)
}

/// The kernel's receive timestamp, in nanoseconds since 1970.
fn wall_stamp(message: &ControlMessageOwned) -> Option<u64> {
    let ControlMessageOwned::ScmTimestampns(stamp) = message else { return None };
    let seconds = u64::try_from(stamp.tv_sec()).ok()?;
    let nanos = u64::try_from(stamp.tv_nsec()).ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
}

/// The receive thread of one group. Ends when this is dropped, which must not happen under the
/// receiver's lock: the thread may be waiting for it.
#[derive(Debug)]
pub struct ReceiveThread {
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl ReceiveThread {
    /// Starts the thread `rais-rx-<group>`, at real-time priority where wanted and permitted. It
    /// hands what `receiver` yields to `offer`; what that refuses (false) is lost, and counted.
    ///
    /// # Errors
    /// The system has no room for a pipe or a thread.
    pub fn spawn(
        group: &str,
        receiver: Arc<Mutex<Receiver>>,
        realtime: bool,
        offer: impl Fn(Event) -> bool + Send + 'static,
    ) -> io::Result<Self> {
        let (stopped, stop) = io::pipe()?;
        // A NUL would end the name.
        let name = format!("rais-rx-{}", group.replace('\0', ""));
        let run = move || {
            privileges::settle_this_thread();
            realtime::raise_this_thread(realtime);
            run(&receiver, &offer, &stopped);
        };
        let thread = std::thread::Builder::new().name(name).spawn(run)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for ReceiveThread {
    /// Asks the thread to end and waits for it: no longer than one drain.
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the receive thread had panicked");
        }
    }
}

fn run(receiver: &Mutex<Receiver>, offer: &dyn Fn(Event) -> bool, stopped: &PipeReader) {
    let (links, counters) = {
        let receiver = receiver.lock().unwrap_or_else(PoisonError::into_inner);
        (Arc::clone(&receiver.links), receiver.counters())
    };
    // Until when each link is left alone.
    let mut rests = vec![Time::ZERO; links.len()];
    loop {
        match wait(stopped, &links, &mut rests) {
            Wait::Stop => return,
            Wait::Nothing => continue,
            Wait::Readable => {}
        }
        let mut receiver = receiver.lock().unwrap_or_else(PoisonError::into_inner);
        // More than a batch is found by the next turn.
        let _drained: Drained = receiver.drain(&mut |event| {
            if !offer(event) {
                counters.count_dropped();
            }
        });
    }
}

/// Why the thread woke up.
enum Wait {
    Stop,
    Readable,
    Nothing,
}

/// Waits for a socket to become readable, or for the end. A socket that reports an error (its
/// interface is gone, say) rests for a while, so that it cannot keep the thread spinning.
fn wait(stopped: &PipeReader, links: &[Link], rests: &mut [Time]) -> Wait {
    let now = clock::now();
    let awake: Vec<(usize, BorrowedFd<'_>)> = links
        .iter()
        .enumerate()
        .filter(|(index, _)| rests.get(*index).is_none_or(|rest| *rest <= now))
        .map(|(index, link)| (index, link.socket.as_fd()))
        .collect();
    let mut polled = vec![PollFd::new(stopped.as_fd(), PollFlags::POLLIN)];
    polled.extend(awake.iter().map(|(_, fd)| PollFd::new(*fd, PollFlags::POLLIN)));
    let timeout = if awake.len() < links.len() { rest_timeout() } else { PollTimeout::NONE };
    if poll(&mut polled, timeout).is_err() {
        return Wait::Nothing;
    }
    let mut events = polled.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
    if events.next().is_none_or(|stop| !stop.is_empty()) {
        return Wait::Stop;
    }
    let mut found = Wait::Nothing;
    for ((index, _), events) in awake.iter().zip(events) {
        if !events.is_empty() {
            found = Wait::Readable;
        }
        if events.intersects(PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL)
            && let Some(rest) = rests.get_mut(*index)
        {
            *rest = clock::now() + REST;
        }
    }
    found
}

fn rest_timeout() -> PollTimeout {
    PollTimeout::try_from(REST).unwrap_or(PollTimeout::ZERO)
}
