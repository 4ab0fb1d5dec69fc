//! deskd with its fake display: needs nothing of the machine, and runs everything above the display as in a pod.

// clippy.toml allows this in test functions; these are their helpers.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "../desktop/host.rs"]
mod host;
#[allow(dead_code)]
#[path = "../desktop/person.rs"]
mod person;
#[path = "../desktop/taker.rs"]
mod taker;

mod embedded;
mod lease;
mod reading;
mod recording;
mod tools;
