use std::collections::BTreeMap;

use a8s_crds::{Environment, MessageState, RequestState};
use jiff::Timestamp;
use serde_json::{Value, from_value, json};

use super::*;
use crate::session::Observed;

/// A Session, its objects, and a chat agent that may die at any step.
struct World {
    seen: Observed,
    heard: Heard,
    made: i64,
}

fn env() -> Env {
    let now = Timestamp::from_second(1_000).unwrap();
    Env { now, runner_image: "r".into(), system_namespace: "a8s-system".into() }
}

fn environment(name: &str, spec: &Value) -> Environment {
    let mut all = json!({"title": format!("The {name}"), "image": "i"});
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    Environment::new(name, from_value(all).unwrap())
}

impl World {
    fn new(spec: Value) -> Self {
        let mut session = Session::new("rain", from_value(spec).unwrap());
        session.metadata.namespace = Some("team".into());
        session.metadata.uid = Some("uid-s".into());
        let office = json!({"match": {"keywords": ["report"]}, "inputs": [
            {"name": "data", "type": "File"}, {"name": "format", "type": "Choice", "options": ["pdf", "html"]},
            {"name": "pages", "type": "Number", "optional": true},
        ]});
        let environments = vec![environment("office", &office), environment("desktop", &json!({}))];
        Self { seen: Observed { environments, ..Observed::of(session) }, heard: Heard::default(), made: 0 }
    }

    fn says(&mut self, text: &str) {
        self.made += 1;
        let spec = json!({"session": "rain", "content": text, "author": {"kind": "User", "name": "jane"}});
        let mut message = Message::new(&format!("m{}", self.made), from_value(spec).unwrap());
        message.metadata.uid = Some(format!("uid-m{}", self.made));
        message.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
            Timestamp::from_second(self.made).unwrap(),
        ));
        self.heard.messages.push(message);
    }

    /// A person decides the open Request.
    fn decides(&mut self, option: &str, values: &Value, note: Option<&str>) {
        let open = self.heard.requests.iter_mut().find(|r| {
            r.status.as_ref().is_some_and(|s| s.state == Some(RequestState::Open) && s.decision.is_none())
        });
        let request = Arc::make_mut(open.expect("an open Request"));
        let decision = json!({"option": option, "values": values, "note": note, "by": "jane"});
        request.status.as_mut().unwrap().decision = Some(from_value(decision).unwrap());
    }

    /// One pass whose process dies after so many steps.
    fn pass(&mut self, most: usize) -> Stage {
        let stage = plan(&self.seen, &self.heard, &env());
        for step in stage.steps.iter().take(most) {
            self.step(step);
        }
        if stage.steps.len() <= most
            && let Some(requirement) = &stage.requirement
        {
            let status = self.seen.session.status.get_or_insert_default();
            status.requirement = Some(requirement.clone());
        }
        stage
    }

    /// Passes until nothing is left to do.
    fn settle(&mut self) -> Stage {
        for _ in 0..20 {
            let stage = self.pass(usize::MAX);
            if stage.steps.is_empty() || stage.requirement.is_some() {
                return stage;
            }
        }
        panic!("it never comes to rest");
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Adopt(message) => {
                let owner = objects::owner(&self.seen.session, false);
                let found = self.heard.messages.iter_mut().find(|m| m.name_any() == message.name_any());
                found.unwrap().metadata.owner_references = Some(vec![owner]);
            }
            Step::Mark(message, status) => {
                let found =
                    self.heard.messages.iter_mut().find(|m| m.name_any() == message.name_any()).unwrap();
                found.status = Some(status.clone());
            }
            Step::Say(message, status) => {
                assert!(
                    !self.heard.messages.iter().any(|m| m.name_any() == message.name_any()),
                    "said twice"
                );
                let mut message = message.clone();
                message.metadata.uid = Some(format!("uid-{}", message.name_any()));
                message.status = Some(status.clone());
                self.heard.messages.push(message);
            }
            Step::Ask(request, status) => {
                assert!(
                    !self.heard.requests.iter().any(|r| r.name_any() == request.name_any()),
                    "asked twice"
                );
                let mut request = request.clone();
                request.metadata.uid = Some(format!("uid-{}", request.name_any()));
                request.status = Some(status.clone());
                self.heard.requests.push(Arc::new(request));
            }
            Step::Close(request, status) => {
                let found =
                    self.heard.requests.iter_mut().find(|r| r.name_any() == request.name_any()).unwrap();
                Arc::make_mut(found).status = Some(status.clone());
            }
        }
    }

    /// The conversation in the order of its places: who said it, and the first words.
    fn transcript(&self) -> Vec<(i64, &'static str, String)> {
        let mut all: Vec<_> = self
            .heard
            .messages
            .iter()
            .map(|m| {
                let who = if m.is_from_agent() { "chat" } else { "jane" };
                let seq = m.status.as_ref().and_then(|s| s.seq).unwrap_or(-1);
                (seq, who, m.spec.content.clone().unwrap_or_default())
            })
            .collect();
        all.sort();
        all
    }

    fn states(&self) -> BTreeMap<String, usize> {
        let mut all = BTreeMap::new();
        for request in &self.heard.requests {
            let state = request.status.as_ref().and_then(|s| s.state);
            *all.entry(format!("{:?}", state.unwrap())).or_default() += 1;
        }
        all
    }

    fn open(&self) -> Option<&Request> {
        let open = |r: &&Arc<Request>| r.status.as_ref().unwrap().state == Some(RequestState::Open);
        self.heard.requests.iter().find(open).map(AsRef::as_ref)
    }

    fn requirement(&self) -> &Requirement {
        self.seen.session.status.as_ref().and_then(|s| s.requirement.as_ref()).expect("it was handed over")
    }
}

