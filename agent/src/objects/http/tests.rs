//! With servers that answer by hand.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::*;
use crate::config::checked::{Tls, Trust};

/// What a server does with a connection after it has read the request.
#[derive(Clone)]
enum Then {
    /// Says this and closes.
    Say(Vec<u8>),
    /// Says this and waits for ever.
    Hang(&'static str),
    /// Says this and the same byte for as long as somebody listens.
    Flood(&'static str),
}

fn say(text: &str) -> Then {
    Then::Say(text.as_bytes().to_vec())
}

/// A server, and the requests it got.
struct Server {
    address: SocketAddr,
    requests: mpsc::Receiver<String>,
    _tasks: JoinSet<()>,
}

impl Server {
    async fn start(then: Then) -> Self {
        Self::start_at("127.0.0.1:0", then, None).await
    }

    async fn start_at(at: &str, then: Then, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(at).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = mpsc::channel(10);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                match &tls {
                    Some(tls) => {
                        // A client that does not believe us ends it here.
                        if let Ok(stream) = tls.accept(stream).await {
                            serve(stream, &then, &sender).await;
                        }
                    }
                    None => serve(stream, &then, &sender).await,
                }
            }
        });
        Self { address, requests, _tasks: tasks }
    }
}

async fn serve<S>(mut stream: S, then: &Then, requests: &mpsc::Sender<String>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.unwrap());
    }
    requests.send(String::from_utf8(request).unwrap()).await.unwrap();
    match then {
        Then::Say(bytes) => {
            stream.write_all(bytes).await.unwrap();
            stream.shutdown().await.ok();
        }
        Then::Hang(text) => {
            stream.write_all(text.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            assert!(stream.read_u8().await.is_err(), "the client goes");
        }
        Then::Flood(text) => {
            stream.write_all(text.as_bytes()).await.unwrap();
            while stream.write_all(&[b'a'; 4096]).await.is_ok() {}
        }
    }
}

fn http(address: SocketAddr) -> checked::Http {
    checked::Http {
        url: format!("http://{address}/health?deep=1").parse().unwrap(),
        host: address.ip().to_string(),
        port: address.port(),
        tls: None,
        status: vec![200..=200],
        body_contains: None,
    }
}

/// What a test says of such a server.
async fn said(then: Then, status: &[RangeInclusive<u16>], text: Option<&str>) -> Verdict {
    let server = Server::start(then).await;
    let asked = checked::Http {
        status: status.to_vec(),
        body_contains: text.map(str::to_owned),
        ..http(server.address)
    };
    Http::new(asked).run().await
}

#[tokio::test]
async fn the_request_is_a_right_one() {
    for at in ["127.0.0.1:0", "[::1]:0"] {
        let ok = say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        let mut server = Server::start_at(at, ok, None).await;
        let result = Http::new(http(server.address)).run().await.unwrap();
        assert!(result.starts_with("200 in ") && result.ends_with(" ms"), "{result}");
        let request = server.requests.recv().await.unwrap();
        let expected = format!(
            "GET /health?deep=1 HTTP/1.1\r\nhost: {}\r\nuser-agent: rais\r\n\
             connection: close\r\n\r\n",
            server.address
        );
        assert_eq!(request, expected);
    }
}

