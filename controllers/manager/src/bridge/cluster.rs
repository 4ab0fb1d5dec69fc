//! The real worlds: the API server and the runner of one Workspace's pod.

use std::sync::Arc;

use a8s_crds::{Artifact, Attachment, Message, MessageStatus, Session, Workspace, labels};
use a8s_plan::Notice;
use a8s_wire::{Event, EventId, Prompt, PromptAccepted, RunnerState, SessionIdentity};
use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use object_store::ObjectStoreExt;
use serde_json::json;

use super::{
    objects::Subject,
    world::{Made, World},
};
use crate::{
    context::Context,
    errors::Error,
    execute,
    pods::{PodAddress, PodError},
};

/// One Session's view of the outside.
pub struct Cluster {
    pub(super) ctx: Arc<Context>,
    pub(super) session: Session,
    pub(super) subject: Subject,
    pub(super) at: PodAddress,
}

impl Cluster {
    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        Api::namespaced(self.ctx.client.clone(), &self.subject.namespace)
    }

    /// Whether the Workspace is there still.
    pub(super) async fn is_over(&self) -> bool {
        match self.api::<Workspace>().get_opt(&self.subject.workspace.name).await {
            Ok(found) => found.and_then(|w| w.uid()).is_none_or(|uid| uid != self.subject.workspace.uid),
            Err(_) => false,
        }
    }

    async fn create<K>(&self, object: &K) -> Result<Made<K>, Error>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::Serialize
            + serde::de::DeserializeOwned,
    {
        let api: Api<K> = self.api();
        let params = PostParams { field_manager: Some("a8s".into()), ..PostParams::default() };
        match api.create(&params, object).await {
            Ok(made) => Ok(Made::New(made)),
            Err(kube::Error::Api(s)) if s.code == 409 && s.reason == "AlreadyExists" => {
                Ok(Made::Exists(api.get(&object.name_any()).await?))
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl World for Cluster {
    async fn messages(&self) -> Result<Vec<Message>, Error> {
        let params = ListParams::default().fields(&format!("spec.session={}", self.subject.name));
        Ok(self.api::<Message>().list(&params).await?.items)
    }

    async fn create_message(&self, message: &Message) -> Result<Made<Message>, Error> {
        self.create(message).await
    }

    async fn adopt(&self, message: &Message) -> Result<(), Error> {
        let intent = json!({
            "apiVersion": "a8s.dev/v1alpha1", "kind": "Message",
            "metadata": {"name": message.name_any(), "uid": message.uid(), "ownerReferences": [self.subject.owner(false)]},
        });
        let params = PatchParams::apply("a8s/session").force();
        match self.api::<Message>().patch(&message.name_any(), &params, &Patch::Apply(&intent)).await {
            // Deleted meanwhile: there is nothing to adopt.
            Err(kube::Error::Api(s)) if matches!(s.code, 404 | 409) => Ok(()),
            other => other.map(drop).map_err(Error::from),
        }
    }

    async fn set_abandoned(&self, message: &Message, abandoned: bool) -> Result<(), Error> {
        let value = abandoned.then_some("true");
        let labels = json!({"metadata": {"uid": message.uid(), "labels": {(labels::ABANDONED): value}}});
        let params = PatchParams::default();
        match self.api::<Message>().patch(&message.name_any(), &params, &Patch::Merge(&labels)).await {
            // Deleted meanwhile: there is nothing to mark.
            Err(kube::Error::Api(s)) if matches!(s.code, 404 | 409) => Ok(()),
            other => other.map(drop).map_err(Error::from),
        }
    }

    async fn set_status(&self, message: &Message, status: &MessageStatus) -> Result<(), Error> {
        execute::write_status(&self.ctx, message, &serde_json::to_value(status)?).await
    }

    async fn create_artifact(&self, artifact: &Artifact) -> Result<Made<Artifact>, Error> {
        self.create(artifact).await
    }

    async fn attachment(&self, attachment: &Attachment) -> Result<Bytes, Error> {
        let gone = || Error::Other(a8s_plan::session::missing(attachment).1);
        if let Some(text) = &attachment.text {
            return Ok(Bytes::from(text.clone()));
        }
        if let Some(source) = &attachment.config_map {
            let found = self.api::<ConfigMap>().get_opt(&source.name).await?.ok_or_else(gone)?;
            let text = found.data.and_then(|mut data| data.remove(&source.key)).map(Bytes::from);
            let binary =
                found.binary_data.and_then(|mut data| data.remove(&source.key)).map(|b| Bytes::from(b.0));
            return text.or(binary).ok_or_else(gone);
        }
        let name = attachment.artifact.as_ref().ok_or_else(gone)?;
        let found = self.api::<Artifact>().get_opt(&name.name).await?.ok_or_else(gone)?;
        let key = found.status.and_then(|s| s.key).ok_or_else(gone)?;
        Ok(self.ctx.store.get(&object_store::path::Path::from(key)).await?.bytes().await?)
    }

    async fn say(&self, notice: Notice) {
        execute::report(&self.ctx, &self.session, &notice).await;
    }

    async fn runner_state(&self) -> Result<RunnerState, PodError> {
        self.ctx.pods.runner_state(&self.at).await
    }

    async fn bind(&self, session: &SessionIdentity) -> Result<(), PodError> {
        match self.ctx.pods.bind(&self.at, session).await {
            // A pod from before an upgrade has a runner that was made for one Session and does not know the call.
            Err(PodError::Refused { status: 404, .. }) => Ok(()),
            bound => bound,
        }
    }

    async fn prompt(&self, prompt: &Prompt) -> Result<PromptAccepted, PodError> {
        self.ctx.pods.prompt(&self.at, prompt).await
    }

    async fn interrupt(&self, turn: i64) -> Result<(), PodError> {
        self.ctx.pods.interrupt(&self.at, turn).await.map(drop)
    }

    async fn put_attachment(&self, name: &str, body: Bytes) -> Result<(), PodError> {
        self.ctx.pods.put_attachment(&self.at, name, body).await
    }

    async fn events(&self, after: EventId) -> Result<BoxStream<'static, Result<Event, PodError>>, PodError> {
        Ok(self.ctx.pods.events(&self.at, after).await?.boxed())
    }
}
