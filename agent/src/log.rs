//! Where log lines go, and which: to the journal with their fields where that is what standard
//! error is connected to (systemd), otherwise to standard error as text.

mod journal;

use std::io::{self, IsTerminal};

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use journal::Journal;

/// Variable of the environment that goes before `log` of the configuration.
pub const VARIABLE: &str = "RAIS_LOG";

/// What is written unless something else is wanted.
pub const USUAL: &str = "info,async_snmp=off";

/// The levels there are, quietest first.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Which lines `text` wants: levels, each for all or for one target, divided by commas, such as
/// `info,rais::dns=debug`.
///
/// # Errors
/// What is wrong with it, in words.
pub fn filter(text: &str) -> Result<Targets, String> {
    for part in text.split(',') {
        // The library would take any other word for a target that may say everything.
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level).trim();
        if !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
            return Err(format!(
                "\"{level}\" is no level; expected off, error, warn, info, debug or trace, alone \
                 or after `target=`"
            ));
        }
    }
    text.parse().map_err(|e| format!("\"{text}\": {e}"))
}

/// Which lines are wanted, by the environment or else by the configuration.
///
/// # Errors
/// What is wrong with the environment, in words.
pub fn wanted(configured: Option<&str>) -> Result<Targets, String> {
    match std::env::var(VARIABLE) {
        Ok(text) if !text.is_empty() => {
            filter(&text).map_err(|why| format!("environment: `{VARIABLE}`: {why}"))
        }
        Ok(_) | Err(_) => filter(configured.unwrap_or(USUAL)),
    }
}

/// Writes log lines from here on; in `colour`, where they go to a terminal.
pub fn start(filter: Targets, colour: bool) {
    let lines = tracing_subscriber::registry().with(filter);
    if let Some(journal) = Journal::of_stderr() {
        lines.with(journal).init();
    } else {
        let text = tracing_subscriber::fmt::layer()
            .with_writer(io::stderr)
            .with_ansi(colour && io::stderr().is_terminal());
        lines.with(text).init();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_of_levels() {
        for good in [USUAL, "off", "WARN", "rais=trace", "info,rais::dns=debug, hyper=off"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for (bad, word) in [("", ""), ("loud", "loud"), ("info,rais", "rais"), ("a=b", "b")] {
            let why = filter(bad).unwrap_err();
            assert!(why.starts_with(&format!("\"{word}\" is no level")), "{why}");
        }
    }
}
