//! Each provider's wire against a mock with answers of the recorded shapes: what goes well, and everything that does not.

#![allow(clippy::unwrap_used)]

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use a8s_llm::{
    Client, Computer, ComputerTool, Event, Image, Key, LlmError, Message, Part, Patience, Provider, Reply,
    Request, ResultPart, Role, Settings, Stop, Tool, ToolResult,
};
use a8s_model_mock::Mock;
use futures::StreamExt;
use serde_json::json;

const ALL: [Provider; 4] =
    [Provider::Anthropic, Provider::OpenAi, Provider::OpenAiCompatible, Provider::Gemini];

async fn mock(key: Option<&str>) -> Mock {
    Mock::start(SocketAddr::from(([127, 0, 0, 1], 0)), key.map(str::to_owned)).await.unwrap()
}

fn quick() -> Patience {
    Patience {
        first_delay: Duration::from_millis(1),
        idle: Duration::from_millis(300),
        ..Patience::default()
    }
}

fn client_of(mock: &Mock, provider: Provider, model: &str, key: Option<&str>) -> Client {
    let behind = matches!(provider, Provider::OpenAi | Provider::OpenAiCompatible);
    let base = if behind { format!("{}/v1", mock.url()) } else { mock.url() };
    let settings = Settings {
        provider,
        model: model.into(),
        base_url: Some(base),
        key: key.and_then(Key::new),
        patience: quick(),
    };
    Client::new(settings).unwrap()
}

fn tool(name: &str) -> Tool {
    Tool {
        name: name.into(),
        description: "a tool".into(),
        schema: json!({"type": "object", "properties": {}}),
    }
}

fn asking(text: &str) -> Request {
    Request {
        system: "be brief".into(),
        messages: vec![Message::user(text)],
        tools: vec![tool("look")],
        ..Request::default()
    }
}

async fn ask(client: &Client, text: &str) -> Result<Reply, LlmError> {
    client.ask(asking(text)).await
}

#[tokio::test]
async fn text_arrives_in_pieces_that_make_the_whole_from_every_provider() {
    let mock = mock(None).await;
    for provider in ALL {
        let mut events = client_of(&mock, provider, "m", None)
            .stream(asking("/think so\n/say Hällo, wörld 🦀 and more of it"));
        let (mut text, mut thought, mut pieces) = (String::new(), String::new(), 0);
        let mut reply = None;
        while let Some(event) = events.next().await {
            match event.unwrap() {
                Event::Text(piece) => {
                    text.push_str(&piece);
                    pieces += 1;
                }
                Event::Thinking(piece) => thought.push_str(&piece),
                Event::Calling(_) => {}
                Event::Done(done) => reply = Some(done),
            }
        }
        let reply = reply.unwrap();
        assert_eq!((text.as_str(), thought.as_str()), ("Hällo, wörld 🦀 and more of it", "so"), "{provider}");
        assert!(pieces > 2, "{provider}");
        assert_eq!((reply.message.text(), reply.stop), (text, Stop::EndTurn), "{provider}");
        assert!(reply.usage.input > 10 && reply.usage.output > 3, "{provider}: {:?}", reply.usage);
    }
}

#[tokio::test]
async fn a_conversation_with_tools_and_pictures_goes_on_with_every_provider() {
    let mock = mock(None).await;
    for provider in ALL {
        let client = client_of(&mock, provider, "m", None);
        let mut request =
            asking("/say let me see\n/tool look {\"at\": \"x\"}\n/and look {}\n/echo\n/say seen");
        let reply = client.ask(request.clone()).await.unwrap();
        assert_eq!(reply.stop, Stop::ToolUse, "{provider}");
        let calls: Vec<_> = reply.message.tool_uses().cloned().collect();
        assert_eq!((calls.len(), &calls[0].input), (2, &json!({"at": "x"})), "{provider}");
        assert_ne!(calls[0].id, calls[1].id, "{provider}");
        request.messages.push(reply.message);
        let image = Image { media_type: "image/png".into(), data: "iVBORw0KGgo=".into() };
        let mut first = ToolResult::text(&calls[0].id, "forty-two");
        first.content.push(ResultPart::Image(image));
        let parts =
            vec![Part::ToolResult(first), Part::ToolResult(ToolResult::error(&calls[1].id, "broken"))];
        request.messages.push(Message { role: Role::User, parts });
        let reply = client.ask(request).await.unwrap();
        let text = reply.message.text();
        assert!(
            text.contains("forty-two") && text.contains("broken") && text.ends_with("seen"),
            "{provider}: {text}"
        );
    }
}

