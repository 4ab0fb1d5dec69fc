//! Whatever people and clusters do to Workspaces and their Snapshots: the judge finds nothing, and in the end all is as it was asked for.

use a8s_plan::workspace::Binding;
use serde_json::json;

use crate::{
    estate::{Estate, Wish},
    seeds, times,
};

#[test]
fn no_schedule_loses_work_or_breaks_an_invariant() {
    for seed in seeds("an estate") {
        let mut estate = Estate::random(seed);
        // Some begin in the middle of a life, and some at its beginning.
        if seed % 2 == 0 {
            estate.upheaval(25);
            estate.comes_to_rest();
        }
        estate.upheaval(40);
        estate.judge.is_content(seed);
        estate.comes_to_rest();
        estate.judge_rest();
        estate.judge.is_content(seed);
    }
}

#[test]
fn a_pass_that_nobody_asks_for_is_needed_by_nobody() {
    for seed in seeds("an estate left to itself") {
        let mut estate = Estate::random(seed);
        estate.left_to_itself(12);
        estate.judge.is_content(seed);
        estate.judge_rest();
        estate.judge.is_content(seed);
    }
}

#[test]
fn a_desktop_that_fails_again_and_again_costs_bounded_writes_and_comes_back() {
    let mut estate = Estate::new(5, Binding::Immediate);
    estate.settle();
    let steps = estate.fails_all_the_time("a", 600);
    // It is tried each ten seconds: gone, made, and what is said on the way.
    assert!((60..=600).contains(&steps), "{steps} steps in ten minutes");
    estate.settle();
    estate.judge_rest();
    estate.judge.is_content(5);
}

/// What a person does in one life of a Workspace; after each step all comes to rest.
fn life(estate: &mut Estate) {
    let state = |estate: &mut Estate, state: &str| {
        estate.patch("Workspace", "a", &json!({"spec": {"state": state}}));
        estate.settle();
    };
    estate.settle();
    estate.works();
    estate.takes("m", "Delete");
    estate.settle();
    estate.works();
    state(estate, "Suspended");
    state(estate, "Archived");
    state(estate, "Running");
    estate.patch("Workspace", "a", &json!({"spec": {"restore": {"snapshot": "m", "id": "1"}}}));
    estate.settle();
    estate.make_workspace("b", json!({"environment": "desktop", "source": {"snapshot": "m"}}));
    estate.settle();
    estate.works();
    estate.loses_objects();
    estate.settle();
    estate.patch(
        "Workspace",
        "a",
        &json!({"spec": {"lifecycle": {"idleSuspendAfter": "10s", "archiveAfter": "20s"}}}),
    );
    estate.settle();
    estate.discards("m");
    estate.settle();
}

fn whole_life(crash: Option<usize>, binding: Binding) -> (String, usize) {
    let mut estate = Estate::new(11, binding);
    if let Some(after) = crash {
        estate.dies_after(after);
    }
    life(&mut estate);
    estate.judge_rest();
    estate.judge.is_content(crash.unwrap_or_default() as u64);
    (estate.summary(), estate.sim.steps())
}

#[test]
fn a_crash_after_any_step_of_a_whole_life_changes_nothing_in_the_end() {
    for binding in [Binding::Immediate, Binding::WaitForFirstConsumer] {
        let (wanted, steps) = whole_life(None, binding);
        assert!(steps > 60, "the plans did something: {steps}");
        // Each of them in the great run, each seventh on the way.
        let stride = if times() > 1 { 1 } else { 7 };
        for step in (0..steps).step_by(stride) {
            let (end, _) = whole_life(Some(step), binding);
            assert_eq!(end, wanted, "{binding:?}, crash after step {step}");
        }
    }
}

#[test]
fn every_kind_of_trouble_alone_leaves_everything_as_it_was_asked_for() {
    for seed in seeds("an estate and one trouble") {
        let mut estate = Estate::random(seed);
        let wish = Wish::ALL[usize::try_from(seed).unwrap() % Wish::ALL.len()];
        estate.only(&[wish]);
        estate.upheaval(60);
        estate.comes_to_rest();
        estate.judge_rest();
        estate.judge.is_content(seed);
    }
}
