//! What a desktop may reach.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// What the desktop and its agent may reach. What is not named here is not reached, names are resolved by the cluster's DNS only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Egress {
    /// Public addresses. Private, shared, link-local and metadata addresses, and those of the cluster, are never public.
    #[serde(default)]
    pub internet: bool,
    /// Besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["cidr".into()]))]
    pub allow: Vec<EgressRule>,
}

/// One destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EgressRule {
    /// Addresses, for example `203.0.113.7/32` or `2001:db8::/64`.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("isCIDR(self)").message("must be a CIDR such as 203.0.113.0/24"))]
    pub cidr: String,
    /// TCP ports; none means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(range(min = 1, max = 65535)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub ports: Vec<i32>,
}
