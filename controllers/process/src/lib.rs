//! a8s-process
