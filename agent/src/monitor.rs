//! A service monitor: the threads and tasks around one group.

pub mod scripts;
