//! Serves the page over HTTP/1.1.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rais_common::time::Time;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::{Source, page};
use crate::clock;

/// Most clients at a time. One more, and the oldest is let go.
const MAX_CLIENTS: usize = 16;

/// So long a client has for its request.
const HEAD: Duration = Duration::from_secs(5);

/// So long it has for everything.
const WHOLE: Duration = Duration::from_secs(10);

/// So long the agent has for an answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Most bytes of a request's head.
const MAX_HEAD: usize = 16 << 10;

/// A page is shown again until it is so old.
const FRESH: Duration = Duration::from_millis(250);

/// After the system refused to accept a client (too many open files), so long no more are.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An address that is taken is tried again so often, after so long: a program that is just being
/// started holds for a moment what this agent has closed.
const TRIES: usize = 10;
const AGAIN: Duration = Duration::from_millis(20);

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("`metrics`: cannot listen on {address}: {error}")]
pub struct CannotListen {
    address: SocketAddr,
    error: io::Error,
}

/// Listens. Clients wait until somebody serves them.
#[derive(Debug)]
pub struct Listener(pub(super) TcpListener);

impl Listener {
    /// Listens on this address. To be called within a tokio runtime.
    ///
    /// # Errors
    /// The address is taken, or not one of this machine.
    pub async fn bind(address: SocketAddr) -> Result<Self, CannotListen> {
        let mut listener = TcpListener::bind(address).await;
        for _ in 0..TRIES {
            match &listener {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => sleep(AGAIN).await,
                Ok(_) | Err(_) => break,
            }
            listener = TcpListener::bind(address).await;
        }
        listener.map(Self).map_err(|error| CannotListen { address, error })
    }

    /// Serves what `source` has.
    pub fn serve<S: Source>(self, source: Arc<S>) -> Server {
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(self.0, Arc::new(Pages { source, last: Mutex::new(None) })));
        Server { tasks }
    }
}

/// Serves until it is dropped.
#[derive(Debug)]
pub struct Server {
    tasks: JoinSet<()>,
}

impl Server {
    /// Ends it. Its address is free then.
    pub async fn end(mut self) {
        self.tasks.shutdown().await;
    }
}

async fn accept<S: Source>(listener: TcpListener, pages: Arc<Pages<S>>) {
    let mut clients = JoinSet::new();
    let mut oldest: VecDeque<AbortHandle> = VecDeque::with_capacity(MAX_CLIENTS);
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!("metrics: a client was not accepted: {error}");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        while clients.try_join_next().is_some() {}
        oldest.retain(|client| !client.is_finished());
        // Who is slow makes room; who asks and goes never has to.
        if oldest.len() >= MAX_CLIENTS
            && let Some(slow) = oldest.pop_front()
        {
            slow.abort();
        }
        oldest.push_back(clients.spawn(client(stream, Arc::clone(&pages))));
    }
}

/// One client, one request.
async fn client<S: Source>(stream: TcpStream, pages: Arc<Pages<S>>) {
    let answer = service_fn(|request: Request<Incoming>| {
        let pages = Arc::clone(&pages);
        async move { Ok::<_, Infallible>(pages.answer(&request).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD);
    builder.keep_alive(false).max_buf_size(MAX_HEAD);
    let served = builder.serve_connection(TokioIo::new(stream), answer);
    match timeout(WHOLE, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("metrics: a client: {error}"),
        Err(_late) => tracing::debug!("metrics: a client took too long"),
    }
}

/// Makes pages.
struct Pages<S> {
    source: Arc<S>,
    /// The last one, and when it was made.
    last: Mutex<Option<(Time, Bytes)>>,
}

impl<S: Source> Pages<S> {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut refused = said(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            refused
                .headers_mut()
                .insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        if request.uri().path() != "/metrics" {
            return said(StatusCode::NOT_FOUND, "the metrics of rais are at /metrics\n");
        }
        match timeout(ANSWER, self.page()).await {
            Ok(Some(page)) => response(StatusCode::OK, OPEN_METRICS, page),
            Ok(None) => said(StatusCode::INTERNAL_SERVER_ERROR, "the page cannot be written\n"),
            Err(_late) => said(StatusCode::SERVICE_UNAVAILABLE, "a group does not answer\n"),
        }
    }

    /// A page no older than [`FRESH`]. Whoever asks while it is made waits for it.
    async fn page(&self) -> Option<Bytes> {
        let mut last = self.last.lock().await;
        if let Some((made, page)) = last.as_ref()
            && clock::now().since(*made) < FRESH
        {
            return Some(page.clone());
        }
        let made = clock::now();
        let page = Bytes::from(page(self.source.sample().await).ok()?);
        *last = Some((made, page.clone()));
        Some(page)
    }
}

fn said(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", Bytes::from_static(text.as_bytes()))
}

fn response(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
