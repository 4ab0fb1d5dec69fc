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

use crate::pods::{PodAddress, PodClient};

/// A pod answers at once or is not there yet.
const ANSWER: Duration = Duration::from_millis(1500);
/// First pause, and the one that lasts as long as a start does.
const SOON: Duration = Duration::from_millis(25);
const STARTING: Duration = Duration::from_millis(150);
/// So many questions are asked as during a start.
const PATIENCE: u32 = 200;
const LONGEST: Duration = Duration::from_secs(30);

/// Whether a pod answers.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Known {
    Answers(PodAddress),
    Silent(PodAddress),
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

    /// Asks both. Nothing at once if nobody answers there.
    pub async fn ask(
        self: &Arc<Self>,
        workspace: ObjectRef<Workspace>,
        at: PodAddress,
    ) -> (Option<DeskState>, Option<RunnerState>) {
        let known = self.known().get(&at.uid).cloned();
        match known {
            Some(Known::Silent(address)) if address == at => return (None, None),
            Some(Known::Answers(address)) if address == at => {
                let answers = self.both(&at).await;
                if answers.0.is_some() || answers.1.is_some() {
                    return answers;
                }
            }
            _ => {}
        }
        self.known().insert(at.uid.clone(), Known::Silent(at.clone()));
        tokio::spawn(self.clone().keep_asking(workspace, at));
        (None, None)
    }

    /// The pod is gone, or going.
    pub fn forget(&self, uid: &str) {
        self.known().remove(uid);
    }

    async fn keep_asking(self: Arc<Self>, workspace: ObjectRef<Workspace>, at: PodAddress) {
        let mut pause = SOON;
        for attempt in 0_u32.. {
            let (desk, runner) = self.both(&at).await;
            if self.known().get(&at.uid) != Some(&Known::Silent(at.clone())) {
                return;
            }
            if desk.is_some() || runner.is_some() {
                self.known().insert(at.uid.clone(), Known::Answers(at));
                // The receiver is gone only when the process ends.
                drop(self.passes.unbounded_send(workspace));
                return;
            }
            tokio::time::sleep(pause).await;
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
