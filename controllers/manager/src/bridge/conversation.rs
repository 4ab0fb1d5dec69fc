//! One conversation: what the runner says becomes objects, what people say becomes prompts.
//!
//! Its memory is the runner's transcript and the API server, never itself. It reads the transcript from the beginning to know which turn
//! runs and what is over; objects are made only for events after the recorded one, and the record advances only when they exist. A person's
//! Message gets its place before it is delivered, and is delivered under its UID, which the runner takes once.
//!
//! Messages are handed over one at a time, so that a Steer can be next although others wait.

use std::collections::{HashMap, HashSet};

use a8s_crds::{
    Delivery, Message, MessageState, MessageStatus,
    conditions::{self, ConditionType, Reason, Status},
};
use a8s_plan::{Notice, session::Live};
use a8s_wire::{ArtifactInfo, Event, EventBody, EventId, Prompt, RunnerPhase};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::{
    objects::Subject,
    world::{Made, World},
};
use crate::{errors::Error, pods::PodError};

/// The state of one conversation.
pub struct Conversation<'w, W> {
    world: &'w W,
    subject: Subject,
    /// Facts for the Session's status.
    pub live: Live,
    /// Whether people's messages may be handed over, or only the last events are read.
    drain: bool,
    epoch: i64,
    /// Last event of the transcript when the bridge connected; until it is read again, what runs and what is over is not known.
    horizon: i64,
    /// Whether the attachments of a Session without a goal were put in place.
    attached: bool,
    /// Last event read, of any epoch.
    read: i64,
    /// Messages that the runner has, and whose turn is not over.
    outstanding: HashSet<String>,
    /// Turn of every message whose turn began.
    turns: HashMap<String, i64>,
    /// Messages whose turn is over.
    over: HashSet<String>,
    /// People's Messages that are not settled, in order.
    pending: Vec<Message>,
}

impl<'w, W: World> Conversation<'w, W> {
    /// Asks the runner where the conversation is.
    pub async fn open(world: &'w W, subject: Subject, drain: bool) -> Result<Self, Error> {
        let state = world.runner_state().await?;
        if matches!(state.state, RunnerPhase::Failed) && state.seq == 0 {
            let why = state.reason.unwrap_or_default();
            return Err(Error::Other(format!("the agent cannot be started: {why}")));
        }
        let recorded = if subject.recorded.epoch == state.epoch {
            subject.recorded
        } else {
            EventId { epoch: state.epoch, seq: 0 }
        };
        let live = Live { recorded, last_message: subject.last_message, ..Live::default() };
        Ok(Self {
            world,
            live,
            drain,
            epoch: state.epoch,
            horizon: state.seq,
            attached: false,
            read: 0,
            outstanding: state.queue.into_iter().collect(),
            turns: HashMap::new(),
            over: state.consumed.into_iter().collect(),
            pending: Vec::new(),
            subject,
        })
    }

    /// Whether everything that happened before the connection is known. Nothing is handed over earlier.
    pub fn caught_up(&self) -> bool {
        self.read >= self.horizon
    }

    /// Takes an event in; returns whether people should see it at once.
    pub async fn take(&mut self, event: Event) -> Result<bool, Error> {
        if matches!(event.body, EventBody::Delta { .. }) {
            return Ok(false);
        }
        // Numbers go on through epochs; one that was read already is a repetition.
        if event.id.seq <= self.read {
            return Ok(false);
        }
        if event.id.epoch == self.epoch {
            if event.id > self.live.recorded {
                self.record(&event).await?;
                self.live.recorded = event.id;
            }
            self.live.last_activity = event.ts.parse().ok().or(self.live.last_activity);
        }
        self.read = event.id.seq;
        Ok(self.follow(event))
    }

