//! Test object: a TCP connection can be made.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use tokio::net::TcpStream;

use super::{TestObject, Verdict};
use crate::clock;

/// Passes when something at the address accepts a connection, which is then closed.
#[derive(Clone, Copy, Debug)]
pub struct Tcp {
    address: SocketAddr,
}

impl Tcp {
    /// Tests this address and port.
    #[must_use]
    pub const fn new(address: SocketAddr) -> Self {
        Self { address }
    }
}

impl TestObject for Tcp {
    fn run(&self) -> Pin<Box<dyn Future<Output = Verdict> + Send + '_>> {
        Box::pin(async {
            let begun = clock::now();
            match TcpStream::connect(self.address).await {
                Ok(_connection) => {
                    let took = clock::now().since(begun).as_secs_f64() * 1000.0;
                    Ok(format!("connected to {} in {took:.1} ms", self.address))
                }
                Err(e) => Err(format!("connect to {}: {e}", self.address)),
            }
        })
    }
}
