//! Test object: a web server answers as it should.

mod tls;

use std::future::Future;
use std::pin::{Pin, pin};

use futures_util::future::{Either, select};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::{TestObject, Verdict};
use crate::clock;
use crate::config::checked;

use tls::Client;

/// `body_contains` is looked for in so many bytes, from the beginning. Nothing more is read.
const MOST_BODY: usize = 64 << 10;

/// Most bytes of status line and headers.
const MOST_HEAD: usize = 64 << 10;

/// Passes when a GET is answered with the right status and text, each time over a connection of
/// its own. Redirections are answers like any other.
pub struct Http {
    asked: checked::Http,
    /// For `https`.
    tls: Option<Client>,
}

impl Http {
    /// Tests this server. A machine without trusted authorities trusts nobody.
    #[must_use]
    pub fn new(asked: checked::Http) -> Self {
        let tls = asked.tls.clone().map(Client::new);
        Self { asked, tls }
    }

    async fn ask(&self) -> Verdict {
        let begun = clock::now();
        let checked::Http { host, port, .. } = &self.asked;
        let connection = TcpStream::connect((host.as_str(), *port)).await;
        let connection = connection.map_err(|e| format!("connect to {host} port {port}: {e}"))?;
        let status = match &self.tls {
            Some(tls) => {
                let secured = tls.connect(connection).await;
                self.exchange(secured.map_err(|e| format!("TLS with {host}: {e}"))?).await?
            }
            None => self.exchange(connection).await?,
        };
        let took = clock::now().since(begun).as_secs_f64() * 1000.0;
        Ok(format!("{status} in {took:.1} ms"))
    }

    /// Sends the request over this connection and judges the answer.
    async fn exchange<S>(&self, connection: S) -> Result<String, String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MOST_HEAD);
        let handshake = builder.handshake(TokioIo::new(connection)).await;
        let (mut sender, connection) = handshake.map_err(|e| said(&e))?;
        let request = self.request()?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(|e| said(&e))?;
            self.judge(response).await
        };
        // The connection carries what the answer waits for, and may end before it is read.
        match select(pin!(answer), pin!(connection)).await {
            Either::Left((answer, _)) => answer,
            Either::Right((_ended, answer)) => answer.await,
        }
    }

    fn request(&self) -> Result<Request<Empty<Bytes>>, String> {
        let url = &self.asked.url;
        Request::get(url.path_and_query().map_or("/", |path| path.as_str()))
            .header(HOST, url.authority().map_or("", |authority| authority.as_str()))
            .header(USER_AGENT, "rais")
            .header(CONNECTION, "close")
            .body(Empty::new())
            .map_err(|e| e.to_string())
    }

    async fn judge(&self, response: Response<Incoming>) -> Result<String, String> {
        let status = response.status();
        if !self.asked.status.iter().any(|range| range.contains(&status.as_u16())) {
            return Err(format!("answered {status}"));
        }
        if let Some(text) = &self.asked.body_contains {
            let body = beginning(response.into_body()).await.map_err(|e| said(&e))?;
            if !super::contains(&body, text.as_bytes()) {
                return Err(format!("the body does not contain {text:?}"));
            }
        }
        Ok(status.as_str().to_owned())
    }
}

impl TestObject for Http {
    fn run(&self) -> Pin<Box<dyn Future<Output = Verdict> + Send + '_>> {
        Box::pin(self.ask())
    }
}

/// The first [`MOST_BODY`] bytes of a body.
async fn beginning(mut body: Incoming) -> Result<Vec<u8>, hyper::Error> {
    let mut start = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            start.extend_from_slice(&data);
        }
        if start.len() >= MOST_BODY {
            start.truncate(MOST_BODY);
            break;
        }
    }
    Ok(start)
}

/// An error with its cause, which alone says what happened.
fn said(error: &hyper::Error) -> String {
    std::error::Error::source(error)
        .map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

#[cfg(test)]
mod tests;
