//! What the runner says becomes objects. Doing it twice makes the same ones.

use std::time::{Duration, Instant};

use a8s_crds::{
    AuthorKind, Message, MessageState, MessageStatus,
    conditions::{self, ConditionType, Reason, Status},
};
use a8s_plan::Notice;
use a8s_wire::{ArtifactInfo, Event, EventBody, EventId, event::LongText};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::{
    super::world::{Made, World},
    Conversation,
};
use crate::errors::Error;

/// So long after they were read the places of all Messages are known: what is said in quick succession costs one look.
const FRESH: Duration = Duration::from_secs(1);

impl<W: World> Conversation<'_, W> {
    /// Makes the objects of an event and tells of transitions.
    pub(super) async fn record(&mut self, event: &Event) -> Result<(), Error> {
        match &event.body {
            EventBody::Message { text, more } if !text.trim().is_empty() => {
                self.said(event, AuthorKind::Agent, text, more.as_ref()).await?;
            }
            EventBody::Question(question) => self.asked(question).await?,
            EventBody::QuestionClosed { id, outcome, by } => {
                self.answered(id, outcome, by.as_deref()).await?;
            }
            EventBody::Artifact(info) => self.published(event.id.epoch, info).await?,
            EventBody::TurnStarted { author, .. } => {
                self.say(
                    false,
                    Reason::TurnStarted,
                    format!("turn {} began with a message of {author}", event.turn),
                )
                .await;
            }
            EventBody::TurnEnded { stop_reason, detail, .. } => {
                let why = detail.as_ref().map(|d| format!(": {d}")).unwrap_or_default();
                let text = format!("turn {} ended: {stop_reason}{why}", event.turn);
                self.say(stop_reason == "error", Reason::TurnEnded, text).await;
                // An agent that could say itself what went wrong has done so.
                let (turn, words) = &self.last_words;
                let told = detail.as_ref().is_some_and(|d| *turn == event.turn && words.contains(d.as_str()));
                if let Some(text) = failed(&event.body).filter(|_| !told) {
                    self.said(event, AuthorKind::System, &text, None).await?;
                }
            }
            EventBody::Notice { text } => self.say(true, Reason::Progressing, text.clone()).await,
            _ => {}
        }
        Ok(())
    }

    async fn said(
        &mut self,
        event: &Event,
        author: AuthorKind,
        text: &str,
        more: Option<&LongText>,
    ) -> Result<(), Error> {
        for taken in [false, true] {
            let message = self.subject.message(event.id, author, text, more, taken);
            let found = match self.world.create_message(&message).await? {
                Made::New(found) => found,
                Made::Exists(found) if self.subject.wrote(&found) => found,
                Made::Exists(_) => continue,
            };
            if found.status.as_ref().is_some_and(|s| s.seq.is_some()) {
                return Ok(());
            }
            let mut status = self.place(event.id, &found).await?;
            status.state = Some(MessageState::Consumed);
            status.turn = Some(event.turn);
            status.at = event.ts.parse().ok().map(Time);
            delivered(&mut status, Status::True, Reason::Ready, "said by the agent");
            // Another bridge that was faster said the same.
            return self.first(&found, status).await.map(drop);
        }
        self.say(true, Reason::NameTaken, format!("a message of turn {} has no free name", event.turn)).await;
        Ok(())
    }

    async fn published(&mut self, epoch: i64, info: &ArtifactInfo) -> Result<(), Error> {
        for taken in [false, true] {
            let artifact = self.subject.artifact(epoch, info, taken);
            match self.world.create_artifact(&artifact).await? {
                Made::New(_) => {
                    let text = format!("published {} as Artifact {}", info.file_name, artifact.name_any());
                    self.say(false, Reason::ArtifactPublished, text).await;
                    return Ok(());
                }
                Made::Exists(found) if found.spec == artifact.spec => return Ok(()),
                Made::Exists(_) => {}
            }
        }
        self.say(true, Reason::NameTaken, format!("{} version {} has no free name", info.name, info.version))
            .await;
        Ok(())
    }

    /// A fresh status with the place that was kept for an event, or the next one.
    async fn place(&mut self, event: EventId, message: &Message) -> Result<MessageStatus, Error> {
        if let Some(place) = self.kept.get(&event).copied() {
            return Ok(placed(message, place));
        }
        // An earlier life of this process may have given some out unrecorded, and one that is over may not know it yet. As long as they were
        // read just now, this is the only one that gives any.
        if !self.knows_places() && self.places_read.is_none_or(|at| at.elapsed() > FRESH) {
            let all = self.world.messages().await?;
            self.know_places(&all);
        }
        Ok(self.next_place(message))
    }

    /// Whether all places that were given are known, and stay so. Who is alone has to read the long list of what is settled only once.
    fn knows_places(&self) -> bool {
        self.places_read.is_some() && self.world.is_alone()
    }

    /// The Messages that something may have to be done for, freshly read, and the places of all.
    pub(super) async fn look(&mut self) -> Result<Vec<Message>, Error> {
        let few = self.looked && self.knows_places();
        let found = if few { self.world.unsettled().await? } else { self.world.messages().await? };
        self.know_places(&found);
        self.looked = true;
        Ok(found)
    }

    /// What was said before people's new Messages has its place before them, although it is recorded later.
    pub(super) fn keep_places(&mut self) {
        for event in &self.behind {
            if !self.needs_no_record(event) && is_said(&event.body) && !self.kept.contains_key(&event.id) {
                self.live.last_message += 1;
                self.kept.insert(event.id, self.live.last_message);
            }
        }
    }

    /// Takes in which places are given.
    pub(super) fn know_places(&mut self, all: &[Message]) {
        let ours = all.iter().filter(|m| self.subject.wrote(m) || self.subject.is_addressed(m));
        let highest = ours.filter_map(|m| m.status.as_ref()?.seq).max().unwrap_or_default();
        self.live.last_message = self.live.last_message.max(highest);
        self.places_read = Some(Instant::now());
    }

    /// A fresh status with the place after those that are known.
    pub(super) fn next_place(&mut self, message: &Message) -> MessageStatus {
        self.live.last_message += 1;
        placed(message, self.live.last_message)
    }

    /// Writes the status that gives a Message its place, unless somebody else has written since it was read: places are not given anew. False
    /// if so.
    pub(super) async fn first(&self, message: &Message, mut status: MessageStatus) -> Result<bool, Error> {
        status.observed_generation = message.metadata.generation;
        self.world.set_first_status(message, &status).await
    }

    pub(super) async fn write(&self, message: &Message, mut status: MessageStatus) -> Result<(), Error> {
        status.observed_generation = message.metadata.generation;
        if message.status.as_ref() == Some(&status) {
            Ok(())
        } else {
            self.world.set_status(message, &status).await
        }
    }

    pub(super) async fn say(&self, warning: bool, reason: Reason, note: String) {
        self.world.say(Notice { warning, reason, note }).await;
    }
}

fn placed(message: &Message, place: i64) -> MessageStatus {
    MessageStatus {
        observed_generation: message.metadata.generation,
        seq: Some(place),
        ..MessageStatus::default()
    }
}

/// Whether an event may become a Message.
pub(super) fn is_said(body: &EventBody) -> bool {
    matches!(body, EventBody::Message { .. }) || failed(body).is_some()
}

/// What people are told of a turn that failed: nothing else in the conversation would answer them.
fn failed(body: &EventBody) -> Option<String> {
    let EventBody::TurnEnded { stop_reason, detail, .. } = body else { return None };
    (stop_reason == "error").then(|| {
        let why = detail.as_deref().unwrap_or("the agent did not say why");
        format!("The turn ended with an error: {why}\n\nSend the message again to go on.")
    })
}

/// Whether the agent has the Message, and why not.
pub(super) fn delivered(status: &mut MessageStatus, value: Status, reason: Reason, text: &str) {
    for kind in [ConditionType::Delivered, ConditionType::Ready] {
        conditions::set(
            &mut status.conditions,
            kind,
            value,
            reason,
            text,
            status.observed_generation,
            Timestamp::now(),
        );
    }
}
