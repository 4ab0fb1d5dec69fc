//! a8s-sim
