//! Desktops that wait before anybody asks: taken over by a Session on a real node, replaced when their Environment changes, prepared once
//! where the Environment says so, and gone without a trace.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{
    Case, MINUTE,
    common::{Desk, everything, is_true},
};

pub const CASES: &[Case] = &[
    ("a session adopts a desktop that waits and works in it", a_session_adopts),
    ("a pool rolls when its environment changes and is never empty", a_pool_rolls),
    ("with a golden snapshot every desktop starts from the home that the first one prepared", a_golden_home),
];

const HEAD: &str = "apiVersion: a8s.dev/v1alpha1\nkind: ";
/// So that some of them run beside each other on a small machine.
const SMALL: &str = "resources: {requests: {cpu: 1m, memory: 64Mi}, limits: {memory: 768Mi}}";
const KEY: &str = "canary-of-the-pool-91c3";

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn pool(desk: &Desk, name: &str, environment: &str, replicas: usize) -> Result<()> {
    desk.apply(&format!(
        "{HEAD}WarmPool\nmetadata: {{name: {name}}}\nspec: {{environment: {environment}, replicas: {replicas}, {SMALL}}}\n"
    ))
}

/// Waits until so many desktops of the pool are ready and made from the Environment as it is now.
fn filled(desk: &Desk, name: &str, replicas: usize) -> Result<Value> {
    desk.until(&format!("{replicas} desktops of pool {name} are ready"), 3 * MINUTE, |d| {
        let found = d.get("warmpool", name)?;
        let status = &found["status"];
        let counts = ["replicas", "readyReplicas", "updatedReplicas"];
        let all = counts.iter().all(|key| status[*key] == json!(replicas));
        (all && is_true(&found, "Ready")).then_some(found)
    })
}

/// Workspaces that wait in the pool.
fn waiting(desk: &Desk, pool: &str) -> Vec<Value> {
    let all = desk.list("workspaces").into_iter();
    all.filter(|w| {
        w["metadata"]["labels"]["a8s.dev/pool"] == pool && w["metadata"]["deletionTimestamp"].is_null()
    })
    .collect()
}

fn uids(all: &[Value]) -> BTreeSet<String> {
    all.iter().map(|object| text(&object["metadata"]["uid"])).collect()
}

fn shell(desk: &Desk, workspace: &str, container: &str, script: &str) -> Result<String> {
    desk.kubectl(&["exec", &format!("{workspace}-desktop"), "-c", container, "--", "sh", "-c", script])
}

fn delete(desk: &Desk, kind: &str, name: &str) -> Result<()> {
    desk.kubectl(&["delete", kind, name, "--timeout=90s"]).map(drop)
}

/// Everything is as it was, in the namespace, the cluster and the backend.
fn nothing_is_left(desk: &Desk, before: &BTreeSet<String>) -> Result<()> {
    let mut left = BTreeSet::new();
    let gone = desk.until("nothing of the pool is left", 2 * MINUTE, |d| {
        left = everything(d).ok()?.difference(before).cloned().collect();
        left.is_empty().then_some(())
    });
    gone.map_err(|error| error.context(format!("left: {left:?}")))
}

fn a_session_adopts(desk: &Desk) -> Result<()> {
    let before = everything(desk)?;
    pool(desk, "warm", "desktop", 1)?;
    filled(desk, "warm", 1)?;
    let member = waiting(desk, "warm").pop().context("a desktop waits")?;
    let name = text(&member["metadata"]["name"]);
    let pod = desk.get("pod", &format!("{name}-desktop")).context("its pod")?;
    ensure!(desk.get("pvc", &format!("{name}-home")).is_some(), "its volume is there before anybody asks");

    desk.kubectl(&["create", "secret", "generic", "pooled", &format!("--from-literal=key={KEY}")])?;
    desk.kubectl(&["create", "configmap", "pooled", "--from-literal=table=a,b"])?;
    desk.apply(&format!(
        "{HEAD}Connection\nmetadata: {{name: pooled}}\nspec: {{secret: {{secretRef: {{name: pooled, key: key}}, expose: File}}}}\n"
    ))?;
    desk.until("the Connection is ready", MINUTE, |d| {
        d.get("connection", "pooled").filter(|c| is_true(c, "Ready")).map(drop)
    })?;
    desk.apply(&format!(
        "{HEAD}Session\nmetadata: {{name: adopts}}\nspec:\n  goal: /shell cat Attachments/a.csv\n  environment: desktop\n  attachments:\n  \
         - {{name: a.csv, configMap: {{name: pooled, key: table}}}}\n  - {{name: secret, connection: {{name: pooled}}}}\n"
    ))?;
    let session = desk.until("the Session is ready", MINUTE, |d| {
        d.get("session", "adopts").filter(|s| is_true(s, "Ready"))
    })?;
    ensure!(
        session["status"]["workspace"]["uid"] == member["metadata"]["uid"],
        "it has the desktop that waited: {}",
        session["status"]
    );
    desk.until("the agent answers from what was attached", MINUTE, |d| {
        let all = d.list("messages");
        let by_agent =
            |m: &&Value| m["spec"]["session"] == "adopts" && m["spec"]["author"]["kind"] == "Agent";
        all.iter().filter(by_agent).any(|m| text(&m["spec"]["content"]).contains("a,b")).then_some(())
    })?;
    desk.until("the key that was granted after that is there", MINUTE, |d| {
        let found = shell(d, &name, "agent", "cat /run/a8s/acp/secrets/pooled").ok()?;
        (found.trim() == KEY).then_some(())
    })?;
    let now = desk.get("pod", &format!("{name}-desktop")).context("the pod")?;
    ensure!(
        now["metadata"]["uid"] == pod["metadata"]["uid"],
        "in the pod that waited: nothing was started for it"
    );
    let mut restarts = now["status"]["containerStatuses"].as_array().into_iter().flatten();
    ensure!(restarts.all(|c| c["restartCount"] == 0), "and nothing was started again");
    let taken = desk.get("workspace", &name).context("the Workspace")?;
    ensure!(
        taken["metadata"]["ownerReferences"][0]["name"] == "adopts"
            && taken["metadata"]["labels"]["a8s.dev/pool"].is_null(),
        "it is the Session's: {}",
        taken["metadata"]
    );

    filled(desk, "warm", 1)?;
    let next = waiting(desk, "warm");
    ensure!(!uids(&next).contains(&text(&member["metadata"]["uid"])), "the pool has made another");
    delete(desk, "session", "adopts")?;
    desk.until("the Session's desktop is gone with it", MINUTE, |d| {
        d.get("workspace", &name).is_none().then_some(())
    })?;
    ensure!(uids(&waiting(desk, "warm")) == uids(&next), "what a tenant used does not go back to the pool");
    delete(desk, "warmpool", "warm")?;
    desk.kubectl(&["delete", "connection/pooled", "secret/pooled", "configmap/pooled"])?;
    desk.kubectl(&["delete", "messages", "-l", "a8s.dev/session=adopts", "--ignore-not-found"])?;
    nothing_is_left(desk, &before)
}

