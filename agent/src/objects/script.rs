//! Test object: a program exits with 0.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use super::{TestObject, Verdict, late};
use crate::process::{self, ProcessError, Program};

/// Passes when the program exits with 0. Its output is the detail. At the deadline of the test it
/// is killed with its process group; then the detail ends with what it said last.
#[derive(Clone, Debug)]
pub struct Script {
    program: Program,
}

impl Script {
    /// Tests with this program and its arguments. An empty command cannot be started, and fails.
    #[must_use]
    pub fn new(command: Vec<String>) -> Self {
        Self { program: Program::of_command(command, "test") }
    }
}

impl TestObject for Script {
    fn run(&self) -> Pin<Box<dyn Future<Output = Verdict> + Send + '_>> {
        self.run_within(Duration::MAX)
    }

    /// The verdict of a program that cannot even be killed comes a second after the deadline.
    fn run_within(&self, limit: Duration) -> Pin<Box<dyn Future<Output = Verdict> + Send + '_>> {
        Box::pin(async move {
            match process::run(&self.program, limit).await {
                Ok(output) if output.text().is_empty() => Ok("exited with 0".to_owned()),
                Ok(output) => Ok(output.text()),
                Err(ProcessError::Deadline { limit, output, .. }) => {
                    Err(format!("{}{output}", late(limit)))
                }
                Err(e) => Err(e.to_string()),
            }
        })
    }
}