#[test]
fn a_session_begins_with_talk_if_it_has_nothing_to_begin_with_or_says_so() {
    let session = |spec| Session::new("s", from_value::<a8s_crds::SessionSpec>(spec).unwrap());
    for (spec, expected) in [
        (json!({}), true),
        (json!({"policy": {"handoff": "Auto"}}), true),
        (json!({"goal": "g"}), false),
        (json!({"source": {"snapshot": "x"}}), false),
        (json!({"goal": "g", "policy": {"handoff": "Auto"}}), false),
        (json!({"goal": "g", "policy": {"handoff": "Ask"}}), true),
        (json!({"state": "Suspended"}), false),
    ] {
        assert_eq!(applies(&session(spec.clone()), false), expected, "{spec}");
    }
    assert!(!applies(&session(json!({})), true), "there is a desktop");
    let mut over = session(json!({}));
    over.status = Some(from_value(json!({"requirement": {"text": "t"}})).unwrap());
    assert!(!applies(&over, false));
    assert_eq!(first_prompt(&over), Some("t"));
}

#[test]
fn nothing_is_said_before_the_person_speaks() {
    let mut world = World::new(json!({}));
    let stage = world.settle();
    assert_eq!((stage.steps.len(), stage.requests), (0, 0));
    assert_eq!(stage.doing, "waiting for a message: say what you want");
}

#[test]
fn what_is_wanted_becomes_a_request_with_a_form_and_its_decision_hands_it_over() {
    let mut world = World::new(json!({"attachments": [{"name": "rain.csv", "text": "1"}]}));
    world.says("Write a report.");
    let stage = world.settle();
    let open = world.open().unwrap();
    assert_eq!(stage.doing, "waits for 1 request: begin: Write a report.");
    assert_eq!(stage.requests, 1);
    let handoff = open.spec.handoff.as_ref().unwrap();
    assert_eq!(
        (handoff.requirement.as_str(), handoff.environment.as_deref()),
        ("Write a report.", Some("office"))
    );
    assert_eq!(
        handoff.inputs,
        BTreeMap::from([("data".into(), "rain.csv".into())]),
        "the attachment answers it"
    );
    let form: Vec<&str> = open.spec.form.iter().map(|i| i.name.as_str()).collect();
    assert_eq!(form, ["format", "pages"]);
    assert_eq!(open.owner_references()[0].uid, "uid-s");
    let told = world.transcript();
    assert_eq!((told.len(), told[0].0, told[1].0, told[1].1), (2, 1, 2, "chat"));
    assert!(
        told[1].2.contains("format (one of pdf, html)") && told[1].2.contains("The office"),
        "{}",
        told[1].2
    );
    world.decides("allow", &json!({"format": "PDF"}), Some("Mind the units."));
    world.settle();
    let requirement = world.requirement();
    assert_eq!(
        requirement.text,
        "Write a report.\n\nWhat was filled in:\n\n- data: rain.csv (in ~/Attachments)\n- format: pdf\n\nMind the units."
    );
    assert_eq!(
        (requirement.by.as_deref(), requirement.environment.as_deref()),
        (Some("jane"), Some("office"))
    );
    assert_eq!(world.states(), BTreeMap::from([("Granted".into(), 1)]));
    assert!(world.transcript().last().unwrap().2.starts_with("Handed over."));
    assert!(
        world.heard.messages.iter().all(|m| m.status.as_ref().unwrap().state == Some(MessageState::Consumed))
    );
}

