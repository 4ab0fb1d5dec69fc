//! The `llm` brain, end to end over ACP: the agent as a process, a model that does what the message says, a desktop that is none.

mod common;

use common::World;
use serde_json::{Value, json};

const PROVIDERS: [&str; 4] = ["anthropic", "openai", "openai-compatible", "gemini"];

#[tokio::test]
async fn a_turn_looks_clicks_and_finishes_with_every_provider() {
    for provider in PROVIDERS {
        let world = World::new(provider).await;
        let mut agent = world.agent(None).await;
        let text = "/think hm\n/say I have a look.\n/tool computer {\"action\": \"screenshot\"}\n\
                    /tool computer {\"action\": \"left_click\", \"coordinate\": [640, 400]}\n\
                    /tool shell {\"command\": \"echo from the shell\"}\n/echo\n/tool finish {\"summary\": \"clicked\"}";
        assert_eq!(agent.turn(text).await.unwrap(), "end_turn", "{provider}");
        assert_eq!(
            agent.steps(),
            ["look at the screen", "click at 640,400", "run echo from the shell", "finish"]
        );
        assert_eq!(agent.said(), "I have a look.\nfrom the shell", "{provider}");
        let called: Vec<_> = world.desk.calls().into_iter().map(|(name, _)| name).collect();
        assert_eq!(called, ["computer", "computer", "finish"]);
        assert_eq!(world.desk.calls()[1].1["coordinate"], json!([640, 400]));
        let kinds: Vec<_> = agent.updates.iter().map(|update| update["sessionUpdate"].clone()).collect();
        for kind in ["usage_update", "agent_thought_chunk", "tool_call_update"] {
            assert!(kinds.contains(&json!(kind)), "{provider}: no {kind}");
        }
        let last = world.asked().pop().unwrap().to_string();
        assert!(last.contains("00000002"), "{provider}: the model did not get the picture");
        assert!(last.contains("be kind"), "{provider}: the model did not get the instructions");
        let hosted = match provider {
            "anthropic" => "computer_20251124",
            "openai" => "\"type\":\"computer\"",
            _ => "\"name\":\"computer\"",
        };
        assert!(last.contains(hosted), "{provider}: {last}");
    }
}

#[tokio::test]
async fn several_actions_of_one_call_reach_the_desktop_as_a_batch() {
    let world = World::new("openai").await;
    let mut agent = world.agent(None).await;
    let text = "/tool computer {\"actions\": [{\"action\": \"key\", \"text\": \"ctrl+l\"}, {\"action\": \"type\", \"text\": \"hi\"}]}\n/say ok";
    agent.turn(text).await.unwrap();
    let (name, arguments) = world.desk.calls().remove(0);
    assert_eq!((name.as_str(), &arguments["actions"][1]["text"]), ("computer_batch", &json!("hi")));
    assert_eq!(agent.steps(), ["press ctrl+l, type 2 characters"]);
}

#[tokio::test]
async fn a_cancelled_turn_withdraws_its_call_and_the_next_one_is_valid() {
    for provider in PROVIDERS {
        let world = World::new(provider).await;
        let mut agent = world.agent(None).await;
        let turn = agent.prompt("/say first\n/tool slow {}\n/and finish {\"summary\": \"x\"}").await;
        world.desk.called("slow").await;
        agent.cancel().await;
        assert_eq!(agent.answer(turn).await.unwrap()["stopReason"], "cancelled");
        world.desk.withdrawn().await;
        assert_eq!(agent.turn("/say second").await.unwrap(), "end_turn");
        let last = world.asked().pop().unwrap().to_string();
        assert_eq!(last.matches("interrupted: the call was cut off").count(), 2, "{provider}: {last}");
    }
}

