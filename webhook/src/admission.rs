//! The part of `admission.k8s.io/v1` that is used here. Objects stay JSON: what is not understood is passed on untouched.

use std::collections::BTreeMap;

use base64::Engine;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What the API server sends.
#[derive(Clone, Debug, Deserialize)]
pub struct Review {
    /// The question.
    pub request: Option<Request>,
}

/// One question.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Request {
    /// Goes back with the answer.
    pub uid: String,
    /// Kind as the webhook was registered for it.
    pub kind: GroupKind,
    /// `status` and the like.
    pub sub_resource: Option<String>,
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    /// CREATE, UPDATE, DELETE or CONNECT.
    pub operation: String,
    /// Who asks.
    pub user_info: UserInfo,
    /// The object as it would be stored.
    pub object: Value,
    /// The object as it is stored.
    pub old_object: Value,
}

/// Group, version and kind.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct GroupKind {
    /// `a8s.dev`.
    pub group: String,
    /// `Session`, …
    pub kind: String,
}

/// Who asks, as the API server authenticated it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct UserInfo {
    /// User name.
    pub username: String,
    /// UID, if the authenticator knows one.
    pub uid: Option<String>,
    /// Groups.
    pub groups: Vec<String>,
    /// What authorizers may want to know beside.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Request {
    /// Whether it creates an object of our group (not a subresource of one).
    pub fn creates(&self) -> bool {
        self.operation == "CREATE" && self.is_ours()
    }

    /// Whether it changes an object of our group (not a subresource of one).
    pub fn updates(&self) -> bool {
        self.operation == "UPDATE" && self.is_ours()
    }

    /// Whether it changes the status of an object of our group.
    pub fn changes_status(&self) -> bool {
        self.operation == "UPDATE"
            && self.kind.group == "a8s.dev"
            && self.sub_resource.as_deref() == Some("status")
    }

    fn is_ours(&self) -> bool {
        self.kind.group == "a8s.dev" && self.sub_resource.as_deref().is_none_or(str::is_empty)
    }
}

/// The answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Yes, with these changes (JSON Patch operations).
    Allowed(Vec<Value>),
    /// No, and why.
    Denied {
        /// HTTP status for the client.
        code: u16,
        /// What is wrong and what to do.
        message: String,
    },
}

/// The whole answer as the API server reads it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReviewAnswer {
    api_version: &'static str,
    kind: &'static str,
    response: Value,
}

impl Verdict {
    /// Whether it is a yes.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed(_))
    }

    /// Wraps it up for the request `uid`.
    pub fn answer(&self, uid: &str) -> ReviewAnswer {
        let response = match self {
            Self::Allowed(patch) if patch.is_empty() => json!({"uid": uid, "allowed": true}),
            Self::Allowed(patch) => {
                let text = Value::from(patch.clone()).to_string();
                let patch = base64::engine::general_purpose::STANDARD.encode(text);
                json!({"uid": uid, "allowed": true, "patchType": "JSONPatch", "patch": patch})
            }
            Self::Denied { code, message } => json!({
                "uid": uid, "allowed": false,
                "status": {"code": code, "message": message, "reason": reason(*code), "status": "Failure"},
            }),
        };
        ReviewAnswer { api_version: "admission.k8s.io/v1", kind: "AdmissionReview", response }
    }
}

fn reason(code: u16) -> &'static str {
    match code {
        403 => "Forbidden",
        503 => "ServiceUnavailable",
        _ => "Invalid",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_is_base64_json_and_only_there_if_something_changes() {
        let plain = serde_json::to_value(Verdict::Allowed(vec![]).answer("u1")).unwrap();
        assert_eq!(plain["response"], json!({"uid": "u1", "allowed": true}));
        assert_eq!(plain["apiVersion"], "admission.k8s.io/v1");
        let patched = Verdict::Allowed(vec![json!({"op": "remove", "path": "/a"})]).answer("u1");
        let text = base64::engine::general_purpose::STANDARD
            .decode(patched.response["patch"].as_str().unwrap())
            .unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), json!([{"op": "remove", "path": "/a"}]));
        assert_eq!(patched.response["patchType"], "JSONPatch");
    }

    #[test]
    fn a_denial_says_why() {
        let denied = Verdict::Denied { code: 403, message: "no".into() }.answer("u2");
        assert_eq!(denied.response["allowed"], false);
        assert_eq!(denied.response["status"]["message"], "no");
        assert_eq!(denied.response["status"]["reason"], "Forbidden");
    }

    #[test]
    fn requests_for_subresources_and_other_groups_are_not_ours() {
        let mut request = Request { operation: "CREATE".into(), ..Request::default() };
        assert!(!request.creates());
        request.kind.group = "a8s.dev".into();
        assert!(request.creates());
        request.sub_resource = Some("status".into());
        assert!(!request.creates());
    }
}
