//! What the chat agent may tell of. Connections and Artifacts are told of only as far as the Session's creator may get them: a model that is
//! asked would else name what its person has no right to know of. Environments are for everybody who is logged in.
//!
//! What the Session itself names was asked for by the webhook when it was named. Where nobody was stamped as the creator there is no webhook,
//! and nobody's rights are known: then nothing is left out, as nothing is guarded there at all.

use std::collections::HashSet;

use a8s_crds::{Session, labels};
use a8s_plan::session::Observed;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::{Api, Client, ResourceExt, api::PostParams};

use crate::errors::Error;

/// Whose rights are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Creator {
    user: String,
    groups: Vec<String>,
    namespace: String,
}

impl Creator {
    /// Who made the Session, as the webhook stamped it.
    pub fn of(session: &Session) -> Option<Self> {
        let annotations = session.annotations();
        let groups = annotations.get(labels::CREATED_BY_GROUPS);
        Some(Self {
            user: annotations.get(labels::CREATED_BY)?.clone(),
            // Groups that cannot be read give no rights.
            groups: groups.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default(),
            namespace: session.namespace().unwrap_or_default(),
        })
    }

    fn question(&self, resource: &str, name: Option<&str>) -> SubjectAccessReview {
        let attributes = ResourceAttributes {
            verb: Some("get".into()),
            group: Some("a8s.dev".into()),
            resource: Some(resource.into()),
            namespace: Some(self.namespace.clone()),
            name: name.map(str::to_owned),
            ..ResourceAttributes::default()
        };
        let spec = SubjectAccessReviewSpec {
            user: Some(self.user.clone()),
            groups: Some(self.groups.clone()),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        };
        SubjectAccessReview { spec, ..SubjectAccessReview::default() }
    }

    async fn may(&self, client: &Client, resource: &str, name: Option<&str>) -> Result<bool, Error> {
        let api: Api<SubjectAccessReview> = Api::all(client.clone());
        let answer = api.create(&PostParams::default(), &self.question(resource, name)).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    /// Those of `names` that the creator may get. Most may get all, which is one question.
    pub async fn visible(
        &self,
        client: &Client,
        resource: &str,
        names: impl IntoIterator<Item = String>,
    ) -> Result<HashSet<String>, Error> {
        let mut names = names.into_iter().peekable();
        if names.peek().is_none() {
            return Ok(HashSet::new());
        }
        if self.may(client, resource, None).await? {
            return Ok(names.collect());
        }
        let mut visible = HashSet::new();
        for name in names {
            if self.may(client, resource, Some(&name)).await? {
                visible.insert(name);
            }
        }
        Ok(visible)
    }
}

/// What was seen, without the Connections that the creator may not know of.
pub(super) async fn narrowed(client: &Client, seen: &Observed) -> Result<Observed, Error> {
    let mut seen = seen.clone();
    let Some(creator) = Creator::of(&seen.session) else { return Ok(seen) };
    let spec = &seen.session.spec;
    let named: HashSet<String> = spec
        .attachments
        .iter()
        .filter_map(|a| a.connection.as_ref().map(|c| c.name.clone()))
        .chain(spec.agent.iter().filter_map(|a| a.model.as_ref().map(|m| m.connection.clone())))
        .collect();
    let others = seen.connections.iter().map(|c| c.name_any()).filter(|name| !named.contains(name));
    let visible = creator.visible(client, "connections", others.collect::<Vec<_>>()).await?;
    seen.connections.retain(|c| named.contains(&c.name_any()) || visible.contains(&c.name_any()));
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn the_question_is_asked_for_the_creator_with_all_groups_in_the_sessions_namespace() {
        let mut session = Session::new("s", from_value(json!({})).unwrap());
        assert_eq!(Creator::of(&session), None);
        session.metadata.namespace = Some("team".into());
        session.annotations_mut().insert(labels::CREATED_BY.into(), "jane".into());
        session.annotations_mut().insert(labels::CREATED_BY_GROUPS.into(), r#"["dev","ops"]"#.into());
        let spec = Creator::of(&session).unwrap().question("connections", Some("crm")).spec;
        assert_eq!(
            (spec.user.as_deref(), spec.groups),
            (Some("jane"), Some(vec!["dev".into(), "ops".into()]))
        );
        let what = spec.resource_attributes.unwrap();
        assert_eq!((what.namespace.as_deref(), what.name.as_deref()), (Some("team"), Some("crm")));
        assert_eq!((what.verb.as_deref(), what.resource.as_deref()), (Some("get"), Some("connections")));
    }
}
