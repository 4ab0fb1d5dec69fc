//! a8s-runner
