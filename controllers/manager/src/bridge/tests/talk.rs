//! What the talk before the work leaves to the conversation: its Messages stay as they are, and its files come along. And what an agent asks
//! for that is a file.

use a8s_crds::Decision;

use super::*;

/// A Message of the talk: it has its place, and no turn.
fn talked(world: &Fake, name: &str, kind: AuthorKind, file: Option<&str>) {
    world.say_as(name, 1, Delivery::Queue, Some("words"));
    let mut state = world.state();
    let message = state.messages.iter_mut().find(|m| m.name_any() == name).unwrap();
    let author = if kind == AuthorKind::User { "jane" } else { Author::CHAT };
    message.spec.author = Some(Author { kind, name: author.into() });
    message.spec.attachments = file
        .map(|name| serde_json::from_value(serde_json::json!({"name": name, "text": "2"})).unwrap())
        .into_iter()
        .collect();
    let controller = kind != AuthorKind::User;
    message.metadata.owner_references = Some(vec![rain().owner(controller)]);
    message.status = Some(MessageStatus {
        seq: Some(if controller { 2 } else { 1 }),
        state: Some(MessageState::Consumed),
        ..MessageStatus::default()
    });
}

#[tokio::test]
async fn what_was_attached_in_the_talk_is_there_before_the_agent_begins() {
    let world = Fake::default();
    talked(&world, "first", AuthorKind::User, Some("b.csv"));
    talked(&world, "answer", AuthorKind::Agent, None);
    live_on(&world, rain()).await.unwrap();
    assert_eq!(world.state().files, ["a.csv", "b.csv"]);
    assert_eq!(world.state().prompts.len(), 1, "the talk itself is not told again");
    assert_eq!(world.state().prompts[0].attachments, ["a.csv", "b.csv"]);
    assert_eq!(world.message("first").turn, None);
}

#[tokio::test]
async fn a_restore_leaves_the_talk_as_it_is() {
    let world = Fake::default();
    talked(&world, "first", AuthorKind::User, None);
    talked(&world, "answer", AuthorKind::Agent, None);
    let restored = Subject { restored_from: Some("before".into()), ..rain() };
    live_on(&world, restored).await.unwrap();
    let state = world.state();
    let talk = state.messages.iter().filter(|m| m.is_of_the_chat());
    let marked: Vec<bool> = talk.map(|m| m.labels().contains_key(labels::ABANDONED)).collect();
    assert_eq!(marked, [false, false]);
}

#[tokio::test]
async fn material_that_is_granted_is_there_when_the_agent_hears_of_it() {
    let world = Fake::default();
    world.state().asks = Some("Context");
    live_on(&world, rain()).await.unwrap();
    {
        let mut state = world.state();
        let request = state.requests.last_mut().unwrap();
        request.spec.subject = Some("q3-v1".into());
        let decision = Decision { option: "allow".into(), by: Some("jane".into()), ..Decision::default() };
        request.status.get_or_insert_default().decision = Some(decision);
    }
    live_on(&world, rain()).await.unwrap();
    let state = world.state();
    assert!(state.files.contains(&"_q3.csv".to_owned()), "{:?}", state.files);
    assert_eq!(state.answers[0].1.note.as_deref(), Some("It is in ~/Attachments/_q3.csv."));
}
