//! a8s-cluster
