//! a8s-snapshots
