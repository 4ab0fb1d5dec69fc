//! The two HTTP calls. TLS is put around them elsewhere.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    routing::post,
};

use crate::{
    access::Authorizer,
    admission::{Request, Review, ReviewAnswer, Verdict},
    metrics::Metrics,
    mutate::mutate,
    validate::{decide, needs},
};

/// Old and new object of 1.5 MiB each at most (etcd's limit), and some more for their envelope.
const LARGEST: usize = 8 << 20;

/// What the calls share.
pub struct Webhook<A> {
    /// Answers who may do what.
    pub authorizer: A,
    /// User name of the controller's ServiceAccount.
    pub controller: String,
    /// Counters.
    pub metrics: Metrics,
}

/// The calls.
pub fn router<A: Authorizer>(webhook: Arc<Webhook<A>>) -> Router {
    Router::new()
        .route("/mutate", post(mutating::<A>))
        .route("/validate", post(validating::<A>))
        .layer(DefaultBodyLimit::max(LARGEST))
        .with_state(webhook)
}

type Reply = Result<Json<ReviewAnswer>, (StatusCode, &'static str)>;

async fn mutating<A: Authorizer>(
    State(webhook): State<Arc<Webhook<A>>>,
    Json(review): Json<Review>,
) -> Reply {
    let request = question(review)?;
    let verdict = mutate(&request, &webhook.controller);
    Ok(reply(&webhook.metrics, "mutate", &request, &verdict))
}

async fn validating<A: Authorizer>(
    State(webhook): State<Arc<Webhook<A>>>,
    Json(review): Json<Review>,
) -> Reply {
    let request = question(review)?;
    let needs = needs(&request, &webhook.controller);
    // All at once: 32 attachments must not wait for each other.
    let asked = needs.iter().map(|need| webhook.authorizer.ask(&request, need));
    let answers = futures::future::join_all(asked).await;
    let verdict = decide(&request, &needs.into_iter().zip(answers).collect::<Vec<_>>());
    Ok(reply(&webhook.metrics, "validate", &request, &verdict))
}

fn question(review: Review) -> Result<Request, (StatusCode, &'static str)> {
    review.request.ok_or((StatusCode::BAD_REQUEST, "an AdmissionReview without request"))
}

fn reply(
    metrics: &Metrics,
    endpoint: &'static str,
    request: &Request,
    verdict: &Verdict,
) -> Json<ReviewAnswer> {
    metrics.count(endpoint, verdict.is_allowed());
    if let Verdict::Denied { code, message } = verdict {
        tracing::info!(endpoint, code, kind = request.kind.kind, message, "denied");
    }
    Json(verdict.answer(&request.uid))
}

#[cfg(test)]
mod tests {
    use axum::{
        body::{Body, to_bytes},
        http::Request as HttpRequest,
    };
    use serde_json::{Value, json};
    use tower::ServiceExt;

    use super::*;
    use crate::validate::{Answer, Need};

    /// Lets everybody read what is public.
    struct Public;

    impl Authorizer for Public {
        async fn ask(&self, _: &Request, need: &Need) -> Answer {
            if need.name == "public" { Answer::Yes } else { Answer::No }
        }
    }

    async fn call(path: &str, body: Value) -> (StatusCode, Value) {
        let webhook = Webhook {
            authorizer: Public,
            controller: "system:serviceaccount:a8s-system:a8s-controller".into(),
            metrics: Metrics::default(),
        };
        let request = HttpRequest::post(path)
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        let response = router(Arc::new(webhook)).oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), LARGEST).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    fn review(config_map: &str) -> Value {
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "42", "kind": {"group": "a8s.dev", "version": "v1alpha1", "kind": "Session"},
            "namespace": "team", "operation": "CREATE", "userInfo": {"username": "jane"}, "oldObject": null,
            "object": {"metadata": {"name": "s"}, "spec": {"goal": "g", "attachments": [
                {"name": "a", "configMap": {"name": config_map, "key": "k"}}]}},
        }})
    }

    #[tokio::test]
    async fn what_the_creator_may_read_passes_and_the_rest_is_denied() {
        let (status, answer) = call("/validate", review("public")).await;
        assert_eq!((status, &answer["response"]["allowed"]), (StatusCode::OK, &json!(true)));
        let (status, answer) = call("/validate", review("private")).await;
        assert_eq!((status, &answer["response"]["allowed"]), (StatusCode::OK, &json!(false)));
        assert_eq!(answer["response"]["uid"], "42");
        let message = answer["response"]["status"]["message"].as_str().unwrap();
        assert!(message.starts_with("spec.attachments[0].configMap.name: user \"jane\""), "{message}");
    }

    #[tokio::test]
    async fn mutation_answers_with_a_patch() {
        let (_, answer) = call("/mutate", review("public")).await;
        assert_eq!(answer["response"]["patchType"], "JSONPatch");
    }

    #[tokio::test]
    async fn a_review_without_a_question_is_a_bad_request() {
        assert_eq!(call("/mutate", json!({})).await.0, StatusCode::BAD_REQUEST);
    }

    #[tokio::test]
    async fn large_objects_fit() {
        let mut large = review("public");
        large["request"]["object"]["spec"]["goal"] = "g".repeat(3 << 20).into();
        assert_eq!(call("/validate", large).await.0, StatusCode::OK);
    }
}
