//! a8s-crds
