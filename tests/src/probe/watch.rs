//! The watch: sends at absolute times, reads whatever came, reports when told to.
//!
//! Answers of ARP, or of neighbour discovery, are matched to requests by the request's sender
//! address, which every answer repeats: requests take turns with the addresses of [`ASKERS`], so an answer that is late by up
//! to [`ASKERS`] × period (124 ms) still counts for the request it answers. Two answers to one
//! request therefore mean two hosts that answered at one time, never one before and one after.

use std::io::{Write, stdin};
use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use rais::clock;
use rais_common::time::Time;

use super::tally::{GRACE, Tally, millis};
use super::{Report, echo};
use crate::family::Family;
use crate::packet::AskSocket;

/// How many sender addresses requests take turns with: 10.77.0.192 and up, or `fd77::c0`.
pub const ASKERS: u8 = 62;

/// What to watch, and how closely.
#[derive(Clone, Debug)]
pub struct Options {
    /// The addresses, at least one, all of one family.
    pub addresses: Vec<IpAddr>,
    /// Port of the echo service.
    pub port: u16,
    /// Where requests go out.
    pub interface: String,
    /// Time between two echoes to one address.
    pub period: Duration,
    /// Time between two ARP requests, or neighbour solicitations, for one address.
    pub ask_period: Duration,
    /// How long; without end when `None`, until standard input closes.
    pub length: Option<Duration>,
}

/// Something that is due again and again at absolute times.
struct Beat {
    next: Time,
    period: Duration,
    longest_stall: Duration,
    skipped: u64,
}

impl Beat {
    fn new(now: Time, period: Duration) -> Self {
        Self { next: now, period, longest_stall: Duration::ZERO, skipped: 0 }
    }

    /// Whether it is due. Turns that were missed are skipped, not made up for.
    fn due(&mut self, now: Time) -> bool {
        if now < self.next {
            return false;
        }
        self.longest_stall = self.longest_stall.max(now.since(self.next));
        self.next = self.next + self.period;
        while self.next <= now {
            self.next = self.next + self.period;
            self.skipped += 1;
        }
        true
    }
}

/// An address and the socket its echoes go through. Each has its own: while an address does not
/// resolve, the kernel keeps packets to it, and what it keeps counts against their socket.
struct Target {
    tally: Tally,
    udp: UdpSocket,
}

struct Watch<'a> {
    options: &'a Options,
    family: Family,
    asks: AskSocket,
    targets: Vec<Target>,
    echoes: Beat,
    requests: Beat,
    sequence: u64,
    turn: u8,
    window_start: Time,
}

/// Watches. Prints a report for every line on standard input, and one at the end.
///
/// # Errors
/// A socket could not be opened or failed, or nobody reads the reports.
pub fn run(options: &Options, out: &mut impl Write) -> Result<()> {
    let mut watch = Watch::new(options)?;
    let end = options.length.map(|length| clock::now() + length);
    loop {
        let now = clock::now();
        watch.send_due(now);
        if let Some(end) = end
            && now >= end
        {
            watch.finish()?;
            return watch.report(clock::now(), out);
        }
        let told = watch.wait(end.is_none())?;
        watch.read_answers()?;
        if told {
            let mut input = [0_u8; 64];
            let n = nix::unistd::read(stdin(), &mut input).context("reading standard input")?;
            if n == 0 {
                watch.finish()?;
                return watch.report(clock::now(), out);
            }
            for _ in input.iter().filter(|byte| **byte == b'\n') {
                watch.report(clock::now(), out)?;
            }
        }
    }
}

impl Target {
    fn new(address: IpAddr, now: Time) -> Result<Self> {
        let udp =
            UdpSocket::bind((Family::of(address).any(), 0)).context("opening a UDP socket")?;
        udp.set_nonblocking(true)?;
        Ok(Self { tally: Tally::new(address, now), udp })
    }

    /// Takes in the answers that have come.
    fn read_answers(&mut self) {
        let mut datagram = [0_u8; echo::ANSWER_LIMIT];
        while let Ok((n, from)) = self.udp.recv_from(&mut datagram) {
            let now = clock::now();
            let answer = datagram.get(..n).and_then(echo::parse_answer);
            if let Some((sequence, host)) = answer
                && from.ip() == self.tally.address()
            {
                self.tally.echo_answered(sequence, now, host);
            }
        }
    }
}

