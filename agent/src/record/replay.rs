//! A recording, told to fresh groups again: do they decide the same?

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rais_common::time::Time;
use serde_json::Value;

use super::{FORMAT, Line, words};
use crate::group::{Action, Event, Failback, Group, Settings};

/// Longer than any duration of a checked configuration.
const LONGEST: Duration = Duration::from_hours(1_000 * 365 * 24);

/// What is said of settings that a group could not bear.
const UNCHECKED: &str = "settings that no configuration has";

/// What is wrong with a recording, or with what became of it.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file is no recording, or not one that this version reads.
    #[error("{0}")]
    Malformed(String),
    /// A group decides otherwise than it did.
    #[error(transparent)]
    Differs(#[from] Box<Difference>),
}

/// A group decides otherwise than it did.
#[derive(Debug)]
pub struct Difference {
    group: String,
    /// From 1.
    position: usize,
    recorded: String,
    replayed: String,
    /// The version that recorded it, where that is another one.
    version: Option<String>,
}

impl std::error::Error for Difference {}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, position, recorded, replayed, version } = self;
        write!(
            f,
            "group `{group}` decides otherwise in its action {position}\n  recorded: {recorded}\n  \
             replayed: {replayed}"
        )?;
        if let Some(version) = version {
            let own = env!("CARGO_PKG_VERSION");
            write!(f, "\n  recorded by version {version}; this is {own}")?;
        }
        Ok(())
    }
}

/// What a line of a recording came to.
#[derive(Debug)]
pub enum Step {
    /// The head, or a group's end: nothing to show.
    Quiet,
    /// A group starts.
    Started {
        /// Its name.
        group: String,
        /// Its boot epoch.
        boot: u64,
        /// This host.
        host: String,
    },
    /// A group took a turn, and decided what it decided before.
    Turn(Box<Turn>),
    /// Turns of a group are missing: what follows of it cannot be replayed.
    Gap {
        /// Its name.
        group: String,
        /// How many.
        turns: u64,
    },
    /// A turn of a group after a gap.
    Skipped,
}

/// A turn of a group.
#[derive(Clone, Debug)]
pub struct Turn {
    /// Name of the group.
    pub group: String,
    /// The time handed to it.
    pub now: Time,
    /// How long after its start.
    pub after: Duration,
    /// What it was told.
    pub event: Event,
    /// What it decided.
    pub actions: Vec<Action>,
}

impl Turn {
    /// Whether it decided more than to send the next heartbeat.
    #[must_use]
    pub fn is_notable(&self) -> bool {
        self.actions.iter().any(|action| !matches!(action, Action::Heartbeat { .. }))
    }
}

impl fmt::Display for Turn {
    /// A line for the event and one for each action.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let after = self.after.as_secs_f64();
        write!(f, "+{after:.6} {} {}", self.group, words::event(&self.event))?;
        for action in &self.actions {
            write!(f, "\n    {}", words::action(action))?;
        }
        Ok(())
    }
}

/// A group that is being replayed.
#[derive(Debug)]
struct Replayed {
    /// None after a gap.
    group: Option<Box<Group>>,
    start: Time,
    ended: bool,
}

/// Takes a recording line by line.
#[derive(Debug, Default)]
pub struct Replay {
    /// The version that recorded it; none before the first line.
    version: Option<String>,
    groups: BTreeMap<String, Replayed>,
}

impl Replay {
    /// Before the first line.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next line.
    ///
    /// # Errors
    /// See [`ReplayError`]; nothing that follows makes sense then.
    pub fn line(&mut self, text: &str) -> Result<Step, ReplayError> {
        match self.recorded(text)? {
            Line::Recording { .. } => Ok(Step::Quiet),
            Line::Start { boot, now, settings } => {
                if !is_checked(&settings) {
                    return Err(ReplayError::Malformed(UNCHECKED.to_owned()));
                }
                let (group, host) = (settings.name.clone(), settings.host.to_string());
                let new = Box::new(Group::new(*settings, boot, now));
                let replayed = Replayed { group: Some(new), start: now, ended: false };
                self.groups.insert(group.clone(), replayed);
                Ok(Step::Started { group, boot, host })
            }
            Line::Turn { group, now, event, actions } => self.turn(group, now, event, &actions),
            Line::Missed { group, turns } => {
                // Nothing of it may have been recorded, not even its start.
                let gap = Replayed { group: None, start: Time::ZERO, ended: false };
                self.groups.insert(group.clone(), gap);
                Ok(Step::Gap { group, turns })
            }
            Line::End { group } => {
                if let Some(replayed) = self.groups.get_mut(&group) {
                    replayed.ended = true;
                }
                Ok(Step::Quiet)
            }
        }
    }

