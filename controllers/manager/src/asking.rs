//! Questions to deskd and runner. A pod that answers is asked in the pass that wants to know. One that does not is asked in the
//! background, less and less often, and its Workspace gets a pass when it does: no pass ever waits for an address where nobody is.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use a8s_crds::Workspace;
use a8s_wire::{DeskState, RunnerState};
use futures::{Stream, channel::mpsc};
use kube::runtime::reflector::ObjectRef;
use tokio::sync::Notify;

use crate::pods::{PodAddress, PodClient};

/// A pod answers at once or is not there yet.
const ANSWER: Duration = Duration::from_millis(1500);
/// First pause, and the one that lasts as long as a start does.
const SOON: Duration = Duration::from_millis(25);
const STARTING: Duration = Duration::from_millis(150);
/// So many questions are asked as during a start, counted from the last thing that was seen to happen to the pod: some three seconds.
const PATIENCE: u32 = 24;
const LONGEST: Duration = Duration::from_secs(30);

/// Whether a pod answers.
#[derive(Clone, Debug)]
enum Known {
    Answers(PodAddress),
    /// With the stage of its start that was seen last, and the way to say that there is another.
    Silent(PodAddress, u64, Arc<Notify>),
}

/// What is known of all pods, by UID of the Workspace.
pub struct Asking {
    pods: PodClient,
    known: Mutex<HashMap<String, Known>>,
    passes: mpsc::UnboundedSender<ObjectRef<Workspace>>,
    asked: Mutex<Option<mpsc::UnboundedReceiver<ObjectRef<Workspace>>>>,
}

impl Asking {
    /// Nothing is known yet.
    pub fn new(pods: PodClient) -> Arc<Self> {
        let (passes, asked) = mpsc::unbounded();
        Arc::new(Self { pods, known: Mutex::default(), passes, asked: Mutex::new(Some(asked)) })
    }

    /// Workspaces whose pod answers now; taken once, by the Workspaces' controller.
    pub fn passes(&self) -> impl Stream<Item = ObjectRef<Workspace>> + Send + use<> {
        let taken = self.asked.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.unwrap_or_else(|| mpsc::unbounded().1)
    }

    /// Asks both. Nothing at once if nobody answers there. `stage` is any number that changes when something happens to the pod: one that is
    /// silent is then asked often again.
    pub async fn ask(
        self: &Arc<Self>,
        workspace: ObjectRef<Workspace>,
        at: PodAddress,
        stage: u64,
    ) -> (Option<DeskState>, Option<RunnerState>) {
        let known = self.known().get(&at.uid).cloned();
        match known {
            Some(Known::Silent(address, before, news)) if address == at => {
                if before != stage {
                    self.known().insert(at.uid.clone(), Known::Silent(at, stage, news.clone()));
                    news.notify_one();
                }
                return (None, None);
            }
            Some(Known::Answers(address)) if address == at => {
                let answers = self.both(&at).await;
                if answers.0.is_some() || answers.1.is_some() {
                    return answers;
                }
            }
            _ => {}
        }
        let news = Arc::new(Notify::new());
        self.known().insert(at.uid.clone(), Known::Silent(at.clone(), stage, news.clone()));
        tokio::spawn(self.clone().keep_asking(workspace, at, news));
        (None, None)
    }

    /// The pod is gone, or going.
    pub fn forget(&self, uid: &str) {
        if let Some(Known::Silent(_, _, news)) = self.known().remove(uid) {
            // Whoever asks looks up and sees that nobody wants to know.
            news.notify_one();
        }
    }

    async fn keep_asking(
        self: Arc<Self>,
        workspace: ObjectRef<Workspace>,
        at: PodAddress,
        news: Arc<Notify>,
    ) {
        let (mut pause, mut attempt) = (SOON, 0_u32);
        loop {
            let (desk, runner) = self.both(&at).await;
            let mine =
                |known: &Known| matches!(known, Known::Silent(_, _, other) if Arc::ptr_eq(other, &news));
            if !self.known().get(&at.uid).is_some_and(mine) {
                return;
            }
            if desk.is_some() || runner.is_some() {
                self.known().insert(at.uid.clone(), Known::Answers(at));
                // The receiver is gone only when the process ends.
                drop(self.passes.unbounded_send(workspace));
                return;
            }
            if tokio::time::timeout(pause, news.notified()).await.is_ok() {
                (pause, attempt) = (SOON, 0);
                continue;
            }
            attempt += 1;
            let longest = if attempt < PATIENCE { STARTING } else { LONGEST };
            pause = (pause * 2).min(longest);
        }
    }

    async fn both(&self, at: &PodAddress) -> (Option<DeskState>, Option<RunnerState>) {
        let (desk, runner) = tokio::join!(
            tokio::time::timeout(ANSWER, self.pods.desk_state(at)),
            tokio::time::timeout(ANSWER, self.pods.runner_state(at)),
        );
        if let Ok(Err(error)) = &desk {
            tracing::trace!(workspace = at.uid, %error, "deskd does not answer");
        }
        if let Ok(Err(error)) = &runner {
            tracing::trace!(workspace = at.uid, %error, "the runner does not answer");
        }
        (desk.ok().and_then(Result::ok), runner.ok().and_then(Result::ok))
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