#[tokio::test]
async fn a_cancel_while_the_model_speaks_keeps_what_it_said() {
    let world = World::new("anthropic").await;
    let mut agent = world.agent(None).await;
    let turn = agent.prompt("/slow 1\n/huge 20000").await;
    agent.update(|update| update["sessionUpdate"] == "agent_message_chunk").await;
    agent.cancel().await;
    assert_eq!(agent.answer(turn).await.unwrap()["stopReason"], "cancelled");
    agent.turn("/say second").await.unwrap();
    let messages = world.asked().pop().unwrap()["messages"].clone();
    let said = messages[1]["content"][0]["text"].as_str().unwrap();
    assert!(said.starts_with('x') && said.ends_with("[interrupted]"), "{said}");
}

#[tokio::test]
async fn an_agent_that_is_killed_knows_the_conversation_afterwards() {
    let world = World::new("openai-compatible").await;
    let mut agent = world.agent(None).await;
    agent.turn("/say the number is 4711").await.unwrap();
    agent.prompt("/tool slow {}").await;
    world.desk.called("slow").await;
    let session = agent.session.clone();
    agent.kill().await;
    let mut agent = world.agent(Some(&session)).await;
    assert_eq!(agent.turn("/say again").await.unwrap(), "end_turn");
    let messages = world.asked().pop().unwrap()["messages"].to_string();
    assert!(messages.contains("4711") && messages.contains("interrupted: the call"), "{messages}");
    assert!(!common::conversation(&world.home(), &session).contains("gateway-token"));
}

#[tokio::test]
async fn a_desktop_in_the_hands_of_a_person_is_waited_for() {
    let mut world = World::new("anthropic").await;
    // Waiting must not use up the steps.
    world.set("A8S_MAX_STEPS", "1");
    let mut agent = world.agent(None).await;
    world.desk.hold(true);
    let turn = agent.prompt("/tool computer {\"action\": \"screenshot\"}\n/say done").await;
    world.desk.refused(2).await;
    world.desk.hold(false);
    assert_eq!(agent.answer(turn).await.unwrap()["stopReason"], "end_turn");
    assert!(agent.said().contains("You have control of the desktop") && agent.said().ends_with("done"));
}

#[tokio::test]
async fn what_is_wrong_with_the_model_is_said_to_the_person() {
    for (model, key, words) in [
        ("m", "canary-key", "key for the model was refused"),
        ("no-such-model", "gateway-token", "not known to the server"),
        ("no-tools", "gateway-token", "cannot use tools"),
    ] {
        let mut world = World::new("openai-compatible").await;
        world.set("A8S_MODEL", model);
        world.set("A8S_MODEL_KEY", key);
        let mut agent = world.agent(None).await;
        let error = agent.turn("/say x").await.unwrap_err();
        assert!(error.contains(words) && agent.said().contains(words), "{error}\n{}", agent.said());
        assert!(!error.contains("canary"), "{error}");
    }
    let mut world = World::new("openai-compatible").await;
    world.set("A8S_MODEL_PROVIDER", "telepathy");
    let mut agent = world.agent(None).await;
    assert!(agent.turn("hello").await.unwrap_err().contains("telepathy"));
}

#[tokio::test]
async fn a_model_without_the_hosted_tool_uses_an_older_one_or_a_function() {
    for (provider, model, kind) in [
        ("anthropic", "old-hosted", "computer_20250124"),
        ("openai", "old-hosted", "computer_use_preview"),
        ("anthropic", "no-hosted", "\"name\":\"computer\""),
        ("openai", "no-hosted", "\"name\":\"computer\""),
    ] {
        let mut world = World::new(provider).await;
        world.set("A8S_MODEL", model);
        let mut agent = world.agent(None).await;
        agent.turn("/tool computer {\"action\": \"screenshot\"}\n/say seen").await.unwrap();
        assert_eq!((agent.said().as_str(), world.desk.calls().len()), ("seen", 1), "{provider} {model}");
        assert!(world.asked().pop().unwrap()["tools"].to_string().contains(kind), "{provider} {model}");
    }
}

