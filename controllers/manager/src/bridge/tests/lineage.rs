//! What becomes of Messages when the desktop is put back to a Snapshot.

use a8s_crds::conditions::{self, ConditionType};

use super::*;

/// The transcript as it was after so many events, and the next epoch on it.
fn put_back(world: &Fake, transcript: Vec<Event>, turn: i64) -> Subject {
    let mut state = world.state();
    (state.prompts, state.queue, state.running) = (vec![], vec![], None);
    (state.transcript, state.turn, state.epoch) = (transcript, turn, state.epoch + 1);
    Subject { restored_from: Some("good".into()), goal_epoch: Some(0), ..rain() }
}

fn abandoned(world: &Fake) -> Vec<String> {
    let state = world.state();
    let marked = |m: &&Message| m.labels().contains_key(labels::ABANDONED);
    let mut all: Vec<String> = state.messages.iter().filter(marked).map(ResourceExt::name_any).collect();
    all.sort();
    all
}

fn why(world: &Fake, name: &str) -> String {
    let status = world.message(name);
    conditions::get(&status.conditions, ConditionType::Ready).map(|c| c.reason.clone()).unwrap_or_default()
}

/// The goal is turn 1; two more turns follow.
async fn talked(world: &Fake) -> Vec<Event> {
    live_on(world, rain()).await.unwrap();
    let good = world.state().transcript.clone();
    for (n, name) in ["two", "three"].into_iter().enumerate() {
        world.say_as(name, 10 + i64::try_from(n).unwrap(), Delivery::Queue, Some("go on"));
        live_on(world, rain()).await.unwrap();
    }
    good
}

#[tokio::test]
async fn what_was_said_after_the_snapshot_is_marked_and_the_conversation_goes_on_in_the_next_epoch() {
    let world = Fake::default();
    let good = talked(&world).await;
    let subject = put_back(&world, good, 1);
    world.say_as("four", 20, Delivery::Queue, Some("another way"));
    let live = live_on(&world, subject.clone()).await.unwrap();
    let answers: Vec<_> = abandoned(&world).into_iter().filter(|n| n.starts_with("rain-0-")).collect();
    assert_eq!(answers.len(), 2, "the agent's answers of turns 2 and 3");
    assert!(abandoned(&world).ends_with(&["three".into(), "two".into()]), "{:?}", abandoned(&world));
    assert_eq!(
        (why(&world, "two").as_str(), world.message("two").state),
        ("Abandoned", Some(MessageState::Consumed))
    );
    assert_eq!(world.prompted(), ["uid-four"], "what waited is handed over, the goal is not");
    assert_eq!((live.turn, live.recorded.epoch), (2, 1), "turns are counted from the Snapshot on");
    let calls = world.state().calls;
    let later = Subject { recorded: live.recorded, last_message: live.last_message, ..subject };
    live_on(&world, later).await.unwrap();
    assert_eq!(world.state().calls, calls, "and nothing is written twice");
}

#[tokio::test]
async fn a_restore_of_what_was_there_before_takes_the_marks_off_and_marks_the_other_branch() {
    let world = Fake::default();
    let good = talked(&world).await;
    let safety = world.state().transcript.clone();
    let subject = put_back(&world, good, 1);
    world.say_as("four", 20, Delivery::Queue, Some("another way"));
    live_on(&world, subject).await.unwrap();
    let subject = put_back(&world, safety, 3);
    live_on(&world, subject).await.unwrap();
    let marked = abandoned(&world);
    assert_eq!(marked.len(), 2, "{marked:?}");
    assert!(marked.contains(&"four".to_owned()) && marked.iter().any(|n| n.starts_with("rain-1-")));
    assert_eq!(why(&world, "two"), "HandedToAgent");
}

#[tokio::test]
async fn a_message_whose_turn_the_restore_cut_off_is_dropped_and_says_why() {
    let world = Fake::default();
    live_on(&world, rain()).await.unwrap();
    let good = world.state().transcript.clone();
    world.state().slow = true;
    world.say_as("two", 10, Delivery::Queue, Some("go on"));
    live_on(&world, rain()).await.unwrap();
    assert_eq!(world.message("two").state, Some(MessageState::Delivered));
    let subject = put_back(&world, good, 1);
    live_on(&world, subject).await.unwrap();
    assert_eq!(
        (world.message("two").state, why(&world, "two").as_str()),
        (Some(MessageState::Dropped), "Abandoned")
    );
    assert_eq!(abandoned(&world), ["two"]);
}

#[tokio::test]
async fn a_volume_that_came_back_from_its_archive_leaves_nothing_behind() {
    let world = Fake::default();
    talked(&world).await;
    let subject = Subject { restored_from: Some("rain-archive-1".into()), goal_epoch: Some(0), ..rain() };
    live_on(&world, subject).await.unwrap();
    assert_eq!(abandoned(&world), [""; 0]);
}
