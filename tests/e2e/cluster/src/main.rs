//! a8s-cluster
fn main() {}
