//! What a restore left behind. After one the transcript is that of the Snapshot, and whatever was said later is known to nobody any more but
//! the objects. They are marked and never deleted; a restore of what was there before takes the mark off again.

use a8s_crds::{
    Message, MessageState,
    conditions::{self, ConditionType, Reason, Status},
    labels, names,
};
use jiff::Timestamp;
use kube::ResourceExt;

use super::{super::world::World, Conversation, record::delivered};
use crate::errors::Error;

impl<W: World> Conversation<'_, W> {
    /// Compares all Messages of this Session with the transcript. The whole of it was read.
    pub(super) async fn mark(&mut self, all: &mut [Message]) -> Result<(), Error> {
        all.sort_by_key(|m| m.status.as_ref().and_then(|s| s.seq));
        let (mut before, mut marked) = (false, 0);
        for message in all.iter_mut() {
            if !self.subject.wrote(message) && !self.subject.is_addressed(message) {
                continue;
            }
            let abandoned = self.abandoned(message).unwrap_or(before);
            before = abandoned;
            if abandoned == message.labels().contains_key(labels::ABANDONED) {
                continue;
            }
            // The status first: a mark that is there says that both are.
            let mut status = message.status.clone().unwrap_or_default();
            if abandoned {
                self.leave(&mut status);
                marked += 1;
            } else if self.subject.wrote(message) {
                delivered(&mut status, Status::True, Reason::Ready, "said by the agent");
            } else if status.state != Some(MessageState::Dropped) {
                delivered(&mut status, Status::True, Reason::HandedToAgent, "");
            }
            self.write(message, status.clone()).await?;
            self.world.set_abandoned(message, abandoned).await?;
            message.status = Some(status);
        }
        if marked > 0 {
            let from = self.subject.restored_from.clone().unwrap_or_default();
            let text = format!(
                "the conversation goes on after turn {}, as Snapshot {from} has it; {marked} later Messages stay as a record, marked {}",
                self.turn_heard(),
                labels::ABANDONED
            );
            self.say(false, Reason::Restored, text).await;
        }
        Ok(())
    }

    /// Whether the transcript does not know the Message any more; nothing if it never knew of it.
    fn abandoned(&self, message: &Message) -> Option<bool> {
        if message.is_of_the_chat() {
            return None;
        }
        if self.subject.wrote(message) {
            let name = message.name_any();
            let known = |id: &a8s_wire::EventId| {
                let plain = names::message(&self.subject.name, id.epoch, id.seq);
                name == plain || name == format!("{plain}-{}", names::short_hash(&self.subject.uid))
            };
            return Some(!self.said.iter().any(known));
        }
        let had = message.status.as_ref().and_then(|s| s.state);
        let state = matches!(had, Some(MessageState::Delivered | MessageState::Consumed));
        let was = message.labels().contains_key(labels::ABANDONED);
        match (&message.spec.content, message.uid()) {
            (Some(_), Some(id)) if state || was => Some(!self.runner_has(&id)),
            // It waits still, and is handed over in the conversation as it is now.
            (Some(_), _) => Some(false),
            (None, _) => None,
        }
    }

    fn leave(&self, status: &mut a8s_crds::MessageStatus) {
        let from = self.subject.restored_from.as_deref().unwrap_or_default();
        let text = format!(
            "The desktop was put back to Snapshot {from}, which is older than this; the agent does not know it any more."
        );
        let over = status.state != Some(MessageState::Delivered);
        if !over {
            status.state = Some(MessageState::Dropped);
        }
        let generation = status.observed_generation;
        let (all, now) = (&mut status.conditions, Timestamp::now());
        conditions::set(
            all,
            ConditionType::Ready,
            Status::from(over),
            Reason::Abandoned,
            text,
            generation,
            now,
        );
    }
}
