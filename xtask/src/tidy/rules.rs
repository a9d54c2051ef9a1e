//! The rules, one function each.

use super::Finding;
use super::source::{Path, Source};

/// Most lines of a file.
const MOST_LINES: usize = 600;

/// Modules that talk to the outside: each stands alone.
const IO_MODULES: [&str; 8] =
    ["addresses", "announce", "api", "data_plane", "dns", "metrics", "objects", "traps"];

/// Files below these may contain `unsafe`.
const UNSAFE_ROOMS: [&str; 6] = [
    "agent-ebpf/",
    "agent/src/announce.rs",
    "agent/src/announce/",
    "agent/src/data_plane.rs",
    "agent/src/data_plane/",
    // aya's marker for types that may be copied to the kernel.
    "common/src/maps.rs",
];

/// Files below these may start threads.
const THREAD_ROOMS: [&str; 9] = [
    "agent/src/agent.rs",
    "agent/src/announce.rs",
    "agent/src/announce/",
    // Renews what the kernel knows of a lease, whatever becomes of the driver.
    "agent/src/data_plane/kernel.rs",
    "agent/src/main.rs",
    "agent/src/monitor.rs",
    "agent/src/monitor/",
    // One a look, which a file system may hold up for ever.
    "agent/src/objects/file.rs",
    // Its thread writes the file, for which nobody is to wait.
    "agent/src/record.rs",
];

/// What the decision maker may not touch of the standard library: the outside, and whatever makes
/// two runs differ.
const IMPURE: [&str; 5] = ["env", "fs", "io", "process", "thread"];
const IMPURE_TYPES: [&str; 4] = ["HashMap", "HashSet", "Instant", "SystemTime"];

/// What is wrong in a file, by every rule. `crates` are the agent's dependencies.
pub(super) fn check(file: &str, text: &str, crates: &[String]) -> Vec<Finding> {
    let source = Source::new(text);
    let mut said = Vec::new();
    let mut say = |line: usize, what: String| said.push((line, what));
    head_and_length(text, &mut say);
    unfinished(&source, &mut say);
    unsafe_rooms(file, &source, &mut say);
    clocks(file, &source, &mut say);
    threads(file, &source, &mut say);
    if in_module(file, "group") {
        let allowed = Allowed { crates: &["rais_common", "serde"], modules: &["group"] };
        uses_only(&allowed, &source, crates, &mut say);
        derives_only(&source, &mut say);
        pure(&source, &mut say);
    }
    if in_module(file, "wire") {
        let allowed = Allowed {
            crates: &["rais_common", "bincode", "ring", "thiserror"],
            modules: &["group", "wire", "config"],
        };
        uses_only(&allowed, &source, crates, &mut say);
    }
    io_modules(file, &source, &mut say);
    said.into_iter().map(|(line, what)| Finding { file: file.to_owned(), line, what }).collect()
}

type Say<'a> = &'a mut dyn FnMut(usize, String);

/// A file says first what it is for, and is not too long to be about one thing.
fn head_and_length(text: &str, say: Say<'_>) {
    let first = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!["));
    if !first.is_some_and(|line| line.starts_with("//!")) {
        say(1, "no `//!` at the head: what is this file for?".into());
    }
    let lines = text.lines().count();
    if lines > MOST_LINES {
        say(lines, format!("{lines} lines; {MOST_LINES} are the most"));
    }
}

/// Nothing unfinished is kept.
fn unfinished(source: &Source, say: Say<'_>) {
    for name in ["todo", "unimplemented", "dbg"] {
        for line in source.find(&[name, "!"]) {
            say(line, format!("`{name}!` is not for keeping"));
        }
    }
    for line in source.find(&["#", "[", "ignore"]) {
        say(line, "a test that is ignored is none".into());
    }
    for comment in &source.comments {
        for word in ["FIXME", "XXX"] {
            if comment.text.contains(word) {
                say(comment.line, format!("{word}: mend it, or say what is so"));
            }
        }
    }
}

fn unsafe_rooms(file: &str, source: &Source, say: Say<'_>) {
    if !UNSAFE_ROOMS.iter().any(|room| file.starts_with(room)) {
        for line in source.find(&["unsafe"]) {
            say(line, "`unsafe` outside its rooms".into());
        }
    }
}

/// Clocks are read in one file, so that everything else can be run on any time.
fn clocks(file: &str, source: &Source, say: Say<'_>) {
    let applies = ["agent/", "common/", "tests/"].iter().any(|package| file.starts_with(package));
    if !applies || file == "agent/src/clock.rs" {
        return;
    }
    let readings: [&[&str]; 4] =
        [&["Instant", "::", "now"], &["SystemTime", "::", "now"], &["clock_gettime"], &["ClockId"]];
    for reading in readings {
        for line in source.find(reading) {
            say(line, format!("`{}`: clocks are read in agent/src/clock.rs", reading.concat()));
        }
    }
}

fn threads(file: &str, source: &Source, say: Say<'_>) {
    if !file.starts_with("agent/src/") || THREAD_ROOMS.iter().any(|room| file.starts_with(room)) {
        return;
    }
    for start in ["Builder", "spawn", "scope"] {
        for line in source.find(&["thread", "::", start]) {
            say(line, "only main, the monitor and a few rooms start threads".into());
        }
    }
}

/// Outside crates and modules of the agent that a module may use, besides `std` and `core`.
struct Allowed<'a> {
    crates: &'a [&'a str],
    modules: &'a [&'a str],
}

