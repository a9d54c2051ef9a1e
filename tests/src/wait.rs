//! Waiting for what can only be asked, each time with a deadline and a reason to show.

use std::time::Duration;

use anyhow::{Result, bail};
use rais::clock;

/// How long between two questions.
const INTERVAL: Duration = Duration::from_millis(20);

/// Asks until there is an answer, for at most `limit`. `what` completes "waited 5 s for …".
///
/// # Errors
/// The question failed, or the limit passed.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut ask: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = clock::now() + limit;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if clock::now() >= end {
            bail!("waited {limit:?} for {what}");
        }
        pause(INTERVAL);
    }
}

/// Lets time pass, where passing time is what is being tested.
pub fn pause(span: Duration) {
    #[allow(clippy::disallowed_methods, reason = "nothing announces itself here: time must pass")]
    std::thread::sleep(span);
}
