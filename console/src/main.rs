//! a8s-console
fn main() {}