#[tokio::test]
async fn the_status_counts() {
    let answer = |status: &str| say(&format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"));
    let ok = [200..=200];
    let result = said(answer("500 Internal Server Error"), &ok, None).await;
    assert_eq!(result, Err("answered 500 Internal Server Error".to_owned()));
    // It would lead to a server that is not there.
    let moved = "302 Found\r\nLocation: http://127.0.0.1:1/";
    assert_eq!(said(answer(moved), &ok, None).await, Err("answered 302 Found".to_owned()));
    let several = [200..=204, 302..=302];
    assert!(said(answer(moved), &several, None).await.is_ok());
    assert!(said(answer("204 No Content"), &several, None).await.is_ok());
    assert!(said(answer("205 Reset Content"), &several, None).await.is_err());
}

#[tokio::test]
async fn the_body_counts_where_it_is_asked_for() {
    let ok = [200..=200];
    let text = say("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nall is ready");
    assert!(said(text.clone(), &ok, Some("ready")).await.is_ok());
    let result = said(text, &ok, Some("steady")).await;
    assert_eq!(result, Err("the body does not contain \"steady\"".to_owned()));
    let chunks =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nrea\r\n2\r\ndy\r\n0\r\n\r\n";
    assert!(said(say(chunks), &ok, Some("ready")).await.is_ok());
    assert!(said(say("HTTP/1.0 200 OK\r\n\r\nready"), &ok, Some("ready")).await.is_ok());
    let short = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nreally";
    assert!(said(say(short), &ok, Some("ready")).await.is_err(), "cut off");
}

#[tokio::test]
async fn a_huge_body_is_read_to_its_limit_only() {
    let ok = [200..=200];
    let flood = Then::Flood("HTTP/1.1 200 OK\r\n\r\nready");
    let limit = Duration::from_secs(20);
    let found = tokio::time::timeout(limit, said(flood.clone(), &ok, Some("ready"))).await;
    assert!(found.unwrap().is_ok());
    let found = tokio::time::timeout(limit, said(flood.clone(), &ok, Some("steady"))).await;
    assert_eq!(found.unwrap(), Err("the body does not contain \"steady\"".to_owned()));
    let found = tokio::time::timeout(limit, said(flood, &ok, None)).await;
    assert!(found.unwrap().is_ok(), "nobody asked for the body");
    let mut late = b"HTTP/1.1 200 OK\r\nContent-Length: 65541\r\n\r\n".to_vec();
    late.extend_from_slice(&vec![b' '; MOST_BODY]);
    late.extend_from_slice(b"ready");
    assert!(said(Then::Say(late), &ok, Some("ready")).await.is_err(), "behind the limit");
}

#[tokio::test]
async fn endless_headers_fail() {
    let flood = Then::Flood("HTTP/1.1 200 OK\r\nX: ");
    let result = tokio::time::timeout(Duration::from_secs(20), said(flood, &[200..=200], None));
    assert!(result.await.unwrap().is_err());
}

#[tokio::test]
async fn no_answer_and_half_an_answer_are_waited_for() {
    let body = Some("ready");
    for text in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nrea"] {
        let result = said(Then::Hang(text), &[200..=200], body);
        assert!(tokio::time::timeout(Duration::from_millis(50), result).await.is_err(), "{text}");
    }
}

#[tokio::test]
async fn nonsense_and_nobody_fail() {
    for text in ["", "SSH-2.0-x\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"] {
        assert!(said(say(text), &[200..=200], None).await.is_err(), "{text}");
    }
    let server = Server::start(say("")).await;
    let address = server.address;
    drop(server);
    let gone = || async { TcpListener::bind(address).await.is_ok() };
    while !gone().await {
        tokio::task::yield_now().await;
    }
    let result = Http::new(http(address)).run().await.unwrap_err();
    let expected = format!("connect to 127.0.0.1 port {}: Connection refused", address.port());
    assert!(result.starts_with(&expected), "{result}");
}

/// A server with a certificate of its own for `name`, and that certificate.
async fn secure(name: &str) -> (Server, CertificateDer<'static>) {
    let signed = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let certificate = signed.cert.der().clone();
    let key = PrivateKeyDer::try_from(signed.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let answer = say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nready");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    (Server::start_at("127.0.0.1:0", answer, Some(acceptor)).await, certificate)
}

/// What a test of `server` under this name says.
async fn secure_said(server: &Server, name: &'static str, trust: Trust) -> Verdict {
    let tls = Some(Tls { name: ServerName::try_from(name).unwrap(), trust });
    let body_contains = Some("ready".to_owned());
    Http::new(checked::Http { tls, body_contains, ..http(server.address) }).run().await
}

#[tokio::test]
async fn a_certificate_must_be_trusted_and_for_the_name() {
    let (server, certificate) = secure("web.example").await;
    let ours = Trust::Authorities(vec![certificate]);
    let result = secure_said(&server, "web.example", ours.clone()).await;
    assert!(result.unwrap().starts_with("200 in "));
    let result = secure_said(&server, "mail.example", ours).await.unwrap_err();
    assert!(result.contains("not valid for name"), "{result}");
    let (_, another) = secure("web.example").await;
    for trust in [Trust::Machine, Trust::Authorities(vec![another])] {
        let result = secure_said(&server, "web.example", trust).await.unwrap_err();
        assert!(result.starts_with("TLS with 127.0.0.1: invalid peer certificate"), "{result}");
    }
    assert!(secure_said(&server, "mail.example", Trust::Anyone).await.is_ok());
}
