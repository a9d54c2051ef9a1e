//! What was measured, for people.

use std::fmt::Write as _;

use serde::Serialize;

use super::faults::{Row, Seen};

/// The middle of several runs of one fault.
#[derive(Clone, Debug, Serialize)]
pub struct Median {
    /// The fault.
    pub fault: &'static str,
    /// When it struck: medians, but the longest that two hosts answered.
    pub during: Seen,
    /// When the host came back, likewise.
    pub back: Seen,
    /// How many runs survived it.
    pub survived: usize,
    /// How many runs there were.
    pub runs: usize,
}

/// One line a fault, in the order of the first run.
#[must_use]
pub fn medians(runs: &[Vec<Row>]) -> Vec<Median> {
    let faults = runs.first().into_iter().flatten().map(|row| row.fault);
    faults
        .map(|fault| {
            let rows: Vec<&Row> = runs.iter().flatten().filter(|row| row.fault == fault).collect();
            Median {
                fault,
                during: middle(rows.iter().map(|row| row.during)),
                back: middle(rows.iter().map(|row| row.back)),
                survived: rows.iter().filter(|row| row.survived).count(),
                runs: rows.len(),
            }
        })
        .collect()
}

/// The upper median of each column; of what must never be, the worst.
fn middle(seen: impl Iterator<Item = Seen>) -> Seen {
    let seen: Vec<Seen> = seen.collect();
    let median = |column: fn(&Seen) -> f64| {
        let mut values: Vec<f64> = seen.iter().map(column).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(0.0)
    };
    let mut lost: Vec<u64> = seen.iter().map(|s| s.lost).collect();
    lost.sort_unstable();
    Seen {
        outage_ms: median(|s| s.outage_ms),
        lost: lost.get(lost.len() / 2).copied().unwrap_or(0),
        doubled_ms: seen.iter().map(|s| s.doubled_ms).fold(0.0, f64::max),
        stall_ms: seen.iter().map(|s| s.stall_ms).fold(0.0, f64::max),
    }
}

/// The table.
#[must_use]
pub fn table(lines: &[Median]) -> String {
    let mut text = String::new();
    let runs = lines.first().map_or(0, |line| line.runs);
    let title = if runs > 1 { format!("medians of {runs} runs") } else { String::new() };
    writeln!(text, "{title:<26} {:^27}   {:^27}", "when it strikes", "when it is over").ok();
    let columns = format!("{:>9} {:>6} {:>10}", "outage ms", "lost", "doubled ms");
    writeln!(text, "{:<26} {columns}   {columns}   survived", "fault").ok();
    for line in lines {
        let survived = match (line.survived, line.runs) {
            (1, 1) => "yes".into(),
            (0, 1) => "NO".into(),
            (survived, runs) => format!("{survived} of {runs}"),
        };
        let (during, back) = (cells(&line.during), cells(&line.back));
        writeln!(text, "{:<26} {during}   {back}   {survived}", line.fault).ok();
    }
    let stall = lines.iter().map(|l| l.during.stall_ms.max(l.back.stall_ms)).fold(0.0, f64::max);
    writeln!(
        text,
        "The client asked every millisecond and was itself late by {stall:.1} ms at most."
    )
    .ok();
    text
}

fn cells(seen: &Seen) -> String {
    format!("{:>9.1} {:>6} {:>10.0}", seen.outage_ms, seen.lost, seen.doubled_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(outage_ms: f64, doubled_ms: f64) -> Row {
        let during = Seen { outage_ms, doubled_ms, lost: 3, stall_ms: 1.0 };
        Row {
            fault: "f",
            during,
            back: Seen::default(),
            survived: doubled_ms == 0.0,
            wrong: vec![],
        }
    }

    #[test]
    fn several_runs_give_the_middle_outage_and_the_worst_doubling() {
        let lines = medians(&[vec![row(30.0, 0.0)], vec![row(90.0, 4.0)], vec![row(10.0, 0.0)]]);
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        assert!((line.during.outage_ms - 30.0).abs() < 0.01);
        assert!((line.during.doubled_ms - 4.0).abs() < 0.01);
        assert_eq!((line.survived, line.runs), (2, 3));
    }

    #[test]
    fn the_table_says_no_where_a_single_run_did_not_survive() {
        assert!(table(&medians(&[vec![row(30.0, 2.0)]])).contains("NO"));
        assert!(table(&medians(&[vec![row(30.0, 0.0)]])).contains("yes"));
    }
}
