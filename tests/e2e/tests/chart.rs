//! The chart, rendered by Helm and installed into a real API server: everything in it is accepted, pods are `restricted`, a read-only
//! console has no action, and nobody speaks in another's name.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::LazyLock,
};

use a8s_cluster::{ControlPlane, Paths, Progress, SYSTEM_NAMESPACE, binaries::Binaries};
use serde_json::{Value, json};

static HELM: LazyLock<PathBuf> = LazyLock::new(|| {
    let paths = Paths::from_env("standalone").expect("paths");
    let built = Binaries::build(&paths, &["helm"], &Progress::silent()).expect("helm");
    built.path("helm").to_path_buf()
});

static SERVER: LazyLock<ControlPlane> = LazyLock::new(|| {
    let server = ControlPlane::start().expect("an API server");
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": SYSTEM_NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    });
    server.kubectl().apply(&namespace.to_string()).expect("a namespace");
    server
});

fn repository() -> PathBuf {
    Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"))
        .ancestors()
        .nth(2)
        .expect("two folders up")
        .to_path_buf()
}

fn helm(args: &[&str]) -> Result<String, String> {
    let chart = repository().join("charts/a8s");
    let output = Command::new(&*HELM).args(args).arg(chart).stdin(Stdio::null()).output().expect("helm runs");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(said(&output.stdout)) } else { Err(said(&output.stderr)) }
}

fn template(more: &[&str]) -> Vec<Value> {
    let mut args = vec!["template", "a8s", "--namespace", SYSTEM_NAMESPACE];
    args.extend(more);
    let text = helm(&args).expect("the chart renders");
    let documents = serde_saphyr::from_multiple::<Value>(&text).expect("YAML");
    documents.into_iter().filter(|d| !d.is_null()).collect()
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|o| o["kind"] == kind).collect()
}

#[test]
fn helm_finds_nothing_to_complain_about() {
    helm(&["lint", "--strict"]).expect("lint");
}

#[test]
fn a_misspelt_value_is_refused() {
    let said = helm(&["template", "a8s", "--set", "console.readonly=true"]).expect_err("refused");
    assert!(said.contains("readonly"), "{said}");
}

#[test]
fn a_read_only_console_is_told_so_and_others_are_not() {
    let read_only = |more: &[&str]| {
        let objects = template(more);
        let deployments = of_kind(&objects, "Deployment");
        let console = deployments.iter().find(|d| d["metadata"]["name"] == "a8s-console").expect("a console");
        console["spec"]["template"]["spec"]["containers"][0]["args"].to_string().contains("--read-only")
    };
    assert!(read_only(&["--set", "console.readOnly=true"]));
    assert!(!read_only(&[]));
}

#[test]
fn definitions_stay_when_the_chart_goes_and_can_be_left_out() {
    let objects = template(&[]);
    let definitions = of_kind(&objects, "CustomResourceDefinition");
    assert_eq!(definitions.len(), 10);
    assert!(definitions.iter().all(|d| d["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"));
    assert!(of_kind(&template(&["--set", "crds.enabled=false"]), "CustomResourceDefinition").is_empty());
}

#[test]
fn a_definition_in_the_chart_is_the_plain_one() {
    for mut packed in template(&[]).into_iter().filter(|o| o["kind"] == "CustomResourceDefinition") {
        packed["metadata"].as_object_mut().expect("metadata").remove("annotations");
        let plural = packed["spec"]["names"]["plural"].as_str().expect("a plural");
        let file = repository().join("crds/yaml").join(format!("{plural}.yaml"));
        let plain = std::fs::read_to_string(file).expect("a definition");
        assert_eq!(packed, serde_saphyr::from_str::<Value>(&plain).expect("YAML"));
    }
}

#[test]
fn every_pod_is_accepted_in_a_restricted_namespace() {
    let objects = template(&[]);
    let deployments = of_kind(&objects, "Deployment");
    assert_eq!(deployments.len(), 4);
    for deployment in deployments {
        let name = &deployment["metadata"]["name"];
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": SYSTEM_NAMESPACE},
            "spec": deployment["spec"]["template"]["spec"],
        });
        let container = &pod["spec"]["containers"][0];
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true, "{name}");
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), pod.to_string()).expect("written");
        let path = file.path().display().to_string();
        SERVER
            .kubectl()
            .run(&["create", "--dry-run=server", "--validate=strict", "-f", &path])
            .expect("accepted");
    }
}

