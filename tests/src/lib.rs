//! Clusters to test on: simulated ones on virtual time, real ones as network namespaces.

pub mod bind;
pub mod cluster;
pub mod crowd;
pub mod demo;
pub mod family;
pub mod fuzz;
pub mod knot;
pub mod many;
pub mod messages;
pub mod model;
pub mod netns;
pub mod packet;
pub mod probe;
pub mod questions;
pub mod recorded;
pub mod scripts;
pub mod snmptrapd;
pub mod status;
pub mod systemd;
pub mod trial;
pub mod unbound;
pub mod wait;
pub mod xdp;
