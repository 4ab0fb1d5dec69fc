//! Snapshots in a real cluster: which are taken by themselves and which are kept, what happens to the backend, and what is made again from a
//! handle. The driver's pool is counted, not what the cluster says of it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    Case, MINUTE,
    common::{Desk, condition, is_true},
};

const HEAD: &str = "apiVersion: a8s.dev/v1alpha1\nkind: ";
/// A Workspace that all cases but those of policies take Snapshots of.
const SOURCE: &str = "snapped";

pub const CASES: &[Case] = &[
    ("each turn of the agent has a snapshot", each_turn_of_the_agent_has_a_snapshot),
    ("what the agent asks permission for is put by before it is done", what_is_asked_for_is_put_by),
    ("a schedule takes one and the last ones are kept", a_schedule_takes_one_and_the_last_ones_are_kept),
    ("a suspension waits for its snapshot", a_suspension_waits_for_its_snapshot),
    ("ttl deletes and hold keeps", ttl_deletes_and_hold_keeps),
    ("what the backend keeps is what the policy says", what_the_backend_keeps_is_what_the_policy_says),
    ("lost objects are made again from the handle", lost_objects_are_made_again_from_the_handle),
    ("a snapshot that the backend lost says so", a_snapshot_that_the_backend_lost_says_so),
    ("a retained snapshot comes back by import", a_retained_snapshot_comes_back_by_import),
    (
        "a namespace that goes leaves nothing in the backend",
        a_namespace_that_goes_leaves_nothing_in_the_backend,
    ),
];

fn source(desk: &Desk) -> Result<()> {
    desk.apply(&format!("{HEAD}Workspace\nmetadata: {{name: {SOURCE}}}\nspec: {{environment: desktop}}\n"))?;
    desk.until("the source is ready", 2 * MINUTE, |d| {
        d.get("workspace", SOURCE).filter(|w| is_true(w, "Ready")).map(drop)
    })
}

fn snapshot(desk: &Desk, name: &str, spec: &str) -> Result<Value> {
    desk.apply(&format!(
        "{HEAD}Snapshot\nmetadata: {{name: {name}}}\nspec: {{workspace: {SOURCE}{spec}}}\n"
    ))?;
    ready(desk, name)
}

fn ready(desk: &Desk, name: &str) -> Result<Value> {
    let what = format!("Snapshot {name} is ready");
    desk.until(&what, MINUTE, |d| d.get("snapshot", name).filter(|s| is_true(s, "Ready")))
}

fn handle(snapshot: &Value) -> Result<String> {
    Ok(snapshot["status"]["handle"].as_str().context("a ready Snapshot has a handle")?.to_owned())
}

fn gone(desk: &Desk, kind: &str, name: &str, limit: Duration) -> Result<()> {
    desk.until(&format!("{kind} {name} is gone"), limit, |d| d.get(kind, name).is_none().then_some(()))
}

fn delete(desk: &Desk, kind: &str, name: &str) -> Result<()> {
    desk.kubectl(&["delete", kind, name, "--timeout=60s"]).map(drop)
}

/// Whether the driver's pool has it.
fn in_backend(desk: &Desk, handle: &str) -> Result<bool> {
    Ok(desk.backend()?.iter().any(|entry| entry.starts_with("snapshots/") && entry.contains(handle)))
}

fn leaves_backend(desk: &Desk, handle: &str) -> Result<()> {
    desk.until("the backend has deleted it", MINUTE, |d| (!in_backend(d, handle).ok()?).then_some(()))
}

/// Snapshots of this Workspace and trigger.
fn of(desk: &Desk, workspace: &str, trigger: &str) -> Vec<Value> {
    let all = desk.list("snapshots");
    all.into_iter()
        .filter(|s| {
            s["spec"]["workspace"] == workspace && s["spec"]["trigger"] == trigger && is_true(s, "Ready")
        })
        .collect()
}

