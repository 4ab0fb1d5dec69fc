//! What people say is given to the runner, one Message at a time, and what became of it is written down.

use a8s_crds::{
    Delivery, Message, MessageState, MessageStatus,
    conditions::{self, ConditionType, Reason, Status},
};
use a8s_wire::{Event, EventBody, Prompt};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::{super::world::World, Conversation, record::delivered};
use crate::errors::Error;

const WAITS: &str = "waits for its turn";
/// So many seconds a Message may wait for what is attached to it.
const PATIENCE: i64 = 60;

impl<W: World> Conversation<'_, W> {
    /// Hands over what can be handed over now, and writes down what became of what was.
    pub async fn deliver(&mut self) -> Result<(), Error> {
        if !self.caught_up() {
            return Ok(());
        }
        if self.drain {
            // What the agent answered is recorded next, and its place is after that of the question.
            self.sort_in().await?;
            self.pending =
                std::mem::take(&mut self.pending).into_iter().filter(|m| self.runner_has(&id(m))).collect();
            return self.settle().await;
        }
        let ready = self.set_up().await?;
        self.sort_in().await?;
        self.forget_lost().await?;
        let goal = self.subject.goal_id();
        // Nothing is begun in another way than it is asked for; what runs can be stopped.
        if ready {
            if self.subject.goal.is_some() && !self.runner_has(&goal) {
                self.begin(&goal).await?;
            } else if self.subject.goal.is_none() && self.mine == 0 && !self.attached {
                self.attach().await?;
                self.attached = true;
            }
        }
        while self.next(ready).await? {}
        // A question that is not recorded has no Request yet, and what has none is refused.
        if self.has_facts() {
            self.attend().await?;
        }
        self.settle().await?;
        self.live.goal_given |= self.subject.goal.is_some() && self.runner_has(&goal);
        self.count_queued();
        Ok(())
    }

    /// How many people's Messages, the goal included, have no turn yet.
    pub(super) fn count_queued(&mut self) {
        let goal = self.subject.goal_id();
        let waiting = self.pending.iter().filter(|m| !self.turns.contains_key(&id(m))).count();
        let goal_waits =
            self.subject.goal.is_some() && !self.turns.contains_key(&goal) && !self.over.contains(&goal);
        self.live.queued = i64::try_from(waiting).unwrap_or(i64::MAX) + i64::from(goal_waits);
    }

    /// Whether a Message could be handed over, or is to be written, now that this turn runs.
    pub(super) fn waits_for(&self, turn: i64) -> bool {
        let other = |m: &Message| m.status.as_ref().and_then(|s| s.turn) != Some(turn);
        self.pending.iter().any(|m| !self.runner_has(&id(m)) || other(m))
    }

    /// How the agent is run is said before it hears anything, and again when it changes. False if the runner does not take it: then people
    /// are told, and it is not said again before it changes, or the connection does.
    async fn set_up(&mut self) -> Result<bool, Error> {
        let wanted = self.world.settings();
        if self.settings.as_ref() == Some(&wanted) {
            self.live.hindrance = None;
            return Ok(true);
        }
        if self.unfit.as_ref() == Some(&wanted) {
            return Ok(false);
        }
        if let Err(error) = self.world.put_settings(&wanted).await {
            let Some(why) = error.refused() else { return Err(error.into()) };
            let text = format!(
                "the runner does not take how the agent is to be run: {why}; look at spec.agent, spec.policy and spec.limits, and at the \
                 harness and the instructions of the Environment"
            );
            self.say(true, Reason::AgentFailed, text.clone()).await;
            self.live.hindrance = Some(text);
            self.unfit = Some(wanted);
            return Ok(false);
        }
        self.live.hindrance = None;
        if self.settings.replace(wanted).is_some() && self.live.limit.is_some() {
            let state = self.world.runner_state().await?;
            self.refresh(state);
        }
        Ok(true)
    }

    pub(super) fn runner_has(&self, id: &str) -> bool {
        self.outstanding.contains(id) || self.turns.contains_key(id) || self.over.contains(id)
    }

    /// Reads people's Messages; new ones get their place, in the order of their creation.
    async fn sort_in(&mut self) -> Result<(), Error> {
        let mut all = self.look().await?;
        if !self.marked {
            self.mark(&mut all).await?;
            self.marked = true;
        }
        all.retain(|m| self.subject.is_addressed(m));
        // What was attached in the talk before the work belongs to what was agreed on in it.
        for attachment in all.iter().filter(|m| m.is_of_the_chat()).flat_map(|m| &m.spec.attachments) {
            if !self.subject.attachments.iter().any(|a| a.name == attachment.name) {
                self.subject.attachments.push(attachment.clone());
            }
        }
        self.unwritten.clear();
        // A status without a place: its Session was missing, or it was dropped and stays so.
        let mut new: Vec<&mut Message> =
            all.iter_mut().filter(|m| seq(m).is_none() && !m.is_settled()).collect();
        new.sort_by_key(|m| (m.metadata.creation_timestamp.clone().map(|t| t.0), m.name_any()));
        if !new.is_empty() {
            self.keep_places();
        }
        for message in new {
            let mut status = self.next_place(message);
            status.state = Some(MessageState::Queued);
            delivered(&mut status, Status::False, Reason::Queued, WAITS);
            message.status = Some(status);
            self.unwritten.insert(id(message));
        }
        all.retain(|m| seq(m).is_some() && !m.is_settled());
        all.sort_by_key(seq);
        self.pending = all;
        Ok(())
    }

    /// Writes what became of a person's Message. The first time it is made the Session's, so that it goes with it, and its place is written.
    /// False if it is gone, or another bridge has given it a place: that it was changed wakes this bridge again.
    async fn put(&mut self, message: &mut Message, status: MessageStatus) -> Result<bool, Error> {
        let id = id(message);
        let kept = if self.unwritten.contains(&id) {
            match self.world.adopt(message).await?.filter(|m| seq(m).is_none()) {
                Some(adopted) => self.first(&adopted, status.clone()).await?,
                None => false,
            }
        } else {
            self.write(message, status.clone()).await?;
            true
        };
        self.unwritten.remove(&id);
        message.status = Some(status);
        let slot = self.pending.iter().position(|m| m.uid() == message.uid());
        match slot {
            Some(at) if !kept || message.is_settled() => drop(self.pending.remove(at)),
            Some(at) => self.pending[at] = message.clone(),
            None => {}
        }
        Ok(kept)
    }

    /// The runner keeps what it has accepted; what it does not know went with the desktop that it was given to.
    async fn forget_lost(&mut self) -> Result<(), Error> {
        let lost = |m: &&Message| state(m) == Some(MessageState::Delivered) && !self.runner_has(&id(m));
        let lost: Vec<Message> = self.pending.iter().filter(lost).cloned().collect();
        for mut message in lost {
            let mut status = message.status.clone().unwrap_or_default();
            a8s_plan::message::turn_lost(&mut status, Timestamp::now());
            self.put(&mut message, status).await?;
        }
        Ok(())
    }

    /// Writes what became of Messages that the runner has, and what the others wait for.
    async fn settle(&mut self) -> Result<(), Error> {
        let waits = self.live.hindrance.clone().unwrap_or_else(|| WAITS.to_owned());
        for mut message in self.pending.clone() {
            let id = id(&message);
            let mut status = message.status.clone().unwrap_or_default();
            if self.runner_has(&id) {
                status.turn = self.turns.get(&id).copied().or(status.turn);
                handed(&mut status);
            } else if !lacks_something(&status) {
                // Whatever it was told to wait for, such as a suspended Session, is over.
                delivered(&mut status, Status::False, Reason::Queued, &waits);
            }
            // Who sees that a turn is over finds what was said in it.
            if self.over.contains(&id) && !self.behind.iter().any(|event| ends(event, &id)) {
                status.state = Some(MessageState::Consumed);
            }
            self.put(&mut message, status).await?;
        }
        Ok(())
    }

    /// The goal, after everything that belongs to it.
    async fn begin(&mut self, goal: &str) -> Result<(), Error> {
        let attachments = self.attach().await?;
        let prompt = Prompt {
            message_id: goal.to_owned(),
            content: self.subject.goal.clone().unwrap_or_default(),
            author: self.subject.created_by.clone(),
            attachments,
        };
        if let Err(error) = self.world.prompt(&prompt).await {
            let Some(why) = error.refused() else { return Err(error.into()) };
            let text =
                format!("the runner does not take the goal: {why}; write what is to be done in a Message");
            self.say(true, Reason::AgentFailed, text).await;
            // The conversation goes on without it.
            (self.subject.goal, self.attached) = (None, true);
            return Ok(());
        }
        self.outstanding.insert(goal.to_owned());
        Ok(())
    }

    /// Puts what belongs to the Session among the attachments; the names of those that are among them, or need not be.
    async fn attach(&self) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        for attachment in &self.subject.attachments {
            let body = match self.world.attachment(attachment).await {
                // An agent had it once, so that its source may go; a later desktop does without.
                Err(Error::Other(text)) if self.subject.goal_epoch.is_some() => {
                    self.say(true, a8s_plan::session::missing(attachment).0, text).await;
                    names.push(attachment.name.clone());
                    continue;
                }
                other => other?,
            };
            if let Some(body) = body
                && let Err(error) = self.world.put_attachment(&attachment.name, body).await
            {
                let Some(why) = error.refused() else { return Err(error.into()) };
                let text = format!("the attachment {} is left out: {why}", attachment.name);
                self.say(true, Reason::AgentFailed, text).await;
                continue;
            }
            names.push(attachment.name.clone());
        }
        Ok(names)
    }

    /// Hands over one Message, or stops a turn; false if there is nothing to do now.
    async fn next(&mut self, ready: bool) -> Result<bool, Error> {
        let waits = |m: &&Message| !self.runner_has(&id(m));
        let stop = self.pending.iter().filter(waits).find(|m| m.spec.content.is_none());
        if let Some(message) = stop.cloned() {
            return self.stop(message).await.map(|()| true);
        }
        if !ready {
            return Ok(false);
        }
        let urgent = self.pending.iter().filter(waits).find(|m| m.spec.delivery != Delivery::Queue);
        if let Some(message) = urgent.cloned() {
            // One that is on its way to the agent must have begun before it can be interrupted.
            if self.outstanding.len() > 1 || (self.outstanding.len() == 1 && self.running.is_none()) {
                return Ok(false);
            }
            return match self.interrupt(message).await? {
                Some(message) => self.hand_over(message).await,
                None => Ok(true),
            };
        }
        let Some(message) = self.pending.iter().find(waits).cloned() else { return Ok(false) };
        if self.running.is_some() || !self.outstanding.is_empty() {
            return Ok(false);
        }
        self.hand_over(message).await
    }

    /// Stops the turn that the Message means. The turn is written down first: after a crash the same one is meant, and no later one. Nothing
    /// if the Message is not this bridge's to take.
    async fn interrupt(&mut self, mut message: Message) -> Result<Option<Message>, Error> {
        let mut status = message.status.clone().unwrap_or_default();
        let meant = message.spec.turn.filter(|_| message.spec.delivery == Delivery::Interrupt);
        let Some(turn) = meant.or(status.turn).or(self.running) else { return Ok(Some(message)) };
        status.turn = Some(turn);
        if !self.put(&mut message, status).await? {
            return Ok(None);
        }
        if self.running == Some(turn)
            && let Err(error) = self.world.interrupt(turn).await
        {
            let Some(why) = error.refused() else { return Err(error.into()) };
            self.say(true, Reason::AgentFailed, format!("turn {turn} cannot be stopped: {why}")).await;
        }
        Ok(Some(message))
    }

    async fn stop(&mut self, message: Message) -> Result<(), Error> {
        let Some(mut message) = self.interrupt(message).await? else { return Ok(()) };
        let mut status = message.status.clone().unwrap_or_default();
        let text = status
            .turn
            .map_or_else(|| "no turn was running".to_owned(), |turn| format!("turn {turn} was stopped"));
        status.state = Some(MessageState::Consumed);
        status.at = Some(Time(Timestamp::now()));
        delivered(&mut status, Status::True, Reason::HandedToAgent, &text);
        self.put(&mut message, status).await.map(drop)
    }

    /// False if it has to wait for something.
    async fn hand_over(&mut self, mut message: Message) -> Result<bool, Error> {
        let id = id(&message);
        let attachments = match self.enclose(&message).await? {
            Ok(names) => names,
            Err((reason, text)) => return self.incomplete(message, reason, &text).await,
        };
        let author = message.spec.author.as_ref().map_or_else(|| "unknown".to_owned(), |a| a.name.clone());
        let content = message.spec.content.clone().unwrap_or_default();
        let prompt = Prompt { message_id: id.clone(), content, author, attachments };
        let mut status = message.status.clone().unwrap_or_default();
        match self.world.prompt(&prompt).await {
            Ok(accepted) => {
                self.outstanding.insert(id.clone());
                status.turn = Some(accepted.turn);
                status.at = Some(Time(Timestamp::now()));
                handed(&mut status);
            }
            // It will be refused each time; the conversation goes on without it.
            Err(error) => {
                let Some(why) = error.refused() else { return Err(error.into()) };
                status.state = Some(MessageState::Dropped);
                let text = format!("the runner refused it: {why}");
                delivered(&mut status, Status::False, Reason::Dropped, &text);
            }
        }
        self.put(&mut message, status).await?;
        Ok(true)
    }

    /// Puts what belongs to a Message among the attachments; the names, or what is missing.
    async fn enclose(&self, message: &Message) -> Result<Result<Vec<String>, (Reason, String)>, Error> {
        let mut names = Vec::new();
        for attachment in &message.spec.attachments {
            let body = match self.world.attachment(attachment).await {
                Err(Error::Other(text)) => {
                    return Ok(Err((a8s_plan::session::missing(attachment).0, text)));
                }
                other => other?,
            };
            if let Some(body) = body {
                if let Err(error) = self.world.put_attachment(&attachment.name, body).await {
                    let Some(why) = error.refused() else { return Err(error.into()) };
                    let text = format!("the runner refused the attachment {}: {why}", attachment.name);
                    return Ok(Err((Reason::Dropped, text)));
                }
                names.push(attachment.name.clone());
            }
        }
        Ok(Ok(names))
    }

    /// What is missing may be on its way with the same `kubectl apply`; after a while the conversation goes on without the Message.
    async fn incomplete(&mut self, mut message: Message, reason: Reason, text: &str) -> Result<bool, Error> {
        let made = message.metadata.creation_timestamp.as_ref().map_or(0, |t| t.0.as_second());
        let given_up = reason == Reason::Dropped || Timestamp::now().as_second() - made >= PATIENCE;
        let mut status = message.status.clone().unwrap_or_default();
        if given_up {
            status.state = Some(MessageState::Dropped);
            delivered(&mut status, Status::False, reason, &format!("{text}; then send the Message again"));
        } else {
            delivered(&mut status, Status::False, reason, text);
        }
        self.put(&mut message, status).await?;
        Ok(given_up)
    }
}

fn id(message: &Message) -> String {
    message.uid().unwrap_or_default()
}

/// Whether it was told that something attached to it is missing; that is looked at when it is its turn.
fn lacks_something(status: &MessageStatus) -> bool {
    let missing = [Reason::ConfigMapNotFound, Reason::ArtifactNotFound, Reason::ConnectionNotFound];
    conditions::get(&status.conditions, ConditionType::Delivered)
        .is_some_and(|c| missing.iter().any(|reason| reason.as_str() == c.reason))
}

fn seq(message: &Message) -> Option<i64> {
    message.status.as_ref().and_then(|s| s.seq)
}

fn state(message: &Message) -> Option<MessageState> {
    message.status.as_ref().and_then(|s| s.state)
}

/// Whether it is the end of this Message's turn.
fn ends(event: &Event, id: &str) -> bool {
    matches!(&event.body, EventBody::TurnEnded { message_id, .. } if message_id == id)
}

fn handed(status: &mut MessageStatus) {
    if status.state != Some(MessageState::Consumed) {
        status.state = Some(MessageState::Delivered);
    }
    delivered(status, Status::True, Reason::HandedToAgent, "");
}
