//! The state that is checked: hosts, what is in flight between them, and what the rules need.

use std::fmt::Display;
use std::net::IpAddr;
use std::sync::Arc;

use rais::group::{Event, Group, Message};
use rais_common::time::Time;

use super::host::{FIRST_BOOT, Host, Underway};
use super::setup::{Setup, time};

/// A copy of a message on its way to one host.
#[derive(Clone, Debug)]
pub(super) struct Datagram {
    pub from: usize,
    pub to: usize,
    pub message: Arc<Message>,
    /// When it was sent.
    pub sent: u32,
    /// It does not arrive at once.
    pub late: bool,
}

/// Heartbeats from one host to another.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Path {
    /// So many in a row were lost or are late.
    pub missed: u32,
    /// When the last one arrived before.
    pub heard: u32,
    /// Until when the receiver had missed too much to be held to I1.
    pub excused: u32,
}

/// A state.
#[derive(Clone, Debug)]
pub struct World {
    pub(super) now: u32,
    pub(super) hosts: Vec<Arc<Host>>,
    pub(super) flying: Vec<Datagram>,
    pub(super) paths: Vec<Path>,
    /// The last host is the first to act.
    pub(super) backwards: bool,
    /// Faults there have been.
    pub(super) faults: u32,
    /// Since when nothing unforeseen has happened.
    pub(super) quiet: u32,
    pub(super) violation: Option<String>,
    log: Option<Vec<String>>,
}

impl World {
    pub(super) fn new(starts: Vec<u32>, backwards: bool) -> Self {
        let hosts: Vec<_> = starts.into_iter().map(|at| Arc::new(Host::off(at))).collect();
        Self {
            now: 0,
            paths: vec![Path::default(); hosts.len() * hosts.len()],
            hosts,
            flying: Vec::new(),
            backwards,
            faults: 0,
            quiet: 0,
            violation: None,
            log: None,
        }
    }

    /// What rule was broken, and how.
    #[must_use]
    pub fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    pub(super) fn time(&self) -> Time {
        time(self.now)
    }

    pub(super) fn host(&mut self, host: usize) -> &mut Host {
        Arc::make_mut(&mut self.hosts[host])
    }

    pub(super) fn path(&mut self, from: usize, to: usize) -> &mut Path {
        let hosts = self.hosts.len();
        &mut self.paths[from * hosts + to]
    }

    /// The hosts in the order in which they act.
    pub(super) fn order(&self) -> impl Iterator<Item = usize> + use<> {
        let (count, backwards) = (self.hosts.len(), self.backwards);
        (0..count).map(move |n| if backwards { count - 1 - n } else { n })
    }

    /// The agent of a host starts; first of all it takes away what its predecessor left.
    pub(super) fn start(&mut self, setup: &Setup, index: usize) {
        self.note(index, "** starts");
        let now = self.time();
        let host = self.host(index);
        host.starts = None;
        host.open.clear();
        host.underway.retain(|_, at| matches!(at, Underway::Forwarded { leased: false, .. }));
        host.lease = Time::ZERO;
        let starts = u64::try_from(host.sent.len()).unwrap();
        let boot = FIRST_BOOT + (u64::try_from(index).unwrap() << 32) + starts;
        host.sent.push(0);
        host.group = Some(Group::new(setup.settings(index), boot, now));
        host.own.push_back(Event::Health { ok: host.ok, detail: String::new() });
    }

    /// The hosts that answer for an address.
    pub(super) fn answering(&self, address: IpAddr) -> Vec<usize> {
        let now = self.time();
        (0..self.hosts.len()).filter(|&h| self.hosts[h].answers(address, now)).collect()
    }

    /// From now on a history is kept.
    pub(super) fn write_down(&mut self) {
        self.log = Some(Vec::new());
    }

    pub(super) fn history(self) -> Vec<String> {
        self.log.unwrap_or_default()
    }

    pub(super) fn note(&mut self, host: usize, what: impl Display) {
        let now = f64::from(self.now) / 2.0;
        if let Some(log) = &mut self.log {
            log.push(format!("{now:>6.1} heartbeats, host {host}: {what}"));
        }
    }

    pub(super) fn break_rule(&mut self, host: usize, what: impl Display) {
        let what = what.to_string();
        self.note(host, format_args!("BROKEN {what}"));
        self.violation.get_or_insert(what);
    }
}
