//! The pod. It fits PodSecurity `restricted`; `ARCHITECTURE.md` shows who sees which volume.

use a8s_crds::{ClipboardRule, DesktopSize, Environment, PodSettings, Resources, names};
use a8s_wire::paths::{self, env};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{Observed, RESTORED_FROM, children, volume};
use crate::Env;

const DESKD: &str = "/usr/libexec/a8s/deskd";
const SHIM: &str = "/usr/libexec/a8s/shim";
const AGENT: &str = "/usr/libexec/a8s/agent";
const RUNNER: &str = "/a8s-runner";
/// Annotation of the pod: a hash of the spec that it was made from.
const MADE_FROM: &str = "a8s.dev/made-from";

/// The pod of a Workspace made from `environment`.
pub(crate) fn pod(observed: &Observed, environment: &Environment, plan: &Env) -> Value {
    let spec = &environment.spec;
    let size = observed.workspace.spec.desktop.clone().unwrap_or_else(|| spec.desktop.clone());
    let variables = variables(observed, &size);
    let own = observed.workspace.spec.resources.as_ref();
    let settings = spec.pod.as_ref();
    let resources = own.or_else(|| settings.and_then(|p| p.resources.as_ref()));

    let mount = |name: &str, path: &str| json!({"name": name, "mountPath": path});
    let part = |path: &str, part: &str| json!({"name": "volume", "mountPath": path, "subPath": part});
    let tls = json!({"name": "tls", "mountPath": paths::TLS, "readOnly": true});
    let home = part(paths::HOME, "home");
    let (acp, desk) = (mount("acp", "/run/a8s/acp"), mount("desk", "/run/a8s/desk"));

    let mut desktop = container("desktop", &spec.image, &[DESKD], 1000, &variables);
    desktop["volumeMounts"] = json!([
        home,
        desk,
        tls,
        mount("desktop-run", "/run/user-1000"),
        mount("desktop-tmp", "/tmp"),
        mount("desktop-shm", "/dev/shm"),
    ]);
    desktop["ports"] = json!([{"name": "deskd", "containerPort": paths::DESKD_PORT, "protocol": "TCP"}]);
    desktop["readinessProbe"] = probe(paths::DESKD_PORT);
    if let (Some(variables), rule) = (desktop["env"].as_array_mut(), spec.clipboard)
        && rule != ClipboardRule::Both
    {
        variables.push(json!({"name": env::CLIPBOARD, "value": rule}));
    }
    if let Some(resources) = resources {
        desktop["resources"] = limits(resources);
    }

    let mut command = vec![SHIM, "serve", "--"];
    let harness = harness(environment);
    command.extend(harness.iter().map(String::as_str));
    let mut agent = container("agent", &spec.image, &command, 1000, &variables);
    agent["volumeMounts"] = json!([home, acp, mount("agent-tmp", "/tmp")]);
    agent["resources"] = json!({"requests": {"cpu": "50m", "memory": "64Mi"}});
    if let Some(limits) = resources.map(|r| &r.limits).filter(|l| !l.is_empty()) {
        agent["resources"]["limits"] = json!(limits);
    }

    let mut runner = container("runner", &plan.runner_image, &[RUNNER], 1001, &variables);
    let grants = json!({"name": "grants", "mountPath": grants_folder(), "readOnly": true});
    runner["volumeMounts"] = json!([part(paths::STATE, "state"), home, acp, desk, tls, grants]);
    runner["ports"] = json!([{"name": "runner", "containerPort": paths::RUNNER_PORT, "protocol": "TCP"}]);
    runner["readinessProbe"] = probe(paths::RUNNER_PORT);
    runner["resources"] =
        json!({"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}});

    let memory =
        |name: &str, size: &str| json!({"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": size}});
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": children::metadata(observed, &names::pod(observed.name())),
        "spec": {
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 10,
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": 1000,
                "runAsGroup": 1000,
                "fsGroup": 1000,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            // Containers start one after the other: what people wait for comes first.
            "containers": [desktop, agent, runner],
            "volumes": [
                {"name": "volume", "persistentVolumeClaim": {"claimName": volume::claim_name(observed)}},
                {"name": "tls", "secret": {"secretName": names::tls_secret(observed.name()), "defaultMode": 0o440}},
                // There is none as long as nothing was granted.
                {"name": "grants", "secret": {
                    "secretName": names::grants_secret(observed.name()), "defaultMode": 0o440, "optional": true,
                }},
                memory("desk", "1Mi"),
                memory("acp", "1Mi"),
                memory("desktop-run", "16Mi"),
                memory("desktop-tmp", "512Mi"),
                memory("desktop-shm", "512Mi"),
                {"name": "agent-tmp", "emptyDir": {"sizeLimit": "4Gi"}},
            ],
        },
    });
    // Not the user's name for a pod, but what `hostname` says in a terminal on the desktop.
    pod["spec"]["hostname"] =
        observed.name().chars().map(|c| if c == '.' { '-' } else { c }).collect::<String>().into();
    if !spec.image_pull_secrets.is_empty() {
        let secrets: Vec<_> = spec.image_pull_secrets.iter().map(|name| json!({"name": name})).collect();
        pod["spec"]["imagePullSecrets"] = json!(secrets);
    }
    if let Some(settings) = settings {
        place(&mut pod, settings);
    }
    let made_from = names::short_hash(&pod["spec"].to_string());
    pod["metadata"]["annotations"] = backup_hooks();
    pod["metadata"]["annotations"][MADE_FROM] = made_from.into();
    pod
}