    /// Facts, from events old and new.
    fn follow(&mut self, event: Event) -> bool {
        let mine = event.id.epoch == self.epoch;
        match event.body {
            EventBody::TurnStarted { message_id, .. } => {
                self.live.turn = event.turn;
                self.live.running = true;
                self.live.step = None;
                self.live.finished = None;
                self.turns.insert(message_id.clone(), event.turn);
                self.outstanding.insert(message_id);
            }
            EventBody::TurnEnded { message_id, .. } => {
                self.live.running = false;
                self.live.step = None;
                self.outstanding.remove(&message_id);
                self.over.insert(message_id);
            }
            EventBody::Step { title, .. } => {
                self.live.step = Some(title);
                return false;
            }
            EventBody::Plan { entries } => {
                self.live.plan = entries.into_iter().map(|e| (e.title, e.status)).collect();
                return false;
            }
            // What the agent of the other branch finished is not what this Session asks for.
            EventBody::Finished { summary } if mine => self.live.finished = Some(summary),
            EventBody::Finished { .. } | EventBody::Notice { .. } | EventBody::Delta { .. } => return false,
            EventBody::Message { .. } | EventBody::Artifact(_) => {}
        }
        true
    }

    /// Makes the objects of an event and tells of transitions.
    async fn record(&mut self, event: &Event) -> Result<(), Error> {
        match &event.body {
            EventBody::Message { text } if !text.trim().is_empty() => self.said(event, text).await?,
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
                let detail = detail.as_ref().map(|d| format!(": {d}")).unwrap_or_default();
                let text = format!("turn {} ended: {stop_reason}{detail}", event.turn);
                self.say(stop_reason == "error", Reason::TurnEnded, text).await;
            }
            EventBody::Notice { text } => self.say(true, Reason::Progressing, text.clone()).await,
            _ => {}
        }
        Ok(())
    }

    async fn said(&mut self, event: &Event, text: &str) -> Result<(), Error> {
        for taken in [false, true] {
            let message = self.subject.message(event.id, text, taken);
            let found = match self.world.create_message(&message).await? {
                Made::New(found) => found,
                Made::Exists(found) if self.subject.wrote(&found) => found,
                Made::Exists(_) => continue,
            };
            if found.status.as_ref().is_some_and(|s| s.seq.is_some()) {
                return Ok(());
            }
            let mut status = self.place(&found).await?;
            status.state = Some(MessageState::Consumed);
            status.turn = Some(event.turn);
            status.at = event.ts.parse().ok().map(Time);
            delivered(&mut status, Status::True, Reason::Ready, "said by the agent");
            return self.write(&found, status).await;
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

    /// A fresh status with the next place in the conversation.
    async fn place(&mut self, message: &Message) -> Result<MessageStatus, Error> {
        // Places are read from the objects each time: an earlier life of this process may have given some out unrecorded.
        let all = self.world.messages().await?;
        let ours = all.iter().filter(|m| self.subject.wrote(m) || self.subject.is_addressed(m));
        let highest = ours.filter_map(|m| m.status.as_ref()?.seq).max().unwrap_or_default();
        self.live.last_message = self.live.last_message.max(highest) + 1;
        Ok(MessageStatus {
            observed_generation: message.metadata.generation,
            seq: Some(self.live.last_message),
            ..MessageStatus::default()
        })
    }

    async fn write(&self, message: &Message, mut status: MessageStatus) -> Result<(), Error> {
        status.observed_generation = message.metadata.generation;
        if message.status.as_ref() == Some(&status) {
            Ok(())
        } else {
            self.world.set_status(message, &status).await
        }
    }

    async fn say(&self, warning: bool, reason: Reason, note: String) {
        self.world.say(Notice { warning, reason, note }).await;
    }

    /// Hands over what can be handed over now.
    pub async fn deliver(&mut self) -> Result<(), Error> {
        if !self.caught_up() || self.drain {
            return Ok(());
        }
        self.sort_in().await?;
        self.settle().await?;
        let goal = self.subject.goal_id();
        if self.subject.goal.is_some() && !self.runner_has(&goal) {
            self.begin(&goal).await?;
        } else if self.subject.goal.is_none() && self.live.recorded.seq == 0 && !self.attached {
            self.attach().await?;
            self.attached = true;
        }
        while self.next().await? {}
        let waiting = self.pending.iter().filter(|m| !self.turns.contains_key(&id(m))).count();
        let goal_waits =
            self.subject.goal.is_some() && !self.turns.contains_key(&goal) && !self.over.contains(&goal);
        self.live.queued = i64::try_from(waiting).unwrap_or(i64::MAX) + i64::from(goal_waits);
        Ok(())
    }

    fn runner_has(&self, id: &str) -> bool {
        self.outstanding.contains(id) || self.turns.contains_key(id) || self.over.contains(id)
    }

    /// Reads people's Messages; new ones get their place, in the order of their creation.
    async fn sort_in(&mut self) -> Result<(), Error> {
        let mut all = self.world.messages().await?;
        all.retain(|m| self.subject.is_addressed(m));
        let mut new: Vec<Message> = all.iter().filter(|m| seq(m).is_none()).cloned().collect();
        new.sort_by_key(|m| (m.metadata.creation_timestamp.clone().map(|t| t.0), m.name_any()));
        for message in new {
            // A status without a place: its Session was missing, or it was dropped and stays so.
            if settled(&message) {
                continue;
            }
            self.world.adopt(&message).await?;
            let mut status = self.place(&message).await?;
            status.state = Some(MessageState::Queued);
            delivered(&mut status, Status::False, Reason::Queued, "waits for its turn");
            self.write(&message, status.clone()).await?;
            if let Some(slot) = all.iter_mut().find(|m| m.name_any() == message.name_any()) {
                slot.status = Some(status);
            }
        }
        all.retain(|m| seq(m).is_some() && !settled(m));
        all.sort_by_key(seq);
        self.pending = all;
        Ok(())
    }

    /// Writes what became of Messages that the runner has.
    async fn settle(&mut self) -> Result<(), Error> {
        let mut left = Vec::new();
        for mut message in std::mem::take(&mut self.pending) {
            let id = id(&message);
            let mut status = message.status.clone().unwrap_or_default();
            if self.runner_has(&id) {
                status.turn = self.turns.get(&id).copied().or(status.turn);
                handed(&mut status);
            }
            if self.over.contains(&id) {
                status.state = Some(MessageState::Consumed);
                self.write(&message, status).await?;
                continue;
            }
            self.write(&message, status.clone()).await?;
            message.status = Some(status);
            left.push(message);
        }
        self.pending = left;
        Ok(())
    }

    /// The goal, after everything that belongs to it.
    async fn begin(&mut self, goal: &str) -> Result<(), Error> {
        self.attach().await?;
        let prompt = Prompt {
            message_id: goal.to_owned(),
            content: self.subject.goal.clone().unwrap_or_default(),
            author: self.subject.created_by.clone(),
            attachments: self.subject.attachments.iter().map(|a| a.name.clone()).collect(),
        };
        self.world.prompt(&prompt).await?;
        self.outstanding.insert(goal.to_owned());
        Ok(())
    }

    async fn attach(&self) -> Result<(), Error> {
        for attachment in &self.subject.attachments {
            let body = self.world.attachment(attachment).await?;
            self.world.put_attachment(&attachment.name, body).await?;
        }
        Ok(())
    }

    /// Hands over one Message, or stops a turn; false if there is nothing to do now.
    async fn next(&mut self) -> Result<bool, Error> {
        let waits = |m: &&Message| !self.runner_has(&id(m));
        let stop = self.pending.iter().filter(waits).find(|m| m.spec.content.is_none());
        if let Some(message) = stop.cloned() {
            return self.stop(&message).await.map(|()| true);
        }
        let urgent = self.pending.iter().filter(waits).find(|m| m.spec.delivery != Delivery::Queue);
        if let Some(message) = urgent.cloned() {
            // One that is on its way to the agent must have begun before it can be interrupted.
            if self.outstanding.len() > 1 || (self.outstanding.len() == 1 && !self.live.running) {
                return Ok(false);
            }
            let message = self.interrupt(message).await?;
            return self.hand_over(&message).await.map(|()| true);
        }
        let Some(message) = self.pending.iter().find(waits).cloned() else { return Ok(false) };
        if self.live.running || !self.outstanding.is_empty() {
            return Ok(false);
        }
        self.hand_over(&message).await.map(|()| true)
    }

    /// Stops the turn that the Message means. The turn is written down first: after a crash the same one is meant, and no later one.
    async fn interrupt(&mut self, mut message: Message) -> Result<Message, Error> {
        let mut status = message.status.clone().unwrap_or_default();
        let meant = message.spec.turn.filter(|_| message.spec.delivery == Delivery::Interrupt);
        let Some(turn) = meant.or(status.turn).or(self.live.running.then_some(self.live.turn)) else {
            return Ok(message);
        };
        status.turn = Some(turn);
        self.write(&message, status.clone()).await?;
        message.status = Some(status);
        if self.live.running && self.live.turn == turn {
            self.world.interrupt(turn).await?;
        }
        Ok(message)
    }

    async fn stop(&mut self, message: &Message) -> Result<(), Error> {
        let message = self.interrupt(message.clone()).await?;
        let mut status = message.status.clone().unwrap_or_default();
        let text = status
            .turn
            .map_or_else(|| "no turn was running".to_owned(), |turn| format!("turn {turn} was stopped"));
        status.state = Some(MessageState::Consumed);
        status.at = Some(Time(Timestamp::now()));
        delivered(&mut status, Status::True, Reason::HandedToAgent, &text);
        self.write(&message, status).await?;
        self.pending.retain(|m| m.uid() != message.uid());
        Ok(())
    }

    async fn hand_over(&mut self, message: &Message) -> Result<(), Error> {
        let id = id(message);
        let author = message.spec.author.as_ref().map_or_else(|| "unknown".to_owned(), |a| a.name.clone());
        let content = message.spec.content.clone().unwrap_or_default();
        let prompt = Prompt { message_id: id.clone(), content, author, attachments: Vec::new() };
        let mut status = message.status.clone().unwrap_or_default();
        match self.world.prompt(&prompt).await {
            Ok(accepted) => {
                self.outstanding.insert(id.clone());
                status.turn = Some(accepted.turn);
                status.at = Some(Time(Timestamp::now()));
                handed(&mut status);
            }
            // It will be refused each time; the conversation goes on without it.
            Err(PodError::Refused { status: code @ (400 | 413 | 422), text }) => {
                status.state = Some(MessageState::Dropped);
                delivered(
                    &mut status,
                    Status::False,
                    Reason::Dropped,
                    &format!("the runner refused it ({code}): {text}"),
                );
            }
            Err(error) => return Err(error.into()),
        }
        self.write(message, status.clone()).await?;
        if status.state == Some(MessageState::Dropped) {
            self.pending.retain(|m| m.uid() != message.uid());
        } else if let Some(slot) = self.pending.iter_mut().find(|m| m.uid() == message.uid()) {
            slot.status = Some(status);
        }
        Ok(())
    }
}

fn id(message: &Message) -> String {
    message.uid().unwrap_or_default()
}

fn seq(message: &Message) -> Option<i64> {
    message.status.as_ref().and_then(|s| s.seq)
}

fn settled(message: &Message) -> bool {
    let state = message.status.as_ref().and_then(|s| s.state);
    matches!(state, Some(MessageState::Consumed | MessageState::Dropped))
}

fn handed(status: &mut MessageStatus) {
    if status.state != Some(MessageState::Consumed) {
        status.state = Some(MessageState::Delivered);
    }
    delivered(status, Status::True, Reason::HandedToAgent, "");
}

fn delivered(status: &mut MessageStatus, value: Status, reason: Reason, text: &str) {
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
