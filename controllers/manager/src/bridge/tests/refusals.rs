//! What the runner does not take and would not take however often it is sent: people are told, nothing is sent for ever, and what can go on
//! goes on.

use a8s_crds::{Decision, RequestState, conditions, conditions::ConditionType};

use super::*;

const FINAL: [u16; 5] = [400, 404, 409, 413, 422];

fn refusing(call: &'static str, status: u16) -> Fake {
    let world = Fake::default();
    world.state().refuses = vec![(call, status)];
    world
}

fn warnings(world: &Fake) -> Vec<String> {
    world.state().said.iter().filter(|n| n.warning).map(|n| n.note.clone()).collect()
}

/// What its condition says of a Message.
fn why(world: &Fake, name: &str) -> String {
    let status = world.message(name);
    conditions::get(&status.conditions, ConditionType::Delivered)
        .map(|c| c.message.clone())
        .unwrap_or_default()
}

#[tokio::test]
async fn settings_that_do_not_fit_are_said_to_people_once_and_nothing_begins_before_they_change() {
    for status in FINAL {
        let world = refusing("settings", status);
        world.state().wanted = Settings { harness: "odd".into(), ..Settings::default() };
        world.say_as("a", 1, Delivery::Queue, Some("first"));
        let mut conversation = Conversation::open(&world, rain(), false).await.unwrap();
        for _ in 0..3 {
            conversation.deliver().await.unwrap();
        }
        assert_eq!(world.prompted(), [""; 0], "{status}");
        assert_eq!(world.state().refusals, 1, "{status}");
        assert!(conversation.live.hindrance.as_ref().unwrap().contains("it does not fit"));
        let [warning] = &warnings(&world)[..] else { panic!("{:?}", warnings(&world)) };
        assert!(warning.contains("it does not fit") && warning.contains("spec.agent"), "{warning}");
        assert!(why(&world, "a").contains("it does not fit"), "{}", why(&world, "a"));
        assert_eq!(world.message("a").state, Some(MessageState::Queued), "nothing is lost");

        world.state().refuses.clear();
        world.state().wanted = Settings::default();
        conversation.deliver().await.unwrap();
        assert_eq!((conversation.live.hindrance, world.prompted().len()), (None, 1));
    }
}

#[tokio::test]
async fn while_settings_do_not_fit_what_runs_can_be_stopped() {
    let world = Fake::default();
    world.state().slow = true;
    world.say_as("a", 1, Delivery::Queue, Some("first"));
    live_on(&world, Subject { goal: None, ..rain() }).await.unwrap();
    world.state().refuses = vec![("settings", 400)];
    world.state().wanted = Settings { harness: "odd".into(), ..Settings::default() };
    world.say_as("b", 2, Delivery::Interrupt, None);
    world.say_as("c", 3, Delivery::Queue, Some("next"));
    live_on(&world, Subject { goal: None, ..rain() }).await.unwrap();
    assert_eq!(world.prompted(), ["uid-a"]);
    assert_eq!(world.state().interrupts, [1]);
}

#[tokio::test]
async fn an_answer_that_the_runner_never_takes_closes_the_request_with_the_reason() {
    for status in FINAL {
        for also in [None, Some(("refusal", status))] {
            let world = Fake::default();
            world.state().asks = Some("Permission");
            live_on(&world, rain()).await.unwrap();
            world.state().refuses = [Some(("answer", status)), also].into_iter().flatten().collect();
            let decision = Decision { option: "yes".into(), by: Some("jane".into()), ..Decision::default() };
            world.state().requests[0].status.get_or_insert_default().decision = Some(decision);
            live_on(&world, rain()).await.unwrap();
            let closed = world.state().requests[0].status.clone().unwrap();
            assert_eq!(closed.state, Some(RequestState::Refused), "{status}");
            assert_eq!(closed.outcome.as_deref(), Some("the answer does not fit: it does not fit"));
            let before = world.state().refusals;
            live_on(&world, rain()).await.unwrap();
            assert_eq!(
                world.state().answers.len(),
                usize::from(also.is_none()),
                "the agent hears of it if it can"
            );
            assert!(world.state().refusals <= before + 1, "a new connection tries once, and not for ever");
        }
    }
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_nobody_is_bothered() {
    for status in [401, 429, 500, 503, 507] {
        let world = refusing("settings", status);
        world.state().wanted = Settings { harness: "odd".into(), ..Settings::default() };
        assert!(live_on(&world, rain()).await.is_err());
        assert_eq!(warnings(&world), [""; 0], "{status}");
        world.state().refuses.clear();
        live_on(&world, rain()).await.unwrap();
        assert_eq!(world.prompted(), ["uid-s/goal"]);
    }
}

#[tokio::test]
async fn an_attachment_that_the_runner_does_not_take_is_named_and_the_rest_goes_on() {
    let world = refusing("attachment", 400);
    world.say_as("a", 1, Delivery::Queue, Some("first"));
    world.state().messages[0].spec.attachments = rain().attachments;
    world.say_as("b", 2, Delivery::Queue, Some("second"));
    live_on(&world, rain()).await.unwrap();
    assert_eq!(world.prompted(), ["uid-s/goal", "uid-b"]);
    assert_eq!(world.state().prompts[0].attachments, [""; 0]);
    assert!(warnings(&world).iter().any(|text| text.contains("a.csv")), "{:?}", warnings(&world));
    assert_eq!(world.message("a").state, Some(MessageState::Dropped));
    assert!(why(&world, "a").contains("a.csv: it does not fit"), "{}", why(&world, "a"));
}

#[tokio::test]
async fn a_goal_and_a_stop_that_the_runner_does_not_take_do_not_hold_up_the_conversation() {
    let world = refusing("prompt", 422);
    live_on(&world, rain()).await.unwrap();
    assert!(warnings(&world).iter().any(|text| text.contains("goal") && text.contains("it does not fit")));
    let world = Fake::default();
    world.state().slow = true;
    live_on(&world, rain()).await.unwrap();
    world.state().refuses = vec![("interrupt", 404)];
    world.say_as("a", 1, Delivery::Interrupt, None);
    live_on(&world, rain()).await.unwrap();
    assert_eq!(world.message("a").state, Some(MessageState::Consumed));
    assert!(warnings(&world).iter().any(|text| text.contains("cannot be stopped")));
}
