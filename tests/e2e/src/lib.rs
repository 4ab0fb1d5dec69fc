//! a8s-e2e
