mod asked;
mod budget;
mod failures;
mod lineage;
mod refusals;
mod sooner;
mod talk;

use std::sync::Mutex;

use a8s_crds::{
    Approval, Artifact, Attachment, Author, AuthorKind, ControlStatus, Delivery, Message, MessageSpec,
    MessageState, MessageStatus, Request, RequestStatus,
};
use a8s_plan::Notice;
use a8s_wire::{
    Answer, Answered, ArtifactInfo, Event, EventBody, Prompt, PromptAccepted, Question, RunnerPhase,
    RunnerState, SessionIdentity, Settings,
};
use bytes::Bytes;
use futures::{StreamExt, stream, stream::BoxStream};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::ResourceExt;

use super::*;
use crate::pods::PodError;

/// API server and runner in memory. Every call but a read may be the last one of a process: before or after it had its effect.
#[derive(Default)]
struct Fake(Mutex<State>);

#[derive(Default)]
struct State {
    messages: Vec<Message>,
    artifacts: Vec<Artifact>,
    transcript: Vec<Event>,
    prompts: Vec<Prompt>,
    interrupts: Vec<i64>,
    files: Vec<String>,
    turn: i64,
    epoch: i64,
    running: Option<String>,
    queue: Vec<String>,
    /// Turns end only when the test says so.
    slow: bool,
    /// The sources of attachments are gone.
    bare: bool,
    calls: usize,
    /// How often all Messages were read.
    looks: usize,
    crash: Option<(usize, bool)>,
    /// Whom the runner was told that it works for.
    bound: Vec<SessionIdentity>,
    /// The runner works for somebody else.
    taken: bool,
    requests: Vec<Request>,
    /// Questions that wait for an answer.
    questions: Vec<Question>,
    answers: Vec<(String, Answer)>,
    /// Kind of the question that each turn asks before it ends.
    asks: Option<&'static str>,
    /// How the agent shall be run, and what the runner was told.
    wanted: Settings,
    settings: Vec<Settings>,
    limit: Option<String>,
    control: Option<ControlStatus>,
    /// The API server does not take what is asked.
    unfit: bool,
    said: Vec<Notice>,
    /// Steps that each turn takes.
    steps: usize,
    /// Another bridge gives the next Message this place, just before this one does.
    rival: Option<i64>,
    /// There may be other bridges.
    crowded: bool,
    /// How each turn ends, if not well.
    fails: Option<&'static str>,
    /// Calls that the runner refuses, with which status.
    refuses: Vec<(&'static str, u16)>,
    refusals: usize,
}

impl State {
    fn event(&mut self, body: EventBody) {
        let seq = self.transcript.last().map_or(0, |e| e.id.seq) + 1;
        let id = EventId { epoch: self.epoch, seq };
        self.transcript.push(Event { id, ts: "2026-11-22T12:00:00Z".into(), turn: self.turn, body });
    }

    fn work(&mut self) {
        while self.running.is_none() && !self.queue.is_empty() {
            let id = self.queue.remove(0);
            self.turn += 1;
            self.running = Some(id.clone());
            self.event(EventBody::TurnStarted { message_id: id, content: "c".into(), author: "jane".into() });
            for n in 0..self.steps {
                let (id, title) = (format!("{n}"), format!("step {n}"));
                self.event(EventBody::Step { id, title, status: "completed".into() });
                let usage =
                    a8s_wire::Usage { requests: i64::try_from(n).unwrap(), ..a8s_wire::Usage::default() };
                self.event(EventBody::Usage(usage));
            }
            if let Some(kind) = self.asks {
                self.ask(kind);
            } else if !self.slow {
                self.end("end_turn");
            }
        }
    }

    fn ask(&mut self, kind: &str) {
        let id = format!("{}-{}", self.epoch, self.transcript.last().map_or(0, |e| e.id.seq) + 1);
        let choice =
            |id: &str, kind: &str| a8s_wire::Choice { id: id.into(), title: id.into(), kind: kind.into() };
        let options = vec![choice("yes", "AllowOnce"), choice("no", "RejectOnce")];
        let question = Question {
            id,
            kind: kind.into(),
            title: format!("{kind} please"),
            options: if kind == "Permission" { options } else { Vec::new() },
            turn: self.turn,
            expires: "2099-01-01T00:00:00Z".into(),
            ..Question::default()
        };
        self.questions.push(question.clone());
        self.event(EventBody::Question(question));
    }

