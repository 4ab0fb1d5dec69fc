//! Schema of the chart's values. Strict: a misspelt key is refused by `helm install` instead of being ignored.

use anyhow::Result;
use serde_json::{Value, json};

/// The file.
pub fn render() -> Result<String> {
    let mut schema = schema();
    // The same text whether or not another crate of one build turns on serde_json's `preserve_order`.
    schema.sort_all_objects();
    Ok(serde_json::to_string_pretty(&schema)? + "\n")
}

fn object(properties: &Value) -> Value {
    json!({"type": "object", "additionalProperties": false, "properties": properties})
}

fn text(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

fn free(description: &str) -> Value {
    json!({"type": "object", "description": description})
}

fn image() -> Value {
    object(&json!({
        "repository": {"type": "string", "minLength": 1},
        "tag": text("Default: the chart's appVersion."),
        "pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
    }))
}

fn environment() -> Value {
    object(&json!({
        "enabled": {"type": "boolean", "description": "Offer it in the catalogue."},
        "image": {"type": "string", "minLength": 1, "description": "With a tag."},
    }))
}

fn component(mut more: Value) -> Value {
    more["replicas"] = json!({"type": "integer", "minimum": 0});
    more["resources"] = free("Requests and limits of the container.");
    more["logLevel"] = text("For example `info` or `a8s_controller=debug,info`.");
    object(&more)
}

fn schema() -> Value {
    let port = json!({"type": ["integer", "null"], "minimum": 1, "maximum": 65535});
    let mut schema = object(&json!({
        "crds": object(&json!({"enabled": {"type": "boolean", "description": "Install and upgrade the definitions."}})),
        "image": image(),
        "runner": object(&json!({"image": image()})),
        "imagePullSecrets": {"type": "array", "items": object(&json!({"name": {"type": "string"}}))},
        "telemetry": object(&json!({"otlpEndpoint": {"type": "string", "pattern": "^(https?://.+)?$", "description": "Where traces are sent by OTLP over HTTP; empty: nowhere."}})),
        "controller": component(json!({})),
        "webhook": component(json!({})),
        "vncProxy": component(json!({
            "viewQuality": {
                "type": "integer",
                "minimum": 0,
                "maximum": 9,
                "description": "Best quality of the picture for those who may only watch.",
            },
        })),
        "console": component(json!({
            "enabled": {"type": "boolean"},
            "readOnly": {"type": "boolean", "description": "Take every action out of the console."},
            "url": text("Where people find the console; its origin may open desktops."),
            "service": object(&json!({
                "type": {"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
                "port": port,
                "nodePort": port,
                "annotations": free("Annotations of the Service."),
            })),
            "ingress": object(&json!({
                "enabled": {"type": "boolean"},
                "className": {"type": "string"},
                "host": {"type": "string"},
                "annotations": free("Annotations of the Ingress."),
                "tlsSecretName": {"type": "string"},
            })),
        })),
        "shares": object(&json!({
            "everyone": {"type": "boolean", "description": "Shares may invite everybody who is logged in."},
        })),
        "environments": object(&json!({
            "desktop": environment(),
            "office": environment(),
            "code": environment(),
        })),
        "artifacts": object(&json!({
            "size": {"type": "string", "pattern": "^[0-9]+(Ki|Mi|Gi|Ti)?$"},
            "storageClassName": text("Default: the cluster's default class."),
            "accessMode": {"enum": ["ReadWriteOnce", "ReadWriteMany"]},
        })),
        "networkPolicies": object(&json!({
            "enabled": {"type": "boolean"},
            "protect": {
                "type": "array",
                "items": {"type": "string", "pattern": "^[0-9a-fA-F.:]+/[0-9]+$"},
                "description": "Networks that no desktop reaches as part of the internet.",
            },
        })),
        "nodeSelector": free("Of all pods of the control plane."),
        "tolerations": {"type": "array", "items": {"type": "object"}},
        "global": free("Set by parent charts."),
    }));
    schema["$schema"] = json!("https://json-schema.org/draft-07/schema#");
    schema["title"] = json!("Values of the chart a8s");
    schema
}
