//! Who a person is and what they may do: questions to the API server, asked with the proxy's own ServiceAccount. The answers are never
//! kept longer than a stream's next check.

use std::collections::BTreeMap;

use a8s_wire::Scope;
use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec},
    authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, ObjectMeta, PostParams},
};
use serde::{Deserialize, Serialize};

const GROUP: &str = "a8s.dev";

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// See.
    View,
    /// See, and send input while holding the control lease.
    Control,
}

impl Mode {
    /// The RBAC verb on `workspaces/desktop`.
    pub fn verb(self) -> &'static str {
        match self {
            Self::View => "get",
            Self::Control => "update",
        }
    }

    /// The scopes of the access token for deskd.
    pub fn scopes(self) -> Vec<Scope> {
        match self {
            Self::View => vec![Scope::View],
            Self::Control => vec![Scope::View, Scope::Control],
        }
    }
}

/// A person as the API server knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// User name.
    pub name: String,
    /// UID, if the authenticator has one.
    pub uid: Option<String>,
    /// Groups.
    pub groups: Vec<String>,
    /// Extra attributes.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// A Workspace whose desktop can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID: another Workspace of the same name is another target.
    pub uid: String,
    /// Address of its pod.
    pub host: String,
}

/// Why access is refused.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// No valid token.
    #[error("the token is not valid; log in again")]
    Unauthenticated,
    /// The person may not do this.
    #[error("{user} may not {verb} workspaces/desktop {namespace}/{name}")]
    Forbidden {
        /// Who.
        user: String,
        /// RBAC verb.
        verb: &'static str,
        /// Where.
        namespace: String,
        /// Which Workspace.
        name: String,
    },
    /// There is no such Workspace.
    #[error("there is no Workspace {0}/{1}")]
    NotFound(String, String),
    /// It has no running desktop.
    #[error("the desktop of Workspace {0}/{1} is not running")]
    NotRunning(String, String),
    /// The API server did not answer the question.
    #[error("the Kubernetes API did not answer: {0}")]
    Api(#[source] Box<kube::Error>),
}

impl From<kube::Error> for AccessError {
    fn from(error: kube::Error) -> Self {
        Self::Api(Box::new(error))
    }
}

/// Asks the API server.
#[derive(Clone)]
pub struct Access {
    client: Client,
}

impl Access {
    /// Through `client`, the proxy's own identity.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Whose token this is.
    pub async fn authenticate(&self, token: &str) -> Result<Person, AccessError> {
        let review = TokenReview {
            metadata: ObjectMeta::default(),
            spec: TokenReviewSpec { token: token.to_owned(), audiences: None },
            status: None,
        };
        let api: Api<TokenReview> = Api::all(self.client.clone());
        let status = api.create(&PostParams::default(), &review).await?.status.unwrap_or_default();
        let user = status.user.filter(|_| status.authenticated == Some(true)).unwrap_or_default();
        let name = user.username.filter(|name| !name.is_empty()).ok_or(AccessError::Unauthenticated)?;
        Ok(Person {
            name,
            uid: user.uid,
            groups: user.groups.unwrap_or_default(),
            extra: user.extra.unwrap_or_default(),
        })
    }

    /// Whether the person may use the desktop so.
    pub async fn authorize(
        &self,
        person: &Person,
        namespace: &str,
        name: &str,
        mode: Mode,
    ) -> Result<(), AccessError> {
        let attributes = ResourceAttributes {
            group: Some(GROUP.into()),
            resource: Some("workspaces".into()),
            subresource: Some("desktop".into()),
            verb: Some(mode.verb().into()),
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
            ..ResourceAttributes::default()
        };
        let review = SubjectAccessReview {
            metadata: ObjectMeta::default(),
            spec: SubjectAccessReviewSpec {
                user: Some(person.name.clone()),
                uid: person.uid.clone(),
                groups: Some(person.groups.clone()),
                extra: Some(person.extra.clone()),
                resource_attributes: Some(attributes),
                ..SubjectAccessReviewSpec::default()
            },
            status: None,
        };
        let api: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let status = api.create(&PostParams::default(), &review).await?.status;
        if status.is_some_and(|status| status.allowed && status.denied != Some(true)) {
            return Ok(());
        }
        Err(AccessError::Forbidden {
            user: person.name.clone(),
            verb: mode.verb(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }

    /// The Workspace, if its desktop runs. To be called after [`Access::authorize`], so that a stranger does not learn what exists.
    pub async fn find(&self, namespace: &str, name: &str) -> Result<Target, AccessError> {
        // Two fields of the status are all that matters here, whatever else a later version of the API adds.
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, "v1alpha1", "Workspace"));
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
        let workspace = api.get_opt(name).await?;
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        let Some(workspace) = workspace.filter(|found| found.metadata.deletion_timestamp.is_none()) else {
            return Err(AccessError::NotFound(namespace, name));
        };
        let status = |field: &str| workspace.data["status"][field].as_str();
        // A desktop can be watched before the agent is ready, so the pod is what counts; deskd refuses by itself if it cannot serve.
        let Some(host) = status("pod").and(status("host")) else {
            return Err(AccessError::NotRunning(namespace, name));
        };
        Ok(Target { host: host.to_owned(), uid: workspace.uid().unwrap_or_default(), namespace, name })
    }

    /// All that must still be true of an open stream.
    pub async fn recheck(&self, person: &Person, target: &Target, mode: Mode) -> Result<(), AccessError> {
        self.authorize(person, &target.namespace, &target.name, mode).await?;
        let found = self.find(&target.namespace, &target.name).await?;
        if found.uid == target.uid {
            return Ok(());
        }
        Err(AccessError::NotFound(target.namespace.clone(), target.name.clone()))
    }
}
