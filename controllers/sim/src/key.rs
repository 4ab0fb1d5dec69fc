//! What names an object.

use a8s_plan::Target;
use serde_json::Value;

use crate::SimError;

/// What names an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// `v1`, `a8s.dev/v1alpha1`, …
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    /// From its parts.
    pub fn new(api_version: &str, kind: &str, namespace: &str, name: &str) -> Self {
        let [api_version, kind, namespace, name] = [api_version, kind, namespace, name].map(str::to_owned);
        Self { api_version, kind, namespace, name }
    }

    /// Of one of our own kinds.
    pub fn ours(kind: &str, namespace: &str, name: &str) -> Self {
        Self::new("a8s.dev/v1alpha1", kind, namespace, name)
    }

    /// Whether it is of one of our own kinds.
    pub(crate) fn is_ours(&self) -> bool {
        self.api_version.starts_with("a8s.dev/")
    }

    /// Of an object.
    pub fn of(object: &Value) -> Result<Self, SimError> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let key = Self {
            api_version: text(&object["apiVersion"]),
            kind: text(&object["kind"]),
            namespace: text(&object["metadata"]["namespace"]),
            name: text(&object["metadata"]["name"]),
        };
        if key.api_version.is_empty() || key.kind.is_empty() || key.name.is_empty() {
            return Err(SimError::Invalid("an object needs apiVersion, kind and metadata.name"));
        }
        Ok(key)
    }
}

impl From<&Target> for Key {
    fn from(target: &Target) -> Self {
        Self::new(&target.api_version, &target.kind, &target.namespace, &target.name)
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}
