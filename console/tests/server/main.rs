//! The console against a fake API server, a fake runner and a fake VNC proxy.

#![allow(clippy::unwrap_used)]

mod access;
mod fake;
mod shares;
mod streams;
mod work;
