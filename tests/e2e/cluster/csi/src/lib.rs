//! a8s-csi-btrfs
