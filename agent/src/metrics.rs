//! What monitoring systems see: a page of metrics in the `OpenMetrics` text format, over HTTP.
//!
//! Whoever may connect may read. A client can take up little: its request, its time and the number
//! of clients are bounded, and nothing of the agent waits for it. However many ask, the page is
//! made a few times a second at most.

mod histogram;
mod measures;
mod page;
mod server;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use crate::status::Status;

pub use histogram::Histogram;
pub use measures::Measures;
pub use page::page;
pub use server::{CannotListen, Listener, Server};

/// What the page is made of.
pub trait Source: Send + Sync + 'static {
    /// How everything is now.
    fn sample(&self) -> impl Future<Output = Sample> + Send;
}

/// Everything at one moment.
#[derive(Debug)]
pub struct Sample {
    /// What `rais status` shows.
    pub status: Status,
    /// What was counted and measured, by the group's name.
    pub counted: BTreeMap<String, Counted>,
}

/// What was counted of one group since the agent's start.
#[derive(Debug)]
pub struct Counted {
    /// Messages received and handled, by type.
    pub received: Vec<(&'static str, u64)>,
    /// Datagrams refused, by reason.
    pub refused: Vec<(&'static str, u64)>,
    /// What found no room, by queue.
    pub dropped: Vec<(&'static str, u64)>,
    /// What became of SNMP notifications.
    pub traps: Vec<(&'static str, u64)>,
    /// What was measured.
    pub measures: Arc<Measures>,
}

#[cfg(test)]
mod tests;