impl<'a> Watch<'a> {
    fn new(options: &'a Options) -> Result<Self> {
        let family = options.addresses.first().copied().map(Family::of).unwrap_or_default();
        let one = options.addresses.iter().all(|address| Family::of(*address) == family);
        ensure!(one, "IPv4 and IPv6 addresses need a watch each");
        let asks = AskSocket::open(&options.interface, family)?;
        let now = clock::now();
        let targets = options.addresses.iter().map(|address| Target::new(*address, now));
        Ok(Self {
            options,
            family,
            asks,
            targets: targets.collect::<Result<_>>()?,
            echoes: Beat::new(now, options.period),
            requests: Beat::new(now, options.ask_period),
            sequence: 0,
            turn: 0,
            window_start: now,
        })
    }

    /// Sends what is due. A packet that the kernel refuses counts as sent and lost.
    fn send_due(&mut self, now: Time) {
        if self.echoes.due(now) {
            self.sequence += 1;
            for Target { tally, udp } in &mut self.targets {
                tally.echo_sent(self.sequence, clock::now());
                let to = (tally.address(), self.options.port);
                drop(udp.send_to(&echo::request(self.sequence), to));
                tally.settle(now);
            }
        }
        if self.requests.due(now) {
            self.turn = (self.turn + 1) % ASKERS;
            let asker = self.family.asker(self.turn);
            for Target { tally, .. } in &mut self.targets {
                tally.asked(asker, clock::now());
                drop(self.asks.ask(tally.address(), asker));
            }
        }
    }

    /// Waits until something is due or came. True if standard input has something to say.
    fn wait(&self, listen: bool) -> Result<bool> {
        let next = self.echoes.next.min(self.requests.next);
        let span = TimeSpec::from_duration(next.since(clock::now()));
        let input = stdin();
        let mut fds = vec![PollFd::new(self.asks.as_fd(), PollFlags::POLLIN)];
        fds.extend(self.targets.iter().map(|t| PollFd::new(t.udp.as_fd(), PollFlags::POLLIN)));
        if listen {
            fds.push(PollFd::new(input.as_fd(), PollFlags::POLLIN));
        }
        match ppoll(&mut fds, Some(span), None) {
            Ok(_) => {}
            Err(nix::Error::EINTR) => return Ok(false),
            Err(e) => return Err(e).context("waiting"),
        }
        Ok(listen && fds.last().is_some_and(|input| input.any() == Some(true)))
    }

    fn read_answers(&mut self) -> Result<()> {
        self.targets.iter_mut().for_each(Target::read_answers);
        while let Some(reply) = self.asks.next_reply().context("reading replies")? {
            let mut targets = self.targets.iter_mut();
            if let Some(target) = targets.find(|t| t.tally.address() == reply.address) {
                target.tally.claimed(reply.asker, reply.mac);
            }
        }
        Ok(())
    }

    /// Sends nothing more, and gives what is under way the time it has.
    fn finish(&mut self) -> Result<()> {
        let end = clock::now() + GRACE;
        self.echoes.next = end;
        self.requests.next = end;
        while clock::now() < end {
            self.wait(false)?;
            self.read_answers()?;
        }
        Ok(())
    }

    /// Prints the window that ended [`GRACE`] ago.
    fn report(&mut self, now: Time, out: &mut impl Write) -> Result<()> {
        let end = now.minus(GRACE);
        let stall = std::mem::take(&mut self.echoes.longest_stall);
        let report = Report {
            window_ms: millis(end.since(self.window_start)),
            longest_stall_ms: millis(stall),
            skipped: std::mem::take(&mut self.echoes.skipped),
            addresses: self.targets.iter_mut().map(|t| t.tally.report(now)).collect(),
        };
        self.window_start = end;
        writeln!(out, "{}", serde_json::to_string(&report)?).context("printing the report")?;
        out.flush().context("printing the report")
    }
}