#[tokio::test]
async fn the_hosted_computer_is_used_where_there_is_one() {
    let mock = mock(None).await;
    for provider in [Provider::Anthropic, Provider::OpenAi] {
        for tool in [ComputerTool::Current, ComputerTool::Older] {
            let client = client_of(&mock, provider, "m", None);
            let mut request = asking(
                "/safety Is this you?\n/tool computer {\"action\": \"left_click\", \"coordinate\": [10, 20]}\n/say ok",
            );
            request.computer = Some(Computer { width: 1280, height: 800, tool });
            let reply = client.ask(request.clone()).await.unwrap();
            let call = reply.message.tool_uses().next().unwrap().clone();
            assert_eq!(
                call.input,
                json!({"action": "left_click", "coordinate": [10, 20]}),
                "{provider} {tool:?}"
            );
            assert_eq!(call.safety.len(), usize::from(provider == Provider::OpenAi));
            request.messages.push(reply.message);
            let image = Image { media_type: "image/jpeg".into(), data: "QUJD".into() };
            let result = ToolResult {
                id: call.id,
                content: vec![ResultPart::Image(image)],
                acknowledged: call.safety,
                ..ToolResult::default()
            };
            request.messages.push(Message { role: Role::User, parts: vec![Part::ToolResult(result)] });
            assert_eq!(client.ask(request).await.unwrap().message.text(), "ok");
        }
    }
    let beta: Vec<_> =
        mock.requests().iter().filter_map(|seen| seen.headers.get("anthropic-beta").cloned()).collect();
    assert_eq!(
        beta,
        [
            "computer-use-2025-11-24",
            "computer-use-2025-11-24",
            "computer-use-2025-01-24",
            "computer-use-2025-01-24"
        ]
    );
}

#[tokio::test]
async fn several_actions_of_one_computer_call_come_together() {
    let mock = mock(None).await;
    let mut request = asking(
        "/tool computer {\"actions\": [{\"action\": \"key\", \"text\": \"ctrl+l\"}, {\"action\": \"type\", \"text\": \"x\"}]}",
    );
    request.computer = Some(Computer { width: 1280, height: 800, tool: ComputerTool::Current });
    let reply = client_of(&mock, Provider::OpenAi, "m", None).ask(request).await.unwrap();
    let call = reply.message.tool_uses().next().unwrap();
    assert_eq!(
        call.input,
        json!({"actions": [{"action": "key", "text": "ctrl+l"}, {"action": "type", "text": "x"}]})
    );
}

#[tokio::test]
async fn byte_by_byte_is_as_good_as_at_once() {
    let mock = mock(None).await;
    for provider in ALL {
        let reply =
            ask(&client_of(&mock, provider, "m", None), "/slow 0\n/say ünd 🦀\n/tool look {\"ä\": 1}")
                .await
                .unwrap();
        assert_eq!(reply.message.text(), "ünd 🦀", "{provider}");
        assert_eq!(reply.message.tool_uses().next().unwrap().input, json!({"ä": 1}), "{provider}");
    }
}

#[tokio::test]
async fn a_huge_answer_arrives_whole() {
    let mock = mock(None).await;
    for provider in ALL {
        let reply = ask(&client_of(&mock, provider, "m", None), "/huge 3000000").await.unwrap();
        assert_eq!(reply.message.text().len(), 3_000_000, "{provider}");
    }
}

