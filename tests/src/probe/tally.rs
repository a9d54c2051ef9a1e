//! Counting what one address answered: pure, so that the instrument itself can be tested.
//!
//! Whatever was sent stays open for [`GRACE`]; then it is settled into the window, in the order of
//! sending. Memory is bounded by what is open.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use rais_common::time::Time;

use super::AddressReport;

/// An answer later than this does not count. A report ends this long before it is asked for.
pub const GRACE: Duration = Duration::from_millis(100);

/// Everything known about one watched address.
#[derive(Debug)]
pub struct Tally {
    address: IpAddr,
    echoes: VecDeque<Echo>,
    requests: VecDeque<Request>,
    window_start: Time,
    last_answer: Time,
    last_mac: Option<[u8; 6]>,
    /// The last settled request, if two hosts answered it: time passes on its account.
    doubled_since: Option<Time>,
    report: AddressReport,
    arp_hosts: BTreeMap<[u8; 6], u64>,
}

#[derive(Debug)]
struct Echo {
    sequence: u64,
    sent: Time,
    answer: Option<(Time, String)>,
    twice: bool,
}

#[derive(Debug)]
struct Request {
    asker: IpAddr,
    sent: Time,
    macs: Vec<[u8; 6]>,
}

impl Tally {
    /// Nothing seen yet; the first window begins at `now`.
    #[must_use]
    pub fn new(address: IpAddr, now: Time) -> Self {
        Self {
            address,
            echoes: VecDeque::new(),
            requests: VecDeque::new(),
            window_start: now,
            last_answer: now,
            last_mac: None,
            doubled_since: None,
            report: AddressReport::default(),
            arp_hosts: BTreeMap::new(),
        }
    }

    /// The address.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// An echo was sent. Sequence numbers ascend.
    pub fn echo_sent(&mut self, sequence: u64, at: Time) {
        self.echoes.push_back(Echo { sequence, sent: at, answer: None, twice: false });
    }

    /// An echo was answered.
    pub fn echo_answered(&mut self, sequence: u64, at: Time, host: &str) {
        let Ok(index) = self.echoes.binary_search_by_key(&sequence, |e| e.sequence) else {
            return; // settled long ago, or never sent
        };
        if let Some(echo) = self.echoes.get_mut(index) {
            if echo.answer.is_some() {
                echo.twice = true;
            } else {
                echo.answer = Some((at, host.to_owned()));
            }
        }
    }

    /// An ARP request or neighbour solicitation was sent, told from others by its sender address.
    pub fn asked(&mut self, asker: IpAddr, at: Time) {
        self.requests.push_back(Request { asker, sent: at, macs: Vec::new() });
    }

    /// A reply to one came. It belongs to the latest request with that sender address.
    pub fn claimed(&mut self, asker: IpAddr, mac: [u8; 6]) {
        let request = self.requests.iter_mut().rev().find(|r| r.asker == asker);
        if let Some(request) = request
            && !request.macs.contains(&mac)
        {
            request.macs.push(mac);
        }
    }

    /// Settles what was sent more than [`GRACE`] before `now`.
    pub fn settle(&mut self, now: Time) {
        let until = now.minus(GRACE);
        while let Some(echo) = self.echoes.pop_front_if(|e| e.sent <= until) {
            self.settle_echo(echo);
        }
        while let Some(request) = self.requests.pop_front_if(|r| r.sent <= until) {
            self.settle_request(&request);
        }
    }

    /// Ends the window [`GRACE`] before `now` and begins the next.
    pub fn report(&mut self, now: Time) -> AddressReport {
        self.settle(now);
        let end = now.minus(GRACE);
        self.note_gap(end);
        if let Some(since) = self.doubled_since.take() {
            self.report.arp_doubled_ms += millis(end.since(since));
            self.doubled_since = Some(end);
        }
        let mut report = std::mem::take(&mut self.report);
        report.address = Some(self.address);
        report.arp_hosts =
            std::mem::take(&mut self.arp_hosts).iter().map(|(m, n)| (mac_text(*m), *n)).collect();
        self.window_start = end;
        report
    }

    fn settle_echo(&mut self, echo: Echo) {
        self.report.sent += 1;
        self.report.answered_twice += u64::from(echo.twice);
        self.report.answering = echo.answer.is_some();
        let Some((at, host)) = echo.answer else {
            self.report.lost += 1;
            return;
        };
        self.note_gap(at);
        self.last_answer = self.last_answer.max(at);
        *self.report.hosts.entry(host.clone()).or_default() += 1;
        self.report.last_host = Some(host);
    }

    fn settle_request(&mut self, request: &Request) {
        self.report.arp_asked += 1;
        if let Some(since) = self.doubled_since.take() {
            self.report.arp_doubled_ms += millis(request.sent.since(since));
        }
        for mac in &request.macs {
            *self.arp_hosts.entry(*mac).or_default() += 1;
        }
        match request.macs.as_slice() {
            [] => self.report.arp_unanswered += 1,
            [mac] => {
                let moved = self.last_mac.is_some_and(|last| last != *mac);
                self.report.arp_handovers += u64::from(moved);
                self.last_mac = Some(*mac);
            }
            _ => {
                self.report.arp_doubled += 1;
                self.doubled_since = Some(request.sent);
            }
        }
    }