fn uses_only(allowed: &Allowed<'_>, source: &Source, crates: &[String], say: Say<'_>) {
    let own = source.find_modules();
    for path in source.paths() {
        let Path { line, root, next, imported } = &path;
        let root = root.as_str();
        if root == "crate" {
            for module in next.iter().filter(|m| !allowed.modules.contains(&m.as_str())) {
                say(*line, format!("`crate::{module}` is out of bounds here"));
            }
            continue;
        }
        let always = ["std", "core", "super", "self"].contains(&root) || own.contains(&root);
        let local = root.starts_with(char::is_uppercase);
        let foreign = *imported || crates.iter().any(|name| name == root);
        if foreign && !always && !local && !allowed.crates.contains(&root) {
            say(*line, format!("`{root}` is out of bounds here"));
        }
    }
}

/// Of serde the decision maker takes the derives, so that what goes in and out can be recorded.
fn derives_only(source: &Source, say: Say<'_>) {
    for path in source.paths().iter().filter(|path| path.root == "serde") {
        for name in path.next.iter().filter(|n| *n != "Serialize" && *n != "Deserialize") {
            say(path.line, format!("`serde::{name}` in the decision maker: derives only"));
        }
    }
}

/// The decision maker does nothing but decide, and decides alike each time.
fn pure(source: &Source, say: Say<'_>) {
    for path in source.paths().iter().filter(|path| path.root == "std") {
        for module in path.next.iter().filter(|m| IMPURE.contains(&m.as_str())) {
            say(path.line, format!("`std::{module}` in the decision maker"));
        }
    }
    for name in IMPURE_TYPES {
        for line in source.find(&[name]) {
            say(line, format!("`{name}` in the decision maker"));
        }
    }
}

fn io_modules(file: &str, source: &Source, say: Say<'_>) {
    let Some(own) = IO_MODULES.iter().find(|module| in_module(file, module)) else { return };
    // In a module's own file `super` is the whole crate; deeper down it is the module.
    let top = file == format!("agent/src/{own}.rs");
    for path in source.paths() {
        if path.root != "crate" && !(top && path.root == "super") {
            continue;
        }
        for other in path.next.iter().filter(|m| IO_MODULES.contains(&m.as_str()) && m != own) {
            say(path.line, format!("`{own}` uses `{other}`: IO modules stand alone"));
        }
    }
}

