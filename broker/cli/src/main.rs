//! The `logmill` binary.
fn main() {}
