//! Asking another name server something.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use domain::base::Message;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// Longest answer that is taken.
const MOST_ANSWER: usize = 4_096;

/// How long an exchange over a connection may take.
const LIMIT: Duration = Duration::from_secs(5);

/// A number that nobody can guess, for a message (RFC 5452, 9).
pub(super) fn message_id() -> io::Result<u16> {
    let mut id = [0; 2];
    let filled = SystemRandom::new().fill(&mut id);
    filled.map_err(|_unspecified| io::Error::other("no random number"))?;
    Ok(u16::from_ne_bytes(id))
}

/// Sends a message in a datagram and waits for its answer. What is not the answer is passed over.
pub(super) async fn over_udp(
    server: SocketAddr,
    message: &Message<Vec<u8>>,
) -> io::Result<Message<Vec<u8>>> {
    let any = match server.ip() {
        IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    // From nobody else, and told that nobody listens.
    socket.connect(server).await?;
    socket.send(message.as_slice()).await?;
    let mut buffer = vec![0; MOST_ANSWER];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let received = buffer.get(..length).unwrap_or_default().to_vec();
        if let Ok(answer) = Message::from_octets(received)
            && answer.header().qr()
            && answer.header().id() == message.header().id()
        {
            return Ok(answer);
        }
    }
}

/// Sends a message over a connection of its own and takes the answer to it.
pub(super) async fn over_tcp(server: SocketAddr, message: &[u8]) -> io::Result<Vec<u8>> {
    tokio::time::timeout(LIMIT, exchange(server, message)).await.map_err(|_late| {
        io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {LIMIT:?}"))
    })?
}

async fn exchange(server: SocketAddr, message: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    let mut whole = Vec::with_capacity(message.len() + 2);
    whole.extend_from_slice(&length.to_be_bytes());
    whole.extend_from_slice(message);
    stream.write_all(&whole).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    if answer.get(..2) != message.get(..2) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer to something else"));
    }
    Ok(answer)
}
