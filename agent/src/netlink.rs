//! Requests to the kernel and its answers, on one netlink socket: many requests in one datagram,
//! their answers read afterwards. Blocking, but it waits for nothing but the kernel's own work,
//! which is done when sending returns.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "netlink's enumerations are open: what was not asked for is skipped"
)]

use std::io;
use std::time::Duration;

use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::clock;

/// Most requests in one datagram: their answers fit the socket's buffer by far.
const MOST: usize = 64;

/// No longer than this is the kernel to work on one datagram: others get their turn between two.
/// Where it is not preemptible nobody gets it before, on that CPU: not the thread that is to send a
/// heartbeat, either. 10,000 routes take it a tenth of a second, as many addresses on an interface
/// two seconds, IPv6 ones 17: how many requests that makes shows with the last ones.
const LONGEST: Duration = Duration::from_millis(2);
const FIRST: usize = 4;

/// What messages are aligned to.
const ALIGNMENT: usize = 4;

type Message = NetlinkMessage<RouteNetlinkMessage>;

/// A request that changes something, and the flags that go with it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub message: RouteNetlinkMessage,
    pub flags: u16,
}

/// The socket.
#[derive(Debug)]
pub(crate) struct Exchange {
    socket: Socket,
    sequence: u32,
    /// How many requests go in the next datagram.
    at_once: usize,
}

impl Exchange {
    /// Opens a socket in the network namespace of this thread.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // An answer is there when sending returns, or it was lost.
        socket.set_non_blocking(true)?;
        // Errors do not bring the request back with them.
        socket.set_cap_ack(true)?;
        Ok(Self { socket, sequence: 0, at_once: FIRST })
    }

    /// Has the kernel carry the requests out, in order; an answer to each.
    pub fn carry_out(&mut self, requests: &[Request]) -> Vec<io::Result<()>> {
        let mut answers = Vec::with_capacity(requests.len());
        while let Some(some) = requests.get(answers.len()..).filter(|rest| !rest.is_empty()) {
            let some = some.get(..self.at_once).unwrap_or(some);
            let begun = clock::now();
            let mut some_answers = match self.send(some) {
                Ok(first) => self.acknowledgements(first, some.len()),
                Err(e) => some.iter().map(|_| Err(again(&e))).collect(),
            };
            answers.append(&mut some_answers);
            self.at_once = next_at_once(self.at_once, some.len(), clock::now().since(begun));
        }
        answers
    }

    /// Sends requests in one datagram; the number of the first.
    fn send(&mut self, requests: &[Request]) -> io::Result<u32> {
        let first = self.sequence.wrapping_add(1);
        let mut datagram = Vec::new();
        for request in requests {
            let flags = NLM_F_REQUEST | NLM_F_ACK | request.flags;
            append(&mut datagram, self.next(), flags, request.message.clone());
        }
        self.socket.send(&datagram, 0)?;
        Ok(first)
    }

    fn next(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// The answers to `count` requests, numbered from `first`.
    fn acknowledgements(&mut self, first: u32, count: usize) -> Vec<io::Result<()>> {
        let lost = || io::Error::new(io::ErrorKind::TimedOut, "the kernel's answer was lost");
        let mut answers: Vec<io::Result<()>> = (0..count).map(|_| Err(lost())).collect();
        let mut missing = count;
        while missing > 0 {
            let messages = match self.receive() {
                Ok(messages) => messages,
                // Some were lost, others may follow.
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => continue,
                Err(_) => break,
            };
            for message in messages {
                let NetlinkPayload::Error(error) = message.payload else { continue };
                let place = message.header.sequence_number.wrapping_sub(first);
                let place = usize::try_from(place).ok();
                let Some(answer) = place.and_then(|n| answers.get_mut(n)) else { continue };
                *answer = if error.code.is_some() { Err(error.to_io()) } else { Ok(()) };
                missing = missing.saturating_sub(1);
            }
        }
        answers
    }

    /// Everything of a kind that there is.
    pub fn dump(&mut self, question: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.dump_all(question, false)
    }

    /// As [`dump`](Self::dump), without what cannot be read: a kernel newer than this may say of
    /// things that do not matter here what this does not know.
    pub fn dump_readable(
        &mut self,
        question: RouteNetlinkMessage,
    ) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.dump_all(question, true)
    }

    fn dump_all(
        &mut self,
        question: RouteNetlinkMessage,
        only_readable: bool,
    ) -> io::Result<Vec<RouteNetlinkMessage>> {
        let number = self.next();
        let mut datagram = Vec::new();
        append(&mut datagram, number, NLM_F_REQUEST | NLM_F_DUMP, question);
        self.socket.send(&datagram, 0)?;
        let mut found = Vec::new();
        loop {
            for message in self.datagram()? {
                let message = match message {
                    Err(_) if only_readable => continue,
                    message => message?,
                };
                if message.header.sequence_number != number {
                    continue;
                }
                match message.payload {
                    NetlinkPayload::InnerMessage(one) => found.push(one),
                    NetlinkPayload::Done(_) => return Ok(found),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    _ => {}
                }
            }
        }
    }

    /// The answer to a question that has one.
    pub fn ask(&mut self, question: RouteNetlinkMessage) -> io::Result<RouteNetlinkMessage> {
        let number = self.next();
        let mut datagram = Vec::new();
        append(&mut datagram, number, NLM_F_REQUEST, question);
        self.socket.send(&datagram, 0)?;
        loop {
            let messages = self.receive()?;
            for message in messages.into_iter().filter(|m| m.header.sequence_number == number) {
                match message.payload {
                    NetlinkPayload::InnerMessage(one) => return Ok(one),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    _ => {}
                }
            }
        }
    }

    /// The messages of the next datagram.
    fn receive(&self) -> io::Result<Vec<Message>> {
        self.datagram()?.into_iter().collect()
    }

    /// The messages of the next datagram, or why one cannot be read.
    fn datagram(&self) -> io::Result<Vec<io::Result<Message>>> {
        let (datagram, _) = self.socket.recv_from_full()?;
        let mut messages = Vec::new();
        let mut rest = datagram.as_slice();
        while let Ok(header) = NetlinkBuffer::new_checked(rest) {
            let length = usize::try_from(header.length()).unwrap_or(usize::MAX);
            let message = Message::deserialize(rest);
            messages.push(message.map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e)));
            rest = rest.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
        }
        Ok(messages)
    }
}

