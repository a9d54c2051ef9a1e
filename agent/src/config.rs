//! The configuration file: TOML in, [`checked::Config`] out, or every mistake in it.

pub mod checked;
