//! Connections and grants against a real API server and the real controller: a key gets from its Secret into the one Secret that the runner
//! mounts, is followed when it changes, goes when it is taken away, and is found nowhere else.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use a8s_cluster::{ControlPlane, Kubectl};
use a8s_e2e::programs::{Running, program, repository};
use serde_json::{Value, json};

const FIRST: &str = "canary-0f27d1-first";
const SECOND: &str = "canary-93ab44-second";
const TEAM: &str = "team";
/// Nobody of a8s may watch Secrets; they are looked at this often.
const NOTICED: Duration = Duration::from_mins(1);

fn start(server: &ControlPlane, folder: &Path) -> Running {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("log")).expect("a log");
    let store = format!("file://{}/store", folder.display());
    let child = Command::new(program("a8s-controller").expect("the controller"))
        .args(["--runner-image", "runner:1", "--store-url", &store, "--health-addr", "127.0.0.1:0"])
        .env("KUBECONFIG", server.kubeconfig())
        .env("POD_NAME", "a8s-controller-0")
        // As talkative as it gets: a key must be in no log at all.
        .env("A8S_LOG", "debug")
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a log"))
        .stderr(log)
        .spawn()
        .expect("the controller starts");
    Running::of(child)
}

fn apply(kubectl: &Kubectl, object: &Value) {
    kubectl
        .apply(&object.to_string())
        .unwrap_or_else(|error| panic!("{}: {error:#}", object["metadata"]["name"]));
}

fn secret(key: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys", "namespace": TEAM}, "stringData": {"llm": key}})
}

fn ours(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "a8s.dev/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": TEAM}, "spec": spec})
}

fn get(kubectl: &Kubectl, what: &str, path: &str) -> String {
    kubectl.run(&["get", "-n", TEAM, what, "-o", &format!("jsonpath={path}")]).unwrap_or_default()
}

fn until(what: &str, limit: Duration, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < limit, "{what} did not come true in {limit:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn granted(kubectl: &Kubectl) -> Value {
    use base64::Engine;
    let text = get(kubectl, "secret/desk-grants", r"{.data.grants\.json}");
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

#[test]
fn a_key_reaches_the_runner_is_followed_and_taken_away_and_is_found_nowhere_else() {
    let server = ControlPlane::start().expect("an API server");
    let kubectl = server.kubectl();
    let definitions = repository().join("crds/yaml").display().to_string();
    kubectl.run(&["apply", "--server-side", "-f", &definitions]).expect("definitions");
    kubectl
        .run(&["wait", "--for=condition=Established", "--timeout=30s", "crd", "--all"])
        .expect("established");
    for namespace in [TEAM, "a8s-system"] {
        kubectl.run(&["create", "namespace", namespace]).expect("a namespace");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let controller = start(&server, folder.path());

    let key = json!({"name": "keys", "key": "llm"});
    let model = json!({"model": {"provider": "anthropic", "name": "m", "secretRef": key}});
    apply(kubectl, &ours("Connection", "llm", &model));
    apply(
        kubectl,
        &ours("Workspace", "desk", &json!({"environment": "desktop", "grants": ["llm", "nothing"]})),
    );
    let ready = |path: &str| {
        get(kubectl, "connection/llm", &format!(r#"{{.status.conditions[?(@.type=="Ready")].{path}}}"#))
    };
    until("a Connection names what is missing", Duration::from_secs(20), || {
        ready("message").contains("Secret keys does not exist")
    });
    assert_eq!(ready("reason"), "SecretNotFound");
    assert_eq!(granted(kubectl), Value::Null, "there is nothing to grant yet");

    apply(kubectl, &secret(FIRST));
    until("it heals", NOTICED, || ready("status") == "True");
    until("the key is granted", Duration::from_secs(20), || {
        granted(kubectl)["connections"][0]["key"] == FIRST
    });
    until("it says what it is and who has it", Duration::from_secs(20), || {
        get(kubectl, "connection/llm", "{.status.kind} {.status.target} {.status.sessions}") == "Model m 1"
    });
    let made = "{.metadata.ownerReferences[0].kind} {.metadata.labels.velero\\.io/exclude-from-backup}";
    assert_eq!(get(kubectl, "secret/desk-grants", made), "Workspace true");

    apply(kubectl, &secret(SECOND));
    until("another key is noticed", NOTICED, || granted(kubectl)["connections"][0]["key"] == SECOND);
    until("people can see it", Duration::from_secs(20), || {
        !get(kubectl, "connection/llm", "{.status.rotated}").is_empty()
    });
    let version = get(kubectl, "secret/desk-grants", "{.metadata.resourceVersion}");

    // Another process finds what it would have written, and writes nothing.
    drop(controller);
    let controller = start(&server, folder.path());
    let log = || std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    until("another process leads", Duration::from_mins(1), || log().matches("leading").count() >= 2);
    apply(kubectl, &ours("Connection", "wiki", &json!({"mcp": {"url": "https://wiki.example/mcp"}})));
    until("it works", Duration::from_secs(20), || {
        get(kubectl, "connection/wiki", "{.status.target}") == "wiki.example"
    });
    assert_eq!(get(kubectl, "secret/desk-grants", "{.metadata.resourceVersion}"), version);

    let kinds = kubectl.run(&["api-resources", "--verbs=list", "-o", "name"]).expect("a list");
    let kinds: Vec<&str> = kinds.lines().filter(|kind| !kind.is_empty() && *kind != "secrets").collect();
    let all = kubectl
        .run(&["get", &kinds.join(","), "-A", "-o", "json", "--show-managed-fields"])
        .expect("all objects");
    for (place, text) in [("objects", &all), ("log", &log())] {
        assert!(text.len() > 100, "{place} are looked at");
        assert!(!text.contains("canary"), "a key is among the {place}");
    }

    kubectl
        .run(&["patch", "-n", TEAM, "workspace/desk", "--type=merge", "-p", r#"{"spec":{"grants":[]}}"#])
        .expect("a patch");
    until("what is not granted any more is gone", Duration::from_secs(20), || {
        get(kubectl, "secret", "{.items[*].metadata.name}").split(' ').all(|name| name != "desk-grants")
    });
    drop(controller);
}
