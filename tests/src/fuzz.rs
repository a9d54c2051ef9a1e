//! Fuzz targets: one function each, for any bytes whatever. They panic where something is wrong.
//!
//! `cargo xtask fuzz` runs them under libFuzzer; the tests run them on the seeds in `fuzz/corpus`
//! and on changed copies of those ([`mutate`]).
#![allow(
    clippy::panic,
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::wildcard_enum_match_arm,
    reason = "a target fails by panicking, and most match on a few kinds of many"
)]

mod arp;
mod config;
mod dns;
mod group;
mod mutate;
mod wire;

use std::path::{Path, PathBuf};

use rais::record::replay::Replay;

pub use arp::arp;
pub use config::config;
pub use dns::dns;
pub use group::group;
pub use mutate::mutate;
pub use wire::wire;

/// A target.
pub type Target = fn(&[u8]);

/// All targets, by name.
pub const TARGETS: [(&str, Target); 7] = [
    ("api", api),
    ("arp", arp),
    ("config", config),
    ("dns", dns),
    ("group", group),
    ("replay", replay),
    ("wire", wire),
];

/// Where the seeds of a target are.
#[must_use]
pub fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target)
}

/// A line on the control socket: a request, or a reason why not; a request is the same when it is
/// written and read again.
pub fn api(data: &[u8]) {
    let Ok(request) = rais::api::parse(data) else { return };
    let line = serde_json::to_vec(&request).unwrap_or_default();
    assert_eq!(rais::api::parse(&line), Ok(request));
}

/// A file for `rais replay`: turns, or what is wrong with the file.
pub fn replay(data: &[u8]) {
    let mut replay = Replay::new();
    for line in String::from_utf8_lossy(data).lines() {
        match replay.line(line) {
            Ok(step) => drop(format!("{step:?}")),
            Err(error) => return drop(error.to_string()),
        }
    }
}
