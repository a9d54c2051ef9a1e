//! The `rais` command.

fn main() {}