#[test]
fn a_yes_is_no_decision_and_says_where_one_is_made() {
    let mut world = World::new(json!({}));
    world.says("Open the page of the museum.");
    world.settle();
    world.says("Yes, please!");
    let stage = world.settle();
    assert_eq!((stage.requirement, stage.requests), (None, 1));
    let last = world.transcript().pop().unwrap();
    assert!(last.2.contains("kubectl patch request rain-handoff-"), "{}", last.2);
    assert_eq!(world.states(), BTreeMap::from([("Open".into(), 1)]), "what was asked stays asked");
    world.decides("allow", &json!({}), None);
    world.settle();
    assert_eq!(world.requirement().text, "Open the page of the museum.", "the yes is no part of it");
}

#[test]
fn what_is_said_before_the_decision_amends_the_requirement_and_only_the_newest_request_counts() {
    let mut world = World::new(json!({}));
    world.says("Sing.");
    world.settle();
    assert_eq!(world.open().unwrap().spec.handoff.as_ref().unwrap().environment.as_deref(), Some("desktop"));
    world.says("No: write a report.\nformat: html");
    world.settle();
    assert_eq!(world.states(), BTreeMap::from([("Cancelled".into(), 1), ("Open".into(), 1)]));
    let handoff = world.open().unwrap().spec.handoff.clone().unwrap();
    assert_eq!(handoff.requirement, "Sing.\n\nNo: write a report.");
    assert_eq!(handoff.environment.as_deref(), Some("office"), "chosen anew");
    assert_eq!(handoff.inputs["format"], "html", "a line answers it");
}

#[test]
fn several_messages_at_once_get_one_answer() {
    let mut world = World::new(json!({}));
    for text in ["Sing.", "Louder.", "In tune."] {
        world.says(text);
    }
    world.settle();
    let told = world.transcript();
    assert_eq!(
        told.iter().map(|(seq, who, _)| (*seq, *who)).collect::<Vec<_>>(),
        [(1, "jane"), (2, "jane"), (3, "jane"), (4, "chat")]
    );
    assert_eq!(
        world.open().unwrap().spec.handoff.as_ref().unwrap().requirement,
        "Sing.\n\nLouder.\n\nIn tune."
    );
}

#[test]
fn a_form_that_is_not_filled_in_right_is_asked_again_and_keeps_what_was_right() {
    let mut world = World::new(json!({"attachments": [{"name": "a.csv", "text": "1"}]}));
    world.says("Write a report.");
    world.settle();
    world.decides("allow", &json!({"pages": "3", "format": "odt"}), None);
    let stage = world.settle();
    assert_eq!((stage.requirement, stage.requests), (None, 1));
    assert_eq!(world.states(), BTreeMap::from([("Open".into(), 1), ("Refused".into(), 1)]));
    let open = world.open().unwrap();
    assert_eq!(open.spec.handoff.as_ref().unwrap().inputs["pages"], "3");
    assert_eq!(open.spec.form.iter().map(|i| i.name.as_str()).collect::<Vec<_>>(), ["format"]);
    assert!(world.transcript().last().unwrap().2.contains("format must be one of pdf, html, not odt"));
    world.decides("allow", &json!({"format": "html"}), None);
    world.settle();
    assert!(world.requirement().text.ends_with("- format: html\n- pages: 3"), "{}", world.requirement().text);
}

