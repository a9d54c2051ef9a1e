//! Questions to name servers: one after the other, or as many as are answered.

pub mod delays;
pub mod load;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use domain::base::iana::Rcode;
use domain::base::{Message, MessageBuilder, Name, Rtype};
use domain::rdata::A;
use rais::clock;
use rais_common::time::Time;

use crate::netns::Host;

/// The port of DNS.
const PORT: u16 = 53;

/// How long to wait for an answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many questions of a flood are on their way at a time.
const AT_A_TIME: u16 = 128;

/// Silence after which all that are on their way count as lost.
const SILENCE: Duration = Duration::from_millis(100);

/// A socket on a host, from which one server is asked for the addresses of one name.
#[derive(Debug)]
pub struct Asker {
    socket: UdpSocket,
    question: Vec<u8>,
}

/// What a server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Whether all is well.
    pub rcode: Rcode,
    /// The address that comes first.
    pub first: Option<IpAddr>,
    /// All addresses.
    pub addresses: BTreeSet<IpAddr>,
    /// How long they may be remembered, in seconds, by the first record. 0 without any.
    pub ttl: u32,
    /// When the question was sent.
    pub asked: Time,
}

/// What became of a flood of questions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flood {
    /// Questions that were answered, without an error and with an address.
    pub answered: u64,
    /// Questions that were answered otherwise.
    pub refused: u64,
    /// Questions that were not answered.
    pub lost: u64,
    /// How long it took.
    pub took: Duration,
}

impl Flood {
    /// Answers a second.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a rate, to be read by people")]
    pub fn rate(&self) -> f64 {
        self.answered as f64 / self.took.as_secs_f64()
    }
}

impl Asker {
    /// Asks a server of IPv4 from this host for the A records of `name`.
    ///
    /// # Errors
    /// There is no socket to be had, or the name is none.
    pub fn new(host: &Host, server: impl Into<IpAddr>, name: &str) -> Result<Self> {
        let server = SocketAddr::new(server.into(), PORT);
        let socket = host.inside(|| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.connect(server)?;
            std::io::Result::Ok(socket)
        })??;
        let name: Name<Vec<u8>> = name.parse().context("a name")?;
        let mut builder = MessageBuilder::new_vec();
        builder.header_mut().set_rd(true);
        let mut builder = builder.question();
        builder.push((name, Rtype::A))?;
        Ok(Self { socket, question: builder.finish() })
    }

    /// Asks once. None where no answer comes, or nobody listens.
    ///
    /// # Errors
    /// The answer is malformed.
    pub fn ask(&mut self) -> Result<Option<Said>> {
        self.socket.set_nonblocking(false)?;
        self.socket.set_read_timeout(Some(PATIENCE))?;
        let id = self.number().wrapping_add(1);
        self.set_number(id);
        let asked = clock::now();
        let mut buffer = [0; 4_096];
        let sent = self.socket.send(&self.question);
        loop {
            let received = sent.as_ref().map(|_| self.socket.recv(&mut buffer));
            let Ok(Ok(length)) = received else { return Ok(None) };
            let answer = Message::from_octets(buffer.get(..length).unwrap_or_default())?;
            if answer.header().id() == id {
                return said(&answer, asked).map(Some);
            }
        }
    }

    /// Asks as fast as answers come, for so long.
    ///
    /// # Errors
    /// The socket fails.
    pub fn flood(&mut self, span: Duration) -> Result<Flood> {
        self.socket.set_nonblocking(true)?;
        let begin = clock::now();
        let mut flood = Flood::default();
        let (mut waiting, mut last) = (0, begin);
        let mut buffer = [0; 4_096];
        loop {
            let now = clock::now();
            if now.since(begin) >= span {
                flood.took = now.since(begin);
                return Ok(flood);
            }
            if now.since(last) >= SILENCE {
                flood.lost += u64::from(waiting);
                (waiting, last) = (0, now);
            }
            while waiting < AT_A_TIME {
                self.set_number(self.number().wrapping_add(1));
                match self.socket.send(&self.question) {
                    Ok(_) => waiting += 1,
                    Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                    Err(e) => return Err(e).context("asking"),
                }
            }
            while let Ok(length) = self.socket.recv(&mut buffer) {
                // Late ones, that were given up, come as well.
                waiting = waiting.saturating_sub(1);
                last = now;
                // Flags and the number of records, where they are in every message.
                let good = buffer.get(3).is_some_and(|flags| flags % 16 == 0)
                    && buffer.get(6..8).is_some_and(|count| count != [0, 0]);
                let sort =
                    if good && length > 12 { &mut flood.answered } else { &mut flood.refused };
                *sort += 1;
            }
        }
    }

    fn number(&self) -> u16 {
        let (id, _) = self.question.split_first_chunk().unwrap_or((&[0; 2], &[]));
        u16::from_be_bytes(*id)
    }

    fn set_number(&mut self, number: u16) {
        if let Some(id) = self.question.first_chunk_mut() {
            *id = number.to_be_bytes();
        }
    }
}

fn said(answer: &Message<&[u8]>, asked: Time) -> Result<Said> {
    ensure!(answer.header().qr(), "no answer");
    let (rcode, addresses) = (answer.header().rcode(), BTreeSet::new());
    let mut said = Said { rcode, first: None, addresses, ttl: 0, asked };
    for record in answer.answer()?.limit_to::<A>() {
        let record = record?;
        let address = record.data().addr().into();
        said.ttl = record.ttl().as_secs();
        said.first = said.first.or(Some(address));
        said.addresses.insert(address);
    }
    Ok(said)
}
