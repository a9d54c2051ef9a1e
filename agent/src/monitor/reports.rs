//! What a group reports becomes an event, a log line and, where one is configured, a notice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use super::scripts::{Notice, Scripts};
use super::traps;
use crate::clock;
use crate::events::{self, Event as Record, EventLog, PhaseTimes};
use crate::group::{ChangePhase, HostId, Phases, Report};
use crate::metrics::Measures;
use crate::traps::{Speaker, Traps};

/// Most reports that wait to be written down: where all addresses move at once, an order and an
/// acquisition or a release for each, and some.
const QUEUE: usize = 2 * rais_common::maps::MAX_ADDRESSES as usize + 8_192;

/// So many reports are written down at a time, and of those about addresses so many of a kind have
/// a line of their own in the agent's log: where thousands of addresses move, lines for all would
/// hold up everything else. The events have them all.
const AT_ONCE: usize = 1_024;
const LINES: usize = 8;

/// When the agent ends, so long notifications may take that were not sent yet.
const LAST_TRAPS: Duration = Duration::from_secs(1);

/// Whom reports go to.
pub struct Readers {
    /// Events.
    pub log: Arc<EventLog>,
    /// Notices.
    pub scripts: Scripts,
    /// Counts and times.
    pub measures: Arc<Measures>,
    /// SNMP notifications.
    pub traps: Traps,
    /// Notifications in the place of those before, which are sent to their end.
    pub other_traps: mpsc::Receiver<Traps>,
}

/// A new queue of reports.
#[must_use]
pub fn queue() -> (mpsc::Sender<Report>, mpsc::Receiver<Report>) {
    mpsc::channel(QUEUE)
}

/// Writes down everything one group reports, on `runtime`, until its driver has ended. What comes
/// back ends when that is done.
pub fn start(
    runtime: &Handle,
    reports: mpsc::Receiver<Report>,
    speaker: Speaker,
    readers: Readers,
) -> watch::Receiver<()> {
    let (all_told, told) = watch::channel(());
    runtime.spawn(async move {
        write_down(reports, speaker.group, speaker.host, readers).await;
        drop(all_told);
    });
    told
}

async fn write_down(
    mut reports: mpsc::Receiver<Report>,
    group: String,
    host: HostId,
    readers: Readers,
) {
    let Readers { log, scripts, measures, mut traps, mut other_traps } = readers;
    let mut some = Vec::new();
    loop {
        tokio::select! {
            Some(other) = other_traps.recv() => {
                let before = std::mem::replace(&mut traps, other);
                tokio::spawn(before.finish(LAST_TRAPS));
                continue;
            }
            count = reports.recv_many(&mut some, AT_ONCE) => if count == 0 { break },
        }
        let readers = Told { log: &log, scripts: &scripts, measures: &measures, traps: &traps };
        let mut lines = Lines::default();
        for report in some.drain(..) {
            write_one(report, &group, host, readers, &mut lines);
        }
        lines.end(&group);
    }
    traps.finish(LAST_TRAPS).await;
}

/// Who is told of a report.
#[derive(Clone, Copy)]
struct Told<'a> {
    log: &'a EventLog,
    scripts: &'a Scripts,
    measures: &'a Measures,
    traps: &'a Traps,
}

fn write_one(report: Report, group: &str, host: HostId, told: Told<'_>, lines: &mut Lines) {
    let Told { log, scripts, measures, traps } = told;
    if let Some(notice) = notice(&report)
        && scripts.submit(super::scripts::Job::Notice(notice)).is_err()
    {
        measures.notice_dropped();
        tracing::warn!(group, "a notice script was left out: too much is waiting");
    }
    if let Some(trap) = traps::trap(&report) {
        traps.send(trap);
    }
    let event = event(group, host, report);
    lines.write(&event);
    measures.event(&event);
    log.push(event);
}

/// The lines of the agent's log about events that came together.
#[derive(Default)]
struct Lines(BTreeMap<String, usize>);

impl Lines {
    fn write(&mut self, event: &Record) {
        let about_address = event.address.is_some();
        let before = self.0.entry(event.kind.clone()).or_default();
        *before += usize::from(about_address);
        if *before <= LINES {
            tracing::info!("{event}");
        }
    }

    /// Says what had no line.
    fn end(self, group: &str) {
        for (kind, count) in self.0.into_iter().filter(|&(_, count)| count > LINES) {
            let more = count - LINES;
            tracing::info!("{group} {kind}: {more} more addresses; `rais events` lists them");
        }
    }
}

/// The notice that goes with a report.
fn notice(report: &Report) -> Option<Notice> {
    match report {
        Report::TestFailed { detail } => Some(Notice::TestFailed { detail: detail.clone() }),
        Report::CannotAssign(address) => Some(Notice::CannotAssign(*address)),
        Report::Leader(_)
        | Report::HostUp(_)
        | Report::HostDown { .. }
        | Report::HostLeft(_)
        | Report::Ordered { .. }
        | Report::Acquired { .. }
        | Report::AcquireFailed { .. }
        | Report::Released { .. }
        | Report::ReleaseFailed { .. }
        | Report::TestPassed
        | Report::LeaseLapsed { .. }
        | Report::Quorum { .. }
        | Report::PreferredTwice { .. }
        | Report::Conflict { .. }
        | Report::Quiesced(_)
        | Report::BootRaised => None,
    }
}