    /// The runner takes an answer once.
    fn answer(&mut self, id: &str, answer: &Answer) -> bool {
        let Some(at) = self.questions.iter().position(|q| q.id == id) else { return false };
        self.questions.remove(at);
        self.answers.push((id.to_owned(), answer.clone()));
        let yes = matches!(answer.option.as_deref(), Some("yes" | "allow"));
        let outcome = if yes { "granted" } else { "refused" };
        let by = Some(answer.by.clone());
        self.event(EventBody::QuestionClosed { id: id.into(), outcome: outcome.into(), by });
        self.end("end_turn");
        self.work();
        true
    }

    fn end(&mut self, stop_reason: &str) {
        let Some(message_id) = self.running.take() else { return };
        self.event(EventBody::Message { text: format!("answer {}", self.turn), more: None });
        let (version, turn) = (self.turn, self.turn);
        self.event(EventBody::Artifact(ArtifactInfo {
            name: "report".into(),
            version,
            title: "Report".into(),
            file_name: "report.pdf".into(),
            media_type: "application/pdf".into(),
            size: 1,
            sha256: "0".repeat(64),
            turn,
        }));
        self.event(EventBody::Finished { summary: "done".into() });
        let stop_reason = if self.fails.is_some() { "error" } else { stop_reason };
        let detail = self.fails.map(str::to_owned);
        self.event(EventBody::TurnEnded { message_id, stop_reason: stop_reason.into(), detail });
    }
}

impl Fake {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Does a call, or dies at it.
    fn call<T>(&self, effect: impl FnOnce(&mut State) -> T) -> Result<T, PodError> {
        let mut state = self.state();
        let (at, after) = state.crash.unwrap_or((usize::MAX, false));
        let now = state.calls;
        state.calls += 1;
        let dead = || PodError::Unreachable("killed".into());
        if now > at || (now == at && !after) {
            return Err(dead());
        }
        let result = effect(&mut state);
        if now == at { Err(dead()) } else { Ok(result) }
    }