#[test]
fn a_refusal_starts_nothing_and_its_note_is_a_wish() {
    let mut world = World::new(json!({}));
    world.says("Sing.");
    world.settle();
    world.decides("deny", &json!({}), None);
    let stage = world.settle();
    assert_eq!((stage.requests, stage.doing.as_str()), (0, "waiting for a message"));
    assert!(world.transcript().last().unwrap().2.contains("nothing was started"));
    world.says("Dance.");
    world.settle();
    world.decides("deny", &json!({}), Some("Slowly."));
    world.settle();
    assert_eq!(
        world.open().unwrap().spec.handoff.as_ref().unwrap().requirement,
        "Sing.\n\nDance.\n\nSlowly."
    );
}

#[test]
fn with_policy_auto_what_is_complete_begins_by_itself_and_what_is_not_is_asked_for() {
    let mut world = World::new(json!({"policy": {"handoff": "Auto"}}));
    world.says("Sing.");
    world.settle();
    assert_eq!((world.requirement().text.as_str(), world.requirement().by.as_deref()), ("Sing.", None));
    assert!(world.heard.requests.is_empty());
    let mut world =
        World::new(json!({"policy": {"handoff": "Auto"}, "attachments": [{"name": "a.csv", "text": "1"}]}));
    world.says("Write a report.");
    let stage = world.settle();
    assert_eq!((stage.requests, stage.requirement), (1, None));
    world.says("format: pdf");
    world.settle();
    assert!(world.requirement().text.contains("- format: pdf"));
    assert_eq!(world.states(), BTreeMap::from([("Cancelled".into(), 1)]));
}

#[test]
fn a_goal_that_is_to_be_asked_about_is_the_first_thing_said() {
    let mut world = World::new(json!({"goal": "Sing.", "policy": {"handoff": "Ask"}}));
    let stage = world.settle();
    assert_eq!((stage.requests, stage.last_message), (1, 1));
    assert_eq!(world.open().unwrap().spec.handoff.as_ref().unwrap().requirement, "Sing.");
    let mut session = world.seen.session.clone();
    session.spec.state = SessionState::Suspended;
    assert_eq!(leftovers(&session, &world.heard.requests, &env()), [], "it goes on later");
    session.spec.state = SessionState::Active;
    session.spec.policy = None;
    let left = leftovers(&session, &world.heard.requests, &env());
    assert!(matches!(&left[..], [Step::Close(_, status)] if status.state == Some(RequestState::Cancelled)));
}

#[test]
fn a_decision_counts_although_something_was_said_since_and_that_is_not_lost() {
    let mut world = World::new(json!({}));
    world.says("Sing.");
    world.settle();
    world.decides("allow", &json!({}), None);
    world.says("And dance.");
    world.settle();
    assert_eq!(world.requirement().text, "Sing.");
    let late = world.heard.messages.iter().find(|m| m.name_any() == "m2").unwrap();
    assert!(late.is_undelivered(), "it is the agent's");
    // Said, placed, and then decided: the chat agent has it, so it has to say it.
    let mut world = World::new(json!({"agent": {"model": {"connection": "llm"}}}));
    world.seen.connections = vec![model(Some("True"))];
    world.says("Sing.");
    world.settle();
    world.heard.thought = Some(("uid-m1".into(), Thought::Answer("Sure.".into(), Some(sing()))));
    world.settle();
    world.says("And dance.");
    assert!(world.settle().think.is_some());
    world.decides("allow", &json!({}), None);
    world.settle();
    assert_eq!(world.requirement().text, "Sing a song.\n\nAnd dance.");
}

fn sing() -> Proposal {
    Proposal {
        requirement: "Sing a song.".into(),
        environment: Some("desktop".into()),
        ..Proposal::default()
    }
}

