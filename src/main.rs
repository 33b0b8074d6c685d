//! The `stepcast` command.

fn main() {}
