//! Input: one thing that is asked for by a form.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One thing that is asked for: by an Environment before the work begins, by an agent in a form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(self.type == 'Choice') == (size(self.options) > 0)").message("options belong to type Choice, which needs some"))]
pub struct Input {
    /// Key of the value.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z]([A-Za-z0-9_-]*[A-Za-z0-9])?$"))]
    pub name: String,
    /// For people; default: the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub title: Option<String>,
    /// What it is.
    #[serde(default, rename = "type")]
    pub kind: InputType,
    /// For `Choice`: what can be chosen.
    #[serde(default)]
    #[schemars(length(max = 32), inner(length(min = 1, max = 128)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub options: Vec<String>,
    /// Whether it may stay empty.
    #[serde(default)]
    pub optional: bool,
}

/// What an input is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum InputType {
    /// Words.
    #[default]
    Text,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// One of `options`.
    Choice,
    /// An attachment of the Session.
    File,
}
