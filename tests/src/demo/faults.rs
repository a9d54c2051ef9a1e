//! The faults, how each is undone, and what the client saw of it.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use super::{Demo, OBSERVED, preferred};
use crate::probe::Report;
use crate::probe::tally::millis;
use crate::wait::pause;

/// How long the client is watched after everything is back where it belongs.
const AFTER_RETURN: Duration = Duration::from_millis(500);
/// How long a terminated agent may take to release everything and end.
const END_LIMIT: Duration = Duration::from_secs(10);

/// Something that goes wrong on the host at a position, and how it ends.
struct Fault {
    name: &'static str,
    begin: fn(&mut Demo, usize) -> Result<()>,
    end: fn(&mut Demo, usize) -> Result<()>,
}

const FAULTS: [Fault; 4] = [
    Fault {
        name: "holder cut off silently",
        begin: |demo, victim| demo.cut(victim),
        end: |demo, _| demo.heal(),
    },
    Fault {
        name: "agent killed (SIGKILL)",
        begin: |demo, victim| demo.host(victim)?.kill_agent(),
        end: |demo, victim| demo.host(victim)?.restart_agent(),
    },
    Fault {
        name: "agent frozen (SIGSTOP)",
        begin: |demo, victim| demo.host(victim)?.freeze_agent(),
        end: |demo, victim| demo.host(victim)?.thaw_agent(),
    },
    Fault {
        name: "agent stopped (SIGTERM)",
        begin: |demo, victim| {
            demo.host(victim)?.terminate_agent()?;
            demo.host(victim)?.wait_agent_end(END_LIMIT).map(drop)
        },
        end: |demo, victim| demo.host(victim)?.restart_agent(),
    },
];

/// What the client saw of one fault, of the addresses that were touched by it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    /// The fault.
    pub fault: &'static str,
    /// When it struck.
    pub during: Seen,
    /// When the host came back.
    pub back: Seen,
    /// The addresses answered again in time, two hosts never answered, and all went home.
    pub survived: bool,
    /// What was wrong, where something was.
    pub wrong: Vec<String>,
}

/// What the client saw in one window.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Seen {
    /// Longest silence of any of the addresses, in milliseconds.
    pub outage_ms: f64,
    /// Echoes lost to the address that lost most.
    pub lost: u64,
    /// For how long two hosts answered for one address (of all that are watched), in milliseconds.
    pub doubled_ms: f64,
    /// How late the client itself was at worst, in milliseconds.
    pub stall_ms: f64,
}

impl Seen {
    fn of(report: &Report, addresses: &[IpAddr]) -> Self {
        let touched = || addresses.iter().filter_map(|address| report.of(*address));
        let longest = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, f64::max);
        Self {
            outage_ms: longest(&mut touched().map(|seen| seen.outage_ms)),
            lost: touched().map(|seen| seen.lost).max().unwrap_or(0),
            doubled_ms: longest(&mut report.addresses.iter().map(|seen| seen.arp_doubled_ms)),
            stall_ms: report.longest_stall_ms,
        }
    }
}

/// One fault after another, then the fourth host. `say` is told what goes on.
///
/// # Errors
/// The bed failed, or no agent answers any more. A fault that was not survived is no error.
pub fn run_all(demo: &mut Demo, say: &mut dyn FnMut(&str)) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for fault in &FAULTS {
        let row = run(demo, fault, say).with_context(|| fault.name)?;
        rows.push(row);
    }
    rows.push(join(demo, say).context("a fourth host joins")?);
    Ok(rows)
}

fn run(demo: &mut Demo, fault: &Fault, say: &mut dyn FnMut(&str)) -> Result<Row> {
    let victim = demo.holder_of_floating()?;
    let floating = demo.floating();
    let host = demo.host(victim)?;
    let (name, held) = (host.name().to_owned(), [floating, preferred(host)]);
    say(&format!("{}: {name}, which has {} and {}", fault.name, held[0], held[1]));

    demo.mark()?;
    (fault.begin)(demo, victim)?;
    pause(OBSERVED);
    let report = demo.seen()?;
    let mut row = Row { fault: fault.name, during: Seen::of(&report, &held), ..Row::default() };
    for address in held {
        judge_moved(&report, address, &name, &mut row.wrong);
    }
    say(&format!("  the client saw {}", in_words(&row.during)));

    (fault.end)(demo, victim)?;
    if let Err(e) = demo.wait_home() {
        row.wrong.push(format!("not everything went home: {e:#}"));
    }
    pause(AFTER_RETURN);
    let report = demo.seen()?;
    row.back = Seen::of(&report, &held);
    for address in held {
        if !report.of(address).is_some_and(|seen| seen.answering) {
            row.wrong.push(format!("{address} did not answer in the end"));
        }
    }
    say(&format!("  {name} is back: {}", in_words(&row.back)));
    Ok(finished(row, say))
}

/// A fourth host starts. The others were not told; the client should see nothing of it.
fn join(demo: &mut Demo, say: &mut dyn FnMut(&str)) -> Result<Row> {
    say("a fourth host that nobody was told about");
    let mut touched = vec![demo.floating()];
    touched.extend(demo.hosts.iter().map(preferred));
    demo.watch_hosts(4)?;
    demo.add_fourth()?;
    pause(OBSERVED);
    let report = demo.seen()?;
    let mut row = Row { fault: "a fourth host joins", ..Row::default() };
    row.during = Seen::of(&report, &touched);
    let own = demo.hosts.last().map(preferred).context("there is no fourth host")?;
    if report.of(own).and_then(|seen| seen.last_host.as_deref()) != Some("h4") {
        row.wrong.push(format!("h4 did not take {own} within {OBSERVED:?}"));
    }
    for address in touched {
        if !report.of(address).is_some_and(|seen| seen.answering && seen.hosts.len() == 1) {
            say(&format!("  NOTE: {address} did not stay where it was"));
        }
    }
    if let Err(e) = demo.wait_home() {
        row.wrong.push(format!("the hosts do not agree: {e:#}"));
    }
    say(&format!("  the client saw {}", in_words(&row.during)));
    Ok(finished(row, say))
}

/// Whether an address answers again, from another host than the one that had it.
fn judge_moved(report: &Report, address: IpAddr, victim: &str, wrong: &mut Vec<String>) {
    let Some(seen) = report.of(address) else { return };
    if !seen.answering {
        wrong.push(format!("{address} did not answer again within {OBSERVED:?}"));
    } else if seen.last_host.as_deref() == Some(victim) {
        wrong.push(format!("{address} is still answered by {victim}"));
    }
}

/// The verdict.
fn finished(mut row: Row, say: &mut dyn FnMut(&str)) -> Row {
    if row.during.doubled_ms > 0.0 || row.back.doubled_ms > 0.0 {
        row.wrong.push("two hosts answered for one address".into());
    }
    let outage_ms = row.during.outage_ms.max(row.back.outage_ms);
    if outage_ms > millis(OBSERVED) {
        row.wrong.push(format!("an address did not answer for {outage_ms:.0} ms"));
    }
    row.survived = row.wrong.is_empty();
    for wrong in &row.wrong {
        say(&format!("  WRONG: {wrong}"));
    }
    row
}

fn in_words(seen: &Seen) -> String {
    let Seen { outage_ms, lost, doubled_ms, .. } = seen;
    format!(
        "an outage of {outage_ms:.1} ms, {lost} lost; two hosts answered for {doubled_ms:.0} ms"
    )
}
