//! What can go wrong while a plan is gathered for or carried out, and when it is tried again.

use std::time::Duration;

use kube::runtime::reflector::ObjectRef;

use crate::{metrics::Metrics, pods::PodError, queue::Action};

/// One variant for each world that the controller talks to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server.
    #[error("API server: {0}")]
    Kube(#[from] kube::Error),
    /// A process in a workspace pod.
    #[error(transparent)]
    Pod(#[from] PodError),
    /// The artifact store.
    #[error("artifact store: {0}")]
    Store(#[from] object_store::Error),
    /// An object could not be written as JSON; a defect.
    #[error("serialisation: {0}")]
    Json(#[from] serde_json::Error),
    /// Keys or certificates could not be made or read.
    #[error("certificates: {0}")]
    Certificate(String),
    /// A plan broke one of the invariants and was not carried out; a defect.
    #[error("the plan was refused: {0}")]
    Plan(String),
    /// Something in the way of this object only.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// Label for metrics.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Kube(_) => "kube",
            Self::Pod(_) => "pod",
            Self::Store(_) => "store",
            Self::Json(_) => "json",
            Self::Certificate(_) => "certificate",
            Self::Plan(_) => "plan",
            Self::Other(_) => "other",
        }
    }

    /// The API server's answer, if that is what this is.
    pub fn status(&self) -> Option<&kube::core::Status> {
        match self {
            Self::Kube(kube::Error::Api(status)) => Some(status),
            _ => None,
        }
    }
}

/// Conflicts are normal and tried again at once; everything else after a pause, so that a failing object costs little.
pub fn policy<K: kube::Resource<DynamicType = ()>>(
    object: &ObjectRef<K>,
    error: &Error,
    metrics: &Metrics,
) -> Action {
    metrics.pass(&K::kind(&()), error.category());
    let conflict = matches!(error, Error::Kube(kube::Error::Api(s)) if s.code == 409);
    if conflict {
        return Action::requeue(Duration::from_millis(100));
    }
    tracing::warn!(%object, category = error.category(), %error, "pass failed");
    Action::requeue(Duration::from_secs(2))
}
