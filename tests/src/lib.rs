//! Clusters to test on: simulated ones on virtual time, real ones as network namespaces.

pub mod messages;
