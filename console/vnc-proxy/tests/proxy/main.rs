//! The proxy between a real WebSocket client, a TLS desktop that records what it receives, and an API server that answers as it is told.

mod access;
mod fake;
mod streams;
