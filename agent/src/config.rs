//! The configuration file: TOML in, [`checked::Config`] out, or every mistake in it.
//!
//! Nothing stops at the first mistake: a value that is wrong is reported and its default used in
//! its stead, so that the rest of the file is checked too. What comes out is thrown away unless
//! there was no mistake at all.

mod agent;
pub(crate) mod arp_ignore;
pub mod checked;
mod daemon;
mod duration;
mod enslaved;
pub mod facts;
mod group;
mod keys;
mod loads;
mod mistakes;
mod name_service;
mod objects;
pub mod plan;
mod range;
mod reader;
mod traps;
mod tsig;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use toml::de::DeTable;

pub use mistakes::{Mistake, Mistakes};

use checked::{Config, DataPlaneKind};
use facts::{Facts, Machine};
use reader::{At, Document, Section};

/// Most groups one agent can be in.
pub const MAX_GROUPS: usize = 64;

/// Most service addresses of all groups together, preferred and floating: as many as one machine
/// can hold.
pub const MAX_ADDRESSES: usize = rais_common::maps::MAX_ADDRESSES as usize;

/// Most without BPF, where the kernel is asked for each of them between heartbeats.
pub const MAX_WITHOUT_BPF: usize = crate::data_plane::kernel::MAX_HELD;

/// A file larger than this is not a configuration.
const MAX_FILE: u64 = 4 << 20;

/// Reads and checks the file at `path` against this machine.
///
/// # Errors
/// Every mistake found, or the reason why the file cannot be read. Nothing has been changed.
pub fn load(path: &Path) -> Result<Config, Mistakes> {
    let text = read(path).map_err(|message| Mistakes::of_file(path, message))?;
    check(path, &text, &Machine)
}

/// Checks `text`, the contents of the file called `path`, against `facts` about the machine.
///
/// # Errors
/// Every mistake found.
pub fn check(path: &Path, text: &str, facts: &dyn Facts) -> Result<Config, Mistakes> {
    let (syntax, trimmed) = syntax(text);
    let holes = !syntax.is_empty();
    let document = Document::new(text, holes);
    for (offset, message) in syntax {
        document.mistake(offset, message);
    }
    let config = trimmed.and_then(|trimmed| {
        let root = DeTable::parse(&trimmed).ok()?;
        whole(Section::root(&document, root.get_ref()), facts)
    });
    let found = document.into_mistakes();
    match config {
        Some(config) if found.is_empty() => Ok(config),
        _ => Err(Mistakes::new(path, found)),
    }
}

/// The text of the file.
fn read(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|e| format!("cannot be opened: {e}"))?;
    file.take(MAX_FILE + 1)
        .read_to_string(&mut text)
        .map_err(|e| format!("cannot be read as UTF-8 text: {e}"))?;
    if text.len() as u64 > MAX_FILE {
        return Err(format!("is larger than {MAX_FILE} bytes, too large for a configuration"));
    }
    Ok(text)
}

/// What is not TOML in `text`, and the text with those lines blanked, so that the others can be
/// checked in the same run. No text where a line that gives others their meaning (a header, an
/// open bracket) is at fault: what follows would be misread.
fn syntax(text: &str) -> (Vec<(usize, String)>, Option<String>) {
    let (_, errors) = DeTable::parse_recoverable(text);
    let mut found = Vec::with_capacity(errors.len());
    let mut trimmed = text.to_owned();
    let mut usable = true;
    for error in errors {
        let offset = error.span().map_or(0, |span| span.start).min(text.len());
        let (before, after) = text.split_at_checked(offset).unwrap_or((text, ""));
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let end = after.find('\n').map_or(text.len(), |newline| offset + newline);
        let line = text.get(start..end).unwrap_or_default();
        usable &= !line.trim_start().starts_with('[');
        trimmed.replace_range(start..end, &" ".repeat(line.len()));
        found.push((offset, format!("not TOML: {}", error.message())));
    }
    let usable = usable && DeTable::parse(&trimmed).is_ok();
    (found, usable.then_some(trimmed))
}

/// The whole file. None where something is missing without which there is no configuration.
fn whole(root: Section<'_>, facts: &dyn Facts) -> Option<Config> {
    let agent = root.table("agent", "[agent]");
    let sections = root.tables("group", "[[group]]");
    if sections.is_empty() && !root.has("group") {
        root.missing("no [[group]]: the agent would have nothing to do; add at least one");
    }
    if let Some(extra) = sections.get(MAX_GROUPS) {
        extra.mistake(format!("more than {MAX_GROUPS} groups; an agent can be in {MAX_GROUPS}"));
    }
    let raw = agent::read(agent, facts);
    let groups: Vec<_> = sections
        .into_iter()
        .take(MAX_GROUPS)
        .map(|section| group::read(section, raw.data_plane, facts))
        .collect();
    let host = raw.host_id.or_else(|| groups.first().and_then(group::Raw::control_address));
    duplicates(&root, &groups);
    not_too_many(&root, &groups, raw.data_plane);
    for group in &groups {
        group.check_not_host(host, root.document());
    }
    root.finish();
    let host = host?;
    Some(Config {
        groups: groups
            .into_iter()
            .map(|group| group.build(host, raw.data_plane))
            .collect::<Option<_>>()?,
        agent: raw.build(host),
    })
}

/// A host can hold so many addresses, all groups together.
fn not_too_many(root: &Section<'_>, groups: &[group::Raw<'_>], data_plane: DataPlaneKind) {
    let (most, how) = match data_plane {
        DataPlaneKind::Xdp => (MAX_ADDRESSES, ""),
        DataPlaneKind::Kernel => (MAX_WITHOUT_BPF, " with `data_plane = \"kernel\"`"),
    };
    let mut all = groups.iter().flat_map(group::Raw::service_addresses);
    if let Some(At { offset, .. }) = all.nth(most) {
        let message =
            format!("more than {most} service addresses, which is what a host can hold{how}");
        root.document().mistake(offset, message);
    }
}

/// What may be there once only: group names, group addresses, and service addresses on one
/// interface.
fn duplicates(root: &Section<'_>, groups: &[group::Raw<'_>]) {
    let document = root.document();
    let mut names = BTreeMap::new();
    let mut multicast = BTreeMap::new();
    let mut service = BTreeMap::new();
    let mut listen = BTreeMap::new();
    let mut twice = None;
    for group in groups {
        if let Some(At { value, offset }) = group.name {
            document.once(&mut names, value, offset, |first| {
                format!("group `{value}` is there already, in line {first}; names are unique")
            });
        }
        if let Some(At { value, offset }) = group.address {
            document.once(&mut multicast, value, offset, |first| {
                format!("{value} is the address of another group already, in line {first}")
            });
        }
        for At { value, offset } in group.listens_on() {
            document.once(&mut listen, value, offset, |first| {
                format!("the name service listens on {value} already, in line {first}")
            });
        }
        let interface = group.service_interface.as_ref().map(|interface| interface.name.as_str());
        for At { value, offset } in group.service_addresses() {
            // Where the interface is unknown, a duplicate within the group still shows.
            let scope = interface.unwrap_or_else(|| group.name.map_or("", |name| name.value));
            // Once for an entry that stands for many.
            if twice == Some(offset) {
                continue;
            }
            let seen = document.once(&mut service, (scope, value), offset, |first| {
                format!("{value} is a service address already, in line {first}")
            });
            twice = seen.then_some(offset).or(twice);
        }
    }
}

#[cfg(test)]
mod tests;
