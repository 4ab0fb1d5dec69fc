//! The proxy between a real WebSocket client, a TLS desktop that records what it receives, and an API server that answers as it is told.

// clippy.toml allows this in test functions; these are their helpers.
#![allow(clippy::unwrap_used)]

mod access;
mod behind_nginx;
mod desktop;
mod fake;
mod hostile;
mod numbers;
mod raw;
mod slow;
mod streams;
