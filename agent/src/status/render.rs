//! The status for people: tables on a terminal, one line a thing in a pipe.

use std::fmt::{Display, Write};
use std::net::IpAddr;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};

use super::{Address, ControlInterface, Dns, Group, Host, Messages, Phase, Status, Test, one_line};

/// How to show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// One line a thing, for pipes: stable, easily searched.
    Plain,
    /// Tables, for a terminal so many columns wide.
    Tables {
        /// Columns of the terminal.
        width: u16,
        /// Whether colours are wanted.
        colour: bool,
    },
}

/// The status as text, which ends with a newline.
#[must_use]
pub fn render(status: &Status, style: Style) -> String {
    let mut text = format!(
        "rais {} on host {} (control {})\n",
        status.version,
        status.host.id,
        join(&status.host.control_addresses, "none"),
    );
    for group in &status.groups {
        text.push_str(&match style {
            Style::Plain => plain(group),
            Style::Tables { width, colour } => tables(group, width, colour),
        });
    }
    text
}

/// What there is, separated by commas; else `nothing`.
fn join<T: Display>(list: &[T], nothing: &str) -> String {
    if list.is_empty() {
        return nothing.to_owned();
    }
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What there is; else `nothing`.
fn or<T: Display>(value: Option<T>, nothing: &str) -> String {
    value.map_or_else(|| nothing.to_owned(), |value| value.to_string())
}

/// The group in a sentence; `mark` is applied to what is good (true) or bad.
fn headline(group: &Group, mark: impl Fn(bool, &str) -> String) -> String {
    let role = match group.role {
        super::Role::Member => "member",
        super::Role::Observer => "observer",
    };
    let mut words = vec![
        format!("leader {}", or(group.leader, "none")),
        role.to_owned(),
        if group.ok { mark(true, "ok") } else { mark(false, "not ok") },
    ];
    if group.quiesced {
        words.push(mark(false, "quiesced"));
    }
    words.push(if group.quorum_met {
        mark(true, "quorum met")
    } else {
        mark(false, "quorum not met")
    });
    if !group.secure {
        words.push(mark(false, "INSECURE: messages are neither sealed nor checked"));
    }
    format!("group {}: {}", group.name, words.join(", "))
}

fn data_plane(group: &Group) -> String {
    let plane = &group.data_plane;
    let counted: Vec<_> = plane
        .counters
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    let lease = match plane.lease_ms_left {
        0 => "no lease".to_owned(),
        left => format!("lease {left} ms"),
    };
    let counted = join(&counted, "nothing counted");
    let what = [&plane.kind, &plane.mode].map(String::as_str).join(" ");
    let note = if plane.note.is_empty() { String::new() } else { format!("; {}", plane.note) };
    format!("{} on {}, {lease}; {counted}{note}", what.trim_end(), plane.interface)
}

fn messages(messages: &Messages) -> String {
    let refused: Vec<_> = messages
        .refused
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(reason, count)| format!("{reason} {count}"))
        .collect();
    format!(
        "sent {}, failed {}, received {}, duplicates {}, refused {}",
        messages.sent,
        messages.send_failed,
        messages.received,
        messages.duplicates,
        join(&refused, "none"),
    )
}

/// Most hosts that are named as not heard on an interface; JSON has all.
const MISSED_NAMED: usize = 4;

/// A control interface in a sentence; `mark` is applied to what is bad.
///
/// Nobody heard is trouble of the interface only where another one hears somebody.
fn control_interface(
    link: &ControlInterface,
    all: &[ControlInterface],
    mark: impl Fn(bool, &str) -> String,
) -> String {
    let up = if link.up { "up".to_owned() } else { mark(false, "down or without carrier") };
    let missed: Vec<_> = link.hosts.iter().filter(|h| !h.heard).map(|h| h.id).collect();
    let elsewhere = all.iter().any(|other| other.hosts_heard > 0);
    let heard = match (link.hosts_heard, missed.len()) {
        (0, 0) => "no other host in sight".to_owned(),
        (0, _) if elsewhere => mark(false, "SILENT: no host heard here, but on another interface"),
        (0, missed) => mark(false, &format!("none of {missed} hosts heard")),
        (heard, 0) => format!("all {heard} hosts heard"),
        (heard, more) => {
            let all = heard + more;
            let named: Vec<_> = missed.iter().take(MISSED_NAMED).collect();
            let rest = match more - named.len() {
                0 => String::new(),
                rest => format!(" and {rest} more"),
            };
            mark(false, &format!("{heard} of {all} hosts heard, not {}{rest}", join(&named, "")))
        }
    };
    let last = link.last_heard_ms.map_or_else(String::new, |ms| format!(", last {ms} ms ago"));
    format!("{}: {up}, {heard}{last}; sent {}, failed {}", link.name, link.sent, link.send_failed)
}

fn state(host: &Host) -> String {
    let mut words = vec![if host.ok { "ok" } else { "not ok" }];
    if host.quiesced {
        words.push("quiesced");
    }
    match host.phase {
        Phase::Joining => words.push("joining"),
        Phase::Member => {}
        Phase::Leaving => words.push("leaving"),
    }
    words.join(", ")
}

fn served(host: &Host) -> Vec<String> {
    host.addresses
        .iter()
        .map(|a| format!("{} ({}, epoch {})", a.address, a.state.word(), a.epoch))
        .collect()
}

