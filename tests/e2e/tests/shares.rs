//! Shares against a real API server with the chart installed and the real controller, which has the chart's rights and no others. There is
//! no webhook and no garbage collection here: what holds, holds without them.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use a8s_cluster::{ControlPlane, Kubectl, Paths, Progress, SYSTEM_NAMESPACE, binaries::Binaries};
use a8s_e2e::{
    programs::{Running, program, repository},
    world::TEAM,
};
use serde_json::{Value, json};

/// A pass, and what it waits for.
const SOON: Duration = Duration::from_secs(30);

struct World {
    _controller: Running,
    server: ControlPlane,
    folder: tempfile::TempDir,
}

fn install(server: &ControlPlane) {
    let paths = Paths::from_env("standalone").expect("paths");
    let built = Binaries::build(&paths, &["helm"], &Progress::silent()).expect("helm");
    let output = Command::new(built.path("helm"))
        .args([
            "upgrade",
            "--install",
            "a8s",
            "--namespace",
            SYSTEM_NAMESPACE,
            "--timeout=60s",
            "--kubeconfig",
        ])
        .arg(server.kubeconfig())
        .arg(repository().join("charts/a8s"))
        .output()
        .expect("helm runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let webhooks = "mutatingwebhookconfiguration/a8s,validatingwebhookconfiguration/a8s";
    for one in webhooks.split(',') {
        server.kubectl().run(&["delete", one]).expect("the webhook is not there");
    }
}

/// A kubeconfig with the controller's own account: RBAC is asked, as in a cluster.
fn as_the_controller(server: &ControlPlane, folder: &Path) -> PathBuf {
    let kubectl = server.kubectl();
    let token = kubectl.run(&["create", "token", "-n", SYSTEM_NAMESPACE, "a8s-controller"]).expect("a token");
    let text = kubectl.run(&["config", "view", "--raw", "-o", "json"]).expect("a kubeconfig");
    let mut config: Value = serde_json::from_str(&text).expect("JSON");
    config["users"][0]["user"] = json!({"token": token.trim()});
    let file = folder.join("controller.kubeconfig");
    std::fs::write(&file, config.to_string()).expect("written");
    file
}

impl World {
    fn start() -> Self {
        let server = ControlPlane::start().expect("an API server");
        for namespace in [SYSTEM_NAMESPACE, TEAM] {
            server.kubectl().run(&["create", "namespace", namespace]).expect("a namespace");
        }
        install(&server);
        let folder = tempfile::tempdir().expect("a folder");
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        let store = format!("file://{}/store", folder.path().display());
        let child = Command::new(program("a8s-controller").expect("the controller"))
            .args(["--runner-image", "runner:1", "--store-url", &store, "--health-addr", "127.0.0.1:0"])
            .env("KUBECONFIG", as_the_controller(&server, folder.path()))
            .env("POD_NAME", "a8s-controller-0")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("the controller starts");
        Self { _controller: Running::of(child), server, folder }
    }

    fn kubectl(&self) -> &Kubectl {
        self.server.kubectl()
    }

    fn run(&self, user: &str, args: &[&str]) -> Result<String, String> {
        let user = format!("--as={user}");
        let all = [args, &["-n", TEAM, &user]].concat();
        self.kubectl().run(&all).map_err(|error| format!("{error:#}"))
    }

    fn create(&self, user: &str, object: &Value) -> Result<String, String> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), object.to_string()).expect("written");
        self.run(user, &["create", "-f", &file.path().display().to_string()])
    }

    fn patch(&self, user: &str, object: &str, body: &Value) -> Result<String, String> {
        self.run(user, &["patch", object, "--type=merge", "-p", &body.to_string()])
    }

    /// Whether RBAC lets somebody; `what` is a resource, or `resource/name`.
    fn may(&self, user: &str, verb: &str, what: &str, subresource: &str) -> bool {
        let (resource, name) = what.split_once('/').map_or((what, ""), |(resource, name)| (resource, name));
        let what = if name.is_empty() { resource.to_owned() } else { format!("{resource}/{name}") };
        let subresource = format!("--subresource={subresource}");
        self.run(user, &["auth", "can-i", verb, &what, &subresource, "-q"]).is_ok()
    }

    fn get(&self, what: &str, path: &str) -> String {
        self.kubectl().run(&["get", "-n", TEAM, what, "-o", &format!("jsonpath={path}")]).unwrap_or_default()
    }

    fn ready(&self, share: &str) -> String {
        self.get(&format!("share/{share}"), r#"{.status.conditions[?(@.type=="Ready")].reason}"#)
    }

    /// Roles and RoleBindings of Shares.
    fn access(&self) -> String {
        self.get(
            "roles.rbac.authorization.k8s.io,rolebindings.rbac.authorization.k8s.io",
            "{.items[*].metadata.name}",
        )
        .split(' ')
        .filter(|name| name.starts_with("a8s-share-"))
        .collect()
    }

    fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let begun = Instant::now();
        while !holds() {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(begun.elapsed() < SOON, "{what} did not come true in {SOON:?}:\n{log}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn at(seconds: i64) -> String {
    jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() + seconds).expect("a time").to_string()
}

fn share(name: &str, role: &str, guest: (&str, &str), expires: &str) -> Value {
    json!({
        "apiVersion": "a8s.dev/v1alpha1", "kind": "Share", "metadata": {"name": name},
        "spec": {"session": "rain", "role": role, "subjects": [{"kind": guest.0, "name": guest.1}], "expires": expires},
    })
}

fn refused(said: Result<String, String>, words: &str) {
    let said = said.expect_err(words);
    assert!(said.contains(words), "{words:?} is not in: {said}");
}

const OMAR: (&str, &str) = ("User", "omar");
const HOUR: i64 = 3_600;

#[test]
fn a_share_lets_a_guest_in_for_a_while_and_nobody_shares_what_is_not_his() {
    let world = World::start();
    let bind = |role: &str, user: &str| {
        let (name, role) = (format!("{user}-{role}"), format!("--clusterrole={role}"));
        let user = format!("--user={user}");
        world
            .kubectl()
            .run(&["create", "rolebinding", "-n", TEAM, &name, &role, &user])
            .expect("a RoleBinding");
    };
    bind("a8s-user", "jane");
    bind("a8s-viewer", "pat");
    for (name, verb) in [("makes-shares", "create"), ("changes-shares", "get,patch")] {
        let (verb, resource) = (format!("--verb={verb}"), "--resource=shares.a8s.dev");
        world.kubectl().run(&["create", "clusterrole", name, &verb, resource]).expect("a ClusterRole");
    }
    bind("makes-shares", "pat");
    bind("makes-shares", "sam");
    bind("changes-shares", "kim");
    for name in ["rain", "other"] {
        let session = json!({"apiVersion": "a8s.dev/v1alpha1", "kind": "Session",
            "metadata": {"name": name}, "spec": {"goal": "g", "environment": "desktop"}});
        world.create("jane", &session).expect("a Session");
        world.until("a Session has a desktop", || {
            world.get(&format!("session/{name}"), "{.status.workspace.name}") == name
        });
    }
    nobody_shares_what_he_may_not_do_himself(&world);
    who_may_watch_has_one_desktop_and_nothing_else(&world);
    an_end_takes_it_away_and_so_does_a_deletion(&world);
    who_has_control_takes_the_mouse_and_changes_nothing_else(&world);
}

fn nobody_shares_what_he_may_not_do_himself(world: &World) {
    let hour = at(HOUR);
    let begun = Instant::now();
    // A policy takes a moment to be in force.
    let said = loop {
        match world.create("sam", &share("mine", "Watch", ("User", "sam"), &hour)) {
            Ok(_) => drop(world.kubectl().run(&["delete", "-n", TEAM, "share/mine"])),
            Err(said) if said.contains("may not share") => break said,
            Err(said) => assert!(said.contains("forbidden"), "{said}"),
        }
        assert!(begun.elapsed() < SOON, "the policy is not in force");
    };
    assert!(said.contains("user sam may not share what he may not see"), "{said}");
    refused(world.create("pat", &share("more", "Control", OMAR, &hour)), "user pat may not share control");
    world.create("pat", &share("less", "Watch", OMAR, &hour)).expect("who may watch may let watch");
    world.run("jane", &["delete", "share/less"]).expect("deleted");

    let jane = |object: &Value| world.create("jane", object);
    let mut endless = share("endless", "Watch", OMAR, &hour);
    endless["spec"].as_object_mut().expect("a spec").remove("expires");
    refused(jane(&endless), "spec.expires must say until when");
    refused(jane(&share("long", "Watch", OMAR, &at(31 * 24 * HOUR))), "at most 30 days");
    refused(jane(&share("over", "Watch", OMAR, &at(-HOUR))), "spec.expires is over already");
    for everybody in ["system:authenticated", "system:serviceaccounts"] {
        refused(jane(&share("all", "Watch", ("Group", everybody), &hour)), "shares.everyone of the chart");
    }
    let mut forged = share("forged", "Watch", OMAR, &hour);
    forged["metadata"]["annotations"] = json!({"a8s.dev/created-by": "omar"});
    refused(jane(&forged), "a8s.dev/created-by says who made the Share");
    world.until("nothing is left of what was made for a moment", || world.access().is_empty());
    assert!(
        !world.may("omar", "get", "workspaces.a8s.dev/rain", "desktop"),
        "what was refused has granted nothing"
    );
}

fn who_may_watch_has_one_desktop_and_nothing_else(world: &World) {
    assert!(!world.may("omar", "get", "workspaces.a8s.dev/rain", "desktop"));
    world.create("jane", &share("show", "Watch", OMAR, &at(HOUR))).expect("she may");
    world.until("a Share is Ready", || world.ready("show") == "Shared");
    world.until("the guest may watch", || world.may("omar", "get", "workspaces.a8s.dev/rain", "desktop"));
    assert!(world.may("omar", "get", "workspaces.a8s.dev/rain", ""));
    assert!(world.may("omar", "get", "shares.a8s.dev/show", ""));
    for (verb, what, subresource) in [
        ("update", "workspaces.a8s.dev/rain", "desktop"),
        ("patch", "workspaces.a8s.dev/rain", ""),
        ("get", "workspaces.a8s.dev/other", "desktop"),
        ("get", "workspaces.a8s.dev/other", ""),
        ("list", "workspaces.a8s.dev", ""),
        ("get", "sessions.a8s.dev/rain", ""),
        ("list", "messages.a8s.dev", ""),
        ("get", "messages.a8s.dev", ""),
        ("create", "messages.a8s.dev", ""),
        ("create", "shares.a8s.dev", ""),
        ("list", "shares.a8s.dev", ""),
        ("patch", "shares.a8s.dev/show", ""),
        ("get", "secrets", ""),
    ] {
        assert!(!world.may("omar", verb, what, subresource), "a guest may {verb} {what} {subresource}");
    }
    let path = world.get("share/show", "{.status.path} {.status.with} {.status.workspace}");
    assert_eq!(path, format!("/#/shared/{TEAM}/show omar rain"));
    let shown = world.run("jane", &["get", "shares"]).expect("a list");
    let row = shown.lines().find(|line| line.starts_with("show ")).expect("a row");
    assert!(["rain", "Watch", "omar", "True", "Shared"].iter().all(|word| row.contains(word)), "{shown}");
    let made = world.get("rolebinding/a8s-share-show", "{.metadata.ownerReferences[0].kind}");
    assert_eq!(made, "Share", "garbage collection takes it along");
    // What somebody widens is narrowed again.
    let body =
        json!({"subjects": [{"kind": "User", "name": "sam", "apiGroup": "rbac.authorization.k8s.io"}]});
    let patch = ["patch", "-n", TEAM, "rolebinding/a8s-share-show", "--type=merge", "-p", &body.to_string()];
    world.kubectl().run(&patch).expect("an administrator may");
    world
        .until("it is put back", || world.get("rolebinding/a8s-share-show", "{.subjects[*].name}") == "omar");
}

fn an_end_takes_it_away_and_so_does_a_deletion(world: &World) {
    let watches = || world.may("omar", "get", "workspaces.a8s.dev/rain", "desktop");
    let ends = |user: &str, seconds: i64| {
        world.patch(user, "share/show", &json!({"spec": {"expires": at(seconds)}}))
    };
    refused(ends("kim", 2 * HOUR), "may not share what he may not see");
    ends("kim", 2).expect("it may be brought forward");
    world.until("it is over by itself", || world.ready("show") == "Expired");
    world.until("so are the rights", || !watches());
    assert_eq!(world.access(), "");
    let version = world.get("share/show", "{.metadata.resourceVersion}");
    refused(ends("kim", HOUR), "may not share");
    refused(ends("jane", 31 * 24 * HOUR), "at most 30 days");
    assert_eq!(world.get("share/show", "{.metadata.resourceVersion}"), version, "nothing more is written");
    ends("jane", HOUR).expect("she could make it anew");
    world.until("the rights are back", watches);
    refused(
        world.patch("jane", "share/show", &json!({"spec": {"role": "Control"}})),
        "spec.role: Invalid value",
    );
    world.run("jane", &["delete", "share/show", "--cascade=background"]).expect("deleted");
    world.until("nothing is left of it", || world.access().is_empty());
    world.until("the guest is out", || !watches());
}

fn who_has_control_takes_the_mouse_and_changes_nothing_else(world: &World) {
    world.create("jane", &share("pair", "Control", OMAR, &at(HOUR))).expect("she may");
    world.until("the guest may", || world.may("omar", "update", "workspaces.a8s.dev/rain", "desktop"));
    world.until("and may patch", || world.may("omar", "patch", "workspaces.a8s.dev/rain", ""));
    assert!(!world.may("omar", "update", "workspaces.a8s.dev/rain", ""));
    let patch = |body: &Value| world.patch("omar", "workspace/rain", body);
    // The webhook would fill in the name.
    let take = json!({"spec": {"control": {"holder": "User", "user": "omar", "private": false}}});
    patch(&take).expect("he takes the mouse");
    assert_eq!(world.get("workspace/rain", "{.spec.control.user}"), "omar");
    let forged = json!({"spec": {"control": {"holder": "User", "user": "jane"}}});
    refused(patch(&forged), "must be the user who makes the request");
    for body in [
        json!({"spec": {"state": "Suspended"}}),
        json!({"spec": {"resources": {"limits": {"cpu": "64"}}}}),
        json!({"spec": {"grants": ["llm"]}}),
        json!({"spec": {"control": {"holder": "User", "user": "omar"}, "state": "Archived"}}),
        json!({"spec": {"restore": {"snapshot": "old", "id": "1"}}}),
        json!({"metadata": {"labels": {"a": "b"}}}),
        json!({"metadata": {"annotations": {"a8s.dev/wake": "now"}}}),
        json!({"metadata": {"finalizers": ["a.b/c"]}}),
        json!({"metadata": {"ownerReferences": null}}),
    ] {
        refused(patch(&body), "changes spec.control and nothing else");
    }
    patch(&json!({"spec": {"control": {"holder": "Agent", "user": null}}})).expect("he hands it back");
    // The desktop goes, and with it the rights to whatever is called so next.
    world.run("jane", &["delete", "session/rain", "--wait=false"]).expect("deleted");
    world.until("who shared a Session that is gone shares nothing", || {
        world.ready("pair") == "SessionNotFound" && world.access().is_empty()
    });
    world
        .patch("jane", "workspace/other", &json!({"metadata": {"labels": {"a": "b"}}}))
        .expect("she is no guest");
}