/// An Environment of its own, so that nobody else is in the way.
fn environment(desk: &Desk, name: &str, storage: &Value) -> Result<Value> {
    let kubectl = desk.cluster().kubectl();
    let mut own: Value =
        serde_json::from_str(&kubectl.run(&["get", "environment", "desktop", "-o", "json"])?)?;
    own["metadata"] = json!({"name": name});
    own.as_object_mut().map(|o| o.remove("status"));
    own["spec"]["storage"] = storage.clone();
    // Nobody who names no Environment gets it.
    own["spec"]["match"] = Value::Null;
    kubectl.apply(&own.to_string())?;
    Ok(own)
}

fn no_environment(desk: &Desk, name: &str) -> Result<()> {
    desk.cluster().kubectl().run(&["delete", "environment", name, "--timeout=30s"]).map(drop)
}

fn a_pool_rolls(desk: &Desk) -> Result<()> {
    let before = everything(desk)?;
    let mut own = environment(desk, "changing", &json!({"size": "1Gi"}))?;
    pool(desk, "rolls", "changing", 2)?;
    filled(desk, "rolls", 2)?;
    let old = uids(&waiting(desk, "rolls"));

    own["spec"]["pod"]["nodeSelector"] = json!({"kubernetes.io/os": "linux"});
    desk.cluster().kubectl().apply(&own.to_string())?;
    let mut fewest = u64::MAX;
    desk.until("all are made from the new Environment", 3 * MINUTE, |d| {
        let found = d.get("warmpool", "rolls")?;
        fewest = fewest.min(found["status"]["readyReplicas"].as_u64().unwrap_or_default());
        let all = waiting(d, "rolls");
        let new = all.len() == 2 && uids(&all).is_disjoint(&old);
        (new && found["status"]["updatedReplicas"] == 2 && is_true(&found, "Ready")).then_some(())
    })?;
    ensure!(fewest >= 1, "one of two may be missing meanwhile, not both");
    for member in waiting(desk, "rolls") {
        let pod = format!("{}-desktop", text(&member["metadata"]["name"]));
        let pod = desk.get("pod", &pod).context("a pod")?;
        ensure!(pod["spec"]["nodeSelector"]["kubernetes.io/os"] == "linux", "{}", pod["spec"]);
    }
    // What only people read makes no desktop another.
    let new = uids(&waiting(desk, "rolls"));
    own["spec"]["title"] = "Changed".into();
    desk.cluster().kubectl().apply(&own.to_string())?;
    desk.kubectl(&["scale", "warmpool/rolls", "--replicas=1"])?;
    filled(desk, "rolls", 1)?;
    ensure!(uids(&waiting(desk, "rolls")).is_subset(&new), "the one that is left is one of those");

    delete(desk, "warmpool", "rolls")?;
    nothing_is_left(desk, &before)?;
    no_environment(desk, "changing")
}

fn a_golden_home(desk: &Desk) -> Result<()> {
    let before = everything(desk)?;
    environment(desk, "prepared", &json!({"size": "1Gi", "golden": true}))?;
    pool(desk, "golden", "prepared", 2)?;
    let found = filled(desk, "golden", 2)?;
    let golden = text(&found["status"]["golden"]);
    let snapshot = desk.get("snapshot", &golden).context("status.golden names a Snapshot")?;
    ensure!(snapshot["spec"]["trigger"] == "Golden" && is_true(&snapshot, "Ready"), "{snapshot}");
    let members = waiting(desk, "golden");
    let from = members.iter().filter(|m| m["spec"]["source"]["snapshot"] == golden.as_str());
    ensure!(from.count() == 1, "the second started from what the first prepared: {members:?}");
    for member in &members {
        let name = text(&member["metadata"]["name"]);
        let home = shell(desk, &name, "desktop", "ls -A /home/agent")?;
        ensure!(home.contains("Documents"), "{name} has a home: {home}");
    }
    delete(desk, "warmpool", "golden")?;
    nothing_is_left(desk, &before)?;
    no_environment(desk, "prepared")
}