#[test]
fn installed_upgraded_and_kept_honest() {
    let kubeconfig = SERVER.kubeconfig().display().to_string();
    let install = [
        "upgrade",
        "--install",
        "a8s",
        "--namespace",
        SYSTEM_NAMESPACE,
        "--kubeconfig",
        &kubeconfig,
        "--timeout=30s",
    ];
    let kubectl = SERVER.kubectl();
    helm(&install).expect("a first install, definitions and their objects at once");
    let image = ["get", "environment", "desktop", "-o", "jsonpath={.spec.image}"];
    assert_eq!(kubectl.run(&image).expect("an Environment"), "localhost/a8s/desktop:0.1.0");
    let uid = ["get", "environment", "desktop", "-o", "jsonpath={.metadata.uid}"];
    let before = kubectl.run(&uid).expect("a UID");
    for tag in ["2", "3"] {
        let value = format!("environments.desktop.image=localhost/a8s/desktop:{tag}");
        helm(&[&install[..], &["--set", &value]].concat()).expect("an upgrade");
        assert_eq!(kubectl.run(&image).expect("an Environment"), format!("localhost/a8s/desktop:{tag}"));
        assert_eq!(kubectl.run(&uid).expect("a UID"), before, "an upgrade never takes the Environment away");
    }
    nobody_speaks_in_anothers_name(kubectl);
    nobody_decides_for_another(kubectl);
    without_a_webhook_only_what_it_does_not_judge_is_changed(kubectl);
    who_names_data_of_the_backend_must_be_allowed_to_import(kubectl);
}

/// Whoever names a handle reads what is behind it. The webhook is not there: this is the API server's own policy.
fn who_names_data_of_the_backend_must_be_allowed_to_import(kubectl: &a8s_cluster::Kubectl) {
    let bind = |role: &str, name: &str| {
        kubectl
            .run(&[
                "create",
                "rolebinding",
                "-n",
                "default",
                name,
                &format!("--clusterrole={role}"),
                "--user=jane",
            ])
            .expect("a RoleBinding")
    };
    bind("a8s-user", "jane");
    let snapshot = |object: Value| {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), object.to_string()).expect("written");
        let path = file.path().display().to_string();
        kubectl.run(&["apply", "--server-side", "--force-conflicts", "--as=jane", "-f", &path])
    };
    let object = |name: &str, restored: bool, handle: Option<&str>, import: bool| {
        let mut object = json!({
            "apiVersion": "a8s.dev/v1alpha1", "kind": "Snapshot", "metadata": {"name": name, "namespace": "default"},
            "spec": {"workspace": "w"},
        });
        if restored {
            object["metadata"]["labels"] = json!({"velero.io/restore-name": "r"});
        }
        if let Some(handle) = handle {
            object["metadata"]["annotations"] =
                json!({"velero.io/csi-volumesnapshot-handle": handle, "velero.io/csi-driver-name": "d"});
        }
        if import {
            object["spec"]["import"] = json!({"driver": "d", "handle": "foreign", "environment": "desktop"});
        }
        object
    };
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    // A role takes a moment to be in force, and so does a policy.
    let refusal = loop {
        match snapshot(object("imported", false, None, true)).map_err(|error| format!("{error:#}")) {
            Err(error) if error.contains("user jane may not import") => break error,
            said => assert!(std::time::Instant::now() < until, "the policy is not in force: {said:?}"),
        }
        let _ = kubectl.run(&["delete", "-n", "default", "snapshot/imported"]);
    };
    assert!(refusal.contains("a8s-snapshot-importer"), "{refusal}");
    snapshot(object("restored", true, Some("foreign"), false)).expect_err("notes of a backup are an import");
    snapshot(object("plain", false, Some("h"), false)).expect("without the label nobody reads the notes");
    snapshot(object("plain", true, Some("h"), false)).expect_err("the label makes them count");
    snapshot(object("plain", true, None, false)).expect("a label alone names nothing");
    snapshot(object("plain", true, Some("foreign"), false)).expect_err("nor may they be added later");

    bind("a8s-snapshot-importer", "jane-imports");
    let can = ["auth", "can-i", "import", "snapshots.a8s.dev", "-n", "default", "--as=jane"];
    kubectl.until(std::time::Duration::from_secs(30), &can).expect("the role is in force");
    snapshot(object("imported", false, None, true)).expect("now she may");
    snapshot(object("restored", true, Some("foreign"), false)).expect("now she may");
    for name in ["plain", "imported", "restored"] {
        kubectl.run(&["delete", "-n", "default", &format!("snapshot/{name}")]).expect("deleted");
    }
    for name in ["jane", "jane-imports"] {
        kubectl.run(&["delete", "rolebinding", "-n", "default", name]).expect("deleted");
    }
}