/// Mounted whole: a single file of a Secret would never change in a running container.
fn grants_folder() -> &'static str {
    paths::GRANTS.rsplit_once('/').map_or(paths::GRANTS, |(folder, _)| folder)
}

/// Velero flushes the volume before it takes a snapshot of its own, as a Snapshot of ours does.
fn backup_hooks() -> Value {
    json!({
        "pre.hook.backup.velero.io/container": "runner",
        "pre.hook.backup.velero.io/command": r#"["/a8s-runner", "quiesce"]"#,
        "pre.hook.backup.velero.io/on-error": "Continue",
        "pre.hook.backup.velero.io/timeout": "30s",
    })
}

/// Whether this pod would be made in another way today.
pub(crate) fn outdated(found: &Pod, observed: &Observed, environment: &Environment, plan: &Env) -> bool {
    let now = pod(observed, environment, plan);
    let then = found.metadata.annotations.as_ref().and_then(|a| a.get(MADE_FROM));
    then.is_some_and(|then| now["metadata"]["annotations"][MADE_FROM] != then.as_str())
}

/// Where and under what runtime it runs.
fn place(pod: &mut Value, settings: &PodSettings) {
    if let Some(class) = settings.runtime_class_name.as_deref() {
        pod["spec"]["runtimeClassName"] = class.into();
    }
    if settings.user_namespace {
        pod["spec"]["hostUsers"] = false.into();
    }
    if !settings.node_selector.is_empty() {
        pod["spec"]["nodeSelector"] = json!(settings.node_selector);
    }
}

/// Command of the default harness; the built-in agent if the Environment names none.
fn harness(environment: &Environment) -> Vec<String> {
    let all = &environment.spec.harnesses;
    let chosen = all.iter().find(|h| h.default).or_else(|| all.first());
    chosen.map(|h| h.command.clone()).filter(|c| !c.is_empty()).unwrap_or_else(|| vec![AGENT.to_owned()])
}

fn variables(observed: &Observed, size: &DesktopSize) -> Value {
    let variable = |name: &str, value: &str| json!({"name": name, "value": value});
    json!([
        variable(env::WORKSPACE_UID, observed.uid()),
        variable(env::WORKSPACE, observed.name()),
        variable(env::NAMESPACE, observed.namespace()),
        variable(env::SESSION, observed.session()),
        variable(env::GEOMETRY, &format!("{}x{}", size.width, size.height)),
        variable(env::EPOCH, &children::epoch(observed).to_string()),
        variable(env::RESTORED_FROM, &restored_from(observed)),
    ])
}

/// What the volume was, or is to be, made from.
fn restored_from(observed: &Observed) -> String {
    match volume::current(observed) {
        Some(claim) => volume::note(claim, RESTORED_FROM).unwrap_or_default().to_owned(),
        None => volume::next(observed).ok().and_then(|next| next.restored_from()).unwrap_or_default(),
    }
}

fn container(name: &str, image: &str, command: &[&str], user: i64, variables: &Value) -> Value {
    json!({
        "name": name,
        "image": image,
        "command": command,
        "env": variables,
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "runAsNonRoot": true,
            "runAsUser": user,
            "runAsGroup": 1000,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    })
}

fn limits(resources: &Resources) -> Value {
    let mut all = json!({});
    if !resources.requests.is_empty() {
        all["requests"] = json!(resources.requests);
    }
    if !resources.limits.is_empty() {
        all["limits"] = json!(resources.limits);
    }
    all
}

fn probe(port: u16) -> Value {
    json!({
        "httpGet": {"path": "/healthz", "port": port, "scheme": "HTTPS"},
        "periodSeconds": 1,
        "timeoutSeconds": 1,
        "failureThreshold": 3,
    })
}
