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
use tokio::sync::{Notify, watch};

use crate::pods::{PodAddress, PodClient};

/// A pod answers at once or is not there yet.
pub(crate) const ANSWER: Duration = Duration::from_millis(1500);
/// First pause, and the one that lasts as long as a start does.
const SOON: Duration = Duration::from_millis(25);
const STARTING: Duration = Duration::from_millis(150);
/// So many questions are asked as during a start, counted from the last thing that was seen to happen to the pod: some three seconds.
const PATIENCE: u32 = 24;
/// So many are enough for a pod whose containers are ready to the kubelet: it is not starting any more.
const DOUBT: u32 = 3;
const LONGEST: Duration = Duration::from_secs(30);

/// Whether a pod answers.
#[derive(Clone, Debug)]
enum Known {
    Answers(PodAddress),
    /// Somebody asks it.
    Silent(Silent),
}

/// A pod that does not answer.
#[derive(Clone, Debug)]
struct Silent {
    at: PodAddress,
    /// How far its start was seen to be.
    stage: Stage,
    /// Says that it is at another stage.
    news: Arc<Notify>,
    /// Becomes true when it answers.
    heard: watch::Sender<bool>,
}

/// How far the start of a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Another number whenever something happens to one of its containers.
    pub number: u64,
    /// The kubelet calls all of them ready.
    pub ready: bool,
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

    /// Asks both. Nothing at once if nobody answers there. A silent one is asked often again when its stage is another.
    pub async fn ask(
        self: &Arc<Self>,
        workspace: ObjectRef<Workspace>,
        at: PodAddress,
        stage: Stage,
    ) -> (Option<DeskState>, Option<RunnerState>) {
        let known = self.known().get(&at.uid).cloned();
        match known {
            Some(Known::Silent(silent)) if silent.at == at => {
                if silent.stage != stage {
                    let news = silent.news.clone();
                    self.known().insert(at.uid.clone(), Known::Silent(Silent { stage, ..silent }));
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
        let silent = Silent { at: at.clone(), stage, news: news.clone(), heard: watch::Sender::new(false) };
        self.known().insert(at.uid.clone(), Known::Silent(silent));
        tokio::spawn(self.clone().keep_asking(workspace, at, news));
        (None, None)
    }

    /// What the runner of a pod that answers says.
    pub async fn runner(&self, at: &PodAddress) -> Option<RunnerState> {
        if !matches!(self.known().get(&at.uid), Some(Known::Answers(known)) if known == at) {
            return None;
        }
        tokio::time::timeout(ANSWER, self.pods.runner_state(at)).await.ok()?.ok()
    }

    /// The pod is gone, or going.
    pub fn forget(&self, uid: &str) {
        if let Some(Known::Silent(silent)) = self.known().remove(uid) {
            // Whoever asks looks up and sees that nobody wants to know.
            silent.news.notify_one();
        }
    }

    /// Waits until a pod that is known not to answer does, or nobody wants to know any more; at once for any other.
    pub async fn heard(&self, uid: &str) {
        let heard = match self.known().get(uid) {
            Some(Known::Silent(silent)) => Some(silent.heard.subscribe()),
            _ => None,
        };
        let Some(mut heard) = heard else { return };
        // The sender goes with the wish to know.
        drop(heard.wait_for(|heard| *heard).await);
    }

    async fn keep_asking(
        self: Arc<Self>,
        workspace: ObjectRef<Workspace>,
        at: PodAddress,
        news: Arc<Notify>,
    ) {
        let (mut pause, mut attempt) = (SOON, 0_u32);
        loop {
            // Boxed: what a question takes is free again while nobody asks, and that is nearly always.
            let (desk, runner) = Box::pin(self.both_if_any(&at)).await;
            let Some(silent) = self.silent(&at.uid, &news) else { return };
            if desk.is_some() || runner.is_some() {
                self.known().insert(at.uid.clone(), Known::Answers(at));
                silent.heard.send_replace(true);
                // The receiver is gone only when the process ends.
                drop(self.passes.unbounded_send(workspace));
                return;
            }
            if tokio::time::timeout(pause, news.notified()).await.is_ok() {
                (pause, attempt) = (SOON, 0);
                continue;
            }
            attempt += 1;
            let patience = if silent.stage.ready { DOUBT } else { PATIENCE };
            let longest = if attempt < patience { STARTING } else { LONGEST };
            pause = (pause * 2).min(longest);
        }
    }

    /// What is known of the pod, if nobody else was told to ask it meanwhile and somebody still wants to know.
    fn silent(&self, uid: &str, news: &Arc<Notify>) -> Option<Silent> {
        match self.known().get(uid) {
            Some(Known::Silent(silent)) if Arc::ptr_eq(&silent.news, news) => Some(silent.clone()),
            _ => None,
        }
    }

    async fn both_if_any(&self, at: &PodAddress) -> (Option<DeskState>, Option<RunnerState>) {
        match tokio::time::timeout(ANSWER, self.pods.listens(at)).await {
            Ok(true) => self.both(at).await,
            _ => (None, None),
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

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;

    #[tokio::test]
    async fn a_pod_that_does_not_answer_costs_little_between_two_questions() {
        drop(rustls::crypto::ring::default_provider().install_default());
        let authority = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
        let pods = PodClient::new(&authority.cert.pem(), SigningKey::from_bytes(&[1; 32])).unwrap();
        let at = PodAddress { uid: "u".into(), host: "127.0.0.1".into() };
        let asking = Asking::new(pods).keep_asking(ObjectRef::new("w"), at, Arc::default());
        assert!(size_of_val(&asking) < 2048, "{} bytes", size_of_val(&asking));
    }
}
