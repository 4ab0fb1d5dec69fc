//! What the agent asks: permissions, forms, the tools that ask people; how answers reach it, also late.

#![allow(clippy::unwrap_used)]

mod common;

use a8s_wire::{EventBody, Question};
use common::{Events, Pod, tools::Tools};
use reqwest::StatusCode;
use serde_json::json;

/// The harness's question of this turn, and the events after it.
async fn asked(pod: &Pod, message: &str, content: &str) -> (Events, Question) {
    pod.prompt(message, content, &[]).await;
    let mut events = pod.events("").await;
    let question = events.question().await;
    assert_eq!(pod.state().await.questions, std::slice::from_ref(&question));
    (events, question)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_asked_and_exactly_the_chosen_option_goes_back() {
    let pod = Pod::with_stub();
    let (mut events, question) = asked(&pod, "m1", "ask").await;
    assert_eq!((question.kind.as_str(), question.title.as_str(), question.turn), ("Permission", "pay", 1));
    let options: Vec<_> = question.options.iter().map(|o| (o.id.as_str(), o.kind.as_str())).collect();
    assert_eq!(options, [("no", "RejectOnce"), ("always", "AllowAlways"), ("once", "AllowOnce")]);

    let unfit =
        pod.post(&format!("/v1/requests/{}", question.id), json!({"option": "maybe", "by": "jane"})).await;
    assert_eq!(unfit.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert!(pod.reply(&question.id, json!({"option": "always", "by": "jane"})).await);
    assert!(!pod.reply(&question.id, json!({"option": "no", "by": "joe"})).await, "the first answer counts");
    assert!(!pod.reply("0-999", json!({"option": "no", "by": "joe"})).await);
    assert_eq!(events.turn_end("m1").await, "end_turn");
    assert_eq!(events.messages(), [r#"outcome: {"optionId": "always", "outcome": "selected"}"#]);
    let by = events.seen.iter().find_map(|event| match &event.body {
        EventBody::QuestionClosed { by, outcome, .. } => Some((outcome.clone(), by.clone())),
        _ => None,
    });
    assert_eq!(by, Some(("granted".into(), Some("jane".into()))));
    assert!(pod.state().await.questions.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_decides_without_a_person_where_it_can() {
    let pod = Pod::with_stub();
    pod.configure(json!({"permissions": "Deny"})).await;
    pod.prompt("m1", "ask", &[]).await;
    let mut events = pod.events("").await;
    assert_eq!(events.turn_end("m1").await, "end_turn");
    assert_eq!(events.messages(), [r#"outcome: {"optionId": "no", "outcome": "selected"}"#]);
    assert!(!events.seen.iter().any(|event| matches!(event.body, EventBody::Question(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unanswered_question_is_refused_when_its_time_is_over() {
    let pod = Pod::with_stub();
    pod.configure(json!({"permissions": "Ask", "requestTimeoutSeconds": 1})).await;
    let (mut events, question) = asked(&pod, "m1", "ask").await;
    assert_eq!(events.closed(&question.id).await, "expired");
    assert_eq!(events.turn_end("m1").await, "end_turn");
    assert_eq!(events.messages(), [r#"outcome: {"outcome": "cancelled"}"#]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_answers_what_is_open_before_it_cancels_once() {
    let pod = Pod::with_stub();
    let (mut events, question) = asked(&pod, "m1", "order").await;
    assert!(pod.interrupt(1).await);
    assert_eq!(events.closed(&question.id).await, "cancelled");
    assert_eq!(events.turn_end("m1").await, "cancelled");
    assert_eq!(events.messages(), ["cancelled cancel"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_harness_that_asks_and_then_is_deaf_is_replaced() {
    let pod = Pod::with_stub();
    let (mut events, question) = asked(&pod, "m1", "ask-deaf").await;
    pod.prompt("m2", "hello", &[]).await;
    assert!(pod.interrupt(1).await);
    assert_eq!(events.closed(&question.id).await, "cancelled");
    assert_eq!(events.turn_end("m1").await, "interrupted");
    assert_eq!(events.turn_end("m2").await, "end_turn");
}

#[tokio::test(flavor = "multi_thread")]
async fn outside_a_turn_nobody_is_asked() {
    let pod = Pod::with_stub_that("early");
    pod.prompt("m1", "heard", &[]).await;
    let mut events = pod.events("").await;
    assert_eq!(events.turn_end("m1").await, "end_turn");
    assert_eq!(events.messages(), ["cancelled"]);
    assert!(!events.seen.iter().any(|event| matches!(event.body, EventBody::Question(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_harness_that_would_decide_by_itself_is_told_to_ask() {
    let pod = Pod::with_stub_that("modes");
    pod.prompt("m1", "heard", &[]).await;
    let mut events = pod.events("").await;
    assert_eq!(events.turn_end("m1").await, "end_turn");
    assert_eq!(events.messages(), ["default"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_of_the_harness_is_filled_in_by_a_person() {
    let pod = Pod::with_stub();
    let (mut events, question) = asked(&pod, "m1", "form").await;
    assert_eq!((question.kind.as_str(), question.title.as_str()), ("Question", "Where to?"));
    let path = format!("/v1/requests/{}", question.id);
    let empty = pod.post(&path, json!({"option": "allow", "by": "jane"})).await;
    assert!(empty.text().await.unwrap().contains("city"));
    assert!(
        pod.reply(
            &question.id,
            json!({"option": "allow", "values": {"city": "Turin", "days": "3"}, "by": "j"})
        )
        .await
    );
    assert_eq!(events.turn_end("m1").await, "end_turn");
    assert_eq!(events.messages(), [r#"form: {"action": "accept", "content": {"city": "Turin", "days": 3}}"#]);

    pod.prompt("m2", "form", &[]).await;
    let question = events.question().await;
    assert!(pod.reply(&question.id, json!({"option": "deny", "by": "jane"})).await);
    assert_eq!(events.turn_end("m2").await, "end_turn");
    assert_eq!(events.messages().pop().unwrap(), r#"form: {"action": "decline"}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_asks_returns_the_answer() {
    let pod = Pod::with_stub();
    let tools = Tools::connect(&pod).await;
    let mut events = pod.events("").await;
    let asking = json!({"question": "Which\none?", "options": ["red", "blue"]});
    let (answered, ()) = tokio::join!(tools.call("ask_user", asking), async {
        let question = events.question().await;
        assert_eq!((question.kind.as_str(), question.title.as_str()), ("Question", "Which one?"));
        assert!(pod.reply(&question.id, json!({"option": "blue", "note": "please", "by": "jane"})).await);
    });
    assert_eq!(answered.0, "answered by jane: blue\nnote: please");
    assert_eq!((&answered.1["outcome"], &answered.1["option"]), (&json!("granted"), &json!("blue")));

    let asking = json!({"kind": "credential", "what": "crm", "why": "to read the customers"});
    let (answered, ()) = tokio::join!(tools.call("request_access", asking), async {
        let question = events.question().await;
        assert_eq!((question.kind.as_str(), question.subject.as_deref()), ("Credential", Some("crm")));
        assert!(pod.reply(&question.id, json!({"option": "deny", "by": "jane"})).await);
    });
    assert_eq!(answered.1["outcome"], "refused");
    assert!(answered.0.contains("refused by jane"), "{}", answered.0);
    let (text, _) = tools.call("request_access", json!({"kind": "soul", "what": "x", "why": "y"})).await;
    assert!(text.contains("tool, credential or context"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_starts_a_turn_of_its_own_even_after_a_restart() {
    let mut pod = Pod::with_harness_and(&["--ask-patience", "0.05"]);
    let tools = Tools::connect(&pod).await;
    let takeover = json!({"reason": "log in", "goal": "the inbox is open"});
    let (text, structured) = tools.call("request_takeover", takeover.clone()).await;
    assert!(text.starts_with("pending"), "{text}");
    let id = structured["id"].as_str().unwrap().to_owned();
    let (_, again) = tools.call("request_takeover", takeover).await;
    assert_eq!(again["id"].as_str(), Some(id.as_str()), "the same question once more is the same question");
    drop(tools);

    pod.kill_runner();
    pod.start_runner();
    assert_eq!(pod.state().await.questions.iter().map(|q| q.id.as_str()).collect::<Vec<_>>(), [id.as_str()]);
    assert!(pod.reply(&id, json!({"option": "allow", "by": "jane"})).await);
    assert!(!pod.reply(&id, json!({"option": "allow", "by": "jane"})).await);
    let mut events = pod.events("").await;
    assert_eq!(events.turn_end(&format!("a8s-answer-{id}")).await, "end_turn");
    let answer = events.messages().pop().unwrap();
    assert!(answer.contains("jane has taken the desktop and handed it back"), "{answer}");
    let author = events.seen.iter().find_map(|event| match &event.body {
        EventBody::TurnStarted { author, .. } => Some(author.clone()),
        _ => None,
    });
    assert_eq!(author.as_deref(), Some("a8s"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_conversation_is_asked_nothing_from_before() {
    let mut pod = Pod::with_harness_and(&["--ask-patience", "0.05"]);
    let tools = Tools::connect(&pod).await;
    let (_, structured) = tools.call("ask_user", json!({"question": "Why?"})).await;
    let id = structured["id"].as_str().unwrap().to_owned();
    pod.kill_runner();
    pod.set_epoch(1);
    pod.start_runner();
    assert_eq!(pod.events("").await.closed(&id).await, "cancelled");
    let state = pod.state().await;
    assert!(state.questions.is_empty() && state.queue.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_cancels_what_only_the_harness_waited_for() {
    let mut pod = Pod::with_stub();
    let (_, question) = asked(&pod, "m1", "ask").await;
    pod.kill_runner();
    pod.start_runner();
    let mut events = pod.events("").await;
    assert_eq!(events.closed(&question.id).await, "cancelled");
    assert!(!pod.reply(&question.id, json!({"option": "once", "by": "jane"})).await);
}
