//! a8s-plan
