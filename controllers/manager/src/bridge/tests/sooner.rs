//! What people say does not wait for the objects of what the agent said.

use super::*;

/// A world after the first turn, in which the agent has then said so much in another one, of which nothing is recorded.
async fn talkative(words: usize) -> (Fake, Subject) {
    let world = Fake::default();
    let before = live_on(&world, rain()).await.unwrap();
    {
        let mut state = world.state();
        state.turn += 1;
        let (turn, message_id) = (state.turn, "a".to_owned());
        state.event(EventBody::TurnStarted { message_id, content: "c".into(), author: "jane".into() });
        for n in 0..words {
            state.event(EventBody::Message { text: format!("word {n} of turn {turn}"), more: None });
        }
        let (message_id, stop_reason) = ("a".into(), "end_turn".into());
        state.event(EventBody::TurnEnded { message_id, stop_reason, detail: None });
    }
    let subject = Subject { recorded: before.recorded, last_message: before.last_message, ..rain() };
    (world, subject)
}

async fn heard(world: &Fake, subject: Subject) -> Conversation<'_, Fake> {
    let mut conversation = Conversation::open(world, subject, false).await.unwrap();
    hear_all(world, &mut conversation);
    conversation
}

fn hear_all(world: &Fake, conversation: &mut Conversation<'_, Fake>) {
    for event in world.state().transcript.clone() {
        conversation.hear(event);
    }
}

fn counted(world: &Fake) -> (usize, usize) {
    let state = world.state();
    (state.calls, state.looks)
}

#[tokio::test]
async fn what_people_say_is_handed_over_before_what_the_agent_said_is_recorded() {
    let (world, subject) = talkative(20).await;
    let mut conversation = heard(&world, subject).await;
    world.say_as("b", 1, Delivery::Queue, Some("and now?"));
    let calls = world.state().calls;
    conversation.deliver().await.unwrap();
    assert_eq!(world.prompted(), ["uid-s/goal", "uid-b"]);
    assert!(
        world.state().calls <= calls + 3,
        "the prompt, the owner, the place: {}",
        world.state().calls - calls
    );
    while conversation.is_behind() {
        conversation.record_next().await.unwrap();
    }
    let state = world.state();
    let mut said: Vec<(i64, &str)> = state
        .messages
        .iter()
        .filter_map(|m| Some((m.status.as_ref()?.seq?, m.spec.content.as_deref()?)))
        .collect();
    said.sort_unstable();
    assert_eq!(said.len(), 22);
    assert_eq!(said[21].1, "and now?", "it was said after all of it");
    let numbers: Vec<i64> = said.iter().map(|(place, _)| *place).collect();
    assert_eq!(numbers, (1..=22).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_said_in_quick_succession_costs_two_writes_each_and_one_look() {
    let (world, subject) = talkative(100).await;
    let mut conversation = heard(&world, subject).await;
    let before = counted(&world);
    while conversation.is_behind() {
        conversation.record_next().await.unwrap();
    }
    let after = counted(&world);
    assert_eq!((after.0 - before.0, after.1 - before.1), (200, 1));
}

#[tokio::test]
async fn who_is_alone_reads_what_is_settled_once_however_long_people_talk() {
    let (world, subject) = talkative(3).await;
    let mut conversation = heard(&world, subject).await;
    let looks = world.state().looks;
    for (second, name) in (1..).zip(["b", "c", "d"]) {
        world.say_as(name, second, Delivery::Queue, Some("and now?"));
        conversation.deliver().await.unwrap();
        hear_all(&world, &mut conversation);
        while conversation.is_behind() {
            conversation.record_next().await.unwrap();
        }
        conversation.deliver().await.unwrap();
        assert_eq!(world.message(name).state, Some(MessageState::Consumed));
    }
    assert_eq!(world.state().looks - looks, 1);
}

#[tokio::test]
async fn who_may_not_be_alone_gives_no_place_before_it_has_seen_what_others_gave() {
    let (world, subject) = talkative(0).await;
    world.state().crowded = true;
    let mut conversation = heard(&world, subject).await;
    conversation.deliver().await.unwrap();
    // Another bridge has recorded what is settled already.
    let said = Message { status: Some(MessageStatus { seq: Some(40), ..settled() }), ..agents_word() };
    world.state().messages.push(said);
    world.say_as("b", 1, Delivery::Queue, Some("and now?"));
    conversation.deliver().await.unwrap();
    assert_eq!(world.message("b").seq, Some(41));
}

fn settled() -> MessageStatus {
    MessageStatus { state: Some(MessageState::Consumed), ..MessageStatus::default() }
}

fn agents_word() -> Message {
    rain().message(EventId { epoch: 0, seq: 900 }, AuthorKind::Agent, "said meanwhile", None, false)
}

#[tokio::test]
async fn a_message_is_over_when_what_was_said_of_it_can_be_read() {
    let world = Fake::default();
    world.say_as("a", 1, Delivery::Queue, Some("first"));
    let mut conversation = heard(&world, Subject { goal: None, ..rain() }).await;
    conversation.deliver().await.unwrap();
    hear_all(&world, &mut conversation);
    conversation.deliver().await.unwrap();
    let status = world.message("a");
    assert_eq!((status.state, status.turn), (Some(MessageState::Delivered), Some(1)));
    let mut last = Then::Later;
    while conversation.is_behind() {
        last = conversation.record_next().await.unwrap();
    }
    assert_eq!(last, Then::Look);
    conversation.deliver().await.unwrap();
    assert_eq!(world.message("a").state, Some(MessageState::Consumed));
    assert_eq!(world.state().messages.len(), 2);
}

#[tokio::test]
async fn nobody_is_told_facts_of_half_a_transcript() {
    let (world, subject) = talkative(1).await;
    let mut conversation = heard(&world, subject).await;
    assert!(conversation.caught_up());
    while conversation.is_behind() {
        assert!(!conversation.has_facts());
        conversation.record_next().await.unwrap();
    }
    assert!(conversation.has_facts());
}

#[tokio::test]
async fn a_question_that_is_not_recorded_yet_is_not_refused_for_want_of_a_request() {
    let world = Fake::default();
    world.state().asks = Some("Permission");
    live_on(&world, rain()).await.unwrap();
    // As if nothing of it had been recorded.
    world.state().requests.clear();
    let mut conversation = heard(&world, rain()).await;
    conversation.deliver().await.unwrap();
    assert!(world.state().answers.is_empty());
    while conversation.is_behind() {
        conversation.record_next().await.unwrap();
    }
    conversation.deliver().await.unwrap();
    let state = world.state();
    assert_eq!((state.requests.len(), state.answers.len()), (1, 0));
}
