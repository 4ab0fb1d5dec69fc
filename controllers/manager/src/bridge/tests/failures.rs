//! What people are told when a turn fails, and two bridges of one Session.

use super::*;

#[tokio::test]
async fn a_turn_that_fails_is_answered_by_a8s_once_however_often_it_is_read() {
    let world = Fake::default();
    world.state().fails = Some("the runner was restarted during this turn");
    live_on(&world, rain()).await.unwrap();
    // The worst case: nothing of it was recorded in the Session's status.
    live_on(&world, rain()).await.unwrap();
    let state = world.state();
    let by_a8s = |m: &&Message| m.spec.author.as_ref().is_some_and(|a| a.kind == AuthorKind::System);
    let told: Vec<&Message> = state.messages.iter().filter(by_a8s).collect();
    let [told] = &told[..] else { panic!("{told:?}") };
    assert_eq!(told.name_any(), "rain-0-5", "named after the end of the turn");
    let text = told.spec.content.as_deref().unwrap();
    assert!(text.contains("the runner was restarted during this turn") && text.contains("again"), "{text}");
    let status = told.status.as_ref().unwrap();
    assert_eq!((status.state, status.turn, status.seq), (Some(MessageState::Consumed), Some(1), Some(2)));
}

#[tokio::test]
async fn what_the_agent_has_said_itself_is_not_said_again() {
    let world = Fake::default();
    world.state().fails = Some("answer 1");
    live_on(&world, rain()).await.unwrap();
    live_on(&world, rain()).await.unwrap();
    assert_eq!(world.state().messages.len(), 1);
}

#[tokio::test]
async fn a_message_whose_turn_failed_is_no_later_branchs_after_a_restart() {
    let world = Fake::default();
    world.state().fails = Some("out of memory");
    let before = live_on(&world, rain()).await.unwrap();
    let subject = Subject {
        restored_from: Some("good".into()),
        recorded: before.recorded,
        last_message: before.last_message,
        ..rain()
    };
    live_on(&world, subject).await.unwrap();
    let state = world.state();
    assert!(
        state.messages.iter().all(|m| !m.labels().contains_key(labels::ABANDONED)),
        "it is in the transcript"
    );
}

#[tokio::test]
async fn a_place_that_another_bridge_has_given_stays_and_the_message_is_handed_over_once() {
    let world = Fake::default();
    world.say_as("a", 1, Delivery::Queue, Some("first"));
    world.state().rival = Some(41);
    live_on(&world, rain()).await.unwrap();
    live_on(&world, rain()).await.unwrap();
    assert_eq!(world.message("a").seq, Some(41));
    assert_eq!(world.prompted().iter().filter(|id| *id == "uid-a").count(), 1);
}
