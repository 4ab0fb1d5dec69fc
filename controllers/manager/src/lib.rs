//! a8s-controller
