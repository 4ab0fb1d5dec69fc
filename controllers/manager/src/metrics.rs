//! What can be counted from outside: how long starts take, stage by stage, what the API server is asked and told, and passes. Requests are
//! counted where all of them go through, whoever makes them. No label names an object.

use a8s_crds::{ArtifactSpec, Startup, WorkspaceStatus};
use http::{Method, Request, header};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use tower::util::MapRequestLayer;

/// A stage of a start.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stage {
    stage: &'static str,
    start: String,
}

/// A kind of request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    kind: String,
    verb: &'static str,
}

/// A kind of pass and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Pass {
    kind: String,
    result: &'static str,
}

/// All counters; clones share them.
#[derive(Clone)]
pub struct Metrics {
    starts: Family<Stage, Histogram, fn() -> Histogram>,
    writes: Family<Call, Counter>,
    reads: Family<Call, Counter>,
    passes: Family<Pass, Counter>,
    recordings: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        // From a millisecond to a minute, each bucket half as long again as the one before.
        let buckets: fn() -> Histogram = || Histogram::new(exponential_buckets(0.001, 1.5, 28));
        Self {
            starts: Family::new_with_constructor(buckets),
            writes: Family::default(),
            reads: Family::default(),
            passes: Family::default(),
            recordings: Counter::default(),
        }
    }
}

impl Metrics {
    /// Shows them.
    pub fn register(&self, registry: &mut Registry) {
        let starts = "Time from the wish for a running desktop to a stage of its start, by kind of start";
        registry.register("a8s_workspace_start_seconds", starts, self.starts.clone());
        registry.register("a8s_api_writes", "Writing requests to the API server", self.writes.clone());
        registry.register("a8s_api_reads", "Reading requests to the API server", self.reads.clone());
        registry.register("a8s_passes", "Passes by kind of object", self.passes.clone());
        let recordings = "Size of the recordings that were brought into the artifact store";
        registry.register("a8s_recording_bytes", recordings, self.recordings.clone());
    }

    /// A layer of the client that counts all its requests.
    pub fn requests<B>(&self) -> MapRequestLayer<impl Fn(Request<B>) -> Request<B> + Clone + use<B>> {
        let metrics = self.clone();
        MapRequestLayer::new(move |request: Request<B>| {
            metrics.request(&request);
            request
        })
    }

    fn request<B>(&self, request: &Request<B>) {
        let (kind, named) = kind(request.uri().path());
        let apply = request
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|t| t.as_bytes().ends_with(b"apply-patch+yaml"));
        let watch =
            request.uri().query().is_some_and(|q| q.split('&').any(|p| p == "watch=true" || p == "watch=1"));
        let (family, verb) = match *request.method() {
            Method::POST => (&self.writes, "create"),
            Method::PUT => (&self.writes, "update"),
            Method::PATCH if apply => (&self.writes, "apply"),
            Method::PATCH => (&self.writes, "patch"),
            Method::DELETE => (&self.writes, "delete"),
            _ if watch => (&self.reads, "watch"),
            _ if named => (&self.reads, "get"),
            _ => (&self.reads, "list"),
        };
        family.get_or_create(&Call { kind, verb }).inc();
    }

    /// A pass ended.
    pub fn pass(&self, kind: &str, result: &'static str) {
        self.passes.get_or_create(&Pass { kind: kind.to_owned(), result }).inc();
    }

    /// Content was brought into the artifact store.
    pub fn stored(&self, artifact: &ArtifactSpec) {
        if artifact.media_type == a8s_wire::recording::MEDIA_TYPE {
            self.recordings.inc_by(u64::try_from(artifact.size).unwrap_or_default());
        }
    }

    /// A status is about to be written: if it says that a start is over, its stages are counted.
    pub fn started(&self, before: Option<&WorkspaceStatus>, after: &WorkspaceStatus) {
        let startup = |status: &WorkspaceStatus| status.startup.clone().filter(|s| s.total.is_some());
        let Some(done) = startup(after) else { return };
        if before.and_then(startup).is_some_and(|known| known.began == done.began) {
            return;
        }
        for (stage, time) in stages(&done) {
            if let Some(seconds) = time.as_deref().and_then(seconds) {
                let start = done.kind.clone().unwrap_or_default();
                self.starts.get_or_create(&Stage { stage, start }).observe(seconds);
            }
        }
    }
}

