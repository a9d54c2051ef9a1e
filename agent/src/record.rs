//! A recording of what the groups of an agent were told and what they decided, one JSON object a
//! line, for [`replay`].
//!
//! A group's driver hands its turns over and never waits: what finds no room in the queue is left
//! out, and the file says how much. A thread writes. A file that cannot be written to any more ends
//! the recording, never the agent.

pub mod replay;
mod words;

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use rais_common::time::Time;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::events::rfc3339;
use crate::group::{Action, Event, Settings};
use crate::privileges;

/// Which form the lines have. Another one is refused.
pub const FORMAT: u32 = 1;

/// Most lines that wait to be written.
const QUEUE: usize = 2_048;

/// How long the end of the agent waits for the last lines to be written.
const END_LIMIT: Duration = Duration::from_secs(1);

/// A line of a recording. `A` is [`Action`] where it is written; it is read as JSON, so that an
/// action of another version is a difference and not a mistake.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line<A> {
    /// The first line.
    Recording {
        /// [`FORMAT`]
        format: u32,
        /// Version of the program.
        version: String,
        /// When it began: RFC 3339, UTC.
        time: String,
    },
    /// A group starts; one of that name that was there before has ended.
    Start {
        /// Its boot epoch.
        boot: u64,
        /// The time handed to it.
        now: Time,
        /// Its settings, with its name.
        settings: Box<Settings>,
    },
    /// A group took an event.
    Turn {
        /// Name of the group.
        group: String,
        /// The time handed to it.
        now: Time,
        /// What it was told.
        event: Event,
        /// What it decided.
        actions: Vec<A>,
    },
    /// So many turns of a group are not in the recording.
    Missed {
        /// Name of the group.
        group: String,
        /// How many.
        turns: u64,
    },
    /// A group has ended. Where this is missing the agent was killed, or there was no room.
    End {
        /// Name of the group.
        group: String,
    },
}

/// The first line of a recording that begins now.
#[must_use]
pub fn head() -> Line<Action> {
    Line::Recording {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        time: rfc3339(clock::wall_nanos()),
    }
}

/// A recording that is being written.
#[derive(Debug)]
pub struct Recording {
    queue: SyncSender<Line<Action>>,
    written: Receiver<()>,
}

impl Recording {
    /// Empties or creates (mode 0600) the file, and starts to write.
    ///
    /// # Errors
    /// The file cannot be opened, or there is no thread.
    pub fn start(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let (queue, lines) = sync_channel(QUEUE);
        let (done, written) = sync_channel(1);
        // There is room for the first one.
        queue.try_send(head()).ok();
        let path = path.to_owned();
        std::thread::Builder::new().name("rais-record".to_owned()).spawn(move || {
            privileges::settle_this_thread();
            if let Err(error) = write(file, &lines) {
                tracing::warn!("the recording ends: {}: {error}", path.display());
            }
            // Nobody waits where the agent ended without.
            done.try_send(()).ok();
        })?;
        Ok(Self { queue, written })
    }

    /// For groups that start now or later.
    #[must_use]
    pub fn recorders(&self) -> Recorders {
        Recorders(Some(self.queue.clone()))
    }

    /// Waits until everything is written, where that does not take too long. All recorders have to
    /// be gone.
    pub fn finish(self) {
        drop(self.queue);
        if self.written.recv_timeout(END_LIMIT).is_err() {
            tracing::warn!("the end of the recording could not be written in time");
        }
    }
}

/// Writes until nobody is left to bring anything. What was written is in the file whenever there
/// is nothing more to write, so that a killed agent leaves all but the last moment.
fn write(file: File, lines: &Receiver<Line<Action>>) -> io::Result<()> {
    let mut out = BufWriter::new(file);
    loop {
        let line = if let Ok(line) = lines.try_recv() {
            line
        } else {
            out.flush()?;
            let Ok(line) = lines.recv() else { return Ok(()) };
            line
        };
        serde_json::to_writer(&mut out, &line)?;
        out.write_all(b"\n")?;
    }
}

/// Makes a [`Recorder`] for each group.
#[derive(Clone, Debug)]
pub struct Recorders(Option<SyncSender<Line<Action>>>);

impl Recorders {
    /// Of recorders that record nothing.
    #[must_use]
    pub const fn off() -> Self {
        Self(None)
    }

    /// For the turns of one group.
    #[must_use]
    pub fn of(&self, group: &str) -> Recorder {
        Recorder { group: group.to_owned(), queue: self.0.clone(), missed: 0 }
    }
}

/// Where a driver hands over the turns of its group. Never waits.
#[derive(Debug)]
pub struct Recorder {
    group: String,
    /// None: nothing is recorded, or not any more.
    queue: Option<SyncSender<Line<Action>>>,
    /// Turns left out since the last line.
    missed: u64,
}

impl Recorder {
    /// One that records nothing.
    #[must_use]
    pub const fn off() -> Self {
        Self { group: String::new(), queue: None, missed: 0 }
    }

    /// The group starts.
    pub fn start(&mut self, settings: &Settings, boot: u64, now: Time) {
        if self.queue.is_some() {
            self.put(Line::Start { boot, now, settings: Box::new(settings.clone()) });
        }
    }

    /// A copy of what the group is about to be told, where it is to be recorded.
    #[must_use]
    pub fn note(&self, event: &Event) -> Option<Event> {
        self.queue.as_ref().map(|_| event.clone())
    }

    /// The group was told what [`note`](Self::note) copied, and decided this.
    pub fn turn(&mut self, now: Time, told: Option<Event>, actions: &[Action]) {
        if let Some(event) = told {
            let actions = actions.to_vec();
            self.put(Line::Turn { group: self.group.clone(), now, event, actions });
        }
    }

    /// Hands a line over where there is room, after saying what was left out before it.
    fn put(&mut self, line: Line<Action>) {
        if self.missed > 0 {
            let missed = Line::Missed { group: self.group.clone(), turns: self.missed };
            if !self.offer(missed) {
                self.missed += 1;
                return;
            }
            self.missed = 0;
        }
        if !self.offer(line) {
            self.missed += 1;
        }
    }

    fn offer(&mut self, line: Line<Action>) -> bool {
        let Some(queue) = &self.queue else { return false };
        match queue.try_send(line) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => false,
            Err(TrySendError::Disconnected(_)) => {
                self.queue = None;
                false
            }
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if self.queue.is_some() {
            self.put(Line::End { group: self.group.clone() });
        }
    }
}

#[cfg(test)]
mod tests;
