//! Which bridges run, and what they know. The Session's controller is the only one that writes `Session.status`; a bridge puts its facts
//! here and asks for a pass. Nothing in here outlives the process: all of it can be read again from the runner's transcript.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use a8s_crds::Session;
use a8s_plan::session::Live;
use a8s_wire::Settings;
use futures::{Stream, channel::mpsc};
use kube::runtime::reflector::ObjectRef;
use tokio::{sync::Notify, task::AbortHandle};

use crate::pods::PodAddress;

/// What tells one volume of a Workspace from the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Conversation epoch.
    pub epoch: Option<i64>,
    /// What it was made from.
    pub restored_from: Option<String>,
}

/// What a bridge is told besides: a change of it is a reason to look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// How the agent is to be run.
    pub settings: Settings,
    /// The person who has mouse and keyboard.
    pub control: Option<String>,
}

/// A running bridge.
#[derive(Debug)]
pub struct Bridge {
    pub(super) session: ObjectRef<Session>,
    pub(super) at: PodAddress,
    pub(super) drain: bool,
    /// Epoch and origin of the volume: with another volume it is another conversation, even at the same address.
    pub(super) volume: Volume,
    pub(super) terms: Terms,
    pub(super) facts: Option<Live>,
    pub(super) wake: Arc<Notify>,
    pub(super) task: AbortHandle,
}

/// All running bridges, by the Session's UID.
#[derive(Clone, Debug)]
pub struct LiveSessions {
    bridges: Arc<Mutex<HashMap<String, Bridge>>>,
    passes: mpsc::UnboundedSender<ObjectRef<Session>>,
    asked: Arc<Mutex<Option<mpsc::UnboundedReceiver<ObjectRef<Session>>>>>,
}

impl Default for LiveSessions {
    fn default() -> Self {
        let (passes, asked) = mpsc::unbounded();
        Self { bridges: Arc::default(), passes, asked: Arc::new(Mutex::new(Some(asked))) }
    }
}

impl LiveSessions {
    /// What the bridge of a Session knows; `None` while it has not caught up.
    pub fn facts(&self, uid: &str) -> Option<Live> {
        self.bridges().get(uid).and_then(|bridge| bridge.facts.clone())
    }

    /// Something about the Messages of a Session changed. Without a bridge its controller looks: a Message may ask for a new desktop.
    pub fn wake(&self, namespace: &str, session: &str) {
        let session = ObjectRef::new(session).within(namespace);
        let bridges = self.bridges();
        let mut theirs = bridges.values().filter(|bridge| bridge.session == session).peekable();
        if theirs.peek().is_none() {
            // The receiver is gone only when the process ends.
            drop(self.passes.unbounded_send(session.clone()));
        }
        theirs.for_each(|bridge| bridge.wake.notify_one());
    }

    /// Sessions whose facts changed; taken once, by the Session's controller.
    pub fn passes(&self) -> impl Stream<Item = ObjectRef<Session>> + Send + use<> {
        let taken = self.asked.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.unwrap_or_else(|| mpsc::unbounded().1)
    }

    /// Ends the bridge of a Session.
    pub fn stop(&self, uid: &str) {
        if let Some(bridge) = self.bridges().remove(uid) {
            bridge.task.abort();
        }
    }

    /// New facts; `None` when the connection is lost.
    pub(super) fn publish(&self, uid: &str, facts: Option<Live>) {
        let mut bridges = self.bridges();
        let Some(bridge) = bridges.get_mut(uid) else { return };
        if bridge.facts != facts {
            bridge.facts = facts;
            // The receiver is gone only when the process ends.
            drop(self.passes.unbounded_send(bridge.session.clone()));
        }
    }

    /// The bridge ended by itself.
    pub(super) fn forget(&self, uid: &str) {
        self.bridges().remove(uid);
    }

    pub(super) fn bridges(&self) -> MutexGuard<'_, HashMap<String, Bridge>> {
        self.bridges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    #[tokio::test]
    async fn a_message_wakes_its_bridge_or_without_one_asks_the_sessions_controller_to_look() {
        let live = LiveSessions::default();
        let mut passes = Box::pin(live.passes());
        let session = |name: &str| ObjectRef::<Session>::new(name).within("team");
        let wake = Arc::new(Notify::new());
        let bridge = Bridge {
            session: session("rain"),
            at: PodAddress { uid: "uid-w".into(), host: "10.0.0.1".into() },
            drain: false,
            volume: Volume::default(),
            terms: Terms::default(),
            facts: None,
            wake: wake.clone(),
            task: tokio::spawn(std::future::pending::<()>()).abort_handle(),
        };
        live.bridges().insert("uid-s".into(), bridge);
        live.wake("team", "rain");
        wake.notified().await;
        live.wake("team", "sun");
        assert_eq!(passes.next().await, Some(session("sun")), "and nothing before that");
    }
}
