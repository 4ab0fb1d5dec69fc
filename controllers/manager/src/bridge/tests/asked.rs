//! What the agent asks, what people decide, and what becomes of both when processes die.

use a8s_crds::{ControlHolder, Decision, RequestState, conditions, conditions::ConditionType};

use super::*;

fn asking(kind: &'static str) -> Fake {
    let world = Fake::default();
    world.state().asks = Some(kind);
    world
}

/// A person writes a decision, as the API server lets them.
fn decide(world: &Fake, option: &str, by: Option<&str>) {
    let mut state = world.state();
    let request =
        state.requests.iter_mut().rev().find(|r| r.status.as_ref().is_none_or(|s| s.decision.is_none()));
    let status = request.unwrap().status.get_or_insert_default();
    status.decision = Some(Decision { option: option.into(), by: by.map(Into::into), ..Decision::default() });
}

/// A person who says yes to whatever waits.
fn decide_if_asked(world: &Fake) {
    let undecided = |r: &Request| r.status.as_ref().is_none_or(|s| s.decision.is_none());
    let state = world.state();
    let asked = !state.questions.is_empty() && state.requests.iter().any(undecided);
    drop(state);
    if asked {
        decide(world, "yes", Some("jane"));
    }
}

fn holds(world: &Fake, user: Option<&str>) {
    let holder = if user.is_some() { ControlHolder::User } else { ControlHolder::Agent };
    world.state().control =
        Some(ControlStatus { holder, user: user.map(Into::into), ..ControlStatus::default() });
}

fn status(world: &Fake) -> RequestStatus {
    world.state().requests.last().and_then(|r| r.status.clone()).unwrap_or_default()
}

fn ready(world: &Fake) -> String {
    let status = status(world);
    let ready = conditions::get(&status.conditions, ConditionType::Ready).unwrap();
    format!("{} {}", ready.status, ready.reason)
}

#[tokio::test]
async fn a_question_becomes_a_request_and_its_decision_an_answer() {
    let world = asking("Permission");
    live_on(&world, rain()).await.unwrap();
    let request = world.state().requests[0].clone();
    assert_eq!(request.name_any(), "rain-0-2");
    assert_eq!(request.owner_references()[0].uid, "uid-s");
    assert_eq!(request.labels()[labels::SESSION], "rain");
    assert_eq!(
        (request.spec.id.as_deref(), request.spec.turn, request.spec.options.len()),
        (Some("0-2"), Some(1), 2)
    );
    assert_eq!(
        (status(&world).state, ready(&world).as_str()),
        (Some(RequestState::Open), "False WaitingForDecision")
    );
    decide(&world, "yes", Some("jane"));
    live_on(&world, rain()).await.unwrap();
    let answers = world.state().answers.clone();
    assert_eq!(answers.len(), 1);
    assert_eq!(
        (answers[0].0.as_str(), answers[0].1.option.as_deref(), answers[0].1.by.as_str()),
        ("0-2", Some("yes"), "jane")
    );
    let closed = status(&world);
    assert_eq!(
        (closed.state, closed.outcome.as_deref()),
        (Some(RequestState::Granted), Some("granted by jane"))
    );
    assert_eq!(ready(&world), "True RequestGranted");
    let said: Vec<_> =
        world.state().said.iter().map(|n| n.reason.as_str()).filter(|r| r.starts_with("Request")).collect();
    assert_eq!(said, ["RequestOpened", "RequestGranted"]);
}

#[tokio::test]
async fn a_kill_at_any_call_asks_once_and_answers_once() {
    let build = || {
        let world = asking("Permission");
        world.say_as("a", 1, Delivery::Queue, Some("next"));
        world
    };
    let ended = async |world: &Fake| {
        for _ in 0..2 {
            live_on(world, rain()).await?;
            decide_if_asked(world);
        }
        live_on(world, rain()).await
    };
    let whole = build();
    ended(&whole).await.unwrap();
    let calls = whole.state().calls;
    assert!(calls > 15, "{calls}");
    for at in 0..calls {
        for after in [false, true] {
            let world = build();
            world.state().crash = Some((at, after));
            drop(ended(&world).await);
            world.state().crash = None;
            // Further lives, until everything is over.
            for _ in 0..4 {
                live_on(&world, rain()).await.unwrap();
                decide_if_asked(&world);
            }
            let state = world.state();
            let mut names: Vec<String> = state.requests.iter().map(ResourceExt::name_any).collect();
            names.sort();
            assert_eq!(names, ["rain-0-2", "rain-0-9"], "{at} {after}");
            let mut answered: Vec<_> = state.answers.iter().map(|(id, _)| id.as_str()).collect();
            answered.sort_unstable();
            assert_eq!(answered, ["0-2", "0-9"], "{at} {after}");
            let granted = |r: &Request| r.status.as_ref().unwrap().state == Some(RequestState::Granted);
            assert!(state.requests.iter().all(granted), "{at} {after}: {:?}", state.requests);
        }
    }
}

#[tokio::test]
async fn two_bridges_at_once_make_one_request_and_give_one_answer() {
    let world = asking("Permission");
    let mut one = Conversation::open(&world, rain(), false).await.unwrap();
    one.deliver().await.unwrap();
    let mut two = Conversation::open(&world, rain(), false).await.unwrap();
    let transcript = world.state().transcript.clone();
    for event in &transcript {
        for bridge in [&mut one, &mut two] {
            bridge.hear(event.clone());
            bridge.record_next().await.unwrap();
        }
    }
    assert_eq!(world.state().requests.len(), 1);
    decide(&world, "no", Some("jane"));
    one.deliver().await.unwrap();
    two.deliver().await.unwrap();
    assert_eq!(world.state().answers.len(), 1);
    assert_eq!(status(&world).state, Some(RequestState::Refused));
}

