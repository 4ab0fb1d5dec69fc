//! a8s-agent
fn main() {}
