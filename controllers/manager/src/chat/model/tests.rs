use std::sync::Mutex;

use a8s_crds::{Environment, Session};
use a8s_llm::Usage;
use serde_json::from_value;

use super::*;

/// A model that says what is written here, and remembers what it was asked.
struct Fake {
    replies: Mutex<Vec<Result<Reply, LlmError>>>,
    asked: Mutex<Vec<Request>>,
}

impl Fake {
    fn new(replies: Vec<Result<Reply, LlmError>>) -> Self {
        Self { replies: Mutex::new(replies), asked: Mutex::default() }
    }
}

impl Model for Fake {
    async fn ask(&self, request: Request) -> Result<Reply, LlmError> {
        self.asked.lock().unwrap().push(request);
        let mut replies = self.replies.lock().unwrap();
        if replies.is_empty() {
            Ok(called("search_storage", json!({"query": "x"})))
        } else {
            replies.remove(0)
        }
    }
}

struct Shelf;

impl Storage for Shelf {
    async fn search(&self, query: &str) -> Result<Vec<String>, Error> {
        Ok(vec![format!("Artifact about {query}")])
    }

    async fn read(&self, name: &str) -> Result<String, Error> {
        Ok(format!("text of {name}"))
    }
}

fn reply(parts: Vec<Part>, stop: Stop) -> Reply {
    Reply { message: Message { role: Role::Assistant, parts }, stop, usage: Usage::default() }
}

fn said(text: &str) -> Reply {
    reply(vec![Part::text(text)], Stop::EndTurn)
}

fn called(name: &str, input: Value) -> Reply {
    let call = ToolUse { id: "1".into(), name: name.into(), input, ..ToolUse::default() };
    reply(vec![Part::ToolUse(call)], Stop::ToolUse)
}

fn question() -> Question {
    let lines = vec![
        (true, "Hello.".to_owned()),
        (true, "Sing.".to_owned()),
        (false, "What?".to_owned()),
        (true, "A song.".to_owned()),
    ];
    Question { key: "k".into(), connection: "llm".into(), lines, auto: false }
}

async fn run(fake: &Fake) -> Result<Thought, String> {
    let check = |proposal: &Proposal| match proposal.environment.as_deref() {
        Some("moon") => Err("there is no Environment moon".to_owned()),
        _ => Ok(()),
    };
    converse(fake, &Shelf, "orders".into(), &question(), check).await
}

#[tokio::test]
async fn what_the_model_says_is_the_answer_and_it_hears_who_said_what() {
    let fake = Fake::new(vec![Ok(said(" Which song? "))]);
    assert_eq!(run(&fake).await, Ok(Thought::Answer("Which song?".into(), None)));
    let asked = fake.asked.lock().unwrap();
    let roles: Vec<Role> = asked[0].messages.iter().map(|m| m.role).collect();
    assert_eq!(roles, [Role::User, Role::Assistant, Role::User]);
    let names: Vec<&str> = asked[0].tools.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["propose_handoff", "search_storage", "read_attachment"], "no shell");
}

#[tokio::test]
async fn it_may_look_and_a_proposal_that_cannot_be_is_told_why() {
    let fake = Fake::new(vec![
        Ok(called("search_storage", json!({"query": "songs"}))),
        Ok(called("read_attachment", json!({"name": "a.txt"}))),
        Ok(called("propose_handoff", json!({"requirement": "Sing.", "environment": "moon"}))),
        Ok(called("propose_handoff", json!({"wish": 1}))),
        Ok(called("shell", json!({"command": "id"}))),
        Ok(called("propose_handoff", json!({"requirement": "Sing a song.", "inputs": {"pages": "1"}}))),
    ]);
    let Ok(Thought::Answer(text, Some(proposal))) = run(&fake).await else { panic!("no proposal") };
    assert_eq!((proposal.requirement.as_str(), proposal.inputs["pages"].as_str()), ("Sing a song.", "1"));
    assert!(text.contains("> Sing a song.") && text.contains("Start it in the Request"), "{text}");
    let asked = fake.asked.lock().unwrap();
    let results: Vec<(bool, String)> = asked
        .last()
        .unwrap()
        .messages
        .iter()
        .flat_map(Message::tool_results)
        .map(|r| (r.is_error, r.all_text()))
        .collect();
    assert_eq!(results[0], (false, "Artifact about songs".into()));
    assert_eq!(results[1], (false, "text of a.txt".into()));
    assert_eq!(results[2], (true, "there is no Environment moon".into()));
    assert!(results[3].0 && results[3].1.contains("requirement"), "{results:?}");
    assert_eq!(results[4], (true, "there is no tool shell".into()));
}

#[tokio::test]
async fn a_model_that_cannot_help_says_why() {
    let key = LlmError::Key { detail: "invalid x-api-key".into() };
    assert!(run(&Fake::new(vec![Err(key)])).await.unwrap_err().contains("Put a valid key into the Secret"));
    assert!(run(&Fake::new(vec![Ok(reply(vec![], Stop::Refusal))])).await.unwrap_err().contains("refused"));
    assert!(run(&Fake::new(vec![Ok(said(" "))])).await.unwrap_err().contains("said nothing"));
    assert!(
        run(&Fake::new(vec![])).await.unwrap_err().contains("without an answer"),
        "it never stops looking"
    );
}

#[test]
fn its_orders_name_the_catalogue_the_attachments_and_no_key() {
    let spec = json!({"attachments": [], "agent": {"instructions": "Mind the gap."}});
    let session = Session::new("s", from_value(spec).unwrap());
    let environment = json!({"title": "Office", "image": "i", "tools": ["shell"], "inputs": [{"name": "pages", "type": "Number"}]});
    let connection =
        json!({"model": {"provider": "anthropic", "name": "m", "secretRef": {"name": "canary", "key": "k"}}});
    let seen = Observed {
        environments: vec![Environment::new("office", from_value(environment).unwrap())],
        connections: vec![std::sync::Arc::new(Connection::new("llm", from_value(connection).unwrap()))],
        ..Observed::of(session)
    };
    let there =
        [Material { name: "a.txt".into(), kind: "text".into(), size: Some(2), text: Some("hi".into()) }];
    let text = system(&seen, &there, false);
    for part in [
        "- office: Office",
        "tools: shell",
        "input pages: pages (a number)",
        "- llm (model)",
        "a.txt (text, 2 bytes)",
        "Mind the gap.",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(!text.contains("canary"), "{text}");
}
