//! Kubernetes objects as the page gets them: as they are, without the bookkeeping of field owners.

use a8s_crds::{
    Artifact, Connection, Environment, GROUP, Message, Request as Asked, Session, Share, Snapshot, VERSION,
    Workspace,
};
use axum::{
    Json,
    extract::{FromRequest, Request, rejection::JsonRejection},
};
use kube::{
    Api, Client, Resource,
    api::{ApiResource, DynamicObject, ListParams, PostParams, TypeMeta},
};
use serde_json::Value;

use crate::errors::Refusal;

/// Field manager of what people do through the console.
pub const MANAGER: &str = "a8s-console";

/// A kind of the a8s API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Session.
    Session,
    /// Workspace.
    Workspace,
    /// Message.
    Message,
    /// Artifact.
    Artifact,
    /// Snapshot.
    Snapshot,
    /// Request.
    Request,
    /// Share.
    Share,
    /// Connection.
    Connection,
    /// Environment.
    Environment,
}

impl Kind {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Session => "Session",
            Self::Workspace => "Workspace",
            Self::Message => "Message",
            Self::Artifact => "Artifact",
            Self::Snapshot => "Snapshot",
            Self::Request => "Request",
            Self::Share => "Share",
            Self::Connection => "Connection",
            Self::Environment => "Environment",
        }
    }

    fn resource(self) -> ApiResource {
        match self {
            Self::Session => resource::<Session>(),
            Self::Workspace => resource::<Workspace>(),
            Self::Message => resource::<Message>(),
            Self::Artifact => resource::<Artifact>(),
            Self::Snapshot => resource::<Snapshot>(),
            Self::Request => resource::<Asked>(),
            Self::Share => resource::<Share>(),
            Self::Connection => resource::<Connection>(),
            Self::Environment => resource::<Environment>(),
        }
    }

    /// The objects of this kind in a namespace. Objects stay JSON, so that the page sees fields that this server is too old to know.
    pub fn api(self, client: &Client, namespace: &str) -> Api<DynamicObject> {
        let resource = self.resource();
        match self {
            Self::Environment => Api::all_with(client.clone(), &resource),
            _ => Api::namespaced_with(client.clone(), namespace, &resource),
        }
    }

    /// What the page gets.
    pub fn show(self, mut object: DynamicObject) -> DynamicObject {
        object.metadata.managed_fields = None;
        // Items of a list may come without.
        object.types = Some(TypeMeta { api_version: format!("{GROUP}/{VERSION}"), kind: self.name().into() });
        object
    }

    /// All of them that `params` and `keep` select.
    pub async fn list(
        self,
        client: &Client,
        namespace: &str,
        params: &ListParams,
        keep: impl Fn(&DynamicObject) -> bool,
    ) -> Result<Vec<DynamicObject>, Refusal> {
        let list = self.api(client, namespace).list(params).await?;
        Ok(list.items.into_iter().filter(keep).map(|object| self.show(object)).collect())
    }

    /// Creates one from JSON without `apiVersion` and `kind`.
    pub async fn create(
        self,
        client: &Client,
        namespace: &str,
        mut object: Value,
    ) -> Result<DynamicObject, Refusal> {
        object["apiVersion"] = format!("{GROUP}/{VERSION}").into();
        object["kind"] = self.name().into();
        let object = serde_json::from_value(object).map_err(|error| Refusal::bad(error.to_string()))?;
        let params = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
        Ok(self.show(self.api(client, namespace).create(&params, &object).await?))
    }
}

fn resource<K: Resource<DynamicType = ()>>() -> ApiResource {
    ApiResource::erase::<K>(&())
}

/// Refuses what is no name before it becomes part of an address.
pub fn named(names: &[&str]) -> Result<(), Refusal> {
    let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    for name in names {
        if name.is_empty() || name.len() > 253 || name.starts_with(['.', '-']) || !name.chars().all(valid) {
            return Err(Refusal::bad(format!("{name:?} is no Kubernetes name")));
        }
    }
    Ok(())
}

/// A JSON body; what cannot be read is refused in the console's own form.
pub struct Body<T>(pub T);

impl<T, S> FromRequest<S> for Body<T>
where
    Json<T>: FromRequest<S, Rejection = JsonRejection>,
    S: Send + Sync,
{
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let Json(body) = Json::<T>::from_request(request, state).await?;
        Ok(Self(body))
    }
}