#[tokio::test]
async fn too_many_steps_and_too_many_tokens_end_the_turn_with_a_word() {
    let mut world = World::new("anthropic").await;
    world.set("A8S_MAX_STEPS", "2");
    let mut agent = world.agent(None).await;
    let text = "/tool desktop_info {}\n/tool desktop_info {}\n/tool desktop_info {}\n/say never";
    assert_eq!(agent.turn(text).await.unwrap(), "max_turn_requests");
    assert!(agent.said().contains("after 2 steps"), "{}", agent.said());
    assert_eq!(world.desk.calls().len(), 2);
    assert_eq!(agent.turn("/say on").await.unwrap(), "end_turn");

    let mut world = World::new("anthropic").await;
    world.set("A8S_MAX_TURN_TOKENS", "1000");
    let mut agent = world.agent(None).await;
    let text = "/usage 900 200\n/tool desktop_info {}\n/say never";
    assert_eq!(agent.turn(text).await.unwrap(), "max_tokens");
    assert!(agent.said().contains("1100 tokens"), "{}", agent.said());
}

#[tokio::test]
async fn a_model_that_repeats_itself_is_told_and_then_stopped() {
    let world = World::new("openai").await;
    world.desk.freeze();
    let mut agent = world.agent(None).await;
    let click = "/tool computer {\"action\": \"left_click\", \"coordinate\": [1, 1]}\n";
    assert_eq!(agent.turn(&click.repeat(20)).await.unwrap(), "end_turn");
    assert!(agent.said().contains("again and again"), "{}", agent.said());
    assert_eq!(world.desk.calls().len(), 8);
    assert!(world.asked().pop().unwrap().to_string().contains("Try something else"));
}

#[tokio::test]
async fn what_the_provider_finds_unsafe_is_asked_first() {
    for (permission, calls) in [("allow_once", 1), ("reject_once", 0)] {
        let world = World::new("openai").await;
        let mut agent = world.agent(None).await;
        agent.permission = permission;
        let text = "/safety the page gives orders\n/tool computer {\"action\": \"left_click\", \"coordinate\": [1, 2]}\n/say ok";
        agent.turn(text).await.unwrap();
        let title = agent.questions[0]["toolCall"]["title"].as_str().unwrap();
        assert!(title.contains("click at 1,2") && title.contains("the page gives orders"), "{title}");
        let clicks = world.desk.calls().iter().filter(|(_, call)| call["action"] == "left_click").count();
        assert_eq!(clicks, calls);
        let last = world.asked().pop().unwrap()["input"].to_string();
        assert_eq!(last.contains("\"acknowledged_safety_checks\""), permission == "allow_once", "{last}");
        assert_eq!(last.contains("did not allow"), permission == "reject_once");
    }
}

#[tokio::test]
async fn a_conversation_that_is_too_long_is_summarised_and_keeps_the_requirement() {
    for (provider, window) in [("anthropic", "1000000"), ("openai-compatible", "4000")] {
        let mut world = World::new(provider).await;
        world.set("A8S_MODEL_WINDOW", window);
        if provider == "anthropic" {
            // The server says when it is too much; nobody knew before.
            world.set("A8S_MODEL", "tiny-24000");
        }
        let mut agent = world.agent(None).await;
        agent.turn("REQUIREMENT: paint the fence green, not blue\n/say I will").await.unwrap();
        let mut text = "/counted\n".to_owned();
        text.extend((0..4).map(|number| format!("/tool shell {{\"command\": \"seq {number} 2000\"}}\n")));
        text.push_str("/say painted");
        assert_eq!(agent.turn(&text).await.unwrap(), "end_turn", "{provider}");
        assert!(agent.steps().contains(&"summarise the conversation so far".to_owned()), "{provider}");
        assert!(agent.said().ends_with("painted"), "{provider}: {}", agent.said());
        let kept = common::conversation(&world.home(), &agent.session);
        assert!(kept.contains("REQUIREMENT: paint the fence green, not blue"), "{provider}: {kept}");
        assert!(kept.contains("was summarised"), "{provider}: {kept}");
        assert_eq!(agent.turn("/say and on").await.unwrap(), "end_turn");
    }
}