/// Adds a message to a datagram.
fn append(datagram: &mut Vec<u8>, number: u32, flags: u16, message: RouteNetlinkMessage) {
    let mut message =
        NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::InnerMessage(message));
    message.header.sequence_number = number;
    message.header.flags = flags;
    message.finalize();
    let start = datagram.len();
    datagram.resize(start + message.buffer_len().next_multiple_of(ALIGNMENT), 0);
    if let Some(room) = datagram.get_mut(start..) {
        message.serialize(room);
    }
}

/// The same error once more.
fn again(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(
        || io::Error::new(error.kind(), error.to_string()),
        io::Error::from_raw_os_error,
    )
}

/// How many requests to put in a datagram after one with so many, of `at_once` that it could hold,
/// took this long.
fn next_at_once(at_once: usize, requests: usize, took: Duration) -> usize {
    if took > LONGEST {
        (at_once / 2).max(1)
    } else if took < LONGEST / 4 && requests == at_once {
        (at_once * 2).min(MOST)
    } else {
        at_once
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // How many could go in a datagram, how many went, and for how many us → how many may next.
    #[test]
    fn as_many_as_do_not_take_long() {
        let rows = [
            (4, 4, 100, 8),
            (64, 64, 100, 64),
            (4, 3, 100, 4),
            (4, 4, 500, 4),
            (4, 4, 2_000, 4),
            (4, 4, 2_001, 2),
            (4, 1, 9_000, 2),
            (1, 1, 9_000, 1),
        ];
        for (at_once, requests, us, next) in rows {
            let took = Duration::from_micros(us);
            assert_eq!(next_at_once(at_once, requests, took), next, "{at_once} {requests} {us}");
        }
    }
}
