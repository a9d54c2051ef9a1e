//! Asking another name server something.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use domain::base::Message;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::net::UdpSocket;

/// Longest answer that is taken.
const MOST_ANSWER: usize = 4_096;

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
