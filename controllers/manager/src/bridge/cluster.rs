//! The real worlds: the API server and the runner of one Workspace's pod.

use std::sync::Arc;

use a8s_crds::{
    Approval, Artifact, Attachment, ConfigMapKey, Connection, ControlHolder, ControlStatus, Message,
    MessageStatus, Request, RequestStatus, RequestType, Session, Workspace, labels,
};
use a8s_plan::{Notice, overseer};
use a8s_wire::{
    Answer, Answered, Event, EventId, Prompt, PromptAccepted, Question, RunnerState, SessionIdentity,
    Settings,
};
use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams, VersionMatch},
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
    stores::{Cache, Cached, version},
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
        let (namespace, name) = (&self.subject.namespace, &self.subject.workspace.name);
        let cached = self.ctx.stores.workspaces.get(Some(namespace), name);
        if cached.is_some_and(|w| w.metadata.uid.as_ref() == Some(&self.subject.workspace.uid)) {
            return false;
        }
        match self.api::<Workspace>().get_opt(name).await {
            Ok(found) => found.and_then(|w| w.uid()).is_none_or(|uid| uid != self.subject.workspace.uid),
            Err(_) => false,
        }
    }

    fn wrote<K: kube::Resource<DynamicType = ()>>(&self, object: &K) {
        self.ctx.written.wrote(&K::kind(&()), version(object));
    }

    /// The Session's objects of a kind, with everything that the cache has shown of that kind and that this process wrote of it. A list as
    /// of now would wait until the API server's own cache has caught up with etcd, for up to a tenth of a second when others write something
    /// else (KEP-2340).
    async fn list<K>(&self, cache: &Cache<K>, fields: &str) -> Result<Vec<K>, Error>
    where
        K: Cached + kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        let version = cache.seen().max(self.ctx.written.newest(&K::kind(&())));
        let params = ListParams::default().fields(&format!("spec.session={}{fields}", self.subject.name));
        let api = self.api::<K>();
        if version > 0 {
            let known = params.clone().at(&version.to_string()).matching(VersionMatch::NotOlderThan);
            match api.list(&known).await {
                // It has never been that far: etcd was put back to a backup.
                Err(kube::Error::Api(s)) if s.code == 504 => {}
                other => return Ok(other?.items),
            }
        }
        Ok(api.list(&params).await?.items)
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
            Ok(made) => {
                self.wrote(&made);
                Ok(Made::New(made))
            }
            Err(kube::Error::Api(s)) if s.code == 409 && s.reason == "AlreadyExists" => {
                let found = api.get(&object.name_any()).await?;
                self.wrote(&found);
                Ok(Made::Exists(found))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// How the Session's agent is to be run.
pub(super) fn settings(ctx: &Context, session: &Session, workspace: &Workspace) -> Settings {
    let stores = &ctx.stores;
    let environment = stores.environments.get(None, &workspace.spec.environment);
    let namespace = session.namespace().unwrap_or_default();
    let connections = stores.connections_of.get(&namespace);
    let requests = stores.requests_of.get(&crate::stores::within(Some(&namespace), &session.name_any()));
    a8s_plan::settings::settings(session, environment.as_deref(), &connections, &requests)
}

/// The person who has mouse and keyboard, as deskd confirmed it.
pub(super) fn holder(workspace: &Workspace) -> Option<String> {
    let control = workspace.status.as_ref()?.control.as_ref()?;
    control.user.clone().filter(|_| control.holder == ControlHolder::User)
}

impl Cluster {
    fn workspace(&self) -> Option<Arc<Workspace>> {
        let subject = &self.subject;
        let found = self.ctx.stores.workspaces.get(Some(&subject.namespace), &subject.workspace.name);
        found.filter(|w| w.uid().as_deref() == Some(&subject.workspace.uid))
    }

    async fn file(&self, source: &ConfigMapKey, gone: impl Fn() -> Error) -> Result<Bytes, Error> {
        let found = self.api::<ConfigMap>().get_opt(&source.name).await?.ok_or_else(&gone)?;
        let text = found.data.and_then(|mut data| data.remove(&source.key)).map(Bytes::from);
        let binary =
            found.binary_data.and_then(|mut data| data.remove(&source.key)).map(|b| Bytes::from(b.0));
        text.or(binary).ok_or_else(gone)
    }
}

impl World for Cluster {
    async fn messages(&self) -> Result<Vec<Message>, Error> {
        let params = ListParams::default().fields(&format!("spec.session={}", self.subject.name));
        Ok(self.api::<Message>().list(&params).await?.items)
    }

    async fn unsettled(&self) -> Result<Vec<Message>, Error> {
        self.list(&self.ctx.stores.messages, ",status.state!=Consumed,status.state!=Dropped").await
    }

    fn is_alone(&self) -> bool {
        self.ctx.tenure.is_certain()
    }

    async fn create_message(&self, message: &Message) -> Result<Made<Message>, Error> {
        self.create(message).await
    }

    async fn adopt(&self, message: &Message) -> Result<Option<Message>, Error> {
        let intent = json!({
            "apiVersion": "a8s.dev/v1alpha1", "kind": "Message",
            "metadata": {"name": message.name_any(), "uid": message.uid(), "ownerReferences": [self.subject.owner(false)]},
        });
        let params = PatchParams::apply("a8s/session").force();
        match self.api::<Message>().patch(&message.name_any(), &params, &Patch::Apply(&intent)).await {
            // Deleted meanwhile: there is nothing to adopt.
            Err(kube::Error::Api(s)) if matches!(s.code, 404 | 409) => Ok(None),
            other => {
                let adopted = other?;
                self.wrote(&adopted);
                Ok(Some(adopted))
            }
        }
    }

    async fn set_first_status(&self, message: &Message, status: &MessageStatus) -> Result<bool, Error> {
        execute::write_status_if_unchanged(&self.ctx, message, &serde_json::to_value(status)?).await
    }

    async fn set_abandoned(&self, message: &Message, abandoned: bool) -> Result<(), Error> {
        let value = abandoned.then_some("true");
        let labels = json!({"metadata": {"uid": message.uid(), "labels": {(labels::ABANDONED): value}}});
        let params = PatchParams::default();
        match self.api::<Message>().patch(&message.name_any(), &params, &Patch::Merge(&labels)).await {
            // Deleted meanwhile: there is nothing to mark.
            Err(kube::Error::Api(s)) if matches!(s.code, 404 | 409) => Ok(()),
            other => {
                self.wrote(&other?);
                Ok(())
            }
        }
    }

    async fn set_status(&self, message: &Message, status: &MessageStatus) -> Result<(), Error> {
        execute::write_status(&self.ctx, message, &serde_json::to_value(status)?).await
    }

    async fn requests(&self) -> Result<Vec<Request>, Error> {
        self.list(&self.ctx.stores.requests, "").await
    }

    fn approval(&self, question: &Question) -> Approval {
        let Ok(kind) = serde_json::from_value::<RequestType>(question.kind.clone().into()) else {
            return Approval::Ask;
        };
        let stores = &self.ctx.stores;
        let environment = self.workspace().and_then(|w| stores.environments.get(None, &w.spec.environment));
        let connections = stores.connections_of.get(&self.subject.namespace);
        overseer::policy(kind, question.subject.as_deref(), environment.as_deref(), &connections)
    }

    async fn create_request(&self, request: &Request) -> Result<Made<Request>, Error> {
        self.create(request).await
    }

    async fn set_request_status(&self, request: &Request, status: &RequestStatus) -> Result<(), Error> {
        // Whoever decided, or closed it, since: that is looked at again.
        let status = crate::request::own_fields(status)?;
        execute::write_status_if_unchanged(&self.ctx, request, &status).await.map(drop)
    }

    fn control(&self) -> Option<ControlStatus> {
        self.workspace()?.status.as_ref()?.control.clone()
    }

    fn settings(&self) -> Settings {
        let subject = &self.subject;
        let session = self.ctx.stores.sessions.get(Some(&subject.namespace), &subject.name);
        let session = session.filter(|s| s.uid().as_deref() == Some(&subject.uid));
        let session = session.as_deref().unwrap_or(&self.session);
        match self.workspace() {
            Some(workspace) => settings(&self.ctx, session, &workspace),
            None => a8s_plan::settings::settings(session, None, &[], &[]),
        }
    }

    async fn create_artifact(&self, artifact: &Artifact) -> Result<Made<Artifact>, Error> {
        self.create(artifact).await
    }

    async fn attachment(&self, attachment: &Attachment) -> Result<Option<Bytes>, Error> {
        let gone = || Error::Other(a8s_plan::session::missing(attachment).1);
        if let Some(text) = &attachment.text {
            return Ok(Some(Bytes::from(text.clone())));
        }
        if let Some(source) = &attachment.config_map {
            return self.file(source, gone).await.map(Some);
        }
        if let Some(connection) = &attachment.connection {
            // What has a key, or is elsewhere, is the runner's matter; a ConfigMap it cannot read.
            let found = self.api::<Connection>().get_opt(&connection.name).await?.ok_or_else(gone)?;
            let source = found.spec.documents.and_then(|d| d.config_map);
            return match source {
                Some(source) => self.file(&source, gone).await.map(Some),
                None => Ok(None),
            };
        }
        let name = attachment.artifact.as_ref().ok_or_else(gone)?;
        let found = self.api::<Artifact>().get_opt(&name.name).await?.ok_or_else(gone)?;
        let key = found.status.and_then(|s| s.key).ok_or_else(gone)?;
        Ok(Some(self.ctx.store.get(&object_store::path::Path::from(key)).await?.bytes().await?))
    }

    async fn material(&self, subject: &str) -> Result<Option<(String, Bytes)>, Error> {
        if let Some((name, key)) = subject.split_once('/') {
            let source = ConfigMapKey { name: name.to_owned(), key: key.to_owned() };
            let gone = || Error::Other(format!("ConfigMap {name} has no key {key}"));
            return match self.file(&source, gone).await {
                Ok(body) => Ok(Some((key.to_owned(), body))),
                Err(Error::Other(_)) => Ok(None),
                Err(error) => Err(error),
            };
        }
        let Some(found) = self.api::<Artifact>().get_opt(subject).await? else { return Ok(None) };
        let Some(key) = found.status.as_ref().and_then(|s| s.key.clone()) else { return Ok(None) };
        let content = self.ctx.store.get(&object_store::path::Path::from(key)).await?.bytes().await?;
        Ok(Some((found.spec.file_name, content)))
    }

    async fn say(&self, notice: Notice) {
        execute::report(&self.ctx, &self.session, &notice);
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

    async fn put_settings(&self, settings: &Settings) -> Result<(), PodError> {
        match self.ctx.pods.put_settings(&self.at, settings).await {
            // A pod from before an upgrade has a runner that knows one agent only.
            Err(PodError::Refused { status: 404, .. }) => Ok(()),
            put => put,
        }
    }

    async fn answer(&self, id: &str, answer: &Answer) -> Result<Answered, PodError> {
        self.ctx.pods.answer(&self.at, id, answer).await
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
