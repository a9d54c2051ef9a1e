//! The rais agent as a library: see `ARCHITECTURE.md` for the rooms and the one direction of data.

pub mod addresses;
pub mod agent;
pub mod announce;
pub mod api;
pub mod causes;
pub mod clock;
pub mod config;
pub mod data_plane;
pub mod dns;
pub mod events;
mod exchange;
pub mod group;
mod links;
pub mod log;
mod made;
pub mod metrics;
pub mod monitor;
mod netlink;
pub mod objects;
mod privileges;
pub mod process;
mod realtime;
pub mod record;
pub mod service_manager;
pub mod status;
pub mod traps;
pub mod wire;
