//! deskd with a real Xvnc, window manager and terminal on this machine. Skipped tests do not exist: without these programs they fail.

// clippy.toml allows this in test functions; these are their helpers.
#![allow(clippy::unwrap_used)]

mod agent;
mod clipboard;
mod control;
// The tests with the fake display use it too.
#[allow(dead_code)]
mod host;
mod http;
mod person;
mod recording;
mod resize;
mod restored;
// The tests with the fake display use it too.
#[allow(dead_code)]
mod taker;
mod traps;
mod view;
