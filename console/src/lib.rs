//! a8s-console
