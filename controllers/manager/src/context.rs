//! What every pass has at hand.

use std::sync::Arc;

use jiff::Timestamp;
use kube::runtime::events::{Recorder, Reporter};
use object_store::ObjectStore;

use crate::{bridge::live::LiveSessions, pods::PodClient};

/// Settings from the command line.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Namespace of the control plane.
    pub system_namespace: String,
    /// Image of the runner container.
    pub runner_image: String,
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
    /// Sends Events.
    pub recorder: Recorder,
    /// What the bridge knows of running conversations.
    pub live: LiveSessions,
    /// Certificate authority of the install.
    pub authority: crate::install::Authority,
}

impl Context {
    /// Makes the recorder; the rest is given.
    pub fn new(
        client: kube::Client,
        settings: Settings,
        pods: PodClient,
        store: Arc<dyn ObjectStore>,
        authority: crate::install::Authority,
    ) -> Self {
        let reporter =
            Reporter { controller: "a8s-controller".into(), instance: std::env::var("POD_NAME").ok() };
        let recorder = Recorder::new(client.clone(), reporter);
        Self { client, settings, pods, store, recorder, live: LiveSessions::default(), authority }
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
