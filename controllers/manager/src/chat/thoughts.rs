//! Which models are being asked, and what they answered. Nothing in here outlives the process.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use a8s_plan::{
    chat::{Heard, Question, Thought},
    overseer::Proposed,
    session::{Advice, Observed},
};
use kube::ResourceExt;
use tokio::task::AbortHandle;

use super::model;
use crate::context::Context;

/// One question and, once it is there, its answer.
struct Thinking<T> {
    key: String,
    answer: Option<T>,
    task: AbortHandle,
}

/// All questions of one kind, by the Session's UID.
pub struct Thoughts<T>(Mutex<HashMap<String, Thinking<T>>>);

impl<T> Default for Thoughts<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone + Send + 'static> Thoughts<T> {
    /// What was answered last, and to what.
    pub fn get(&self, uid: &str) -> Option<(String, T)> {
        self.all().get(uid).and_then(|t| Some((t.key.clone(), t.answer.clone()?)))
    }

    /// Nobody needs it any more.
    pub fn forget(&self, uid: &str) {
        if let Some(thinking) = self.all().remove(uid) {
            thinking.task.abort();
        }
    }

    fn answered(&self, uid: &str, key: &str, answer: T) {
        if let Some(thinking) = self.all().get_mut(uid).filter(|t| t.key == key) {
            thinking.answer = Some(answer);
        }
    }

    /// Asks, unless the same is asked already; another question of the Session ends.
    fn ask(&self, uid: &str, key: &str, task: impl FnOnce() -> AbortHandle) {
        let mut all = self.all();
        if all.get(uid).is_some_and(|t| t.key == key) {
            return;
        }
        let thinking = Thinking { key: key.to_owned(), answer: None, task: task() };
        if let Some(before) = all.insert(uid.to_owned(), thinking) {
            before.task.abort();
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Thinking<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has the chat agent's model asked, unless it is being asked already. A pass of the Session follows its answer.
pub(super) fn ensure(ctx: &Arc<Context>, seen: &Observed, heard: &Heard, question: &Question) {
    let uid = seen.session.uid().unwrap_or_default();
    ctx.thoughts.ask(&uid, &question.key, || {
        let (ctx, seen, heard, question, uid) =
            (ctx.clone(), seen.clone(), heard.clone(), question.clone(), uid.clone());
        let task = async move {
            let thought = model::think(&ctx, &seen, &heard, &question).await;
            if let Thought::Failed(why) = &thought {
                tracing::info!(session = %seen.session.name_any(), why, "the chat agent's model gave no answer");
            }
            ctx.thoughts.answered(&uid, &question.key, thought);
            ctx.live.wake(&seen.session.namespace().unwrap_or_default(), &seen.session.name_any());
        };
        tokio::spawn(task).abort_handle()
    });
}

/// What the model says about the Environment; it is asked once.
pub fn advice(ctx: &Arc<Context>, seen: &Observed, connection: &str) -> Advice {
    let uid = seen.session.uid().unwrap_or_default();
    match ctx.advice.get(&uid) {
        Some((_, Ok(proposed))) => return Advice::Given(proposed),
        Some((_, Err(why))) => return Advice::Failed(why),
        None => {}
    }
    ctx.advice.ask(&uid, connection, || {
        let (ctx, seen, uid, connection) = (ctx.clone(), seen.clone(), uid.clone(), connection.to_owned());
        let task = async move {
            let answer: Result<Proposed, String> = model::advise(&ctx, &seen, &connection).await;
            ctx.advice.answered(&uid, &connection, answer);
            ctx.live.wake(&seen.session.namespace().unwrap_or_default(), &seen.session.name_any());
        };
        tokio::spawn(task).abort_handle()
    });
    Advice::Awaited
}