fn orphaned(address: &Address) -> String {
    address.orphaned_s.map_or_else(String::new, |seconds| format!("orphaned for {seconds} s"))
}

fn test_state(test: &Test) -> String {
    format!("{} for {} s", if test.passing { "passing" } else { "failing" }, test.since_s)
}

/// What is not advertised, and why.
fn withheld(dns: &Dns) -> Vec<String> {
    let why = |at: &IpAddr| dns.reasons.get(at).map_or_else(String::new, |w| format!(" ({w})"));
    dns.withheld.iter().map(|address| format!("{address}{}", why(address))).collect()
}

/// One line a thing, each beginning with what it is.
fn plain(group: &Group) -> String {
    let mut lines = vec![
        headline(group, |_, word| word.to_owned()),
        format!("  data plane: {}", data_plane(group)),
        format!("  messages: {}", messages(&group.messages)),
    ];
    let interfaces = &group.control_interfaces;
    lines.extend(interfaces.iter().map(|link| {
        format!("  control {}", control_interface(link, interfaces, |_, word| word.to_owned()))
    }));
    lines.extend(group.hosts.iter().map(|host| {
        format!(
            "  host {}: {}, load {}/{}, heard {} ms ago, prefers {}, serves {}",
            host.id,
            state(host),
            host.load,
            host.capacity,
            host.age_ms,
            join(&host.preferred, "nothing"),
            join(&served(host), "nothing"),
        )
    }));
    lines.extend(group.addresses.iter().map(|address| {
        let orphaned = match orphaned(address) {
            text if text.is_empty() => text,
            text => format!(", {text}"),
        };
        format!(
            "  address {}: {}, held by {}, preferred by {}{orphaned}, {} packets, {} bytes, {} \
             connections",
            address.address,
            address.state.word(),
            join(&address.holders, "nobody"),
            or(address.preferred, "nobody"),
            address.packets,
            address.bytes,
            address.connections,
        )
    }));
    lines.extend(
        group
            .tests
            .iter()
            .map(|t| format!("  test {}: {}: {}", t.name, test_state(t), one_line(&t.detail))),
    );
    if let Some(dns) = &group.dns {
        let advertised = join(&dns.advertised, "nothing");
        let withheld = join(&withheld(dns), "nothing");
        let trouble = dns.trouble.as_ref();
        let trouble = trouble.map_or_else(String::new, |t| format!("; TROUBLE: {}", one_line(t)));
        lines.push(format!("  dns: advertised {advertised}; withheld {withheld}{trouble}"));
    }
    lines.iter().fold(String::new(), |mut text, line| {
        // Writing to a String does not fail.
        writeln!(text, "{line}").ok();
        text
    })
}

fn tables(group: &Group, width: u16, colour: bool) -> String {
    let mark = |good: bool, word: &str| match (colour, good) {
        (false, _) => word.to_owned(),
        (true, true) => format!("\x1b[32m{word}\x1b[0m"),
        (true, false) => format!("\x1b[31m{word}\x1b[0m"),
    };
    let mut parts = vec![
        String::new(),
        headline(group, mark),
        format!("data plane: {}", data_plane(group)),
        format!("messages: {}", messages(&group.messages)),
    ];
    let interfaces = &group.control_interfaces;
    parts.extend(
        interfaces
            .iter()
            .map(|link| format!("control {}", control_interface(link, interfaces, mark))),
    );
    parts.push(table(
        width,
        ["host", "state", "load", "heard", "prefers", "serves"],
        group.hosts.iter().map(|host| {
            [
                host.id.to_string(),
                state(host),
                format!("{}/{}", host.load, host.capacity),
                format!("{} ms ago", host.age_ms),
                join(&host.preferred, ""),
                join(&served(host), ""),
            ]
        }),
    ));
    if !group.addresses.is_empty() {
        parts.push(table(width, ADDRESS_COLUMNS, group.addresses.iter().map(address_row)));
    }
    if !group.tests.is_empty() {
        parts.push(table(
            width,
            ["test", "state", "last result"],
            group.tests.iter().map(|t| [t.name.clone(), test_state(t), one_line(&t.detail)]),
        ));
    }
    if let Some(dns) = &group.dns {
        parts.push(table(
            width,
            ["advertised in DNS", "withheld"],
            std::iter::once([join(&dns.advertised, ""), join(&withheld(dns), "")]),
        ));
        parts.extend(dns.trouble.as_ref().map(|t| mark(false, &format!("DNS: {}", one_line(t)))));
    }
    parts.push(String::new());
    parts.join("\n")
}

/// Short, so that a row of IPv4 addresses fits 80 columns.
const ADDRESS_COLUMNS: [&str; 7] =
    ["address", "state", "held by", "prefers", "packets", "bytes", "conns"];

fn address_row(address: &Address) -> [String; 7] {
    let orphaned = orphaned(address);
    let state = address.state.word();
    [
        address.address.to_string(),
        if orphaned.is_empty() { state.to_owned() } else { format!("{state}, {orphaned}") },
        join(&address.holders, ""),
        or(address.preferred, ""),
        address.packets.to_string(),
        address.bytes.to_string(),
        address.connections.to_string(),
    ]
}

fn table<const N: usize>(
    width: u16,
    header: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(width).set_header(header).add_rows(rows);
    table.to_string()
}
