//! An error and its causes as one line.

use std::error::Error;

/// What went wrong and why, outermost first. Many errors name their cause themselves: it is not
/// said twice.
#[must_use]
pub fn in_words(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[derive(Debug, thiserror::Error)]
    #[error("output: {0}")]
    struct Named(#[source] io::Error);

    #[test]
    fn a_cause_is_said_once() {
        assert_eq!(in_words(&Named(io::Error::other("no room"))), "output: no room");
        let error = anyhow::Error::from(io::Error::other("no room")).context("maps");
        assert_eq!(in_words(error.context("start").as_ref()), "start: maps: no room");
    }
}