    /// Groups whose recording breaks off: the agent was killed, or the last lines found no room.
    pub fn broken_off(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().filter(|(_, group)| !group.ended).map(|(name, _)| name.as_str())
    }

    /// What a line says. The first one is the head of a recording of this format.
    fn recorded(&mut self, text: &str) -> Result<Line<Value>, ReplayError> {
        let line = serde_json::from_str(text).map_err(|error| {
            let what = if self.version.is_none() { "not a recording" } else { "not understood" };
            ReplayError::Malformed(format!("{what}: {error}"))
        })?;
        match (&line, &self.version) {
            (Line::Recording { format: FORMAT, version, .. }, None) => {
                self.version = Some(version.clone());
            }
            (Line::Recording { format, version, .. }, None) => {
                return Err(ReplayError::Malformed(format!(
                    "a recording of format {format}, by version {version}; this version reads \
                     format {FORMAT}"
                )));
            }
            (_, None) => {
                let text = "not a recording: its first line says so of one".to_owned();
                return Err(ReplayError::Malformed(text));
            }
            (Line::Recording { .. }, Some(_)) => {
                let text = "another recording begins within this one".to_owned();
                return Err(ReplayError::Malformed(text));
            }
            (_, Some(_)) => {}
        }
        Ok(line)
    }

    fn turn(
        &mut self,
        group: String,
        now: Time,
        event: Event,
        recorded: &[Value],
    ) -> Result<Step, ReplayError> {
        let Some(replayed) = self.groups.get_mut(&group) else {
            let text = format!("group `{group}` takes a turn before it has started");
            return Err(ReplayError::Malformed(text));
        };
        let Some(running) = &mut replayed.group else { return Ok(Step::Skipped) };
        if let Event::Reconfigured(settings) = &event
            && !is_checked(settings)
        {
            return Err(ReplayError::Malformed(UNCHECKED.to_owned()));
        }
        let actions = running.handle(now, event.clone());
        if let Some((position, recorded, replayed)) = difference(recorded, &actions)? {
            let own = env!("CARGO_PKG_VERSION");
            let version = self.version.clone().filter(|version| version != own);
            let difference = Difference { group, position, recorded, replayed, version };
            return Err(Box::new(difference).into());
        }
        let after = now.since(replayed.start);
        Ok(Step::Turn(Box::new(Turn { group, now, after, event, actions })))
    }
}

/// Whether the settings keep what a group counts on ([`Settings`]).
fn is_checked(settings: &Settings) -> bool {
    let Settings { heartbeat, timeout, lease, orphan_timeout, action_limit, .. } = *settings;
    let hold_down = match settings.failback {
        Failback::After(span) => span,
        Failback::Immediate | Failback::Never => Duration::ZERO,
    };
    let spans = [heartbeat, timeout, lease, orphan_timeout, action_limit];
    lease < timeout
        && settings.balance.is_none_or(|balance| balance.low < balance.high && balance.scale > 0)
        && spans.iter().all(|span| !span.is_zero() && *span <= LONGEST)
        && hold_down <= LONGEST
}

/// The first action that is not the same: its position from 1, and what it is on either side.
fn difference(
    recorded: &[Value],
    replayed: &[Action],
) -> Result<Option<(usize, String, String)>, ReplayError> {
    let json = |action| {
        serde_json::to_value(action).map_err(|e| ReplayError::Malformed(format!("an action: {e}")))
    };
    let replayed = replayed.iter().map(json).collect::<Result<Vec<Value>, _>>()?;
    let longer = recorded.len().max(replayed.len());
    let differs = (0..longer).find(|&index| recorded.get(index) != replayed.get(index));
    let show = |value: Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
    Ok(differs.map(|index| (index + 1, show(recorded.get(index)), show(replayed.get(index)))))
}
