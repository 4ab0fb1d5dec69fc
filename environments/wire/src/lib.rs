//! a8s-wire
