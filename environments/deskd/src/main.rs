//! a8s-deskd
fn main() {}
