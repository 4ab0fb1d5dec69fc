//! a8s-vnc-proxy
fn main() {}
