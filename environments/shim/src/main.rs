//! a8s-shim
fn main() {}
