//! Asking name servers something: messages out, answers in. What they mean is the asker's affair.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use domain::base::Message;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// Longest answer that is taken. More than 512 bytes are not due to a question without EDNS
/// (RFC 1035, 4.2.1), but sent by some.
const MOST_ANSWER: usize = 4_096;

/// How long an exchange over a connection may take.
const LIMIT: Duration = Duration::from_secs(5);

/// A number that nobody can guess, for a message (RFC 5452, 9).
///
/// # Errors
/// The system has none.
pub fn message_id() -> io::Result<u16> {
    let mut id = [0; 2];
    let filled = SystemRandom::new().fill(&mut id);
    filled.map_err(|_unspecified| io::Error::other("no random number"))?;
    Ok(u16::from_ne_bytes(id))
}

/// Sends a message in a datagram and waits for what `is_answer` says is the answer to it. Anything
/// else is passed over. The caller gives it a deadline.
///
/// # Errors
/// What the system said: for one that nobody listens there.
pub async fn over_udp(
    server: SocketAddr,
    message: &Message<Vec<u8>>,
    is_answer: impl Fn(&Message<Vec<u8>>) -> bool,
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
            && is_answer(&answer)
        {
            return Ok(answer);
        }
    }
}

/// Sends a message over a connection of its own and takes the answer to it, within five seconds.
///
/// # Errors
/// What the system said, or what comes is no answer to this message, or comes too late.
pub async fn over_tcp(server: SocketAddr, message: &[u8]) -> io::Result<Vec<u8>> {
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