/// Whether a file is the agent's module of that name, or below it.
fn in_module(file: &str, module: &str) -> bool {
    let rest = file.strip_prefix("agent/src/").and_then(|rest| rest.strip_prefix(module));
    rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

impl Source {
    /// Modules declared here.
    fn find_modules(&self) -> Vec<&str> {
        let pairs = self.tokens.windows(2);
        let declared = pairs.filter_map(|pair| match pair {
            [word, name] if word.text == "mod" => Some(name.text.as_str()),
            _ => None,
        });
        declared.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines and beginnings of what is said about a file with a head.
    fn said(file: &str, code: &str) -> Vec<(usize, String)> {
        let crates = ["rais_common", "serde", "nix", "ring", "bincode", "thiserror", "tokio"];
        let text = format!("//! A head.\n{code}\n");
        let findings = check(file, &text, &crates.map(String::from));
        findings.into_iter().map(|f| (f.line, f.what)).collect()
    }

    fn clean(file: &str, code: &str) {
        assert_eq!(said(file, code), [], "{file}: {code}");
    }

    fn broken(file: &str, code: &str, part: &str) {
        let said = said(file, code);
        assert!(said.len() == 1 && said[0].0 == 2 && said[0].1.contains(part), "{code}: {said:?}");
    }

    #[test]
    fn the_decision_maker_uses_no_more_than_it_may() {
        let file = "agent/src/group/election.rs";
        clean(file, "use std::{fmt, net::IpAddr}; use rais_common::time::Time; use super::HostId;");
        clean(file, "use crate::group::{Event, Action}; fn f() { fmt::Error; Event::Tick; }");
        clean("agent/src/group.rs", "mod io; pub use io::Event;");
        clean(file, "use serde::{Deserialize, Serialize};");
        broken(file, "use serde::de::Visitor;", "derives only");
        broken(file, "use nix::poll::poll;", "`nix`");
        broken(file, "fn f() { tokio::spawn(g()); }", "`tokio`");
        broken(file, "use crate::{group::Event, wire};", "`crate::wire`");
        broken(file, "use std::thread;", "`std::thread`");
        broken(file, "fn f(m: &HashMap<u8, u8>) {}", "HashMap");
        clean("agent/src/grouping.rs", "use nix::poll::poll;");
    }

    #[test]
    fn the_wire_may_use_its_codec_and_its_seal() {
        let file = "agent/src/wire/seal.rs";
        clean(file, "use ring::aead; use bincode::Encode; use crate::config::checked::Key;");
        broken(file, "use tokio::net::UdpSocket;", "`tokio`");
        broken("agent/src/wire.rs", "use crate::monitor::X;", "`crate::monitor`");
    }

    #[test]
    fn io_modules_stand_alone() {
        clean("agent/src/dns/server.rs", "use crate::group::HostId; use crate::dns::Zone;");
        broken("agent/src/dns/server.rs", "use crate::addresses::add;", "stand alone");
        broken("agent/src/api.rs", "use super::traps::Trap;", "stand alone");
        clean("agent/src/monitor/driver.rs", "use crate::{addresses, announce};");
    }

    #[test]
    fn threads_clocks_and_unsafe_have_their_rooms() {
        broken("agent/src/api.rs", "fn f() { std::thread::spawn(g); }", "threads");
        clean("agent/src/monitor/driver.rs", "fn f() { thread::Builder::new(); }");
        broken("agent/src/monitor/driver.rs", "fn f() { Instant::now(); }", "clock.rs");
        clean("agent/src/clock.rs", "fn f() { ClockId::CLOCK_BOOTTIME; }");
        broken("agent/src/api.rs", "fn f() { unsafe { g() } }", "unsafe");
        clean("agent/src/data_plane/bpf.rs", "fn f() { unsafe { g() } }");
        clean("agent/src/api.rs", "#![deny(unsafe_code)] // unsafe is a word here");
    }

    #[test]
    fn nothing_unfinished_is_kept() {
        let file = "tests/src/lib.rs";
        broken(file, "fn f() { todo!() }", "todo");
        broken(file, "fn f() { dbg!(1); }", "dbg");
        broken(file, "#[ignore = \"slow\"] fn f() {}", "ignored");
        broken(file, "// FIXME later", "FIXME");
        clean(file, "fn f() { panic!(\"todo!() FIXME\") }");
    }

    #[test]
    fn files_have_a_head_and_an_end() {
        let crates = Vec::new();
        assert_eq!(check("xtask/src/x.rs", "#![no_std]\n\n//! Head.\n", &crates), []);
        assert_eq!(check("xtask/src/x.rs", "use std::fmt;\n", &crates).len(), 1);
        assert_eq!(check("xtask/src/x.rs", "", &crates).len(), 1);
        let long = "//! Head.\n".repeat(601);
        assert_eq!(check("xtask/src/x.rs", &long, &crates).len(), 1);
    }
}