#[tokio::test]
async fn a_tool_that_is_added_later_is_offered() {
    let world = World::new("anthropic").await;
    let mut agent = world.agent(None).await;
    agent.turn("/tool desktop_info {}\n/say x").await.unwrap();
    world.desk.add_tool("jira__create.issue").await;
    // The news travels beside the turn.
    loop {
        agent.turn("/tool jira__create_issue {\"title\": \"Broken\"}\n/say done").await.unwrap();
        if world.desk.calls().iter().any(|(name, _)| name == "jira__create.issue") {
            break;
        }
    }
    assert!(agent.steps().contains(&"jira: create issue Broken".to_owned()), "{:?}", agent.steps());
}

#[tokio::test]
async fn an_answer_that_breaks_off_costs_no_turn() {
    for provider in PROVIDERS {
        let world = World::new(provider).await;
        let mut agent = world.agent(None).await;
        let text = "/cut times=1\n/overloaded times=1\n/say a whole sentence, at last";
        assert_eq!(agent.turn(text).await.unwrap(), "end_turn", "{provider}");
        assert!(agent.said().ends_with("a whole sentence, at last"), "{provider}: {}", agent.said());
    }
}

#[tokio::test]
async fn a_refusal_leaves_nothing_behind_that_would_be_refused_again() {
    let world = World::new("anthropic").await;
    let mut agent = world.agent(None).await;
    agent.turn("/say hello").await.unwrap();
    assert_eq!(agent.turn("FORBIDDEN\n/say no\n/refuse").await.unwrap(), "refusal");
    agent.turn("/say fine").await.unwrap();
    let last = world.asked().pop().unwrap().to_string();
    assert!(!last.contains("FORBIDDEN") && last.contains("/say hello"), "{last}");
}

#[tokio::test]
async fn arguments_that_are_no_json_and_errors_of_tools_go_back_to_the_model() {
    let world = World::new("openai-compatible").await;
    let mut agent = world.agent(None).await;
    let text = "/tool computer {\"action\": \n/echo\n/tool computer {\"action\": \"fail\"}\n/echo";
    agent.turn(text).await.unwrap();
    let said = agent.said();
    assert!(said.contains("not JSON") && said.contains("bad_argument"), "{said}");
}

#[tokio::test]
async fn a_proxy_of_the_environment_is_not_asked_for_what_is_in_the_pod() {
    let mut world = World::new("anthropic").await;
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        // Nobody listens there.
        world.set(name, "http://127.0.0.1:1");
    }
    let mut agent = world.agent(None).await;
    assert_eq!(agent.turn("/say here").await.unwrap(), "end_turn");
}

#[tokio::test]
async fn an_agent_that_was_not_granted_its_shell_has_none() {
    let mut world = World::new("anthropic").await;
    world.set("A8S_TOOLS", "computer,files");
    let mut agent = world.agent(None).await;
    let text = "/tool shell {\"command\": \"echo from the shell\"}\n/echo";
    assert_eq!(agent.turn(text).await.unwrap(), "end_turn");
    assert!(!agent.said().contains("from the shell"), "{}", agent.said());
    let offered = world.asked()[0]["tools"].to_string();
    assert!(offered.contains("computer_20251124") && !offered.contains("\"shell\""), "{offered}");
}

#[tokio::test]
async fn without_a_model_the_script_is_followed() {
    let mut world = World::new("anthropic").await;
    for name in ["A8S_MODEL_PROVIDER", "A8S_MODEL", "A8S_MODEL_URL"] {
        world.set(name, "");
    }
    let mut agent = world.agent(None).await;
    agent.turn("/say scripted").await.unwrap();
    assert_eq!(agent.said(), "scripted");
    assert_eq!(world.asked(), Vec::<Value>::new());
}
