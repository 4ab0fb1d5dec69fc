//! Thousands of seeded schedules against the plans: people change their minds, controllers crash between any two steps and look at stale
//! views, pods fail. In the end everything must be as if nothing had happened, and a converged object must cost nothing.
//! A failing schedule names its seed; `A8S_SEED=<seed>` runs only that one. `make test-schedules` runs many more.

#![allow(clippy::unwrap_used, reason = "a test may panic anywhere")]

mod deleted;
mod pools;
mod snapshot;
mod world;

use std::{collections::HashMap, ops::Range};

use rand::Rng;
use serde_json::Value;
use world::{User, World};

/// The seeds to run: one, or `A8S_SCHEDULES` times as many as by default.
fn seeds(range: Range<u64>) -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("A8S_SEED") {
        Some(seed) => vec![seed],
        None => (range.start..range.end * number("A8S_SCHEDULES").unwrap_or(1)).collect(),
    }
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
    for seed in seeds(0..2_000) {
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
    for seed in seeds(0..100) {
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
    for seed in seeds(0..300) {
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
    for seed in seeds(0..300) {
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
