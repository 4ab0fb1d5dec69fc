//! a8s-runner
fn main() {}
