//! The real `Group` on three hosts under a model checker: every run within bounds, not just some.
//!
//! Time goes in half heartbeats. By itself everything goes well: a datagram arrives at once, every
//! host does at once what is due, an interface takes no time. What may go wrong is a fault
//! ([`Fault`]), and a run may have so many of them, anywhere: a datagram is lost, late or doubled;
//! a host pauses before a turn or between two actions of one; its agent is killed, its tests fail,
//! its operator quiesces it, its interface is slow. What ends a fault is free: how long a pause
//! lasts, when a late datagram arrives, whether and when an agent starts again.
//!
//! Two states count as one where they differ only by when everything happened and by how many
//! messages were sent before (`canonical`). So the space is finite, and is exhausted: every run of
//! any length with at most so many faults.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and most match on a few kinds of many"
)]

mod canonical;
mod checks;
mod choice;
mod host;
mod setup;
mod steps;
mod world;

use std::fmt;
use std::time::Duration;

use rais::clock;
use stateright::{Checker, Model, Property};

pub use choice::{Choice, Fault, Kinds};
pub use setup::Setup;
pub use world::World;

impl Model for Setup {
    type State = World;
    type Action = Choice;

    fn init_states(&self) -> Vec<World> {
        self.beginnings()
    }

    fn actions(&self, world: &World, choices: &mut Vec<Choice>) {
        self.choices(world, choices);
    }

    fn next_state(&self, world: &World, choice: Choice) -> Option<World> {
        let mut world = world.clone();
        self.make(&mut world, choice);
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("the rules hold", |_, world: &World| world.violation().is_none()),
            Property::sometimes("the address is online at home", Self::is_home),
            Property::sometimes("another host has taken it over", Self::is_away),
            Property::sometimes("it has come back home", Self::has_come_back),
        ]
    }
}

/// What became of a check.
#[derive(Debug)]
pub struct Outcome {
    /// States that differ.
    pub states: usize,
    /// States reached, the same ones again included.
    pub visited: usize,
    /// Most choices in a row.
    pub depth: usize,
    /// No state was left out: the depth and the time were enough.
    pub exhausted: bool,
    /// What must be possible and was not.
    pub unreached: Vec<&'static str>,
    /// What was broken, and the run that broke it, a line each event.
    pub broken: Option<Vec<String>>,
}

/// Looks at every run. `depth`: most choices in a row; none: all there are. `limit`: after what
/// time to give up.
#[must_use]
pub fn check(setup: &Setup, depth: Option<usize>, limit: Option<Duration>) -> Outcome {
    let began = clock::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut builder = setup.clone().checker().threads(threads);
    if let Some(depth) = depth {
        builder = builder.target_max_depth(depth);
    }
    if let Some(limit) = limit {
        builder = builder.timeout(limit);
    }
    let in_time = || limit.is_none_or(|limit| clock::now().since(began) < limit);
    // Otherwise it would stop at the last discovery, or go on after the rules were broken.
    let failures = stateright::HasDiscoveries::AnyFailures;
    let checker = builder.finish_when(failures).spawn_bfs().join();
    let reached = checker.discoveries();
    let broken = reached.get("the rules hold").map(|path| {
        let steps = path.clone().into_vec();
        let choices = steps.iter().filter_map(|(_, choice)| *choice);
        setup.narrate(&steps[0].0, choices)
    });
    let names = setup.properties();
    let wanted = names.iter().map(|p| p.name).filter(|name| *name != "the rules hold");
    Outcome {
        states: checker.unique_state_count(),
        visited: checker.state_count(),
        depth: checker.max_depth(),
        exhausted: in_time() && broken.is_none() && depth.is_none_or(|d| checker.max_depth() < d),
        unreached: wanted.filter(|name| !reached.contains_key(name)).collect(),
        broken,
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.broken.iter().flatten() {
            writeln!(f, "{line}")?;
        }
        let Self { states, visited, depth, .. } = self;
        let extent = if self.exhausted { "all of them" } else { "not all" };
        writeln!(f, "{states} states ({visited} reached), {extent}; {depth} choices deep")?;
        for name in &self.unreached {
            writeln!(f, "never: {name}")?;
        }
        Ok(())
    }
}
