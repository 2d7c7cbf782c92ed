//! The `srs-shard` command.
fn main() {}
