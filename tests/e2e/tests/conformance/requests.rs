//! What can be asked of a server, and chance, which chooses among it.

use a8s_sim::Key;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use crate::NAMESPACE;

pub const FINALIZERS: [&str; 2] = ["example.com/one", "example.com/two"];

/// A UID or resource version that a request may insist on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insists {
    Not,
    OnThis,
    OnAnother,
}

#[derive(Clone, Debug)]
pub enum Request {
    Create(Value),
    Apply {
        manager: &'static str,
        uid: Insists,
        object: Value,
    },
    Merge {
        uid: Insists,
        version: Insists,
        patch: Value,
    },
    /// Without a UID: the real server takes no notice of one when a status is applied.
    Status(Value),
    Delete {
        uid: Insists,
        version: Insists,
    },
    Finalizer {
        name: &'static str,
        present: bool,
    },
}

impl Request {
    /// The same about an object of this name.
    pub fn about(&self, name: &str) -> Self {
        let mut request = self.clone();
        if let Self::Create(object) | Self::Apply { object, .. } = &mut request {
            object["metadata"]["name"] = name.into();
        }
        request
    }
}

impl std::fmt::Display for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Create(object) => write!(f, "create {object}"),
            Self::Apply { manager, uid, object } => write!(f, "apply as {manager}, UID {uid:?}: {object}"),
            Self::Merge { uid, version, patch } => {
                write!(f, "merge, UID {uid:?}, version {version:?}: {patch}")
            }
            Self::Status(status) => write!(f, "status {status}"),
            Self::Delete { uid, version } => write!(f, "delete, UID {uid:?}, version {version:?}"),
            Self::Finalizer { name, present } => write!(f, "finalizer {name} {present}"),
        }
    }
}

/// Chance, and what it makes of it.
pub struct Lot(StdRng);

impl Lot {
    pub fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    pub fn of(&mut self, many: usize) -> usize {
        self.0.random_range(0..many)
    }

    fn insists(&mut self) -> Insists {
        [Insists::Not, Insists::Not, Insists::OnThis, Insists::OnThis, Insists::OnAnother][self.of(5)]
    }

    /// A few fields of an object; with `null` some are to go.
    fn fields(&mut self, kind: &str, gone: bool) -> Value {
        let mut object = json!({});
        let paths: &[&[&str]] = if kind == "ConfigMap" {
            &[&["data", "a"], &["data", "b"], &["metadata", "labels", "c"], &["metadata", "annotations", "d"]]
        } else {
            &[
                &["spec", "lifecycle", "idleSuspendAfter"],
                &["spec", "lifecycle", "archiveAfter"],
                &["spec", "resources", "limits", "cpu"],
                &["spec", "resources", "requests", "memory"],
                &["metadata", "labels", "c"],
                &["metadata", "annotations", "d"],
            ]
        };
        for path in paths {
            let value = match self.of(6) {
                0 | 1 => continue,
                2 if gone => Value::Null,
                n => format!("{}s", n / 2 + 1).into(),
            };
            let value = if path.contains(&"resources") && value.is_string() { "2".into() } else { value };
            let (last, above) = path.split_last().expect("a path");
            above.iter().fold(&mut object, |at, key| &mut at[*key])[*last] = value;
        }
        if gone && self.of(12) == 0 {
            object[if kind == "ConfigMap" { "data" } else { "spec" }] =
                if kind == "ConfigMap" { Value::Null } else { json!({"lifecycle": null}) };
        }
        object
    }

    /// A whole object. What has a default is always said: the server in memory knows no schema.
    fn object(&mut self, key: &Key) -> Value {
        let mut object = self.fields(&key.kind, false);
        (object["apiVersion"], object["kind"]) = (key.api_version.clone().into(), key.kind.clone().into());
        object["metadata"]["name"] = key.name.clone().into();
        object["metadata"]["namespace"] = NAMESPACE.into();
        if key.kind == "Workspace" {
            object["spec"]["environment"] = "desktop".into();
            object["spec"]["state"] = ["Running", "Suspended"][self.of(2)].into();
            object["spec"]["control"] = json!({"holder": "Agent", "private": false});
        }
        object
    }

    pub fn request(&mut self, key: &Key) -> Request {
        match self.of(12) {
            0..=2 => {
                let mut object = self.object(key);
                if self.of(3) == 0 {
                    object["metadata"]["finalizers"] = json!([FINALIZERS[0]]);
                }
                Request::Create(object)
            }
            3..=5 => {
                let manager = ["one", "two"][self.of(2)];
                Request::Apply { manager, uid: self.insists(), object: self.object(key) }
            }
            6..=7 => Request::Merge {
                uid: self.insists(),
                version: self.insists(),
                patch: self.fields(&key.kind, true),
            },
            8 if key.kind == "Workspace" => {
                let (state, epoch) = (["Running", "Stalled"][self.of(2)], self.of(2));
                let status = json!({"observedGeneration": 1, "state": state, "epoch": epoch});
                Request::Status(status)
            }
            8..=9 => Request::Delete { uid: self.insists(), version: self.insists() },
            _ => Request::Finalizer { name: FINALIZERS[self.of(2)], present: self.of(2) == 0 },
        }
    }
}
