//! a8s-shim
