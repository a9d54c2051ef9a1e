//! Metrics of real agents, read by a parser that is not this project's, while things fail.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use rais_tests::netns::Host;
use rais_tests::trial::{Eye, LIMIT, Trial, id, service};
use rais_tests::wait;
use serde::Deserialize;

/// Where the agents serve their metrics.
const METRICS: &str = "127.0.0.1:9477";

/// Reads a page on standard input; a JSON object for each sample.
const PARSER: &str = r"
import json, sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
for family in parse(sys.stdin.read()):
    for s in family.samples:
        print(json.dumps(dict(name=s.name, type=family.type, labels=s.labels, value=s.value)))
";

#[derive(Debug, Deserialize)]
struct Sample {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

struct Page(Vec<Sample>);

impl Page {
    /// The value of the series with these labels, among others.
    fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let fits = |s: &&Sample| {
            s.name == name && labels.iter().all(|(k, v)| s.labels.get(*k).is_some_and(|l| l == v))
        };
        self.0.iter().find(fits).map(|sample| sample.value)
    }

    fn is(&self, name: &str, labels: &[(&str, &str)], value: f64) -> bool {
        self.get(name, labels).is_some_and(|found| (found - value).abs() < f64::EPSILON)
    }
}

fn connect(host: &Host) -> TcpStream {
    let address: SocketAddr = METRICS.parse().unwrap();
    let stream = host.inside(|| TcpStream::connect_timeout(&address, LIMIT)).unwrap().unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

fn scrape(host: &Host) -> Page {
    let mut stream = connect(host);
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.0 200 OK"), "{head}");
    let mut parser = Command::new("/usr/bin/python3");
    parser.args(["-c", PARSER]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut parser = parser.spawn().unwrap();
    let mut stdin = parser.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(body.as_bytes()).unwrap());
        let parsed = parser.wait_with_output().unwrap();
        assert!(parsed.status.success(), "not OpenMetrics:\n{body}");
        let lines = String::from_utf8(parsed.stdout).unwrap();
        Page(lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    })
}

fn start(trial: &mut Trial, number: u8) {
    trial.add(number).unwrap();
    let config = trial.config(number, &[number], "").unwrap();
    let config = config.replacen("[agent]\n", &format!("[agent]\nmetrics = \"{METRICS}\"\n"), 1);
    trial.host(number).start_agent(&config).unwrap();
}