/// A report of `host` as an event.
fn event(group: &str, host: HostId, report: Report) -> Record {
    let base = Record {
        time: events::rfc3339(clock::wall_nanos()),
        group: group.to_owned(),
        ..Record::default()
    };
    let kind = |kind: &str| Record { kind: kind.to_owned(), ..base.clone() };
    let about = |name: &str, who: HostId| Record { to: Some(who.0), ..kind(name) };
    let with = |name: &str, detail: String| Record { detail: Some(detail), ..kind(name) };
    match report {
        Report::Leader(Some(leader)) => about("leader", leader),
        Report::Leader(None) => kind("no-leader"),
        Report::HostUp(who) => about("host-up", who),
        Report::HostDown { host, silence } => {
            let phases = Phases::from([(ChangePhase::Silence, silence)]);
            timed(about("host-down", host), &phases)
        }
        Report::HostLeft(who) => about("host-left", who),
        Report::TestFailed { detail } => with("test-failed", detail),
        Report::TestPassed => kind("test-passed"),
        Report::LeaseLapsed { late, addresses } => with(
            "lease-lapsed",
            format!("without a lease for {late:.1?}: {addresses} addresses withdrawn"),
        ),
        Report::Quorum { met, live } => with(
            if met { "quorum-met" } else { "quorum-lost" },
            format!("{live} hosts are in sight"),
        ),
        Report::Quiesced(true) => kind("quiesced"),
        Report::Quiesced(false) => kind("resumed"),
        Report::BootRaised => {
            with("boot-raised", "others remember a later start: is the clock right?".to_owned())
        }
        Report::Ordered { address, .. }
        | Report::Acquired { address, .. }
        | Report::AcquireFailed { address, .. }
        | Report::Released { address, .. }
        | Report::ReleaseFailed { address, .. }
        | Report::PreferredTwice { address, .. }
        | Report::Conflict { address, .. }
        | Report::CannotAssign(address) => {
            about_address(Record { address: Some(address), ..base }, host, report)
        }
    }
}

/// A report about an address, added to what all of them have.
fn about_address(base: Record, host: HostId, report: Report) -> Record {
    let me = Some(host.0);
    let kind = |kind: &str| Record { kind: kind.to_owned(), ..base.clone() };
    let with = |name: &str, detail: String| Record { detail: Some(detail), ..kind(name) };
    match report {
        Report::Ordered { acquire, from, to, epoch, reason, phases, .. } => Record {
            from: from.map(|h| h.0),
            to: acquire.then_some(to.0),
            reason: Some(reason.word().to_owned()),
            epoch: Some(epoch),
            decided_by: me,
            ..timed(kind(if acquire { "acquire-ordered" } else { "release-ordered" }), &phases)
        },
        Report::Acquired { epoch, reason, from, by, phases, .. } => Record {
            from: from.map(|h| h.0),
            to: me,
            reason: Some(reason.word().to_owned()),
            epoch: Some(epoch),
            decided_by: by.map(|h| h.0),
            ..timed(kind("acquired"), &phases)
        },
        Report::Released { epoch, reason, by, phases, .. } => Record {
            from: me,
            reason: Some(reason.word().to_owned()),
            epoch: Some(epoch),
            decided_by: by.map(|h| h.0).or(me),
            ..timed(kind("released"), &phases)
        },
        Report::AcquireFailed { epoch, from, by, phases, error, .. } => Record {
            from: from.map(|h| h.0),
            to: me,
            epoch: Some(epoch),
            decided_by: by.map(|h| h.0),
            failed_in: phases.last().map(|phase| phase.word().to_owned()),
            ..timed(with("acquire-failed", error), &phases)
        },
        Report::ReleaseFailed { epoch, error, .. } => {
            Record { from: me, epoch: Some(epoch), ..with("release-failed", error) }
        }
        Report::PreferredTwice { hosts: [first, second], .. } => with(
            "preferred-twice",
            format!("{first} and {second} both call it theirs; the first is believed"),
        ),
        Report::Conflict { mac, .. } => with("conflict", format!("claimed by {}", hex(mac))),
        Report::CannotAssign(_) => with("cannot-assign", "no host can take it".to_owned()),
        // Not about an address.
        Report::Leader(_)
        | Report::HostUp(_)
        | Report::HostDown { .. }
        | Report::HostLeft(_)
        | Report::TestFailed { .. }
        | Report::TestPassed
        | Report::LeaseLapsed { .. }
        | Report::Quorum { .. }
        | Report::Quiesced(_)
        | Report::BootRaised => base,
    }
}

/// Adds how long it took, where that was measured.
fn timed(record: Record, phases: &Phases) -> Record {
    let times = phases.iter().map(|(phase, span)| (phase.word().to_owned(), millis(span)));
    let took_ms = (!phases.is_empty()).then(|| millis(phases.total()));
    Record { took_ms, phases: PhaseTimes(times.collect()), ..record }
}

/// Milliseconds, to the microsecond.
fn millis(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e6).round() / 1e3
}

fn hex(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