fn model(ready: Option<&str>) -> Arc<Connection> {
    let spec = json!({"model": {"provider": "anthropic", "name": "m"}});
    let mut connection = Connection::new("llm", from_value(spec).unwrap());
    connection.status = ready.map(|status| {
        from_value(json!({"conditions": [{"type": "Ready", "status": status, "reason": "SecretNotFound",
            "message": "Secret llm is missing", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}))
        .unwrap()
    });
    Arc::new(connection)
}

#[test]
fn a_model_is_asked_once_for_each_thing_said_and_what_it_proposes_is_held_against_the_catalogue() {
    let mut world = World::new(json!({"agent": {"model": {"connection": "llm"}}}));
    world.seen.connections = vec![model(Some("True"))];
    world.says("Sing.");
    let stage = world.settle();
    let question = stage.think.unwrap();
    assert_eq!((question.key.as_str(), question.connection.as_str()), ("uid-m1", "llm"));
    assert_eq!(
        (question.lines, stage.doing.as_str()),
        (vec![(true, "Sing.".to_owned())], "the chat agent thinks")
    );
    let answer = Thought::Answer("What shall I sing?".into(), None);
    world.heard.thought = Some(("uid-m1".into(), answer));
    assert_eq!(world.settle().doing, "waiting for a message");
    world.says("Anything.");
    let lines = world.settle().think.unwrap().lines;
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(check(&world.seen, &world.heard, &sing()).is_ok());
    let wrong = Proposal { environment: Some("moon".into()), ..sing() };
    assert!(check(&world.seen, &world.heard, &wrong).unwrap_err().contains("there are: office, desktop"));
    world.heard.thought = Some(("uid-m2".into(), Thought::Answer("Here.".into(), Some(sing()))));
    world.settle();
    assert_eq!(world.open().unwrap().spec.handoff.as_ref().unwrap().requirement, "Sing a song.");
    assert_eq!(world.transcript().last().unwrap().2, "Here.");
}

#[test]
fn without_its_model_the_chat_agent_says_why_once_and_goes_on_by_its_script() {
    let mut world = World::new(json!({"agent": {"model": {"connection": "llm"}}}));
    world.says("Sing.");
    world.settle();
    let said = world.transcript().pop().unwrap().2;
    assert!(said.starts_with("The model cannot be asked: there is no Connection llm"), "{said}");
    assert!(world.open().is_some());
    world.says("Louder.");
    world.settle();
    assert!(world.transcript().pop().unwrap().2.starts_with("I understood"), "said once");
    world.seen.connections = vec![model(None)];
    world.says("And louder.");
    let stage = world.settle();
    assert!(stage.look_again && stage.think.is_none(), "{}", stage.doing);
    world.seen.connections = vec![model(Some("False"))];
    world.settle();
    assert!(world.transcript().pop().unwrap().2.contains("Secret llm is missing"));
    world.seen.connections = vec![model(Some("True"))];
    world.says("Even more.");
    world.heard.thought =
        Some(("uid-m4".into(), Thought::Failed("the key was refused; put a valid one".into())));
    let stage = world.settle();
    assert_eq!(stage.think, None);
    assert!(world.transcript().pop().unwrap().2.contains("the key was refused"));
}

#[test]
fn a_pass_may_die_after_any_step_and_nothing_is_said_or_asked_twice() {
    // What is said when each pass dies after so many steps is what is said when none dies.
    let run = |most: usize| {
        let mut world = World::new(json!({"attachments": [{"name": "a.csv", "text": "1"}]}));
        let mut rounds = 0;
        let mut rest = |world: &mut World| {
            while world.seen.session.status.as_ref().is_none_or(|s| s.requirement.is_none()) {
                rounds += 1;
                assert!(rounds < 200, "it never comes to rest");
                if world.pass(most).steps.is_empty() {
                    return;
                }
            }
        };
        world.says("Sing.");
        rest(&mut world);
        world.says("Write a report.");
        rest(&mut world);
        world.decides("allow", &json!({"format": "odt"}), None);
        rest(&mut world);
        world.says("ok");
        rest(&mut world);
        world.decides("allow", &json!({"format": "pdf"}), None);
        rest(&mut world);
        let texts = world.transcript();
        (texts, world.states(), world.requirement().clone())
    };
    let whole = run(usize::MAX);
    for most in 1..6 {
        let (texts, states, requirement) = run(most);
        assert_eq!(states, whole.1, "{most}");
        assert_eq!(requirement, whole.2, "{most}");
        let who = |texts: &[(i64, &str, String)]| {
            texts.iter().map(|(seq, who, _)| (*seq, who.to_string())).collect::<Vec<_>>()
        };
        assert_eq!(who(&texts), who(&whole.0), "{most}");
    }
}