/// There are no pods here, so the webhook never answers.
fn without_a_webhook_only_what_it_does_not_judge_is_changed(kubectl: &a8s_cluster::Kubectl) {
    let file = repository().join("crds/examples/accept/workspace-alone.yaml").display().to_string();
    let controller = format!("--as=system:serviceaccount:{SYSTEM_NAMESPACE}:a8s-controller");
    let create = ["create", "-n", "default", "-f", &file];
    let refused = kubectl.run(&create).expect_err("nobody could say who made it");
    assert!(format!("{refused:#}").contains("failed calling webhook"), "{refused:#}");
    kubectl
        .run(&[&create[..], &[&controller, "--as-group=system:masters"]].concat())
        .expect("the controller need not ask");
    let patch = |body: &str| {
        kubectl.run(&["patch", "-n", "default", "workspace/scratch", "--type=merge", "-p", body])
    };
    patch(r#"{"metadata":{"labels":{"a":"b"}}}"#).expect("a label says nothing about rights");
    patch(r#"{"metadata":{"finalizers":[]}}"#).expect("garbage collection goes on");
    patch(r#"{"spec":{"control":{"holder":"User"}}}"#).expect_err("the holder is stamped");
    patch(r#"{"metadata":{"annotations":{"a8s.dev/created-by":"jane"}}}"#)
        .expect_err("the creator is judged");
    kubectl.run(&["delete", "-n", "default", "workspace/scratch"]).expect("deleting needs no webhook");
}

/// In the system namespace the webhook is not asked, so this is the policy alone.
fn nobody_speaks_in_anothers_name(kubectl: &a8s_cluster::Kubectl) {
    let message = |user: &str, author: &Value| {
        let spec = json!({"session": "a", "content": "b", "author": author});
        let meta = json!({"generateName": "a-", "namespace": SYSTEM_NAMESPACE});
        let message =
            json!({"apiVersion": "a8s.dev/v1alpha1", "kind": "Message", "metadata": meta, "spec": spec});
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), message.to_string()).expect("written");
        let path = file.path().display().to_string();
        let user = format!("--as={user}");
        kubectl.run(&["create", "--dry-run=server", &user, "--as-group=system:masters", "-f", &path])
    };
    // A policy takes a moment to be in force.
    let said = || message("jane", &json!({"kind": "User", "name": "omar"})).err().map(|e| format!("{e:#}"));
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while said().is_none() {
        assert!(std::time::Instant::now() < until, "the policy is not in force");
    }
    assert!(said().is_some_and(|s| s.contains("spec.author must be the user who makes the request")));
    message("jane", &json!({"kind": "User", "name": "jane"})).expect("her own name");
    message("jane", &json!({"kind": "Agent", "name": "jane"})).expect_err("she is no agent");
    let controller = format!("system:serviceaccount:{SYSTEM_NAMESPACE}:a8s-controller");
    message(&controller, &json!({"kind": "Agent", "name": "builtin"}))
        .expect("the controller speaks for the agent");
}

/// In the system namespace the webhook is not asked, so this is the policy alone: as it is while the webhook is away.
fn nobody_decides_for_another(kubectl: &a8s_cluster::Kubectl) {
    let controller = format!("system:serviceaccount:{SYSTEM_NAMESPACE}:a8s-controller");
    let console = format!("system:serviceaccount:{SYSTEM_NAMESPACE}:a8s-console");
    // Whatever RBAC allows: these may do everything that no policy forbids.
    let run = |user: &str, args: &[&str]| {
        let user = format!("--as={user}");
        let more = ["-n", SYSTEM_NAMESPACE, &user, "--as-group=system:masters"];
        kubectl.run(&[args, &more[..]].concat()).map_err(|error| format!("{error:#}"))
    };
    let create = |user: &str, name: &str, policy: &str| {
        let options = json!([{"id": "yes", "kind": "AllowOnce"}, {"id": "no", "kind": "RejectOnce"}]);
        let request = json!({
            "apiVersion": "a8s.dev/v1alpha1", "kind": "Request", "metadata": {"name": name, "namespace": SYSTEM_NAMESPACE},
            "spec": {"session": "a", "type": "Permission", "title": "t", "options": options, "id": "0-1", "policy": policy},
        });
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), request.to_string()).expect("written");
        run(user, &["create", "-f", &file.path().display().to_string()])
    };
    let patch = |user: &str, name: &str, status: &Value| {
        let (object, body) = (format!("request/{name}"), json!({"status": status}).to_string());
        run(user, &["patch", &object, "--subresource=status", "--type=merge", "-p", &body])
    };
    let decide = |user: &str, name: &str, by: &str| {
        patch(user, name, &json!({"decision": {"option": "yes", "by": by}}))
    };
    let refused = |said: Result<String, String>, words: &str| {
        let said = said.expect_err(words);
        assert!(said.contains(words), "{said}");
    };
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    // A policy takes a moment to be in force.
    while create("jane", "forged", "Auto").is_ok() {
        run("jane", &["delete", "request/forged"]).expect("deleted");
        assert!(std::time::Instant::now() < until, "the policy is not in force");
    }
    refused(create("jane", "forged", "Auto"), "Requests are made by a8s");
    create(&controller, "ask", "Ask").expect("the controller asks for the agent");
    create(&controller, "auto", "Auto").expect("the controller asks for the agent");

    refused(
        patch("jane", "ask", &json!({"decision": {"option": "yes"}})),
        "must be the user who makes the request",
    );
    refused(decide("jane", "ask", "omar"), "must be the user who makes the request");
    for account in [&console, &controller] {
        refused(decide(account, "ask", account), "this is a person's to decide");
        refused(decide(account, "ask", "jane"), "must be the user who makes the request");
    }
    refused(
        patch("jane", "ask", &json!({"decision": {"option": "maybe", "by": "jane"}})),
        "must be the id of one of spec.options",
    );
    refused(patch("jane", "ask", &json!({"state": "Granted"})), "of the status only decision may be written");
    refused(
        patch("jane", "ask", &json!({"outcome": "fine", "decision": {"option": "yes", "by": "jane"}})),
        "of the status only decision may be written",
    );
    // What runs in a desktop has no account; one that somebody lends it has no rights here.
    let agent = [
        "patch",
        "request/ask",
        "--subresource=status",
        "--type=merge",
        "-p",
        r#"{"status":{"decision":{"option":"yes"}}}"#,
    ];
    let agent =
        [&agent[..], &["-n", SYSTEM_NAMESPACE, "--as=system:serviceaccount:default:desktop"]].concat();
    refused(kubectl.run(&agent).map_err(|e| format!("{e:#}")), "resource \"requests/status\"");

    decide("jane", "ask", "jane").expect("her own decision");
    refused(patch("jane", "ask", &json!({"decision": {"option": "no"}})), "it is decided already");
    refused(patch("jane", "ask", &json!({"decision": null})), "it is decided already");
    decide(&controller, "auto", &controller).expect("a rule may decide what is left to rules");
    patch(&controller, "ask", &json!({"state": "Granted", "outcome": "granted by jane"}))
        .expect("the controller closes it");
    create(&controller, "late", "Ask").expect("the controller asks for the agent");
    patch(&controller, "late", &json!({"state": "Expired"})).expect("nobody decided");
    refused(decide("jane", "late", "jane"), "this Request is closed (Expired)");

    // Elsewhere the webhook stamps; without it nothing is decided at all.
    let can =
        ["auth", "can-i", "patch", "requests.a8s.dev", "--subresource=status", "-n", "default", "--as=jane"];
    assert!(kubectl.run(&can).is_err(), "nobody decides who was not given the right");
    let bind = ["create", "rolebinding", "-n", "default", "decides", "--clusterrole=a8s-user", "--user=jane"];
    kubectl.run(&bind).expect("a RoleBinding");
    kubectl.until(std::time::Duration::from_secs(30), &can).expect("users of a8s decide");
    kubectl.run(&["delete", "rolebinding", "-n", "default", "decides"]).expect("deleted");
    for name in ["ask", "auto", "late"] {
        run("jane", &["delete", &format!("request/{name}")]).expect("deleted");
    }
}