#[tokio::test]
async fn what_passes_is_tried_again_and_what_was_asked_for_is_waited() {
    let mock = mock(None).await;
    for provider in ALL {
        let client = client_of(&mock, provider, "m", None);
        let begun = Instant::now();
        let text = format!(
            "/status 429 retry-after=1 times=1\n/status 529 times=1\n/status 503 times=1\n/say {provider}"
        );
        assert_eq!(ask(&client, &text).await.unwrap().message.text(), provider.as_str());
        assert!(begun.elapsed() >= Duration::from_secs(1), "{provider}: the server's wait was not kept");
    }
    assert_eq!(mock.requests().len(), 4 * ALL.len());
}

#[tokio::test]
async fn what_does_not_pass_is_given_up_in_bounded_time() {
    let mock = mock(None).await;
    for provider in ALL {
        let client = client_of(&mock, provider, "m", None);
        let error = ask(&client, &format!("/status 529\n/say {provider}")).await.unwrap_err();
        assert!(matches!(error, LlmError::Overloaded { status: 529, .. }), "{provider}: {error:?}");
        let error =
            ask(&client, &format!("/status 429 retry-after=3600\n/say {provider}")).await.unwrap_err();
        assert!(error.to_string().contains("3600 s"), "{error}");
    }
    assert_eq!(mock.requests().len(), ALL.len() * (5 + 1), "an hour is not waited for");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_asked_for_again_as_a_whole() {
    let mock = mock(None).await;
    for provider in ALL {
        let client = client_of(&mock, provider, "m", None);
        let reply = ask(
            &client,
            &format!("/cut times=1\n/overloaded times=1\n/say {provider} has a whole sentence to say"),
        )
        .await;
        assert_eq!(reply.unwrap().message.text(), format!("{provider} has a whole sentence to say"));
        let error = ask(&client, "/cut\n/say never whole, however often one asks").await.unwrap_err();
        assert!(matches!(error, LlmError::Broken(_)), "{provider}: {error:?}");
    }
}

#[tokio::test]
async fn nonsense_and_silence_are_told_apart() {
    let mock = mock(None).await;
    for provider in ALL {
        let client = client_of(&mock, provider, "m", None);
        let error = ask(&client, "/malformed\n/say some words to come").await.unwrap_err();
        assert!(matches!(error, LlmError::Malformed(_)), "{provider}: {error:?}");
        let mut events = client.stream(asking("/hang\n/say no"));
        let error = loop {
            match events.next().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => break error,
                None => panic!("the stream ended"),
            }
        };
        assert!(matches!(error, LlmError::Timeout { .. }), "{provider}: {error:?}");
        assert!(events.next().await.is_none());
    }
}

#[tokio::test]
async fn refusals_and_cuts_are_reasons_to_stop_not_errors() {
    let mock = mock(None).await;
    for provider in ALL {
        let client = client_of(&mock, provider, "m", None);
        assert_eq!(ask(&client, "/say I will not\n/refuse").await.unwrap().stop, Stop::Refusal, "{provider}");
        assert_eq!(ask(&client, "/say half\n/max-tokens").await.unwrap().stop, Stop::MaxTokens, "{provider}");
    }
}