#[tokio::test]
async fn whoever_takes_the_desktop_and_hands_it_back_has_granted_the_takeover() {
    let world = asking("Takeover");
    live_on(&world, rain()).await.unwrap();
    holds(&world, None);
    live_on(&world, rain()).await.unwrap();
    assert_eq!(status(&world).state, Some(RequestState::Open), "the agent has it still");
    holds(&world, Some("jane"));
    live_on(&world, rain()).await.unwrap();
    assert_eq!(status(&world).outcome.as_deref(), Some("jane has taken over; waits for the hand-back"));
    assert!(world.state().answers.is_empty());
    holds(&world, None);
    live_on(&world, rain()).await.unwrap();
    let closed = status(&world);
    assert_eq!(
        (closed.state, closed.outcome.as_deref()),
        (Some(RequestState::Granted), Some("jane took over and handed back"))
    );
    assert!(closed.decision.is_none(), "nobody wrote one");
    assert_eq!(world.state().answers[0].1.by, "jane");
}

#[tokio::test]
async fn a_takeover_can_be_denied_and_somebody_else_may_take_it_up() {
    let world = asking("Takeover");
    for user in ["jane", "omar"] {
        holds(&world, Some(user));
        live_on(&world, rain()).await.unwrap();
    }
    assert_eq!(status(&world).outcome.as_deref(), Some("omar has taken over; waits for the hand-back"));
    decide(&world, "deny", Some("jane"));
    live_on(&world, rain()).await.unwrap();
    assert_eq!(status(&world).state, Some(RequestState::Refused));
    assert_eq!(world.state().answers[0].1.option.as_deref(), Some("deny"));
}

#[tokio::test]
async fn a_decision_that_nobody_stamped_is_no_decision() {
    let world = asking("Permission");
    live_on(&world, rain()).await.unwrap();
    decide(&world, "yes", None);
    live_on(&world, rain()).await.unwrap();
    assert!(world.state().answers.is_empty());
    assert!(status(&world).outcome.unwrap().contains("webhook"));
}

#[tokio::test]
async fn a_question_whose_request_was_deleted_or_cannot_be_made_is_refused() {
    let world = asking("Permission");
    let live = live_on(&world, rain()).await.unwrap();
    world.state().requests.clear();
    let later = Subject { recorded: live.recorded, last_message: live.last_message, ..rain() };
    live_on(&world, later).await.unwrap();
    assert_eq!(world.state().answers[0].1.option, None);

    let unfit = asking("Permission");
    unfit.state().unfit = true;
    live_on(&unfit, rain()).await.unwrap();
    assert_eq!(unfit.state().answers.len(), 1);
    assert!(unfit.state().requests.is_empty());
    assert!(unfit.state().said.iter().any(|n| n.warning && n.reason.as_str() == "RequestRefused"));
}

#[tokio::test]
async fn what_the_runner_does_not_wait_for_any_more_is_cancelled() {
    let world = asking("Permission");
    live_on(&world, rain()).await.unwrap();
    {
        // The desktop was put back to a time before the question.
        let mut state = world.state();
        state.questions.clear();
        (state.transcript, state.epoch, state.running) = (vec![], 1, None);
    }
    let subject = Subject { restored_from: Some("good".into()), goal_epoch: Some(0), ..rain() };
    live_on(&world, subject).await.unwrap();
    assert_eq!(
        (status(&world).state, ready(&world).as_str()),
        (Some(RequestState::Cancelled), "True RequestCancelled")
    );
}

#[tokio::test]
async fn the_runner_is_told_how_to_run_the_agent_before_it_hears_anything_and_again_on_change() {
    let world = Fake::default();
    world.state().wanted = Settings { max_turns: 3, ..Settings::default() };
    live_on(&world, rain()).await.unwrap();
    assert_eq!(world.state().settings.len(), 1);
    live_on(&world, rain()).await.unwrap();
    assert_eq!(world.state().settings.len(), 1, "it is told once");
    world.state().limit = Some("turns".into());
    world.state().wanted.max_turns = 9;
    let live = live_on(&world, rain()).await.unwrap();
    assert_eq!(
        (world.state().settings.len(), live.limit),
        (2, None),
        "a limit that was raised is one no more"
    );
}

#[tokio::test]
async fn a_message_comes_with_what_is_attached_to_it_or_waits_for_it_and_is_dropped_in_the_end() {
    let world = Fake::default();
    world.say_as("with", 1, Delivery::Queue, Some("read this"));
    let attachment = Attachment { name: "b.csv".into(), ..rain().attachments[0].clone() };
    world.state().messages[0].spec.attachments = vec![attachment.clone()];
    live_on(&world, rain()).await.unwrap();
    assert_eq!(world.state().prompts[1].attachments, ["b.csv"]);
    assert!(world.state().files.contains(&"b.csv".to_owned()));

    for (made, expected) in [(Timestamp::now().as_second(), MessageState::Queued), (1, MessageState::Dropped)]
    {
        let world = Fake::default();
        live_on(&world, rain()).await.unwrap();
        world.state().bare = true;
        world.say_as("without", made, Delivery::Queue, Some("read this"));
        world.state().messages.last_mut().unwrap().spec.attachments = vec![attachment.clone()];
        live_on(&world, rain()).await.unwrap();
        assert_eq!(world.message("without").state, Some(expected));
        assert_eq!(world.prompted(), ["uid-s/goal"]);
    }
}
