//! a8s-rfb
