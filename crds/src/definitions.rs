//! The CustomResourceDefinitions as they are installed: what the derive macros give, plus what they cannot say.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use crate::v1alpha1::{
    Artifact, Connection, Environment, Message, Request, Session, Share, Snapshot, WarmPool, Workspace,
};

/// All definitions, in the order of their names.
pub fn all() -> Vec<CustomResourceDefinition> {
    let mut all = vec![
        Artifact::crd(),
        Connection::crd(),
        Environment::crd(),
        Message::crd(),
        Request::crd(),
        Session::crd(),
        Share::crd(),
        Snapshot::crd(),
        WarmPool::crd(),
        Workspace::crd(),
    ];
    for crd in &mut all {
        default_status(crd);
        for version in &mut crd.spec.versions {
            if let Some(schema) = version.schema.as_mut().and_then(|s| s.open_api_v3_schema.as_mut()) {
                check_quantities(schema);
            }
        }
    }
    all
}

/// What is written as a quantity: `500m`, `1.5Gi`, `1e3`. Negative ones mean nothing in this API.
const QUANTITY: &str = r"^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$";

/// A quantity's own schema is "integer or string", which takes any word and would fail much later.
fn check_quantities(schema: &mut JSONSchemaProps) {
    if schema.x_kubernetes_int_or_string == Some(true) {
        schema.pattern = Some(QUANTITY.to_owned());
        schema.minimum = Some(0.0);
    }
    for field in schema.properties.iter_mut().flat_map(|p| p.values_mut()) {
        check_quantities(field);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(item)) = &mut schema.items {
        check_quantities(item);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(value)) = &mut schema.additional_properties {
        check_quantities(value);
    }
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