#[tokio::test]
async fn errors_say_what_is_wrong_and_never_the_key() {
    let mock = mock(Some("right")).await;
    for provider in ALL {
        for key in [Some("canary-wrong-key"), None] {
            let error = ask(&client_of(&mock, provider, "m", key), "/say x").await.unwrap_err();
            assert!(matches!(error, LlmError::Key { .. }), "{provider}: {error:?}");
            assert!(!error.to_string().contains("canary") && !error.to_string().contains("sk-"), "{error}");
        }
        let named = |model: &'static str| client_of(&mock, provider, model, Some("right"));
        let error = ask(&named("no-such-model"), "/say x").await.unwrap_err();
        assert!(matches!(error, LlmError::UnknownModel { .. }), "{provider}: {error:?}");
        let error = ask(&named("no-tools"), "/say x").await.unwrap_err();
        assert!(matches!(error, LlmError::NoTools { .. }), "{provider}: {error:?}");
        let error = ask(&named("tiny-10"), "/say x").await.unwrap_err();
        assert!(matches!(error, LlmError::TooLong { .. }), "{provider}: {error:?}");
        let mut seeing = asking("/say x");
        let image = Image { media_type: "image/png".into(), data: "iVBORw0KGgo=".into() };
        seeing.messages[0].parts.push(Part::Image(image));
        let error = named("text-only").ask(seeing.clone()).await.unwrap_err();
        assert!(matches!(error, LlmError::NoVision { .. }), "{provider}: {error:?}");
        if provider.hosts_computer() {
            seeing.computer = Some(Computer { width: 1, height: 1, tool: ComputerTool::Current });
            let error = named("no-hosted").ask(seeing).await.unwrap_err();
            assert!(matches!(error, LlmError::NoHostedComputer { .. }), "{provider}: {error:?}");
        }
        assert!(!format!("{:?}", named("m")).contains("right"));
    }
    let nowhere = Settings {
        provider: Provider::OpenAiCompatible,
        model: "m".into(),
        base_url: Some("http://127.0.0.1:9".into()),
        key: None,
        patience: Patience { attempts: 2, ..quick() },
    };
    let error = ask(&Client::new(nowhere).unwrap(), "x").await.unwrap_err();
    assert!(matches!(error, LlmError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("127.0.0.1:9"), "{error}");
}

#[tokio::test]
async fn a_model_that_does_not_think_is_asked_without_its_thoughts() {
    let mock = mock(None).await;
    let client = client_of(&mock, Provider::OpenAi, "no-thoughts", None);
    for _ in 0..2 {
        assert_eq!(ask(&client, "/say fine").await.unwrap().message.text(), "fine");
    }
    assert_eq!(mock.requests().len(), 3, "the lesson is learned once");
}

#[tokio::test]
async fn an_answer_of_a_form_is_checked_and_corrected_once() {
    #[derive(serde::Deserialize, PartialEq, Debug)]
    struct Form {
        city: String,
    }
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    let valid =
        |form: &Form| if form.city == "Atlantis" { Err("there is no such city".to_owned()) } else { Ok(()) };
    let mock = mock(None).await;
    for provider in ALL {
        let client = client_of(&mock, provider, "m", None);
        let ask = async |text: &str| {
            client.ask_json::<Form>(asking(text), "answer", "the answer", schema.clone(), valid).await
        };
        let first = ask("/tool answer {\"city\": \"Rome\"}").await.unwrap();
        assert_eq!(first.value.city, "Rome", "{provider}");
        let wrong = "/tool answer {\"town\": 1}\n/tool answer {\"city\": \"Oslo\"}";
        assert_eq!(ask(wrong).await.unwrap().value.city, "Oslo", "{provider}");
        let broken = "/tool answer {\"city\n/tool answer {\"city\": \"Bonn\"}";
        assert_eq!(ask(broken).await.unwrap().value.city, "Bonn", "{provider}");
        assert_eq!(
            ask("/say Here you are: {\"city\": \"Kiel\"}!").await.unwrap().value.city,
            "Kiel",
            "{provider}"
        );
        let never = "/tool answer {\"city\": \"Atlantis\"}\n/tool answer {\"city\": \"Atlantis\"}";
        let error = ask(never).await.unwrap_err();
        assert!(
            matches!(&error, LlmError::NotAsAsked(reason) if reason.contains("no such city")),
            "{error:?}"
        );
        assert!(matches!(ask("/say no\n/refuse").await.unwrap_err(), LlmError::Refused(_)), "{provider}");
    }
}
