//! The page, and the server over real sockets.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::events::{Event, PhaseTimes};
use crate::status::{Address, AddressState, ControlInterface, Group, Host, Identity, Phase, Test};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1));
const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 2));
const SERVICE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fn host(id: IpAddr, load: u32, capacity: u32) -> Host {
    Host {
        id,
        ok: true,
        quiesced: false,
        load,
        capacity,
        age_ms: 0,
        phase: Phase::Member,
        preferred: Vec::new(),
        addresses: Vec::new(),
    }
}

fn group(name: &str) -> Group {
    let address = Address {
        address: SERVICE,
        preferred: None,
        holders: vec![THERE],
        state: AddressState::Online,
        orphaned_s: None,
        packets: 7,
        bytes: 700,
        connections: 3,
    };
    let test = Test {
        name: "a \"quoted\\\" one\n".to_owned(),
        passing: true,
        since_s: 1,
        detail: String::new(),
    };
    Group {
        name: name.to_owned(),
        leader: Some(HERE),
        quorum_met: true,
        hosts: vec![host(HERE, 250, 1000), host(THERE, 5, 0)],
        addresses: vec![address],
        tests: vec![test],
        control_interfaces: vec![ControlInterface {
            name: "eth1".to_owned(),
            up: true,
            ..ControlInterface::default()
        }],
        ..Group::default()
    }
}

fn sample() -> Sample {
    let measures = Arc::new(Measures::default());
    let phases = vec![("configure".to_owned(), 0.4), ("script".to_owned(), 2.6)];
    measures.event(&Event {
        kind: "acquired".to_owned(),
        reason: Some("host-down".to_owned()),
        took_ms: Some(3.0),
        phases: PhaseTimes(phases),
        ..Event::default()
    });
    measures.lateness.observe(Duration::from_millis(2));
    measures.heartbeat_sent();
    let counted = |measures: &Arc<Measures>| Counted {
        received: vec![("info", 12)],
        refused: vec![("forged", 0), ("duplicate", 4)],
        dropped: vec![("inbox", 1)],
        traps: vec![("failed", 5)],
        measures: Arc::clone(measures),
    };
    let other = Arc::new(Measures::default());
    Sample {
        status: Status {
            version: "1.2.3".to_owned(),
            host: Identity { id: HERE, control_addresses: Vec::new() },
            groups: vec![group("web"), group("mail")],
        },
        counted: [("web".to_owned(), counted(&measures)), ("mail".to_owned(), counted(&other))]
            .into(),
    }
}

#[test]
fn what_is_known_is_on_the_page() {
    let page = page(sample()).unwrap();
    for line in [
        "rais_build_info{version=\"1.2.3\"} 1",
        "rais_leader{group=\"web\",host=\"10.77.0.1\"} 1",
        "rais_leading{group=\"mail\"} 1",
        "rais_hosts_in_sight{group=\"web\"} 2",
        "rais_host_load{group=\"web\",host=\"10.77.0.1\"} 250",
        "rais_host_utilisation_ratio{group=\"web\",host=\"10.77.0.1\"} 0.25",
        "rais_host_utilisation_ratio{group=\"web\",host=\"10.77.0.2\"} 1.0",
        "rais_test_passing{group=\"web\",test=\"a \\\"quoted\\\\\\\" one\\n\"} 1",
        "rais_address_state{group=\"web\",address=\"192.0.2.1\",state=\"online\"} 1",
        "rais_address_state{group=\"web\",address=\"192.0.2.1\",state=\"unserved\"} 0",
        "rais_address_holder{group=\"web\",address=\"192.0.2.1\",host=\"10.77.0.2\"} 1",
        "rais_address_received_bytes_total{group=\"web\",address=\"192.0.2.1\"} 700",
        "rais_moves_total{group=\"web\",change=\"acquired\",reason=\"host-down\"} 1",
        "rais_moves_total{group=\"mail\",change=\"acquired\",reason=\"host-down\"} 0",
        "rais_events_total{group=\"web\",kind=\"acquired\"} 1",
        "rais_events_total{group=\"web\",kind=\"cannot-assign\"} 0",
        "# TYPE rais_change_phase_duration_seconds histogram",
        "rais_change_duration_seconds_count{group=\"web\",change=\"acquired\"} 1",
        "rais_change_phase_duration_seconds_bucket{le=\"0.0005\",group=\"web\",change=\"acquired\",phase=\"configure\"} 1",
        "rais_heartbeats_sent_total{group=\"web\"} 1",
        "rais_heartbeat_lateness_seconds_bucket{le=\"0.0025\",group=\"web\"} 1",
        "rais_heartbeat_lateness_seconds_bucket{le=\"0.001\",group=\"web\"} 0",
        "rais_messages_received_total{group=\"web\",type=\"info\"} 12",
        "rais_messages_refused_total{group=\"web\",reason=\"duplicate\"} 4",
        "rais_dropped_total{group=\"web\",queue=\"inbox\"} 1",
        "rais_notifications_total{group=\"web\",result=\"failed\"} 5",
        "# EOF",
    ] {
        assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
    }
}

