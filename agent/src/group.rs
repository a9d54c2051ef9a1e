//! The whole decision maker of one service group.

mod host_info;
mod io;
mod message;
mod settings;

pub use host_info::{AddressState, HostId, HostInfo, Phase, Served};
pub use io::{Action, AddressScript, Event, Reason, Report};
pub use message::{Body, Info, Known, Message, ORDER_LIMIT, Order, OrderEntry, Record};
pub use settings::{Failback, Placement, Role, Settings};
