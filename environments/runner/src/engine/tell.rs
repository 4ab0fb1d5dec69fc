//! What the engine tells about itself, and whose conversation it keeps.

use a8s_wire::{RunnerPhase, RunnerState, SessionIdentity};

use super::Engine;
use crate::{
    handle::{BindError, StorageError},
    record::Record,
};

impl Engine {
    /// The Session that this Workspace's conversation was given to.
    fn session(&self) -> Option<&SessionIdentity> {
        let (workspace, session) = self.history.bound.as_ref()?;
        (*workspace == self.workspace).then_some(session)
    }

    /// Gives the conversation to a Session that is named by nothing else yet. To learn the UID of the one that it was given to is no change.
    pub(super) fn bind(&mut self, asked: SessionIdentity) -> Result<SessionIdentity, BindError> {
        let mut bound = asked;
        if let Some(held) = self.session() {
            let other = held.session != bound.session
                || matches!((&held.uid, &bound.uid), (Some(held), Some(asked)) if held != asked);
            if other {
                return Err(BindError::Other(held.session.clone()));
            }
            bound.uid = bound.uid.or_else(|| held.uid.clone());
            if *held == bound {
                return Ok(bound);
            }
        }
        let record = Record::Bound { bound: bound.clone(), workspace: self.workspace.clone() };
        let record = self.redactor.record(record);
        self.log.append_or_refuse(&record).map_err(StorageError)?;
        self.history.apply(record.get());
        Ok(bound)
    }

    pub(super) fn state(&self) -> RunnerState {
        let hindrance = self.hindrance().and_then(|(reason, long)| long.then_some(reason));
        let reason = self.storage_failure.clone().or_else(|| self.failure.clone()).or(hindrance);
        let ready = *self.connected.borrow() && self.hindrance().is_none();
        let state = match (&reason, self.history.running.is_some(), ready) {
            (Some(_), ..) => RunnerPhase::Failed,
            (None, true, _) => RunnerPhase::Running,
            (None, false, true) => RunnerPhase::Idle,
            (None, false, false) => RunnerPhase::Starting,
        };
        RunnerState {
            epoch: self.history.last.epoch,
            seq: self.history.last.seq,
            turn: self.history.current_turn,
            state,
            reason,
            volume_full: false,
            queue: self.history.queue.iter().map(|turn| turn.prompt.message_id.clone()).collect(),
            consumed: self.history.consumed.clone(),
            step: self.history.step.clone(),
            plan: self.history.plan.clone(),
            artifacts: self.history.artifacts.clone(),
            last_activity: self.history.last_activity.clone(),
            session: self.session().cloned(),
            questions: self.history.questions.clone(),
            usage: self.meter.usage(),
            limit: self.limit().map(str::to_owned),
            settings: self.told_settings().cloned(),
            restored: self.restored.clone(),
        }
    }
}
