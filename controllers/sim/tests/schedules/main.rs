//! Thousands of seeded schedules against the plans: people change their minds, controllers crash between any two steps and look at stale
//! views, pods fail. In the end everything must be as if nothing had happened, and a converged object must cost nothing.
//! A failing schedule names its seed; `A8S_SEED=<seed>` runs only that one. `make test-schedules` runs more than 100,000.

#![allow(clippy::unwrap_used, reason = "a test may panic anywhere")]
#![allow(
    clippy::needless_pass_by_value,
    clippy::unused_self,
    clippy::map_clone,
    reason = "worlds are read, not tuned"
)]

mod deleted;
mod estate;
mod estates;
mod judge;
mod mutants;
mod pools;
mod snapshot;
mod world;

use std::{collections::HashMap, io::Write};

use rand::Rng;
use serde_json::Value;
use world::{User, World};

/// How many schedules of each kind `cargo test` runs. `make test-schedules` runs `A8S_SCHEDULES` times as many, and optimised.
const KINDS: [(&str, u64); 14] = [
    ("one Session", 500),
    ("one Session at rest", 25),
    ("a deleted Session", 75),
    ("a lease", 75),
    ("a deleted desktop", 40),
    ("a Snapshot", 250),
    ("a deleted Snapshot", 200),
    ("lost objects", 50),
    ("a lost Snapshot", 50),
    ("leaks", 100),
    ("a pool", 100),
    ("a pool and people", 50),
    ("an estate", 60),
    ("an estate and one trouble", 42),
];

fn times() -> u64 {
    std::env::var("A8S_SCHEDULES").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// The seeds to run of this kind: one, or as many as there shall be.
fn seeds(kind: &str) -> Vec<u64> {
    if let Some(seed) = std::env::var("A8S_SEED").ok().and_then(|text| text.parse().ok()) {
        return vec![seed];
    }
    let (_, many) = KINDS.into_iter().find(|(name, _)| *name == kind).unwrap();
    (0..many * times()).collect()
}

/// Not captured with what tests print: whoever ran them wants to know.
#[test]
fn it_is_said_how_many_schedules_this_run_has() {
    let all: u64 = KINDS.into_iter().map(|(_, many)| many * times()).sum();
    writeln!(
        std::io::stderr(),
        "{all} seeded schedules, each of which must hold; A8S_SEED=<seed> runs one of each kind"
    )
    .unwrap();
}

/// What a calm world comes to that ran and then got the wishes that `world` ended with.
fn calm(world: &World) -> Value {
    let mut other = World::new(world.seed ^ 0xffff, world.binding);
    other.start();
    other.settle();
    other.user = world.user;
    other.settle();
    other.sim.view().canonical()
}

fn chaos(seed: u64, steps: usize, act: impl Fn(&mut World)) -> World {
    let mut world = World::random(seed);
    world.start();
    for _ in 0..steps {
        act(&mut world);
    }
    world
}

/// Any step of anybody.
fn anything(world: &mut World) {
    let millis = world.sim.rng().random_range(0..8_000);
    world.sim.advance(millis);
    match world.sim.rng().random_range(0..16) {
        0..=4 => world.pass_somehow(World::workspace_pass),
        5..=7 => world.pass_somehow(World::session_pass),
        8..=10 => world.kubelet(),
        11 => world.binder(),
        12 => world.sim.collect_garbage(),
        13 => world.pod_fails(),
        14 => world.people(),
        _ => world.desk_restarts(),
    }
}

#[test]
fn whatever_happens_on_the_way_the_end_is_the_same() {
    let mut calms = HashMap::new();
    for seed in seeds("one Session") {
        let mut world = chaos(seed, 60, anything);
        world.settle();
        let kind = format!("{:?} {:?}", world.user, world.binding);
        let wanted = calms.entry(kind).or_insert_with(|| calm(&world));
        assert_eq!(&world.sim.view().canonical(), wanted, "seed {seed}, {:?}", world.user);
    }
}

#[test]
fn a_crash_after_any_step_changes_nothing_in_the_end() {
    let reference = {
        let mut world = World::random(1);
        world.start();
        world.settle();
        world
    };
    let wanted = reference.sim.view().canonical();
    assert!(reference.sim.steps() > 10, "the plans did something");
    for k in 0..reference.sim.steps() {
        let mut world = World::random(1);
        world.start();
        world.sim.crash_after(k);
        world.settle();
        assert_eq!(world.sim.view().canonical(), wanted, "crash after step {k}");
    }
}

#[test]
fn a_converged_world_costs_no_writes() {
    for seed in seeds("one Session at rest") {
        let mut world = chaos(seed, 30, anything);
        world.settle();
        let version = world.sim.version();
        for _ in 0..20 {
            world.sim.advance(60_000);
            world.everybody();
        }
        assert_eq!(world.sim.version(), version, "seed {seed}, {:?}", world.user);
    }
}

#[test]
fn a_deleted_session_leaves_nothing_behind() {
    for seed in seeds("a deleted Session") {
        let mut world = chaos(seed, 40, anything);
        world.user.deleted = true;
        world.wish();
        for _ in 0..20 {
            anything(&mut world);
        }
        world.settle();
        let left: Vec<String> = world.sim.view().iter().map(|(key, _)| key.to_string()).collect();
        assert_eq!(left, ["Environment /desktop"], "seed {seed}");
    }
}

#[test]
fn a_lease_is_what_the_person_asked_for_last() {
    for seed in seeds("a lease") {
        let mut world = chaos(seed, 50, anything);
        if world.user.terminated {
            // There is no way back from there.
            continue;
        }
        world.user = User { suspended: false, ..world.user };
        world.wish();
        world.settle();
        assert_eq!(
            world.lease(),
            Some((world.user.holder(), world.user.control && world.user.private)),
            "seed {seed}"
        );
    }
}
