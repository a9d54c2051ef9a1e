//! Asks for many addresses by ARP or neighbour solicitations until a host has answered for each.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rais::announce::PacketSocket;
use rais::clock;
use rais_common::time::Time;

use crate::xdp::frames::{Message, REQUEST, link_option, solicitation};

/// So many questions at once: their answers fit the socket's buffer.
const AT_ONCE: usize = 32;
/// Time between them while nobody new answers.
const PERIOD: Duration = Duration::from_millis(1);

/// What the client saw of the addresses it asked for, in times since the old holder's last answer.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// The new holder's first answer.
    pub first: Duration,
    /// The last address was answered for.
    pub all: Duration,
    /// The last address was announced.
    pub announced: Option<Duration>,
    /// Answers of the old holder after the new one's first.
    pub both: usize,
}

/// A client that asks.
pub struct Sweep<'a> {
    socket: &'a PacketSocket,
    mac: [u8; 6],
    old: [u8; 6],
    new: [u8; 6],
    addresses: Vec<IpAddr>,
    places: HashMap<IpAddr, usize>,
    answered: Vec<bool>,
    announced: Vec<bool>,
    left: usize,
    unannounced: usize,
    next: usize,
    last_old: Option<Time>,
    first: Option<Time>,
    all: Option<Time>,
    all_announced: Option<Time>,
    both: usize,
}

impl<'a> Sweep<'a> {
    /// A client with the hardware address `mac`; `old` and `new` are the holders'.
    pub fn new(
        socket: &'a PacketSocket,
        mac: [u8; 6],
        old: [u8; 6],
        new: [u8; 6],
        addresses: Vec<IpAddr>,
    ) -> Self {
        let count = addresses.len();
        Self {
            places: addresses.iter().enumerate().map(|(n, &address)| (address, n)).collect(),
            answered: vec![false; count],
            announced: vec![false; count],
            left: count,
            unannounced: count,
            next: 0,
            socket,
            mac,
            old,
            new,
            addresses,
            last_old: None,
            first: None,
            all: None,
            all_announced: None,
            both: 0,
        }
    }

    /// Asks until the new holder has answered for all, and a while longer for announcements.
    pub fn run(mut self, stop: &AtomicBool) -> Result<Seen> {
        let mut linger = None;
        while linger.is_none_or(|end| clock::now() < end) {
            if stop.load(Ordering::Relaxed) {
                bail!(
                    "{} of {} addresses were never answered for, {} not announced",
                    self.left,
                    self.addresses.len(),
                    self.unannounced
                );
            }
            let end = clock::now() + PERIOD;
            self.ask()?;
            self.listen(if self.first.is_none() { end } else { clock::now() })?;
            if self.left == 0 && linger.is_none() {
                linger = Some(clock::now() + Duration::from_millis(700));
            }
        }
        let from = self.last_old.context("the old holder never answered")?;
        Ok(Seen {
            first: self.first.context("no answer")?.since(from),
            all: self.all.context("not all")?.since(from),
            announced: self.all_announced.map(|at| at.since(from)),
            both: self.both,
        })
    }

    /// Asks until the new holder has answered for all. Returns how many answers of the old one
    /// there were.
    pub fn confirm(mut self, limit: Duration) -> Result<usize> {
        let end = clock::now() + limit;
        // Somebody answers.
        self.first = Some(clock::now());
        while self.left > 0 {
            if clock::now() >= end {
                bail!("{} of {} are not answered for", self.left, self.addresses.len());
            }
            self.ask()?;
            self.listen(clock::now() + PERIOD)?;
        }
        Ok(self.both)
    }

    /// Asks for some of those that the new holder has not answered for.
    fn ask(&mut self) -> Result<()> {
        let count = self.addresses.len();
        let mut asked = 0;
        for _ in 0..count {
            if asked == AT_ONCE || self.left == 0 {
                break;
            }
            let place = self.next % count;
            self.next = place + 1;
            if place == 0 && self.first.is_some() {
                // What was asked before may just be being answered.
                self.listen(clock::now() + PERIOD)?;
            }
            if !self.answered[place] {
                asked += 1;
                self.socket.send(&self.question(self.addresses[place]))?;
            }
        }
        Ok(())
    }

    fn question(&self, address: IpAddr) -> Vec<u8> {
        match address {
            IpAddr::V4(v4) => {
                let mut request = REQUEST;
                request.sender = (self.mac, [10, 77, 0, 50]);
                request.target = ([0; 6], v4.octets());
                request.bytes()
            }
            IpAddr::V6(v6) => {
                let target = v6.octets();
                let mut to = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0];
                to[13..].copy_from_slice(&target[13..]);
                let destination = [0x33, 0x33, 0xff, to[13], to[14], to[15]];
                let from = [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x50];
                let options = link_option(1, self.mac);
                let source = self.mac;
                let asked =
                    Message { destination, source, from, to, target, options, ..solicitation() };
                asked.bytes()
            }
        }
    }

    /// Takes what there is, and what comes until `end`.
    fn listen(&mut self, end: Time) -> Result<()> {
        let mut frame = [0; 256];
        loop {
            let left = end.since(clock::now());
            // Waits are whole milliseconds.
            let limit = if left.is_zero() { left } else { PERIOD };
            match self.socket.recv(&mut frame, limit)? {
                Some(length) => self.take(&frame[..length]),
                None if left.is_zero() => return Ok(()),
                None => {}
            }
        }
    }

    fn take(&mut self, frame: &[u8]) {
        let Some((address, mac, announces)) = read(frame) else { return };
        let Some(&place) = self.places.get(&address) else { return };
        let now = clock::now();
        if mac == self.old && !announces {
            self.last_old = Some(now);
            self.both += usize::from(self.first.is_some());
        } else if mac == self.new && announces {
            if !std::mem::replace(&mut self.announced[place], true) {
                self.unannounced -= 1;
                self.all_announced = (self.unannounced == 0).then_some(now);
            }
        } else if mac == self.new && !std::mem::replace(&mut self.answered[place], true) {
            self.first.get_or_insert(now);
            self.left -= 1;
            self.all = (self.left == 0).then_some(now);
        }
    }
}

/// The address a frame is about, who says to have it, and whether unasked.
fn read(frame: &[u8]) -> Option<(IpAddr, [u8; 6], bool)> {
    let bytes = |at: usize| frame.get(at..at + 6)?.try_into().ok();
    if frame.get(12..14)? == [8, 6] {
        let sender = <[u8; 4]>::try_from(frame.get(28..32)?).ok()?;
        let target = <[u8; 4]>::try_from(frame.get(38..42)?).ok()?;
        let reply = frame.get(20..22)? == [0, 2];
        let announces = sender == target;
        return (reply || announces).then_some((sender.into(), bytes(22)?, announces));
    }
    if *frame.get(54)? != 136 {
        return None;
    }
    let target = <[u8; 16]>::try_from(frame.get(62..78)?).ok()?;
    let announces = frame.get(..2)? == [0x33, 0x33];
    Some((target.into(), bytes(80)?, announces))
}