    /// What the runner answers to a call that it does not take.
    fn refused(&self, call: &str) -> Result<(), PodError> {
        let mut state = self.state();
        let Some(&(_, status)) = state.refuses.iter().find(|(refused, _)| *refused == call) else {
            return Ok(());
        };
        state.refusals += 1;
        Err(PodError::Refused { status, text: r#"{"error":"it does not fit"}"#.into() })
    }

    fn say_as(&self, name: &str, second: i64, delivery: Delivery, content: Option<&str>) {
        let author = Some(Author { kind: AuthorKind::User, name: "jane".into() });
        let content = content.map(str::to_owned);
        let mut message = Message::new(
            name,
            MessageSpec {
                session: "rain".into(),
                content,
                content_ref: None,
                attachments: Vec::new(),
                delivery,
                turn: None,
                author,
            },
        );
        message.metadata.uid = Some(format!("uid-{name}"));
        message.metadata.creation_timestamp = Some(Time(Timestamp::from_second(second).unwrap()));
        self.state().messages.push(message);
    }

    fn message(&self, name: &str) -> MessageStatus {
        let state = self.state();
        let found = state.messages.iter().find(|m| m.name_any() == name).unwrap();
        found.status.clone().unwrap_or_default()
    }

    fn prompted(&self) -> Vec<String> {
        self.state().prompts.iter().map(|p| p.message_id.clone()).collect()
    }
}

impl World for Fake {
    async fn messages(&self) -> Result<Vec<Message>, Error> {
        let mut state = self.state();
        state.looks += 1;
        Ok(state.messages.clone())
    }

    async fn unsettled(&self) -> Result<Vec<Message>, Error> {
        let settled = |m: &&Message| m.status.as_ref().is_some_and(MessageStatus::is_settled);
        Ok(self.state().messages.iter().filter(|m| !settled(m)).cloned().collect())
    }

    fn is_alone(&self) -> bool {
        !self.state().crowded
    }

    async fn create_message(&self, message: &Message) -> Result<Made<Message>, Error> {
        Ok(self.call(|state| {
            if let Some(found) = state.messages.iter().find(|m| m.name_any() == message.name_any()) {
                return Made::Exists(found.clone());
            }
            state.messages.push(message.clone());
            Made::New(message.clone())
        })?)
    }

    async fn adopt(&self, message: &Message) -> Result<Option<Message>, Error> {
        Ok(self.call(|state| state.messages.iter().find(|m| m.name_any() == message.name_any()).cloned())?)
    }

    async fn set_first_status(&self, message: &Message, status: &MessageStatus) -> Result<bool, Error> {
        Ok(self.call(|state| {
            // Whoever is as slow as that finds that another bridge was faster.
            let rival = std::mem::take(&mut state.rival);
            let found = state.messages.iter_mut().find(|m| m.name_any() == message.name_any()).unwrap();
            if let Some(place) = rival {
                found.status = Some(MessageStatus { seq: Some(place), ..status.clone() });
            }
            let unchanged = found.status == message.status;
            if unchanged {
                found.status = Some(status.clone());
            }
            unchanged
        })?)
    }

    async fn set_abandoned(&self, message: &Message, abandoned: bool) -> Result<(), Error> {
        Ok(self.call(|state| {
            let found = state.messages.iter_mut().find(|m| m.name_any() == message.name_any()).unwrap();
            if abandoned {
                found.labels_mut().insert(labels::ABANDONED.into(), "true".into());
            } else {
                found.labels_mut().remove(labels::ABANDONED);
            }
        })?)
    }

    async fn set_status(&self, message: &Message, status: &MessageStatus) -> Result<(), Error> {
        Ok(self.call(|state| {
            let found = state.messages.iter_mut().find(|m| m.name_any() == message.name_any()).unwrap();
            found.status = Some(status.clone());
        })?)
    }

    async fn create_artifact(&self, artifact: &Artifact) -> Result<Made<Artifact>, Error> {
        Ok(self.call(|state| {
            if let Some(found) = state.artifacts.iter().find(|a| a.name_any() == artifact.name_any()) {
                return Made::Exists(found.clone());
            }
            state.artifacts.push(artifact.clone());
            Made::New(artifact.clone())
        })?)
    }

    async fn requests(&self) -> Result<Vec<Request>, Error> {
        Ok(self.state().requests.clone())
    }

    fn approval(&self, _: &Question) -> Approval {
        Approval::Ask
    }

    async fn create_request(&self, request: &Request) -> Result<Made<Request>, Error> {
        if self.state().unfit {
            let status = kube::core::Status::failure("spec is invalid", "Invalid").with_code(422);
            return Err(kube::Error::Api(status.boxed()).into());
        }
        Ok(self.call(|state| {
            if let Some(found) = state.requests.iter().find(|r| r.name_any() == request.name_any()) {
                return Made::Exists(found.clone());
            }
            state.requests.push(request.clone());
            Made::New(request.clone())
        })?)
    }

    async fn set_request_status(&self, request: &Request, status: &RequestStatus) -> Result<(), Error> {
        Ok(self.call(|state| {
            let found = state.requests.iter_mut().find(|r| r.name_any() == request.name_any()).unwrap();
            // As with a resource version: what is not as it was read is not written.
            if found.status == request.status {
                found.status = Some(status.clone());
            }
        })?)
    }

    fn control(&self) -> Option<ControlStatus> {
        self.state().control.clone()
    }

    fn settings(&self) -> Settings {
        self.state().wanted.clone()
    }

    async fn put_settings(&self, settings: &Settings) -> Result<(), PodError> {
        self.refused("settings")?;
        self.call(|state| {
            state.settings.push(settings.clone());
            state.limit = None;
        })
    }

    async fn answer(&self, id: &str, answer: &Answer) -> Result<Answered, PodError> {
        self.refused(if answer.option.is_some() { "answer" } else { "refusal" })?;
        self.call(|state| Answered { applied: state.answer(id, answer) })
    }

    async fn attachment(&self, attachment: &Attachment) -> Result<Option<Bytes>, Error> {
        if self.state().bare {
            return Err(Error::Other("attachment a.csv: ConfigMap c with key k does not exist".into()));
        }
        Ok(attachment.text.clone().map(Bytes::from))
    }

    async fn material(&self, subject: &str) -> Result<Option<(String, Bytes)>, Error> {
        Ok((subject == "q3-v1").then(|| ("../q3.csv".to_owned(), Bytes::from("figures"))))
    }

    async fn say(&self, notice: Notice) {
        self.state().said.push(notice);
    }

    async fn runner_state(&self) -> Result<RunnerState, PodError> {
        let state = self.state();
        Ok(RunnerState {
            epoch: state.epoch,
            seq: state.transcript.last().map_or(0, |e| e.id.seq),
            turn: state.turn,
            state: RunnerPhase::Idle,
            queue: state.queue.clone(),
            session: state.bound.last().cloned(),
            questions: state.questions.clone(),
            settings: state.settings.last().cloned(),
            limit: state.limit.clone(),
            ..RunnerState::default()
        })
    }

    async fn bind(&self, session: &SessionIdentity) -> Result<(), PodError> {
        if self.state().taken {
            return Err(PodError::Refused { status: 409, text: "it belongs to the Session other".into() });
        }
        self.call(|state| state.bound.push(session.clone()))
    }

    async fn prompt(&self, prompt: &Prompt) -> Result<PromptAccepted, PodError> {
        self.refused("prompt")?;
        self.call(|state| {
            if state.prompts.iter().all(|p| p.message_id != prompt.message_id) {
                state.prompts.push(prompt.clone());
                state.queue.push(prompt.message_id.clone());
                state.work();
            }
            PromptAccepted { turn: state.turn, position: 0 }
        })
    }

    async fn interrupt(&self, turn: i64) -> Result<(), PodError> {
        self.refused("interrupt")?;
        self.call(|state| {
            state.interrupts.push(turn);
            if state.turn == turn {
                state.end("cancelled");
                state.work();
            }
        })
    }

    async fn put_attachment(&self, name: &str, _: Bytes) -> Result<(), PodError> {
        self.refused("attachment")?;
        self.call(|state| state.files.push(name.to_owned()))
    }

    async fn events(&self, after: EventId) -> Result<BoxStream<'static, Result<Event, PodError>>, PodError> {
        let events: Vec<_> =
            self.state().transcript.iter().filter(|e| e.id > after).cloned().map(Ok).collect();
        Ok(stream::iter(events).boxed())
    }
}

fn rain() -> Subject {
    Subject {
        namespace: "team".into(),
        name: "rain".into(),
        uid: "uid-s".into(),
        created_by: "jane".into(),
        goal: Some("Make a report".into()),
        goal_epoch: None,
        attachments: vec![Attachment {
            name: "a.csv".into(),
            config_map: None,
            artifact: None,
            connection: None,
            text: Some("1".into()),
        }],
        workspace: Reference { name: "rain".into(), uid: "uid-w".into() },
        recorded: EventId::default(),
        last_message: 0,
        restored_from: None,
    }
}

/// One life of the process: connects and goes on until nothing changes.
async fn live_on(world: &Fake, subject: Subject) -> Result<a8s_plan::session::Live, Error> {
    let mut conversation = Conversation::open(world, subject, false).await?;
    loop {
        let before = world.state().calls;
        let mut events = world.events(EventId::default()).await?;
        while let Some(event) = events.next().await {
            conversation.hear(event?);
        }
        conversation.deliver().await?;
        let mut look = false;
        while conversation.is_behind() {
            look |= conversation.record_next().await? == Then::Look;
        }
        if look {
            conversation.deliver().await?;
        }
        if world.state().calls == before {
            return Ok(conversation.live);
        }
    }
}

#[tokio::test]
async fn the_goal_is_the_first_turn_and_messages_follow_in_their_order() {
    let world = Fake::default();
    world.say_as("b", 2, Delivery::Queue, Some("second"));
    world.say_as("a", 1, Delivery::Queue, Some("first"));
    let live = live_on(&world, rain()).await.unwrap();
    assert_eq!(world.prompted(), ["uid-s/goal", "uid-a", "uid-b"]);
    assert_eq!(world.state().prompts[0].attachments, ["a.csv"]);
    assert_eq!(world.state().files, ["a.csv"]);
    assert_eq!((world.message("a").state, world.message("a").turn), (Some(MessageState::Consumed), Some(2)));
    assert_eq!((live.turn, live.running, live.queued, live.finished.as_deref()), (3, false, 0, Some("done")));
}

#[tokio::test]
async fn a_kill_at_any_call_neither_loses_nor_doubles_anything() {
    let build = || {
        let world = Fake::default();
        world.say_as("a", 1, Delivery::Queue, Some("first"));
        world.say_as("b", 1, Delivery::Steer, Some("second"));
        world.say_as("c", 3, Delivery::Interrupt, None);
        world
    };
    let whole = build();
    live_on(&whole, rain()).await.unwrap();
    let calls = whole.state().calls;
    assert!(calls > 20, "{calls}");
    for at in 0..calls {
        for after in [false, true] {
            let world = build();
            world.state().crash = Some((at, after));
            assert!(live_on(&world, rain()).await.is_err(), "the process dies at call {at}");
            world.state().crash = None;
            // Nothing of the first life was recorded in the Session's status: the worst case.
            let live = live_on(&world, rain()).await.unwrap();
            let mut prompted = world.prompted();
            assert_eq!(prompted[0], "uid-s/goal", "{at} {after}");
            prompted.sort();
            assert_eq!(prompted, ["uid-a", "uid-b", "uid-s/goal"], "{at} {after}");
            let state = world.state();
            let names = |mut names: Vec<String>| {
                names.sort();
                names
            };
            let artifacts = names(state.artifacts.iter().map(ResourceExt::name_any).collect());
            assert_eq!(artifacts, ["rain-report-v1", "rain-report-v2", "rain-report-v3"], "{at} {after}");
            let messages = names(state.messages.iter().map(ResourceExt::name_any).collect());
            assert_eq!(messages, ["a", "b", "c", "rain-0-12", "rain-0-2", "rain-0-7"], "{at} {after}");
            let mut places: Vec<i64> = state.messages.iter().filter_map(|m| m.status.as_ref()?.seq).collect();
            places.sort_unstable();
            places.dedup();
            assert_eq!(places.len(), 6, "every message has a place of its own: {at} {after}");
            let settled = |m: &Message| m.status.as_ref().unwrap().state == Some(MessageState::Consumed);
            assert!(state.messages.iter().all(settled), "{at} {after}");
            // An answer has its place after what it answers.
            let place = |m: &Message| m.status.as_ref().and_then(|s| Some((s.turn?, s.seq?)));
            let answers = state.messages.iter().filter(|m| m.is_from_agent()).filter_map(place);
            for (turn, seq) in answers {
                let asked = state.messages.iter().filter(|m| !m.is_from_agent() && m.spec.content.is_some());
                let before = asked.filter_map(place).filter(|(of, _)| *of == turn).all(|(_, at)| at < seq);
                assert!(before, "turn {turn}: {at} {after}");
            }
            assert_eq!(live.recorded, EventId { epoch: 0, seq: 15 });
        }
    }
}

#[tokio::test]
async fn what_was_recorded_is_not_made_again_even_if_people_deleted_it() {
    let world = Fake::default();
    let first = live_on(&world, rain()).await.unwrap();
    world.state().artifacts.clear();
    world.state().messages.clear();
    let subject = Subject { recorded: first.recorded, last_message: first.last_message, ..rain() };
    let again = live_on(&world, subject).await.unwrap();
    assert!(world.state().artifacts.is_empty() && world.state().messages.is_empty());
    assert_eq!(again.finished, first.finished, "but the facts are known again");
}

#[tokio::test]
async fn a_steer_interrupts_the_turn_and_is_next_although_others_wait() {
    let world = Fake::default();
    world.state().slow = true;
    live_on(&world, rain()).await.unwrap();
    world.say_as("a", 1, Delivery::Queue, Some("later"));
    let live = live_on(&world, rain()).await.unwrap();
    assert_eq!((world.message("a").state, live.queued, live.running), (Some(MessageState::Queued), 1, true));
    world.say_as("b", 2, Delivery::Steer, Some("now"));
    live_on(&world, rain()).await.unwrap();
    assert_eq!(world.state().interrupts, [1]);
    assert_eq!(world.prompted(), ["uid-s/goal", "uid-b"]);
    world.state().end("end_turn");
    live_on(&world, rain()).await.unwrap();
    assert_eq!(world.prompted(), ["uid-s/goal", "uid-b", "uid-a"]);
}

#[tokio::test]
async fn a_stop_means_the_turn_that_ran_when_it_came_and_no_later_one() {
    let world = Fake::default();
    world.state().slow = true;
    live_on(&world, rain()).await.unwrap();
    world.say_as("stop", 1, Delivery::Interrupt, None);
    world.say_as("next", 2, Delivery::Queue, Some("go on"));
    // It dies after the interrupt had its effect, before that is written down.
    let calls = world.state().calls;
    let mut at = calls;
    while world.state().interrupts.is_empty() {
        world.state().calls = calls;
        world.state().crash = Some((at, true));
        drop(live_on(&world, rain()).await);
        at += 1;
    }
    world.state().crash = None;
    live_on(&world, rain()).await.unwrap();
    assert_eq!(world.state().interrupts, [1]);
    assert_eq!(world.message("stop").state, Some(MessageState::Consumed));
    assert_eq!(world.state().running.as_deref(), Some("uid-next"), "the next turn was left alone");
}

#[tokio::test]
async fn a_fork_begins_with_its_own_goal_and_leaves_the_other_branchs_events_alone() {
    let world = Fake::default();
    live_on(&world, rain()).await.unwrap();
    world.state().messages.clear();
    world.state().artifacts.clear();
    world.state().epoch = 1;
    let fork = Subject { name: "fork".into(), uid: "uid-f".into(), ..rain() };
    let live = live_on(&world, fork).await.unwrap();
    assert_eq!(world.prompted(), ["uid-s/goal", "uid-f/goal"]);
    let names: Vec<String> = world.state().artifacts.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["fork-report-v2"]);
    assert_eq!((live.turn, live.recorded), (2, EventId { epoch: 1, seq: 10 }));
}

#[tokio::test]
async fn a_foreign_object_of_the_name_is_left_alone() {
    let world = Fake::default();
    world.say_as("rain-0-2", 1, Delivery::Queue, Some("mine"));
    live_on(&world, rain()).await.unwrap();
    let other = format!("rain-0-2-{}", a8s_crds::names::short_hash("uid-s"));
    assert_eq!(world.message(&other).state, Some(MessageState::Consumed));
    assert_eq!(world.message("rain-0-2").turn, Some(2), "the person's message was delivered as one");
}

#[tokio::test]
async fn a_draining_bridge_records_and_hands_nothing_over() {
    let world = Fake::default();
    live_on(&world, rain()).await.unwrap();
    world.state().artifacts.clear();
    world.say_as("late", 9, Delivery::Queue, Some("too late"));
    let mut subject = rain();
    let live = LiveSessions::default();
    serve(&world, &mut subject, &live, &Notify::new(), true).await.unwrap();
    assert_eq!(world.state().artifacts.len(), 1);
    assert_eq!(world.prompted(), ["uid-s/goal"]);
    assert_eq!(subject.recorded.seq, 5, "the next connection goes on from here");
}

/// The next desktop after one was deleted: an empty volume and the next epoch.
fn next_desktop(world: &Fake, goal_epoch: Option<i64>) -> Subject {
    let mut state = world.state();
    (state.transcript, state.prompts, state.queue) = (vec![], vec![], vec![]);
    (state.turn, state.epoch, state.running) = (0, state.epoch + 1, None);
    let workspace = Reference { name: "rain".into(), uid: format!("uid-w{}", state.epoch) };
    Subject { workspace, goal_epoch, recorded: EventId { epoch: state.epoch, seq: 0 }, ..rain() }
}

#[tokio::test]
async fn the_agent_of_a_new_desktop_hears_the_new_message_and_not_the_goal_again() {
    let world = Fake::default();
    let live = live_on(&world, rain()).await.unwrap();
    assert!(live.goal_given);
    for n in 1..=2 {
        let subject = next_desktop(&world, Some(0));
        let name = format!("again{n}");
        world.say_as(&name, 10 + n, Delivery::Queue, Some("go on"));
        let live = live_on(&world, subject).await.unwrap();
        assert_eq!(world.prompted(), [format!("uid-{name}")]);
        assert_eq!((world.message(&name).state, live.queued), (Some(MessageState::Consumed), 0));
    }
    assert_eq!(world.state().files, ["a.csv"; 3], "but it finds the attachments");
    let state = world.state();
    let mut names: Vec<String> = state.artifacts.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names.len(), 3, "one file of each desktop, each with a name of its own");
    names.dedup();
    assert_eq!(names.len(), 3);
    let mut said: Vec<String> =
        state.messages.iter().filter(|m| m.is_from_agent()).map(ResourceExt::name_any).collect();
    said.sort();
    assert_eq!(said, ["rain-0-2", "rain-1-2", "rain-2-2"]);
}