#[test]
fn a_failover_is_on_the_page_and_slow_readers_hold_up_nothing() {
    let mut trial = Trial::new().unwrap();
    start(&mut trial, 1);
    start(&mut trial, 2);
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    let (one, two) = (id(1).to_string(), id(2).to_string());
    let (gone, kept) = (service(1).to_string(), service(2).to_string());
    let page = scrape(trial.get(2));
    assert!(page.is("rais_leader", &[("group", "demo"), ("host", &one)], 1.0));
    assert!(page.is("rais_leading", &[], 0.0) && page.is("rais_hosts_in_sight", &[], 2.0));
    assert!(page.is("rais_address_holder", &[("address", &gone), ("host", &one)], 1.0));
    assert!(page.get("rais_messages_received_total", &[("type", "info")]).unwrap() > 1.0);
    let forged = [("reason", "forged")];
    assert!(page.is("rais_messages_refused_total", &forged, 0.0));
    let arrived = [("change", "acquired"), ("reason", "host-down")];
    assert!(page.is("rais_moves_total", &arrived, 0.0));

    // More than there is room for, each with half a request; and some that take no answer.
    let mut slow: Vec<TcpStream> = (0..64).map(|_| connect(trial.get(2))).collect();
    for (n, stream) in slow.iter_mut().enumerate() {
        let whole = n % 2 == 0;
        // Who had to make room finds the connection closed.
        stream
            .write_all(if whole { b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" } else { b"GET /" })
            .ok();
    }
    trial.host(1).kill_agent().unwrap();
    let page = wait::until("the failover on the page", LIMIT, || {
        let page = scrape(trial.get(2));
        let online = [("address", gone.as_str()), ("state", "online")];
        let held = page.is("rais_address_holder", &[("address", &gone), ("host", &two)], 1.0);
        let counted = page.is("rais_moves_total", &arrived, 1.0);
        Ok((held && counted && page.is("rais_address_state", &online, 1.0)).then_some(page))
    })
    .unwrap();
    assert!(page.is("rais_leading", &[], 1.0) && page.is("rais_hosts_in_sight", &[], 1.0));
    assert!(page.is("rais_address_holder", &[("address", &kept), ("host", &two)], 1.0));
    assert!(page.is("rais_events_total", &[("kind", "host-down")], 1.0));
    assert!(page.is("rais_events_total", &[("kind", "lease-lapsed")], 0.0));
    let ordered = [("change", "acquire-ordered"), ("phase", "silence")];
    let silence = page.get("rais_change_phase_duration_seconds_sum", &ordered).unwrap();
    assert!(silence >= rais_tests::trial::TIMEOUT.as_secs_f64(), "{silence}");
    let beats = page.get("rais_heartbeats_sent_total", &[]).unwrap();
    let late = page.get("rais_heartbeat_lateness_seconds_count", &[]).unwrap();
    assert!(late > 1.0 && late <= beats, "{late} of {beats}");
    let kinds = page.0.iter().find(|s| s.name == "rais_moves_total").map(|s| s.kind.as_str());
    assert_eq!(kinds, Some("counter"));
    drop(slow);
}

/// Scrapes without a pause until its input ends, then prints how often.
const SCRAPER: &str = r"
import select, sys, urllib.request
pages = 0
while not select.select([sys.stdin], [], [], 0)[0]:
    with urllib.request.urlopen(sys.argv[1], timeout=30) as page:
        assert b'rais_leader' in page.read()
    pages += 1
print(pages)
";

/// Milliseconds for which nobody answered for the address of host 1 when its agent was killed.
fn outage(trial: &mut Trial, eye: &mut Eye) -> f64 {
    trial.host(1).kill_agent().unwrap();
    trial.settle(&[(1, 2), (2, 2)]).unwrap();
    let outage = eye.look().unwrap().remove(&1).unwrap().outage_ms;
    trial.host(1).restart_agent().unwrap();
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    eye.look().unwrap();
    outage
}

// The host that takes over is asked for its metrics without a pause, by two at once → a failover
// takes no longer than one that nobody looks at, but for what the machine's noise makes of it.
#[test]
fn scraping_delays_no_failover() {
    let mut trial = Trial::new().unwrap();
    start(&mut trial, 1);
    start(&mut trial, 2);
    trial.settle(&[(1, 1), (2, 2)]).unwrap();
    let mut eye = trial.watch(&[1]).unwrap();
    let alone = outage(&mut trial, &mut eye);
    let scrapers = [(); 2].map(|()| {
        let mut scraper = trial.get(2).command("/usr/bin/python3");
        scraper.args(["-c", SCRAPER, &format!("http://{METRICS}/metrics")]);
        scraper.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    });
    let watched = outage(&mut trial, &mut eye);
    let pages = scrapers.map(|scraper| {
        let output = scraper.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap().trim().parse::<u32>().unwrap()
    });
    println!("{alone} ms alone, {watched} ms while {pages:?} pages were served");
    assert!(pages.iter().all(|&pages| pages > 10), "{pages:?}");
    assert!(alone > 0.0 && watched < 2.0 * alone, "{watched} ms instead of {alone} ms");
}

#[test]
fn an_agent_whose_metrics_cannot_be_served_does_not_start() {
    let mut trial = Trial::new().unwrap();
    trial.add(1).unwrap();
    let config = trial.config(1, &[1], "").unwrap();
    let config = config.replacen("[agent]\n", "[agent]\nmetrics = \"192.0.2.9:9477\"\n", 1);
    trial.host(1).start_agent(&config).unwrap();
    assert!(!trial.host(1).wait_agent_end(LIMIT).unwrap().success());
    let log = trial.get(1).log_tail();
    assert!(log.contains("`metrics`: cannot listen on 192.0.2.9:9477"), "{log}");
    assert!(trial.get(1).attached().is_err() && trial.get(1).configured().unwrap().is_empty());
}
