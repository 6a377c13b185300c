//! The `dujiang` command.
fn main() {}
