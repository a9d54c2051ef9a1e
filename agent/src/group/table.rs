//! The leader's table: addresses, and who has them.
//!
//! It is made anew for each decision: so it is made in one go from what is sorted already, and
//! nothing is looked up in it by line. Of very many addresses it shows some at a time.

use std::net::IpAddr;
use std::ops::{Bound, Range};

use super::control::Situation;
use super::{AddressState, HostId, Served};

/// A host that has an address, how far along it is, and under which epoch.
pub(super) type Held = (HostId, AddressState, u64);

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    /// It is an address of the group.
    pub valid: bool,
    pub preferred: Option<HostId>,
    /// Ascending by host.
    pub holders: &'a [Held],
}

#[derive(Debug)]
struct Line {
    address: IpAddr,
    valid: bool,
    preferred: Option<HostId>,
    /// Where in the table's holders its own are.
    holders: Range<usize>,
}

/// Addresses from one, which is among them, to another, which is not; without end on either side.
pub(super) type Span = (Bound<IpAddr>, Bound<IpAddr>);

/// All addresses.
pub(super) const ALL: Span = (Bound::Unbounded, Bound::Unbounded);

/// Each valid address, and each that somebody serves; all there are, or those of a span.
#[derive(Debug)]
pub(super) struct Table {
    span: Span,
    /// Ascending by address.
    lines: Vec<Line>,
    holders: Vec<Held>,
}

impl Table {
    /// All addresses.
    pub fn new(situation: &Situation<'_>) -> Self {
        Self::of(situation, ALL)
    }

    /// `most` addresses of the database, from `first` on, and what else is served among them.
    pub fn some(situation: &Situation<'_>, first: Option<IpAddr>, most: usize) -> Self {
        let from = first.map_or(Bound::Unbounded, Bound::Included);
        let behind = situation.database.range((from, Bound::Unbounded)).nth(most);
        let to = behind.map_or(Bound::Unbounded, |(address, _)| Bound::Excluded(address));
        Self::of(situation, (from, to))
    }

    fn of(situation: &Situation<'_>, span: Span) -> Self {
        let mut served: Vec<(IpAddr, Held)> = Vec::new();
        for member in &situation.members {
            let each = within(&member.info.served, span).iter();
            served.extend(each.map(|s| (s.address, (member.host, s.state, s.epoch))));
        }
        // Each host's list is ascending, and the sort makes use of that. It is stable: of one
        // address the hosts stay ascending.
        served.sort_by_key(|&(address, _)| address);
        let mut lines = Vec::new();
        let mut end = 0;
        let mut line = |address, valid, preferred, run: &[(IpAddr, Held)]| {
            let first = end;
            end += run.len();
            lines.push(Line { address, valid, preferred, holders: first..end });
        };
        let of = |run: &[(IpAddr, Held)]| run.first().map(|&(address, _)| address);
        let mut runs = served.chunk_by(|a, b| a.0 == b.0).peekable();
        for (address, entry) in situation.database.range(span) {
            while let Some(run) = runs.next_if(|run| of(run) < Some(address)) {
                if let Some(address) = of(run) {
                    line(address, false, None, run);
                }
            }
            let run = runs.next_if(|run| of(run) == Some(address)).unwrap_or_default();
            let valid = entry.stands(situation.now, situation.timeout);
            line(address, valid, entry.preferred, run);
        }
        for run in runs {
            if let Some(address) = of(run) {
                line(address, false, None, run);
            }
        }
        Self { span, lines, holders: served.into_iter().map(|(_, held)| held).collect() }
    }

    /// Which addresses it shows.
    pub fn span(&self) -> Span {
        self.span
    }

    /// The address that it does not reach any more; none where it shows the last there is.
    pub fn end(&self) -> Option<IpAddr> {
        match self.span.1 {
            Bound::Excluded(address) => Some(address),
            Bound::Included(_) | Bound::Unbounded => None,
        }
    }

    /// All lines, ascending by address.
    pub fn iter(&self) -> impl Iterator<Item = (IpAddr, Row<'_>)> {
        self.lines.iter().map(|line| (line.address, self.row(line)))
    }

    /// The line of an address.
    pub fn get(&self, address: IpAddr) -> Option<Row<'_>> {
        let found = self.lines.binary_search_by_key(&address, |line| line.address).ok();
        found.and_then(|n| self.lines.get(n)).map(|line| self.row(line))
    }

    fn row(&self, line: &Line) -> Row<'_> {
        let Line { valid, preferred, .. } = *line;
        let holders = self.holders.get(line.holders.clone()).unwrap_or_default();
        Row { valid, preferred, holders }
    }
}

/// The part of an ascending list that lies in a span.
fn within(served: &[Served], (from, to): Span) -> &[Served] {
    let place = |address: IpAddr| served.partition_point(|s| s.address < address);
    let first = if let Bound::Included(address) = from { place(address) } else { 0 };
    let end = if let Bound::Excluded(address) = to { place(address) } else { served.len() };
    served.get(first..end).unwrap_or_default()
}
