//! a8s-controller
fn main() {}
