//! What a person gets wrong, or the cluster lacks: each is named within ten seconds, by a condition and by a Warning Event that say the thing
//! and what to do, and is over by itself once its cause is.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    MINUTE,
    common::{Desk, is_true},
};

const SOON: Duration = Duration::from_secs(10);
const HEAD: &str = "apiVersion: a8s.dev/v1alpha1\nkind: ";

/// Waits until the object and an Event of it say this.
fn named(desk: &Desk, kind: &str, name: &str, reason: &str, words: &[&str]) -> Result<()> {
    desk.until(&format!("{kind} {name} says {reason}"), SOON, |d| {
        let says = |text: &Value| words.iter().all(|word| text.as_str().is_some_and(|t| t.contains(word)));
        let object = d.get(kind, name)?;
        let conditions = object["status"]["conditions"].as_array()?;
        let of_it = |event: &&Value| event["involvedObject"]["uid"] == object["metadata"]["uid"];
        let warned =
            d.list("events").iter().filter(of_it).any(|event| {
                event["type"] == "Warning" && event["reason"] == reason && says(&event["message"])
            });
        let said = conditions.iter().any(|c| c["reason"] == reason && says(&c["message"]));
        (said && warned).then_some(())
    })
}

fn ready(desk: &Desk, kind: &str, name: &str, limit: Duration) -> Result<()> {
    desk.until(&format!("{kind} {name} is ready"), limit, |d| {
        d.get(kind, name).filter(|object| is_true(object, "Ready")).map(drop)
    })
}

fn delete(desk: &Desk, kind: &str, name: &str) -> Result<()> {
    desk.kubectl(&["delete", kind, name, "--timeout=60s"]).map(drop)
}

pub fn an_image_that_cannot_be_pulled(desk: &Desk) -> Result<()> {
    let desktop = desk.cluster().kubectl().run(&["get", "environment", "desktop", "-o", "json"])?;
    let mut broken: Value = serde_json::from_str(&desktop)?;
    let right = broken["spec"]["image"].clone();
    broken["metadata"] = serde_json::json!({"name": "broken"});
    broken.as_object_mut().map(|o| o.remove("status"));
    broken["spec"]["image"] = "localhost/nobody/made-this:1".into();
    desk.cluster().kubectl().apply(&broken.to_string())?;
    desk.apply(&format!("{HEAD}Workspace\nmetadata: {{name: broken}}\nspec: {{environment: broken}}\n"))?;
    named(
        desk,
        "workspace",
        "broken",
        "ImagePullFailed",
        &["localhost/nobody/made-this:1", "correct the Environment's image"],
    )?;
    broken["spec"]["image"] = right;
    desk.cluster().kubectl().apply(&broken.to_string())?;
    ready(desk, "workspace", "broken", MINUTE)?;
    delete(desk, "workspace", "broken")?;
    desk.cluster().kubectl().run(&["delete", "environment", "broken"]).map(drop)
}

pub fn a_full_volume(desk: &Desk) -> Result<()> {
    desk.apply(&format!(
        "{HEAD}Workspace\nmetadata: {{name: full}}\nspec: {{environment: desktop, storage: {{size: 256Mi}}}}\n"
    ))?;
    ready(desk, "workspace", "full", 2 * MINUTE)?;
    let shell =
        |script: &str| desk.kubectl(&["exec", "full-desktop", "-c", "desktop", "--", "sh", "-c", script]);
    // Both end with an error: the first when no large block fits any more, the second when no small one does.
    shell("dd if=/dev/zero of=fill bs=1M; cat /dev/zero >> fill2; sync; true")?;
    named(desk, "workspace", "full", "VolumeFull", &["full", "delete files"])?;
    let stalled = desk.get("workspace", "full").context("the Workspace is there")?;
    ensure!(is_true(&stalled, "DesktopReady"), "the desktop itself still works, or nobody could make room");
    shell("rm -f fill fill2")?;
    ready(desk, "workspace", "full", 3 * SOON)?;
    delete(desk, "workspace", "full")
}

pub fn no_snapshot_class(desk: &Desk) -> Result<()> {
    let kubectl = desk.cluster().kubectl();
    let mut class: Value =
        serde_json::from_str(&kubectl.run(&["get", "volumesnapshotclass", "a8s-local", "-o", "json"])?)?;
    let driver = class["driver"].as_str().context("a class has a driver")?.to_owned();
    kubectl.run(&["delete", "volumesnapshotclass", "a8s-local"])?;
    let outcome = desk
        .apply(&format!(
            "{HEAD}Snapshot\nmetadata: {{name: classless}}\nspec: {{workspace: seattle-report}}\n"
        ))
        .and_then(|()| {
            named(desk, "snapshot", "classless", "SnapshotClassMissing", &[driver.as_str(), "create one"])
        });
    let kept = ["name", "annotations", "labels"].map(|key| (key.to_owned(), class["metadata"][key].clone()));
    class["metadata"] = kept.into_iter().filter(|(_, value)| !value.is_null()).collect();
    kubectl.apply(&class.to_string())?;
    outcome?;
    ready(desk, "snapshot", "classless", 2 * SOON)?;
    delete(desk, "snapshot", "classless")
}

pub fn a_missing_snapshot(desk: &Desk) -> Result<()> {
    desk.apply(&format!(
        "{HEAD}Session\nmetadata: {{name: early}}\nspec: {{source: {{snapshot: to-come}}}}\n"
    ))?;
    named(desk, "session", "early", "SnapshotNotFound", &["Snapshot to-come", "create it"])?;
    desk.apply(&format!(
        "{HEAD}Snapshot\nmetadata: {{name: to-come}}\nspec: {{workspace: seattle-report}}\n"
    ))?;
    ready(desk, "session", "early", MINUTE)?;
    delete(desk, "session", "early")?;
    delete(desk, "snapshot", "to-come")
}

pub fn a_missing_config_map(desk: &Desk) -> Result<()> {
    desk.apply(&format!(
        "{HEAD}Session\nmetadata: {{name: waiting}}\nspec:\n  goal: /say hello\n  attachments: [{{name: a.csv, configMap: {{name: to-come, key: table}}}}]\n"
    ))?;
    named(desk, "session", "waiting", "ConfigMapNotFound", &["ConfigMap to-come", "key table", "create it"])?;
    desk.kubectl(&["create", "configmap", "to-come", "--from-literal=table=a,b"])?;
    ready(desk, "session", "waiting", MINUTE)?;
    let found = desk.until("the attachment is in the home", MINUTE, |d| {
        let file = "/home/agent/Attachments/a.csv";
        d.kubectl(&["exec", "waiting-desktop", "-c", "desktop", "--", "cat", file]).ok()
    })?;
    ensure!(found.trim() == "a,b", "{found}");
    delete(desk, "session", "waiting")?;
    delete(desk, "configmap", "to-come")
}
