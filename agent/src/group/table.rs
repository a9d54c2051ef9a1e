//! The leader's table: every address, and who has it.
//!
//! It is made anew for each decision, of ten thousand addresses ten times in a second: so it is
//! made in one go from what is sorted already, and nothing is looked up in it by line.

use std::net::IpAddr;
use std::ops::Range;

use super::control::Situation;
use super::{AddressState, HostId};

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

/// Each valid address, and each that somebody serves.
#[derive(Debug)]
pub(super) struct Table {
    /// Ascending by address.
    lines: Vec<Line>,
    holders: Vec<Held>,
}

impl Table {
    pub fn new(situation: &Situation<'_>) -> Self {
        let mut served: Vec<(IpAddr, Held)> = Vec::with_capacity(situation.database.len());
        for member in &situation.members {
            let each = member.info.served.iter();
            served.extend(each.map(|s| (s.address, (member.host, s.state, s.epoch))));
        }
        // Each host's list is ascending, and the sort makes use of that. It is stable: of one
        // address the hosts stay ascending.
        served.sort_by_key(|&(address, _)| address);
        let mut lines = Vec::with_capacity(situation.database.len());
        let mut end = 0;
        let mut line = |address, valid, preferred, run: &[(IpAddr, Held)]| {
            let first = end;
            end += run.len();
            lines.push(Line { address, valid, preferred, holders: first..end });
        };
        let of = |run: &[(IpAddr, Held)]| run.first().map(|&(address, _)| address);
        let mut runs = served.chunk_by(|a, b| a.0 == b.0).peekable();
        for (address, entry) in situation.database.iter() {
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
        Self { lines, holders: served.into_iter().map(|(_, held)| held).collect() }
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
