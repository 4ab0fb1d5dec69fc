//! The definitions against a real API server: every example that must be accepted is, every other is refused with the
//! path of the field, and what may not change cannot be changed.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use a8s_cluster::ControlPlane;

static SERVER: LazyLock<ControlPlane> = LazyLock::new(|| {
    let server = ControlPlane::start().expect("an API server");
    let folder = repository().join("crds/yaml");
    let kubectl = server.kubectl();
    kubectl
        .run(&["apply", "--server-side", "-f", &folder.display().to_string()])
        .expect("definitions are accepted");
    for name in [
        "artifacts",
        "connections",
        "environments",
        "messages",
        "requests",
        "sessions",
        "shares",
        "snapshots",
        "warmpools",
        "workspaces",
    ] {
        let crd = format!("crd/{name}.a8s.dev");
        kubectl.run(&["wait", "--for=condition=Established", "--timeout=30s", &crd]).expect("established");
        let path = "-o=jsonpath={.status.conditions[?(@.type==\"NonStructuralSchema\")].message}";
        assert_eq!(kubectl.run(&["get", &crd, path]).expect("a definition"), "", "{name} is not structural");
    }
    server
});

fn repository() -> PathBuf {
    Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"))
        .ancestors()
        .nth(2)
        .expect("two folders up")
        .to_path_buf()
}

fn examples(kind: &str) -> Vec<PathBuf> {
    let folder = repository().join("crds/examples").join(kind);
    let mut files: Vec<_> =
        fs::read_dir(folder).expect("examples").map(|e| e.expect("an entry").path()).collect();
    files.sort();
    files
}

