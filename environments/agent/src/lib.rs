//! a8s-agent
