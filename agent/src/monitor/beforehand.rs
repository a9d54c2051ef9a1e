//! What is made ready for the addresses of a group before this host has them: looked for again and
//! again, as addresses come to be known.

use std::sync::mpsc::TrySendError;
use std::time::Duration;

use tokio::sync::oneshot;

use super::driver::{Inbox, Input};

/// How often to look for addresses that have come to be known.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// Not all of it was made ready.
pub(super) enum Trouble {
    /// The driver has ended.
    Over,
    /// It is tried again at the next look; until then it is made when the address comes.
    Failed(String),
}

/// Whether there is another look after this one. `complain` is told what failed, once per
/// occurrence: `failing` remembers.
pub(super) fn goes_on(
    done: Result<(), Trouble>,
    failing: &mut bool,
    complain: impl FnOnce(&str),
) -> bool {
    match done {
        Ok(()) => *failing = false,
        Err(Trouble::Over) => return false,
        Err(Trouble::Failed(error)) => {
            if !std::mem::replace(failing, true) {
                complain(&error);
            }
        }
    }
    true
}

/// Asks the driver.
pub(super) async fn ask<T>(
    inbox: &Inbox,
    question: impl FnOnce(oneshot::Sender<T>) -> Input,
) -> Result<T, Trouble> {
    let (reply, answer) = oneshot::channel();
    tell(inbox, question(reply))?;
    answer.await.map_err(|_gone| Trouble::Over)
}

/// Never waits: a thread of the runtime is not to.
pub(super) fn tell(inbox: &Inbox, input: Input) -> Result<(), Trouble> {
    inbox.try_send(Box::new(input)).map_err(|refused| match refused {
        TrySendError::Full(_) => Trouble::Failed("the group has too much to do".to_owned()),
        TrySendError::Disconnected(_) => Trouble::Over,
    })
}