/// What the server says to a dry run, which checks everything and stores nothing.
fn try_out(file: &Path) -> Result<(), String> {
    let output = SERVER
        .kubectl()
        .command()
        .args(["create", "--dry-run=server", "--validate=strict", "-f"])
        .arg(file)
        .output()
        .expect("kubectl runs");
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

#[test]
fn every_good_example_is_accepted() {
    let files = examples("accept");
    assert!(files.len() >= 12);
    let refused: Vec<_> = files.iter().filter_map(|f| try_out(f).err().map(|e| (f, e))).collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn every_bad_example_is_refused_with_the_path_of_the_field() {
    let files = examples("reject");
    assert!(files.len() >= 20);
    let mut wrong = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).expect("an example");
        let expected = text.lines().next().and_then(|l| l.strip_prefix("# expect: ")).expect("a first line");
        match try_out(file) {
            Ok(()) => wrong.push(format!("{} is accepted", file.display())),
            Err(said) if !said.contains(expected) => wrong.push(format!("{}: {said}", file.display())),
            Err(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn samples_are_valid() {
    let folder = repository().join("config/samples");
    for entry in fs::read_dir(folder).expect("samples") {
        let file = entry.expect("an entry").path();
        if file.extension().is_some_and(|e| e == "yaml") {
            try_out(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        }
    }
}

#[test]
fn what_is_said_and_decided_cannot_be_changed_afterwards() {
    let kubectl = SERVER.kubectl();
    let create = |file: &str| {
        let file = repository().join("crds/examples/accept").join(file).display().to_string();
        kubectl.run(&["create", "-f", &file]).expect("accepted");
    };
    create("session-smallest.yaml");
    create("message-steer.yaml");
    create("workspace-alone.yaml");
    create("snapshot-smallest.yaml");
    create("artifact.yaml");
    let cases = [
        ("session/smallest", r#"{"spec":{"goal":"another"}}"#, "spec.goal: Invalid value"),
        ("message/steer", r#"{"spec":{"content":"another"}}"#, "a Message cannot be changed"),
        ("workspace/scratch", r#"{"spec":{"environment":"another"}}"#, "spec.environment: Invalid value"),
        ("workspace/scratch", r#"{"spec":{"storage":{"size":"9Gi"}}}"#, "spec.storage: Invalid value"),
        ("workspace/scratch", r#"{"spec":{"storage":null}}"#, "is immutable"),
        ("workspace/scratch", r#"{"spec":{"source":{"snapshot":"a"}}}"#, "is immutable"),
        ("snapshot/before-submit", r#"{"spec":{"workspace":"another"}}"#, "spec.workspace: Invalid value"),
        (
            "artifact/quarterly-report-pdf-v2",
            r#"{"spec":{"title":"another"}}"#,
            "a changed file is a new version",
        ),
    ];
    for (object, patch, expected) in cases {
        let said = kubectl.run(&["patch", object, "--type=merge", "-p", patch]).expect_err(object);
        assert!(format!("{said:#}").contains(expected), "{object}: {said:#}");
    }
    kubectl
        .run(&["patch", "session/smallest", "--type=merge", "-p", r#"{"spec":{"state":"Terminated"}}"#])
        .expect("may end");
    let back =
        kubectl.run(&["patch", "session/smallest", "--type=merge", "-p", r#"{"spec":{"state":"Active"}}"#]);
    assert!(format!("{:#}", back.expect_err("ended")).contains("a terminated Session cannot come back"));
}

#[test]
fn a_message_is_found_by_its_session_on_the_server() {
    let args = ["get", "messages", "--field-selector", "spec.session=nobody", "-o", "name"];
    assert_eq!(SERVER.kubectl().run(&args).expect("a selectable field"), "");
}

#[test]
fn a_decision_fits_what_was_asked_and_is_made_once() {
    let kubectl = SERVER.kubectl();
    let folder = tempfile::tempdir().expect("a folder");
    let request = |name: &str, spec: &str| {
        let file = folder.path().join(name);
        let text = format!(
            "{{apiVersion: a8s.dev/v1alpha1, kind: Request, metadata: {{name: {name}}}, spec: {spec}}}"
        );
        fs::write(&file, text).expect("written");
        kubectl.run(&["create", "-f", &file.display().to_string()]).expect("accepted");
    };
    request(
        "choose",
        "{session: a, type: Permission, title: t, options: [{id: once, kind: AllowOnce}, {id: never, kind: RejectAlways}]}",
    );
    request("say", "{session: a, type: Credential, title: t, subject: crm}");
    request(
        "fill",
        "{session: a, type: Question, title: t, form: [{name: city}, {name: note, optional: true}]}",
    );
    let decide = |name: &str, decision: &str| {
        let body = format!(r#"{{"status":{{"decision":{decision}}}}}"#);
        let args = ["patch", &format!("request/{name}"), "--subresource=status", "--type=merge", "-p", &body];
        kubectl.run(&args).map_err(|error| format!("{error:#}"))
    };
    for (name, decision, expected) in [
        ("choose", r#"{"option":"allow"}"#, "must be the id of one of spec.options"),
        ("say", r#"{"option":"yes"}"#, "without those it is allow or deny"),
        ("fill", r#"{"option":"allow"}"#, "needs a value for each field"),
        ("fill", r#"{"option":"allow","values":{"city":"","note":"n"}}"#, "needs a value for each field"),
    ] {
        let said = decide(name, decision).expect_err(decision);
        assert!(said.contains(expected), "{name} {decision}: {said}");
    }
    decide("choose", r#"{"option":"never"}"#).expect("a refusal");
    decide("say", r#"{"option":"allow"}"#).expect("a yes");
    decide("fill", r#"{"option":"allow","values":{"city":"Turin"}}"#).expect("filled in");
    let again = decide("say", r#"{"option":"deny"}"#).expect_err("decided");
    assert!(again.contains("it is decided already"), "{again}");
    let mine = kubectl
        .run(&["get", "requests", "--field-selector", "spec.session=a", "-o", "name"])
        .expect("a list");
    assert_eq!(
        mine.lines().filter(|l| l.contains("/choose") || l.contains("/say") || l.contains("/fill")).count(),
        3
    );
}
