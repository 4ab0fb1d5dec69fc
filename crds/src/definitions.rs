//! The CustomResourceDefinitions as they are installed: what the derive macros give, plus what they cannot say.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSON};
use kube::CustomResourceExt;

use crate::v1alpha1::{Artifact, Environment, Message, Session, Snapshot, Workspace};

/// All definitions, in the order of their names.
pub fn all() -> Vec<CustomResourceDefinition> {
    let mut all = vec![
        Artifact::crd(),
        Environment::crd(),
        Message::crd(),
        Session::crd(),
        Snapshot::crd(),
        Workspace::crd(),
    ];
    for crd in &mut all {
        default_status(crd);
    }
    all
}

/// kstatus takes an object without any status for `Current`. An observed generation of -1 from the moment of creation
/// makes it `InProgress` until a controller has looked at it.
fn default_status(crd: &mut CustomResourceDefinition) {
    for version in &mut crd.spec.versions {
        let schema = version.schema.as_mut().and_then(|s| s.open_api_v3_schema.as_mut());
        let status = schema.and_then(|s| s.properties.as_mut()).and_then(|p| p.get_mut("status"));
        if let Some(status) = status {
            status.default = Some(JSON(serde_json::json!({"observedGeneration": -1})));
        }
    }
}