/// A metric appears once, with what it means, however many groups have it.
#[test]
fn each_metric_is_explained_once() {
    let page = page(sample()).unwrap();
    let names = |what: &str| -> Vec<String> {
        let prefix = format!("# {what} ");
        let lines = page.lines().filter_map(|line| line.strip_prefix(&prefix));
        lines.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    };
    let (types, helps) = (names("TYPE"), names("HELP"));
    assert_eq!(types, helps);
    assert_eq!(types.iter().collect::<BTreeSet<_>>().len(), types.len());
    assert!(types.len() > 30 && types.iter().all(|name| name.starts_with("rais_")));
    for line in page.lines().filter(|line| line.starts_with("# HELP ")) {
        assert!(line.ends_with('.'), "{line}");
    }
}

/// The sample alert rules speak of metrics that there are.
#[test]
fn alerts_are_about_metrics_that_exist() {
    let alerts = include_str!("../../../docs/alerts.yml");
    let page = page(sample()).unwrap();
    let whole = alerts.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let named: BTreeSet<&str> = whole.filter(|word| word.starts_with("rais_")).collect();
    assert!(named.len() >= 8, "{named:?}");
    for name in named {
        let series =
            |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        assert!(page.lines().any(series), "{name} is not on the page");
    }
}

/// Counts how often it was asked.
#[derive(Default)]
struct Fake(AtomicU64);

impl Source for Fake {
    async fn sample(&self) -> Sample {
        self.0.fetch_add(1, Ordering::Relaxed);
        sample()
    }
}

async fn serve() -> (Server, SocketAddr, Arc<Fake>) {
    let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let address = listener.0.local_addr().unwrap();
    let fake = Arc::new(Fake::default());
    (listener.serve(Arc::clone(&fake)), address, fake)
}

async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

const GET: &str = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test]
async fn the_page_is_served_and_nothing_else() {
    let (_server, address, _) = serve().await;
    let page = ask(address, GET).await;
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
    assert!(page.contains("content-type: application/openmetrics-text; version=1.0.0"), "{page}");
    assert!(page.ends_with("# EOF\n"));
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        ("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "405"),
        ("nonsense\r\n\r\n", "400"),
        (&format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(64 << 10)), "431"),
    ] {
        let answer = ask(address, request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
}

#[tokio::test]
async fn who_asks_is_served_whatever_others_do() {
    let (_server, address, _) = serve().await;
    let mut slow = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nX: ").await.unwrap();
        slow.push(stream);
    }
    assert!(ask(address, GET).await.starts_with("HTTP/1.1 200 OK\r\n"));
    // The first of them was let go.
    let mut rest = Vec::new();
    assert!(matches!(slow[0].read_to_end(&mut rest).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn many_readers_are_one_question_to_the_agent() {
    let (_server, address, fake) = serve().await;
    for _ in 0..8 {
        let (a, b) = tokio::join!(ask(address, GET), ask(address, GET));
        assert!(a.ends_with("# EOF\n") && b.ends_with("# EOF\n"));
    }
    assert!(fake.0.load(Ordering::Relaxed) < 16);
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let (_server, address, _) = serve().await;
    let error = Listener::bind(address).await.unwrap_err().to_string();
    let expected = format!("`metrics`: cannot listen on {address}: ");
    assert!(error.starts_with(&expected), "{error}");
}
