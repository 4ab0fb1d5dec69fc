//! a8s-webhook
fn main() {}
