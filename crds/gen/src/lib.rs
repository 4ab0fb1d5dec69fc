//! a8s-gen