#[tokio::test]
async fn a_goal_that_no_agent_had_is_given_to_the_new_desktop_before_the_message() {
    let world = Fake::default();
    let subject = next_desktop(&world, None);
    world.say_as("a", 1, Delivery::Queue, Some("hello?"));
    live_on(&world, subject).await.unwrap();
    assert_eq!(world.prompted(), ["uid-s/goal", "uid-a"]);
}

#[tokio::test]
async fn a_message_whose_turn_went_with_the_desktop_is_not_given_to_the_next_one() {
    let world = Fake::default();
    live_on(&world, rain()).await.unwrap();
    world.state().slow = true;
    world.say_as("lost", 1, Delivery::Queue, Some("first"));
    world.say_as("waits", 2, Delivery::Queue, Some("second"));
    live_on(&world, rain()).await.unwrap();
    assert_eq!(world.message("lost").state, Some(MessageState::Delivered));
    let subject = next_desktop(&world, Some(0));
    live_on(&world, subject).await.unwrap();
    assert_eq!(world.prompted(), ["uid-waits"]);
    let status = world.message("lost");
    assert_eq!((status.state, status.turn), (Some(MessageState::Dropped), Some(2)));
    let ready = a8s_crds::conditions::get(&status.conditions, a8s_crds::conditions::ConditionType::Ready);
    assert!(ready.unwrap().message.contains("turn 2"), "{ready:?}");
}

