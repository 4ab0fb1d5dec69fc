//! Three people in four windows and an agent share one desktop, at random: real Xvnc, deskd and proxy, only the API server is a toy.
//! `A8S_TAKE_OVERS_SECONDS` says how long, `A8S_TAKE_OVERS_SEED` repeats the choices of a run (its timing is never the same).

// clippy.toml allows this in test functions; these are their helpers.
#![allow(clippy::unwrap_used)]

// The tests of deskd alone use the rest.
#[allow(dead_code)]
#[path = "../desktop/host.rs"]
mod host;
#[allow(dead_code)]
#[path = "../desktop/person.rs"]
mod person;

mod agent;
mod browser;
mod figures;
mod gate;
mod seat;
mod story;
mod witness;

use std::time::Duration;

/// Enough for some hundred steps.
const SECONDS: u64 = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_takes_over_and_leaves_no_key_is_stuck_and_no_viewer_frozen() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().unwrap());
    let time = Duration::from_secs(number("A8S_TAKE_OVERS_SECONDS").unwrap_or(SECONDS));
    let seed = number("A8S_TAKE_OVERS_SEED").unwrap_or_else(rand::random);
    println!("seed {seed}");
    let figures = story::play(seed, time).await;
    println!("{figures}");
    figures.prove_something();
}
