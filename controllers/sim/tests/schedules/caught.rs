//! Defects are built in one at a time, and the judge catches each of them: so a schedule without a violation says something.

use a8s_crds::conditions::Reason;
use a8s_plan::workspace::Binding;

use crate::{
    estate::{Estate, Wish},
    judge::Violation,
    mutants::Mutant,
    pools::Pools,
};

/// Some schedule among the first few hundred shows it.
fn caught(mutant: Mutant, wishes: &[Wish], invariant: u8) {
    caught_as(mutant, wishes, invariant, "");
}

/// The same, and the judge has these words for it.
fn caught_as(mutant: Mutant, wishes: &[Wish], invariant: u8, words: &str) {
    for seed in 0..300 {
        let mut estate = Estate::random(seed);
        estate.only(wishes);
        estate.mutant = Some(mutant);
        for _ in 0..3 {
            estate.upheaval(50);
            estate.comes_to_rest();
            estate.judge_rest();
            let shown = |v: &Violation| v.invariant == invariant && v.what.contains(words);
            if estate.judge.found.iter().any(shown) {
                return;
            }
            estate.judge.found.clear();
        }
    }
    panic!("{mutant:?} got away");
}

fn caught_in_pools(mutant: Mutant, invariant: u8) {
    for seed in 0..400 {
        let mut pools = Pools::new(seed, 3);
        pools.mutant = Some(mutant);
        for _ in 0..120 {
            pools.anything();
        }
        if pools.judge.found.iter().any(|v| v.invariant == invariant) {
            return;
        }
    }
    panic!("{mutant:?} got away");
}

/// An estate in which Snapshot `m` lost its objects and what is in the backend.
fn after_a_loss(seed: u64, mutant: Option<Mutant>) -> Estate {
    let mut estate = Estate::new(seed, Binding::Immediate);
    estate.mutant = mutant;
    estate.settle();
    estate.takes("m", "Delete");
    estate.settle();
    estate.loses_objects();
    estate.truth.backend.clear();
    estate.settle();
    estate
}

/// Every such loss shows it.
fn caught_after_a_loss(mutant: Mutant, invariant: u8) {
    for seed in 0..50 {
        let estate = after_a_loss(seed, Some(mutant));
        assert!(estate.judge.found.iter().any(|v| v.invariant == invariant), "seed {seed}");
    }
}

#[test]
fn the_judge_catches_a_pod_that_is_adopted_by_its_name() {
    caught(Mutant::AdoptsByName, &[Wish::Again, Wish::State], 9);
}

#[test]
fn the_judge_catches_the_deletion_of_what_is_anothers() {
    let words = "was deleted by a plan that has no right to it";
    caught_as(Mutant::AdoptsByName, &[Wish::Again, Wish::Second, Wish::State], 2, words);
}

#[test]
fn the_judge_catches_expiry_that_nobody_asked_for() {
    caught_as(Mutant::ExpiresUnasked, &[Wish::Second, Wish::State], 2, "Workspace team/b was deleted");
}

#[test]
fn the_judge_catches_pods_that_are_created_without_looking() {
    caught(Mutant::CreatesWithoutLooking, &[Wish::Pod], 1);
}

#[test]
fn the_judge_catches_claims_under_names_that_change() {
    caught(Mutant::MakesClaimsUnderNewNames, &[Wish::State], 8);
}

#[test]
fn the_judge_catches_a_claim_that_goes_before_its_snapshot_is_ready() {
    caught(Mutant::DeletesTheClaimTooEarly, &[Wish::State], 2);
}

#[test]
fn the_judge_catches_trust_in_a_snapshot_that_is_not_finished() {
    caught(Mutant::TrustsUnfinishedSnapshots, &[Wish::State, Wish::Take], 2);
}

#[test]
fn the_judge_catches_an_archive_of_an_earlier_stay() {
    caught(Mutant::ArchivesWithAnOldSnapshot, &[Wish::State], 2);
}

#[test]
fn the_judge_catches_an_empty_volume_in_place_of_a_restored_one() {
    caught(Mutant::StartsEmpty, &[Wish::State], 2);
}

#[test]
fn the_judge_catches_a_second_writer_after_a_node_fell_silent() {
    caught(Mutant::ForcesPodsOffSilentNodes, &[Wish::Node, Wish::Pod], 1);
}

#[test]
fn the_judge_catches_a_ready_that_never_falls() {
    caught(Mutant::StaysReady, &[Wish::State], 9);
}

#[test]
fn the_judge_catches_a_snapshot_that_is_taken_again() {
    caught(Mutant::TakesAgain, &[Wish::Take, Wish::Objects], 3);
}

#[test]
fn the_judge_catches_a_handle_that_changes() {
    caught_as(Mutant::ForgetsTheHandle, &[Wish::Take], 3, "got another handle");
}

#[test]
fn the_judge_catches_what_says_that_it_is_lost_and_ready() {
    caught_after_a_loss(Mutant::IsLostAndReady, 3);
}

#[test]
fn the_judge_catches_a_leak_in_the_backend() {
    caught(Mutant::LeaksInTheBackend, &[Wish::Take, Wish::Discard, Wish::Objects], 8);
}

#[test]
fn the_judge_catches_a_lost_snapshot_that_is_called_ready() {
    caught_after_a_loss(Mutant::CallsTheLostReady, 9);
}

#[test]
fn the_judge_catches_writes_without_a_change() {
    caught(Mutant::WritesEachTime, &[Wish::State], 7);
}

#[test]
fn the_judge_catches_retention_that_takes_what_is_held() {
    caught(Mutant::ExpiresWhatIsHeld, &[Wish::Policy, Wish::Hold], 2);
}

#[test]
fn the_judge_catches_a_ttl_that_takes_what_is_held() {
    caught(Mutant::ForgetsTheHold, &[Wish::Take, Wish::Hold], 2);
}

#[test]
fn the_judge_catches_two_sessions_with_one_desktop() {
    caught_in_pools(Mutant::SharesDesktops, 1);
}

#[test]
fn the_judge_catches_a_pool_that_counts_what_is_not_ready() {
    caught_in_pools(Mutant::CountsAllAsReady, 9);
}

#[test]
fn the_judge_catches_a_session_that_is_ready_before_its_desktop() {
    caught_in_pools(Mutant::IsReadyAtOnce, 9);
}

#[test]
fn the_judge_catches_a_pool_that_makes_too_many() {
    caught_in_pools(Mutant::MakesMembersUnderNewNames, 8);
}

#[test]
fn the_judge_catches_a_desktop_that_goes_back_to_the_pool() {
    caught_in_pools(Mutant::ReturnsDesktops, 8);
}

/// The words of the real thing: a Snapshot whose data is gone says so, and is not ready.
#[test]
fn a_snapshot_whose_data_is_gone_says_so_in_the_whole_world_too() {
    let estate = after_a_loss(3, None);
    estate.judge.is_content(3);
    let found = estate.sim.get(&crate::estate::ours("Snapshot", "m")).unwrap();
    let reasons: Vec<_> =
        found["status"]["conditions"].as_array().unwrap().iter().map(|c| &c["reason"]).collect();
    assert!(reasons.iter().all(|r| *r == Reason::SnapshotLost.as_str()), "{reasons:?}");
}

#[test]
fn whoever_does_not_ask_to_be_woken_sleeps_for_ever() {
    for seed in 0..300 {
        let mut estate = Estate::random(seed);
        estate.mutant = Some(Mutant::NeverWakes);
        estate.left_to_itself(12);
        estate.judge_rest();
        if !estate.judge.found.is_empty() {
            return;
        }
    }
    panic!("nobody missed the wakes");
}
