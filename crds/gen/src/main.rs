//! a8s-gen
fn main() {}
