//! Thousands of seeded schedules against the plans: people change their minds, controllers crash between any two steps and look at stale
//! views, pods fail. In the end everything must be as if nothing had happened, and a converged object must cost nothing.
//! A failing schedule names its seed; `A8S_SEED=<seed>` runs only that one, `A8S_SCHEDULES=<number>` at least so many.
//! `make test-schedules` runs more than 100,000.

#![allow(clippy::unwrap_used, reason = "a test may panic anywhere")]
#![allow(
    clippy::needless_pass_by_value,
    clippy::unused_self,
    clippy::map_clone,
    reason = "worlds are read, not tuned"
)]

mod caught;
mod deleted;
mod estate;
mod estates;
mod judge;
mod mutants;
mod pools;
mod snapshot;
mod world;

use std::{
    collections::{BTreeMap, HashMap},
    io::Write,
    ops::Range,
    sync::Mutex,
    time::Instant,
};

use rand::Rng;
use serde_json::Value;
use world::{User, World};

/// How many schedules of each kind `cargo test` runs.
const KINDS: [(&str, u64); 15] = [
    ("one Session", 200),
    ("one Session at rest", 25),
    ("a deleted Session", 75),
    ("a lease", 75),
    ("a deleted desktop", 40),
    ("a Snapshot", 400),
    ("a deleted Snapshot", 300),
    ("lost objects", 50),
    ("a lost Snapshot", 50),
    ("leaks", 150),
    ("a pool", 100),
    ("a pool and people", 50),
    ("an estate", 60),
    ("an estate and one trouble", 42),
    ("an estate left to itself", 40),
];

/// How often the numbers of [`KINDS`] are run, so that there are `A8S_SCHEDULES` schedules at least.
fn times() -> u64 {
    std::env::var("A8S_SCHEDULES").map_or(1, |text| times_for(&text))
}

fn times_for(text: &str) -> u64 {
    let least = text.parse().unwrap_or(0);
    assert!(least > 0, "A8S_SCHEDULES={text}: it says how many schedules there shall be at least");
    u64::div_ceil(least, KINDS.iter().map(|(_, many)| many).sum())
}

/// The seeds to run of this kind: one, or as many as there shall be.
fn seeds(kind: &'static str) -> Seeds {
    let (_, many) = KINDS.into_iter().find(|(name, _)| *name == kind).unwrap();
    let one = std::env::var("A8S_SEED").ok().map(|text| text.parse().unwrap());
    let all = one.map_or(0..many * times(), |seed: u64| seed..seed + 1);
    Seeds { kind, many: all.end - all.start, left: all, begun: Instant::now() }
}

/// Seeds that are left. Whoever asks for another after the last has seen all schedules of the kind hold.
struct Seeds {
    kind: &'static str,
    many: u64,
    left: Range<u64>,
    begun: Instant,
}

impl Iterator for Seeds {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let next = self.left.next();
        if next.is_none() {
            self.held();
        }
        next
    }
}

impl Seeds {
    /// Says so, not captured with what tests print; and after the last kind how many held in all.
    fn held(&self) {
        static HELD: Mutex<BTreeMap<&str, u64>> = Mutex::new(BTreeMap::new());
        let mut held = HELD.lock().unwrap();
        held.insert(self.kind, self.many);
        let mut said =
            vec![format!("{}: {} schedules in {:.1?}\n", self.kind, self.many, self.begun.elapsed())];
        if held.len() == KINDS.len() {
            let all: u64 = held.values().sum();
            said.push(format!("{all} seeded schedules, and each of them held\n"));
        }
        std::io::stderr().write_all(said.concat().as_bytes()).unwrap();
    }
}

#[test]
#[should_panic(expected = "at least")]
fn a_run_of_no_schedules_fails() {
    times_for("0");
}

#[test]
fn as_many_schedules_are_run_as_are_asked_for() {
    let one: u64 = KINDS.iter().map(|(_, many)| many).sum();
    for (asked, times) in [(1, 1), (one, 1), (one + 1, 2), (100_000, 100_000 / one + 1)] {
        assert_eq!(times_for(&asked.to_string()), times, "{asked}");
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

// The longest of all; by this name it is begun among the first and does not run alone at the end.
#[test]
fn all_ends_are_the_same_whatever_happens_on_the_way() {
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