    /// An answer at `at`, or the end of the window: how long was it since the last answer?
    fn note_gap(&mut self, at: Time) {
        let gap = millis(at.since(self.last_answer.max(self.window_start)));
        self.report.outage_ms = self.report.outage_ms.max(gap);
    }
}

/// Milliseconds with their fraction.
#[must_use]
pub fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 100));
    const A: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const B: [u8; 6] = [2, 0, 0, 0, 0, 2];

    fn at(ms: u64) -> Time {
        Time::ZERO + Duration::from_millis(1_000 + ms)
    }

    /// An echo each millisecond from 0 to `end`, answered at once where `host` says by whom.
    fn echoes(end: u64, host: impl Fn(u64) -> Option<&'static str>) -> AddressReport {
        let mut tally = Tally::new(ADDRESS, at(0));
        for ms in 0..end {
            tally.echo_sent(ms, at(ms));
            if let Some(host) = host(ms) {
                tally.echo_answered(ms, at(ms), host);
            }
        }
        tally.report(at(end) + GRACE)
    }

    #[test]
    fn all_answered_is_no_outage() {
        let report = echoes(500, |_| Some("h1"));
        assert_eq!((report.sent, report.lost), (500, 0));
        assert!(report.outage_ms <= 1.0, "{}", report.outage_ms);
        assert!(report.answering);
        assert_eq!(report.hosts.get("h1"), Some(&500));
    }

    #[test]
    fn a_move_is_the_gap_between_the_last_answer_and_the_next() {
        let report = echoes(500, |ms| match ms {
            0..200 => Some("h1"),
            200..240 => None,
            _ => Some("h2"),
        });
        assert_eq!(report.lost, 40);
        assert!((report.outage_ms - 41.0).abs() < 0.01, "{}", report.outage_ms);
        assert_eq!(report.last_host.as_deref(), Some("h2"));
    }

    #[test]
    fn silence_to_the_end_counts() {
        let report = echoes(500, |ms| (ms < 100).then_some("h1"));
        assert!((report.outage_ms - 401.0).abs() < 0.01, "{}", report.outage_ms);
        assert!(!report.answering);
    }

    #[test]
    fn an_outage_across_two_windows_is_split_between_them() {
        let mut tally = Tally::new(ADDRESS, at(0));
        tally.echo_sent(1, at(0));
        tally.echo_answered(1, at(0), "h1");
        assert!((tally.report(at(50) + GRACE).outage_ms - 50.0).abs() < 0.01);
        tally.echo_sent(2, at(80));
        tally.echo_answered(2, at(80), "h1");
        assert!((tally.report(at(90) + GRACE).outage_ms - 30.0).abs() < 0.01);
    }

    #[test]
    fn an_answer_after_the_grace_is_lost_and_one_within_it_is_not() {
        let mut tally = Tally::new(ADDRESS, at(0));
        tally.echo_sent(1, at(0));
        tally.echo_sent(2, at(1));
        tally.echo_answered(2, at(90), "h1");
        tally.settle(at(101));
        tally.echo_answered(1, at(102), "h1");
        let report = tally.report(at(1) + GRACE);
        assert_eq!((report.sent, report.lost), (2, 1));
    }

    /// An ARP request each 2 ms, answered by those that `macs` says.
    fn requests(count: u8, macs: impl Fn(u8) -> Vec<[u8; 6]>) -> AddressReport {
        let mut tally = Tally::new(ADDRESS, at(0));
        for n in 0..count {
            let asker = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 192 + n % 60));
            tally.asked(asker, at(2 * u64::from(n)));
            for mac in macs(n) {
                tally.claimed(asker, mac);
            }
        }
        tally.report(at(2 * u64::from(count)) + GRACE)
    }

    #[test]
    fn a_clean_move_is_one_handover_and_nothing_doubled() {
        let report = requests(100, |n| match n {
            0..40 => vec![A],
            40..50 => vec![],
            _ => vec![B],
        });
        assert_eq!((report.arp_asked, report.arp_unanswered), (100, 10));
        assert_eq!((report.arp_doubled, report.arp_handovers), (0, 1));
    }

    #[test]
    fn two_hosts_answering_are_counted_for_as_long_as_they_do() {
        let report = requests(100, |n| match n {
            0..40 => vec![A],
            40..50 => vec![A, B],
            _ => vec![B],
        });
        assert_eq!(report.arp_doubled, 10);
        assert!((report.arp_doubled_ms - 20.0).abs() < 0.01, "{}", report.arp_doubled_ms);
        assert_eq!(report.arp_hosts.get("02:00:00:00:00:02"), Some(&60));
    }

    #[test]
    fn one_host_answering_twice_is_not_doubled() {
        assert_eq!(requests(10, |_| vec![A, A]).arp_doubled, 0);
    }
}
