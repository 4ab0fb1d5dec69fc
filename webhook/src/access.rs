//! Asks the API server's authorizer. Answers are not kept: a right that was withdrawn is gone at the next request.

use std::time::Duration;

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::{Api, Client, api::PostParams};

use crate::{
    admission::Request,
    validate::{Answer, Need},
};

/// Shorter than the API server waits for an admission webhook (10 s by default), so that our words arrive.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who can say what a user may do.
pub trait Authorizer: Send + Sync + 'static {
    /// Whether the user of `request` has the right.
    fn ask(&self, request: &Request, need: &Need) -> impl Future<Output = Answer> + Send;
}

impl Authorizer for Client {
    async fn ask(&self, request: &Request, need: &Need) -> Answer {
        let api: Api<SubjectAccessReview> = Api::all(self.clone());
        let (params, question) = (PostParams::default(), question(request, need));
        match tokio::time::timeout(PATIENCE, api.create(&params, &question)).await {
            Ok(Ok(review)) if review.status.as_ref().is_some_and(|s| s.allowed) => Answer::Yes,
            Ok(Ok(_)) => Answer::No,
            Ok(Err(error)) => Answer::Unknown(error.to_string()),
            Err(_) => Answer::Unknown("the API server does not answer".to_owned()),
        }
    }
}

fn question(request: &Request, need: &Need) -> SubjectAccessReview {
    let user = &request.user_info;
    SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(user.username.clone()),
            uid: user.uid.clone(),
            groups: Some(user.groups.clone()),
            extra: Some(user.extra.clone()),
            resource_attributes: Some(ResourceAttributes {
                verb: Some("get".to_owned()),
                group: Some(need.group.to_owned()),
                resource: Some(need.resource.to_owned()),
                namespace: Some(request.namespace.clone()),
                name: Some(need.name.clone()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_carries_all_that_authorizers_look_at() {
        let request: Request = serde_json::from_value(serde_json::json!({
            "namespace": "team", "userInfo": {"username": "jane", "uid": "7", "groups": ["g"], "extra": {"scopes": ["x"]}},
        }))
        .unwrap();
        let need = Need { field: "f".into(), group: "a8s.dev", resource: "artifacts", name: "n".into() };
        let spec = question(&request, &need).spec;
        assert_eq!((spec.user.as_deref(), spec.uid.as_deref()), (Some("jane"), Some("7")));
        assert_eq!(spec.groups, Some(vec!["g".to_owned()]));
        assert_eq!(spec.extra.unwrap()["scopes"], ["x"]);
        let what = spec.resource_attributes.unwrap();
        assert_eq!(
            what.namespace.as_deref(),
            Some("team"),
            "without it the question would be about all namespaces"
        );
        assert_eq!((what.verb.as_deref(), what.name.as_deref()), (Some("get"), Some("n")));
    }
}
