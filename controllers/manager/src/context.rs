//! What every pass has at hand.

use std::sync::Arc;

use jiff::Timestamp;
use object_store::ObjectStore;

use crate::{bridge::live::LiveSessions, pods::PodClient};

/// Settings from the command line.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Namespace of the control plane.
    pub system_namespace: String,
    /// Image of the runner container.
    pub runner_image: String,
    /// Addresses of the cluster itself.
    pub protected: Vec<ipnet::IpNet>,
}

/// Shared by all kinds.
pub struct Context {
    /// API server.
    pub client: kube::Client,
    /// Settings.
    pub settings: Settings,
    /// deskd and runner of the workspace pods.
    pub pods: PodClient,
    /// Artifact store.
    pub store: Arc<dyn ObjectStore>,
    /// Name of this process in Events: its pod.
    pub instance: String,
    /// What the bridge knows of running conversations.
    pub live: LiveSessions,
    /// What models say in talks before the work.
    pub thoughts: crate::chat::Thoughts<a8s_plan::chat::Thought>,
    /// What models say about Environments that no rule speaks for.
    pub advice: crate::chat::Thoughts<Result<a8s_plan::overseer::Proposed, String>>,
    /// Certificate authority of the install.
    pub authority: crate::install::Authority,
    /// Questions to deskd and runner.
    pub asking: Arc<crate::asking::Asking>,
    /// What the cluster warns of.
    pub warnings: crate::warnings::Warnings,
    /// Secrets that were seen.
    pub secrets: crate::reading::SeenSecrets,
    /// What was looked for and is not there.
    pub absent: crate::reading::Absent,
    /// Caches of what is read often.
    pub stores: crate::stores::Stores,
    /// What was written lately, so that no pass decides on an older view.
    pub written: crate::written::Written,
    /// Sessions that take a desktop over just now.
    pub rush: crate::rush::Rush,
    /// Events on their way.
    pub events: Arc<crate::events::Events>,
    /// What is counted.
    pub metrics: crate::metrics::Metrics,
    /// Whether this process leads.
    pub tenure: crate::lease::Tenure,
}

impl Context {
    /// Puts together what is given.
    pub fn new(
        client: kube::Client,
        settings: Settings,
        pods: PodClient,
        store: Arc<dyn ObjectStore>,
        authority: crate::install::Authority,
        stores: crate::stores::Stores,
    ) -> Self {
        let instance = std::env::var("POD_NAME").unwrap_or_else(|_| "a8s-controller".into());
        let asking = crate::asking::Asking::new(pods.clone());
        let (live, written) = (LiveSessions::default(), crate::written::Written::default());
        let secrets = crate::reading::SeenSecrets::default();
        Self {
            client,
            settings,
            pods,
            store,
            instance,
            live,
            thoughts: crate::chat::Thoughts::default(),
            advice: crate::chat::Thoughts::default(),
            authority,
            asking,
            warnings: crate::warnings::Warnings::default(),
            secrets,
            absent: crate::reading::Absent::default(),
            stores,
            written,
            rush: crate::rush::Rush::default(),
            events: Arc::default(),
            metrics: crate::metrics::Metrics::default(),
            tenure: crate::lease::Tenure::default(),
        }
    }

    /// The same, with counters that somebody shows.
    #[must_use]
    pub fn counting(self, metrics: crate::metrics::Metrics) -> Self {
        Self { metrics, ..self }
    }

    /// The same, for who leads. Without it nobody is taken for the only one at work.
    #[must_use]
    pub fn leading(self, tenure: crate::lease::Tenure) -> Self {
        Self { tenure, ..self }
    }

    /// The same, with Events that somebody else sends when the process ends.
    #[must_use]
    pub fn telling(self, events: Arc<crate::events::Events>) -> Self {
        Self { events, ..self }
    }

    /// The inputs that all decisions of this pass share.
    pub fn env(&self) -> a8s_plan::Env {
        a8s_plan::Env {
            now: Timestamp::now(),
            runner_image: self.settings.runner_image.clone(),
            system_namespace: self.settings.system_namespace.clone(),
        }
    }
}