#[tokio::test]
async fn what_a_waiting_message_was_told_while_suspended_is_over_when_the_agent_is_back() {
    let world = Fake::default();
    world.state().slow = true;
    live_on(&world, rain()).await.unwrap();
    world.say_as("a", 1, Delivery::Queue, Some("later"));
    live_on(&world, rain()).await.unwrap();
    let told = |text: &str| {
        let mut state = world.state();
        let message = state.messages.iter_mut().find(|m| m.name_any() == "a").unwrap();
        let mut conditions = message.status.clone().unwrap().conditions;
        for condition in &mut conditions {
            condition.message = text.into();
        }
        message.status.as_mut().unwrap().conditions = conditions;
    };
    told("Session rain is suspended");
    live_on(&world, rain()).await.unwrap();
    assert!(world.message("a").conditions.iter().all(|c| c.message == "waits for its turn"));
}

#[tokio::test]
async fn a_later_desktop_does_without_an_attachment_whose_source_is_gone() {
    let world = Fake::default();
    live_on(&world, rain()).await.unwrap();
    world.state().bare = true;
    let first = Fake::default();
    first.state().bare = true;
    assert!(live_on(&first, rain()).await.is_err(), "the first one does not");
    let subject = next_desktop(&world, Some(0));
    world.say_as("again", 10, Delivery::Queue, Some("go on"));
    live_on(&world, subject).await.unwrap();
    assert_eq!(world.prompted(), ["uid-again"]);
}

#[tokio::test]
async fn a_desktop_learns_whose_it_is_before_it_is_handed_anything_and_another_ones_is_left_alone() {
    let world = Fake::default();
    live_on(&world, rain()).await.unwrap();
    live_on(&world, rain()).await.unwrap();
    let rain_is = SessionIdentity { session: rain().name, uid: Some(rain().uid) };
    assert_eq!(world.state().bound, [rain_is], "it is told once");

    let taken = Fake::default();
    taken.state().taken = true;
    let refused = live_on(&taken, rain()).await.unwrap_err().to_string();
    assert!(refused.contains("the Session other"), "{refused}");
    assert!(taken.prompted().is_empty() && taken.state().files.is_empty());
}
