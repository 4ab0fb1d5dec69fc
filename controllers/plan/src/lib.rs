//! Decisions, and nothing else. A plan function looks at what was observed and says what is to be done; it never waits, calls,
//! logs, reads the clock or draws a random number. `a8s-controller` gathers, executes and writes the status; `a8s-sim` does the same
//! in memory. Whatever a plan says leaves no choice to the one who executes it.

pub mod artifact;
pub mod chat;
pub mod connection;
pub mod environment;
pub mod grants;
pub mod message;
pub mod overseer;
pub mod request;
pub mod session;
pub mod settings;
pub mod share;
pub mod snapshot;
pub mod warm_pool;
pub mod workspace;

use jiff::Timestamp;
use serde_json::Value;

/// What is the same for every decision of one pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Env {
    /// The time of the pass.
    pub now: Timestamp,
    /// Image of the runner container.
    pub runner_image: String,
    /// Namespace of the control plane: its pods may reach the desktops.
    pub system_namespace: String,
}

impl Env {
    /// The user that the controller is to the API server.
    pub fn controller_user(&self) -> String {
        format!("system:serviceaccount:{}:a8s-controller", self.system_namespace)
    }
}

/// An object that somebody owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `v1`, `a8s.dev/v1alpha1`, …
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID: nothing else of that name is ever touched.
    pub uid: String,
}

/// One step. Every step may be the last before a crash and may be done twice.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Server-side apply with force, as field manager `a8s/<manager>`.
    Apply {
        /// The whole intent, with apiVersion, kind and metadata.
        object: Value,
        /// Who writes.
        manager: &'static str,
    },
    /// Create; that it exists is success if its controller owner (or, without one, its spec) is the same.
    Create {
        /// The whole object.
        object: Value,
    },
    /// Delete with a UID precondition; that it is gone is success.
    Delete {
        /// What.
        target: Target,
        /// Grace period in seconds, if not the default.
        grace: Option<u32>,
    },
    /// Delete only what nobody has changed since it was seen; that somebody has, or that it is gone, is success and nothing is done.
    DeleteUnchanged {
        /// What.
        target: Target,
        /// Its resource version when it was seen.
        version: String,
    },
    /// Compare and swap: a merge patch of what nobody has changed since it was seen. That somebody has is a failure: the next pass looks
    /// again. What the object said when it was seen, its status included, was true at the moment of the swap.
    Swap {
        /// What.
        target: Target,
        /// Its resource version when it was seen.
        version: String,
        /// What to change.
        patch: Value,
    },
    /// A merge patch of the object with this UID, whatever else was changed: what is not in it stays, what is null in it goes.
    Merge {
        /// What.
        target: Target,
        /// What to change.
        patch: Value,
    },
    /// Add or remove a finalizer.
    Finalizer {
        /// Where.
        target: Target,
        /// Which.
        finalizer: &'static str,
        /// Whether it shall be there.
        present: bool,
    },
    /// Something outside the API server.
    Effect(Effect),
}

/// What is done outside the API server, or needs randomness. All of it is idempotent.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Make the Secret with serving certificate and token key, unless it is there.
    ServingSecret {
        /// The owner: the Workspace.
        owner: Target,
        /// Name of the Secret.
        name: String,
    },
    /// Hand the control lease to deskd.
    SetControl {
        /// The Workspace.
        workspace: Target,
        /// The lease.
        lease: a8s_wire::SetControl,
    },
    /// Store the content of an Artifact from its runner.
    StoreContent {
        /// The Artifact.
        artifact: Target,
        /// The Workspace whose runner has it.
        workspace: Target,
        /// Expected SHA-256 (hex).
        sha256: String,
        /// Key in the store.
        key: String,
    },
    /// Delete stored content; that it is gone is success.
    DeleteContent {
        /// Key in the store.
        key: String,
    },
    /// Ask the runner to flush everything to the volume.
    Quiesce {
        /// The Workspace.
        workspace: Target,
    },
}

/// When to look again if nothing changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wake {
    /// When something changes.
    #[default]
    OnChange,
    /// After so many milliseconds at the latest.
    AfterMillis(u64),
}

/// Longest time that is slept; whoever wakes for nothing sleeps on at no cost.
const LONGEST: i64 = 7 * 86_400_000;

impl Wake {
    /// The same, but at `moment` at the latest.
    pub fn at(self, moment: Timestamp, now: Timestamp) -> Self {
        let millis = (moment.as_millisecond() - now.as_millisecond()).clamp(1, LONGEST);
        // The clock shows milliseconds and `moment` may lie within one.
        let millis = u64::try_from(millis).unwrap_or(1) + 1;
        match self {
            Self::AfterMillis(sooner) if sooner <= millis => self,
            _ => Self::AfterMillis(millis),
        }
    }
}

/// A Kubernetes Event to send; plans give one on a transition only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Normal or Warning.
    pub warning: bool,
    /// PascalCase reason.
    pub reason: a8s_crds::conditions::Reason,
    /// What happened and, if a person must act, what to do.
    pub note: String,
}

/// What is to be done now.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan<S> {
    /// Steps, in order. The first that fails ends the pass.
    pub ops: Vec<Op>,
    /// The status to write, whole; `None` if it is right already.
    pub status: Option<S>,
    /// When to look again.
    pub wake: Wake,
    /// Events to send.
    pub notices: Vec<Notice>,
}

impl<S> Default for Plan<S> {
    fn default() -> Self {
        Self { ops: Vec::new(), status: None, wake: Wake::OnChange, notices: Vec::new() }
    }
}