/// Takes finalizers away and deletes: the backend learns nothing.
fn by_force(desk: &Desk, kind: &str, name: &str) -> Result<()> {
    let uid = |d: &Desk| d.get(kind, name).map(|object| object["metadata"]["uid"].clone());
    let before = uid(desk);
    desk.kubectl(&["delete", kind, name, "--wait=false", "--ignore-not-found"])?;
    let patch = ["patch", kind, name, "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#];
    // It may be gone by now.
    let _ = desk.kubectl(&patch);
    // It may be there again, made anew: that is quicker than one can look.
    desk.until(&format!("{kind} {name} is gone"), MINUTE, |d| {
        (uid(d).is_none() || uid(d) != before).then_some(())
    })
}

/// VolumeSnapshot and content of a Snapshot.
fn objects(desk: &Desk, snapshot: &Value) -> Result<(String, String)> {
    let vs = snapshot["status"]["volumeSnapshot"].as_str().context("a VolumeSnapshot")?;
    let path = "jsonpath={.status.boundVolumeSnapshotContentName}";
    Ok((vs.to_owned(), desk.kubectl(&["get", "volumesnapshot", vs, "-o", path])?))
}

pub fn each_turn_of_the_agent_has_a_snapshot(desk: &Desk) -> Result<()> {
    desk.apply(&format!(
        "{HEAD}Session\nmetadata: {{name: turns}}\nspec: {{goal: /say one, environment: desktop, snapshots: {{eachTurn: true, keep: {{last: 2}}}}}}\n"
    ))?;
    let turns = |d: &Desk| {
        let mut all: Vec<_> = of(d, "turns", "Turn")
            .iter()
            .filter_map(|s| s["status"]["checkpoint"]["turn"].as_i64())
            .collect();
        all.sort_unstable();
        all
    };
    desk.until("the first turn has one", 2 * MINUTE, |d| (turns(d) == [1]).then_some(()))?;
    let first = of(desk, "turns", "Turn").remove(0);
    ensure!(first["status"]["consistency"] == "Turn", "it was taken between turns: {}", first["status"]);
    for n in 2..=3 {
        desk.apply(&format!(
            "{HEAD}Message\nmetadata: {{name: turns-more-{n}}}\nspec: {{session: turns, content: /say more}}\n"
        ))?;
        desk.until(&format!("turn {n} has one"), MINUTE, |d| turns(d).contains(&n).then_some(()))?;
    }
    desk.until("the last two are kept", MINUTE, |d| (turns(d) == [2, 3]).then_some(()))?;
    delete(desk, "session", "turns")?;
    ensure!(turns(desk) == [2, 3], "they outlive their Session");
    for s in of(desk, "turns", "Turn") {
        delete(desk, "snapshot", s["metadata"]["name"].as_str().unwrap_or_default())?;
    }
    Ok(())
}

pub fn what_is_asked_for_is_put_by(desk: &Desk) -> Result<()> {
    desk.apply(&format!(
        "{HEAD}Session\nmetadata: {{name: risky}}\nspec: {{goal: \"/shell echo before > note\\n/ask Overwrite it?\\n/shell echo after > note\", environment: desktop, snapshots: {{beforeRequests: true}}}}\n"
    ))?;
    let taken = desk.until("it asks, and there is a Snapshot", 2 * MINUTE, |d| {
        of(d, "risky", "Request").into_iter().next()
    })?;
    let request = desk.list("requests").into_iter().find(|r| r["spec"]["session"] == "risky");
    let request = request.context("the Request")?;
    ensure!(request["status"]["decision"].is_null(), "before anybody decided");
    ensure!(
        taken["status"]["consistency"] == "Quiesced",
        "in the middle of a turn, flushed: {}",
        taken["status"]
    );
    let name = request["metadata"]["name"].as_str().unwrap_or_default();
    let decision = r#"{"status":{"decision":{"option":"allow"}}}"#;
    desk.kubectl(&["patch", "request", name, "--subresource=status", "--type=merge", "-p", decision])?;
    let note = |d: &Desk| {
        let cat = ["exec", "risky-desktop", "-c", "desktop", "--", "cat", "/home/agent/note"];
        d.kubectl(&cat).unwrap_or_default().trim().to_owned()
    };
    desk.until("it is done", MINUTE, |d| (note(d) == "after").then_some(()))?;
    let order =
        format!("{{\"spec\":{{\"restore\":{{\"snapshot\":{},\"id\":\"1\"}}}}}}", taken["metadata"]["name"]);
    desk.kubectl(&["patch", "workspace", "risky", "--type=merge", "-p", &order])?;
    desk.until("and undone", 2 * MINUTE, |d| (note(d) == "before").then_some(()))?;
    delete(desk, "session", "risky")?;
    desk.kubectl(&["delete", "snapshots", "-l", "a8s.dev/workspace=risky", "--timeout=90s"]).map(drop)
}

pub fn a_schedule_takes_one_and_the_last_ones_are_kept(desk: &Desk) -> Result<()> {
    source(desk)?;
    let policy = r#"{"spec":{"snapshots":{"schedule":"* * * * *","keep":{"last":1}}}}"#;
    desk.kubectl(&["patch", "workspace", SOURCE, "--type=merge", "-p", policy])?;
    let taken = |d: &Desk| of(d, SOURCE, "Schedule");
    let first = desk.until("the minute has one", 2 * MINUTE, |d| taken(d).into_iter().next())?;
    let second = desk.until("the next minute takes its place", 2 * MINUTE, |d| match &taken(d)[..] {
        [only] if only["metadata"]["uid"] != first["metadata"]["uid"] => Some(only.clone()),
        _ => None,
    })?;
    leaves_backend(desk, &handle(&first)?)?;
    desk.kubectl(&["patch", "workspace", SOURCE, "--type=merge", "-p", r#"{"spec":{"snapshots":null}}"#])?;
    delete(desk, "snapshot", second["metadata"]["name"].as_str().unwrap_or_default())
}

pub fn a_suspension_waits_for_its_snapshot(desk: &Desk) -> Result<()> {
    source(desk)?;
    let asleep = r#"{"spec":{"state":"Suspended","snapshots":{"beforeSuspend":true}}}"#;
    desk.kubectl(&["patch", "workspace", SOURCE, "--type=merge", "-p", asleep])?;
    desk.until("it is suspended", MINUTE, |d| {
        d.get("workspace", SOURCE).filter(|w| w["status"]["state"] == "Suspended").map(drop)
    })?;
    let taken =
        desk.until("its Snapshot is ready", MINUTE, |d| of(d, SOURCE, "Suspend").into_iter().next())?;
    ensure!(taken["status"]["consistency"] != "Crash", "the runner flushed: {}", taken["status"]);
    let awake = r#"{"spec":{"state":"Running","snapshots":null}}"#;
    desk.kubectl(&["patch", "workspace", SOURCE, "--type=merge", "-p", awake])?;
    source(desk)?;
    delete(desk, "snapshot", taken["metadata"]["name"].as_str().unwrap_or_default())
}

pub fn ttl_deletes_and_hold_keeps(desk: &Desk) -> Result<()> {
    source(desk)?;
    let brief = snapshot(desk, "brief", ", ttl: 3s")?;
    let held = snapshot(desk, "held", ", ttl: 3s, hold: true")?;
    gone(desk, "snapshot", "brief", MINUTE)?;
    leaves_backend(desk, &handle(&brief)?)?;
    ensure!(in_backend(desk, &handle(&held)?)? && desk.get("snapshot", "held").is_some(), "held");
    desk.kubectl(&["patch", "snapshot", "held", "--type=merge", "-p", r#"{"spec":{"hold":false}}"#])?;
    gone(desk, "snapshot", "held", MINUTE)
}

pub fn what_the_backend_keeps_is_what_the_policy_says(desk: &Desk) -> Result<()> {
    source(desk)?;
    for policy in ["Delete", "Retain"] {
        for lost in [false, true] {
            let name = format!("{}-{lost}", policy.to_lowercase());
            let taken = snapshot(desk, &name, &format!(", deletionPolicy: {policy}"))?;
            let handle = handle(&taken)?;
            let (vs, content) = objects(desk, &taken)?;
            if lost {
                // Both vanish while the Snapshot goes; nobody told the backend.
                desk.kubectl(&["delete", "snapshot", &name, "--wait=false"])?;
                by_force(desk, "volumesnapshot", &vs)?;
                by_force(desk, "volumesnapshotcontent", &content)?;
            }
            delete(desk, "snapshot", &name).or_else(|e| if lost { Ok(()) } else { Err(e) })?;
            gone(desk, "snapshot", &name, MINUTE)?;
            if policy == "Delete" && !lost {
                leaves_backend(desk, &handle)?;
            }
            if policy == "Retain" {
                ensure!(in_backend(desk, &handle)?, "{name}: retained data is there");
                // It is handed to a Snapshot that may delete it.
                import(desk, &format!("{name}-again"), &handle, &driver(&taken))?;
                delete(desk, "snapshot", &format!("{name}-again"))?;
                leaves_backend(desk, &handle)?;
            }
            let _ = desk.kubectl(&[
                "delete",
                "volumesnapshotcontent",
                &content,
                "--ignore-not-found",
                "--wait=false",
            ]);
        }
    }
    Ok(())
}

fn driver(snapshot: &Value) -> String {
    snapshot["status"]["driver"].as_str().unwrap_or_default().to_owned()
}

fn import(desk: &Desk, name: &str, handle: &str, driver: &str) -> Result<Value> {
    snapshot(desk, name, &format!(", import: {{driver: {driver}, handle: {handle}, environment: desktop}}"))
}

pub fn lost_objects_are_made_again_from_the_handle(desk: &Desk) -> Result<()> {
    source(desk)?;
    let taken = snapshot(desk, "rebuilt", "")?;
    let (vs, content) = objects(desk, &taken)?;
    let before = desk.backend()?.len();
    let retain = r#"{"spec":{"deletionPolicy":"Retain"}}"#;
    desk.kubectl(&["patch", "volumesnapshotcontent", &content, "--type=merge", "-p", retain])?;
    // The VolumeSnapshot first: its controller would make the content again, with the policy of its class.
    by_force(desk, "volumesnapshot", &vs)?;
    by_force(desk, "volumesnapshotcontent", &content)?;
    desk.until("an Event says that it was rebuilt", MINUTE, |d| {
        let all = d.list("events");
        all.iter().any(|e| e["involvedObject"]["name"] == "rebuilt" && e["reason"] == "Rebuilt").then_some(())
    })?;
    let again = ready(desk, "rebuilt")?;
    ensure!(handle(&again)? == handle(&taken)?, "the same data");
    ensure!(desk.backend()?.len() == before, "nothing was taken anew");
    desk.apply(&format!(
        "{HEAD}Workspace\nmetadata: {{name: from-rebuilt}}\nspec: {{environment: desktop, source: {{snapshot: rebuilt}}}}\n"
    ))?;
    desk.until("a desktop starts from it", 2 * MINUTE, |d| {
        d.get("workspace", "from-rebuilt").filter(|w| is_true(w, "Ready")).map(drop)
    })?;
    delete(desk, "workspace", "from-rebuilt")?;
    delete(desk, "snapshot", "rebuilt")?;
    leaves_backend(desk, &handle(&taken)?)
}

pub fn a_snapshot_that_the_backend_lost_says_so(desk: &Desk) -> Result<()> {
    source(desk)?;
    let taken = snapshot(desk, "lost", "")?;
    let (vs, _) = objects(desk, &taken)?;
    // Its policy is Delete: the data goes with it.
    desk.kubectl(&["delete", "volumesnapshot", &vs, "--timeout=60s"])?;
    leaves_backend(desk, &handle(&taken)?)?;
    desk.until("it says so", MINUTE, |d| {
        let found = condition(&d.get("snapshot", "lost")?, "Ready")?;
        (found == ("False".to_owned(), "SnapshotLost".to_owned())).then_some(())
    })?;
    ensure!(!in_backend(desk, &handle(&taken)?)?, "and was not taken again");
    delete(desk, "snapshot", "lost")
}

pub fn a_retained_snapshot_comes_back_by_import(desk: &Desk) -> Result<()> {
    source(desk)?;
    let taken = snapshot(desk, "kept", ", deletionPolicy: Retain")?;
    let (handle, driver) = (handle(&taken)?, driver(&taken));
    let (_, content) = objects(desk, &taken)?;
    delete(desk, "snapshot", "kept")?;
    ensure!(in_backend(desk, &handle)?, "retained");
    let back = import(desk, "back", &handle, &driver)?;
    ensure!(back["status"]["environment"] == "desktop" && !back["status"]["restoreSize"].is_null(), "{back}");
    delete(desk, "snapshot", "back")?;
    leaves_backend(desk, &handle)?;
    desk.kubectl(&["delete", "volumesnapshotcontent", &content, "--ignore-not-found", "--wait=false"])
        .map(drop)
}

pub fn a_namespace_that_goes_leaves_nothing_in_the_backend(desk: &Desk) -> Result<()> {
    let kubectl = desk.cluster().kubectl();
    kubectl.run(&["create", "namespace", "passing"])?;
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(
        file.path(),
        format!(
            "{HEAD}Workspace\nmetadata: {{name: w}}\nspec: {{environment: desktop}}\n---\n{HEAD}Snapshot\nmetadata: {{name: s}}\nspec: {{workspace: w}}\n"
        ),
    )?;
    kubectl.run(&["-n", "passing", "apply", "-f", &file.path().display().to_string()])?;
    kubectl.run(&["-n", "passing", "wait", "snapshot/s", "--for=condition=Ready", "--timeout=120s"])?;
    let handle =
        kubectl.run(&["-n", "passing", "get", "snapshot", "s", "-o", "jsonpath={.status.handle}"])?;
    kubectl.run(&["delete", "namespace", "passing", "--timeout=120s"])?;
    leaves_backend(desk, &handle)
}
