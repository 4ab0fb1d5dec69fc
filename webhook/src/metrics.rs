//! What is counted.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

/// Labels of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// `mutate` or `validate`.
    pub endpoint: &'static str,
    /// `true` or `false`.
    pub allowed: &'static str,
}

/// Counters of the webhook.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
}

impl Metrics {
    /// Makes them visible.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("a8s_admission_requests", "Admission requests answered", self.requests.clone());
    }

    /// Counts one request.
    pub fn count(&self, endpoint: &'static str, allowed: bool) {
        let allowed = if allowed { "true" } else { "false" };
        self.requests.get_or_create(&RequestLabels { endpoint, allowed }).inc();
    }
}