fn stages(startup: &Startup) -> [(&'static str, &Option<String>); 7] {
    [
        ("storage", &startup.storage),
        ("scheduled", &startup.scheduled),
        ("image", &startup.image),
        ("containers", &startup.containers),
        ("desktop", &startup.desktop),
        ("agent", &startup.agent),
        ("total", &startup.total),
    ]
}

/// `1.123s`, as the plan writes it.
fn seconds(text: &str) -> Option<f64> {
    text.strip_suffix('s')?.parse().ok()
}

/// Resource and sub-resource of a path, and whether it names one object.
fn kind(path: &str) -> (String, bool) {
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
    let (["api", _, rest @ ..] | ["apis", _, _, rest @ ..]) = parts.as_slice() else {
        return ("other".into(), false);
    };
    let rest = if let ["namespaces", _, inner @ ..] = rest
        && !inner.is_empty()
    {
        inner
    } else {
        rest
    };
    match rest {
        [resource, _, part, ..] => (format!("{resource}/{part}"), true),
        [resource, named @ ..] => ((*resource).to_owned(), !named.is_empty()),
        [] => ("other".into(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(metrics: &Metrics) -> String {
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn recordings_are_counted_by_their_size_and_other_content_is_not() {
        let metrics = Metrics::default();
        for kind in ["application/vnd.a8s.recording+tar", "application/pdf"] {
            let spec = serde_json::json!({
                "name": "n", "title": "t", "version": 1, "fileName": "f", "mediaType": kind, "size": 7_000, "sha256": "0".repeat(64),
                "workspace": {"name": "w", "uid": "u"}, "turn": 1,
            });
            metrics.stored(&serde_json::from_value(spec).unwrap());
        }
        let text = text(&metrics);
        assert!(text.contains("a8s_recording_bytes_total 7000"), "{text}");
    }

    #[test]
    fn requests_are_counted_by_resource_and_verb() {
        let metrics = Metrics::default();
        let calls = [
            ("POST", "/api/v1/namespaces/n/pods", "application/json"),
            (
                "PATCH",
                "/apis/a8s.dev/v1alpha1/namespaces/n/workspaces/w/status?force=true",
                "application/apply-patch+yaml",
            ),
            ("PATCH", "/apis/a8s.dev/v1alpha1/namespaces/n/workspaces/w", "application/merge-patch+json"),
            ("DELETE", "/api/v1/namespaces/n/pods/p", "application/json"),
            ("GET", "/api/v1/nodes/a", "application/json"),
            ("GET", "/apis/a8s.dev/v1alpha1/workspaces?limit=500", "application/json"),
            ("GET", "/apis/a8s.dev/v1alpha1/workspaces?watch=true&timeoutSeconds=290", "application/json"),
        ];
        for (method, path, kind) in calls {
            let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, kind);
            metrics.request(&request.body(()).unwrap());
        }
        let text = text(&metrics);
        for line in [
            r#"a8s_api_writes_total{kind="pods",verb="create"} 1"#,
            r#"a8s_api_writes_total{kind="workspaces/status",verb="apply"} 1"#,
            r#"a8s_api_writes_total{kind="workspaces",verb="patch"} 1"#,
            r#"a8s_api_writes_total{kind="pods",verb="delete"} 1"#,
            r#"a8s_api_reads_total{kind="nodes",verb="get"} 1"#,
            r#"a8s_api_reads_total{kind="workspaces",verb="list"} 1"#,
            r#"a8s_api_reads_total{kind="workspaces",verb="watch"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn a_start_is_counted_once_to_the_millisecond() {
        let metrics = Metrics::default();
        let status = |total: Option<&str>| -> WorkspaceStatus {
            let startup = serde_json::json!({"began": "2026-01-01T00:00:00.000000Z", "kind": "Resume",
                "containers": "0.423s", "total": total});
            serde_json::from_value(serde_json::json!({"startup": startup})).unwrap()
        };
        metrics.started(None, &status(None));
        metrics.started(Some(&status(None)), &status(Some("1.001s")));
        metrics.started(Some(&status(Some("1.001s"))), &status(Some("1.001s")));
        let text = text(&metrics);
        for line in [
            r#"a8s_workspace_start_seconds_sum{stage="containers",start="Resume"} 0.423"#,
            r#"a8s_workspace_start_seconds_sum{stage="total",start="Resume"} 1.001"#,
            r#"a8s_workspace_start_seconds_count{stage="total",start="Resume"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
