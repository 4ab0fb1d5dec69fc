//! Pieces that several kinds share.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// CPU and memory of the desktop and agent together with Kubernetes' meaning of requests and limits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What the scheduler reserves, for example `cpu: 500m`, `memory: 1Gi`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub requests: BTreeMap<String, Quantity>,
    /// What is never exceeded.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, Quantity>,
}

/// The volume of a Workspace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// Size in bytes or with a suffix, for example `10Gi`. Default: the Environment's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("!isQuantity(string(self)) || quantity(string(self)).isGreaterThan(quantity('0'))").message("must be greater than 0"))]
    pub size: Option<Quantity>,
    /// StorageClass; default: the cluster's. It must be of a CSI driver with snapshots if Snapshots are wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
    /// Environment only: the home is prepared once, kept as a golden Snapshot, and every WarmPool starts its desktops from that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub golden: bool,
}

/// Size of the desktop in pixels. 1280×800 suits every vision model without scaling.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DesktopSize {
    /// Width in pixels.
    #[schemars(range(min = 640, max = 3840))]
    pub width: i32,
    /// Height in pixels.
    #[schemars(range(min = 480, max = 2160))]
    pub height: i32,
}

impl Default for DesktopSize {
    fn default() -> Self {
        Self { width: 1280, height: 800 }
    }
}

/// Where a Session or Workspace starts from. Exactly one is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.snapshot) != has(self.workspace)").message("exactly one of snapshot and workspace must be set"))]
pub struct Source {
    /// Name of a Snapshot in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub snapshot: Option<String>,
    /// Name of a Workspace in the same namespace, which may be running: its volume is cloned as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub workspace: Option<String>,
}

/// An object of the same namespace, with the UID that it had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}
