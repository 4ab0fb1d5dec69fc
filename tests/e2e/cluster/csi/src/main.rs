//! a8s-csi-btrfs
fn main() {}
