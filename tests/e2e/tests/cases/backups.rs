//! What a backup tool brings back: objects without owners and of other UIDs, a Snapshot that only its notes tell where its data is, and a
//! volume that was there before its Workspace.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{
    Case, MINUTE,
    common::{Desk, condition, is_true},
};

pub const CASES: &[Case] = &[
    ("what a backup brought back is taken over and nothing is made anew", what_came_back_is_taken_over),
    ("a snapshot from a backup without its handle is never taken again", without_a_handle),
];

const HEAD: &str = "apiVersion: a8s.dev/v1alpha1\nkind: ";

fn shell(desk: &Desk, workspace: &str, script: &str) -> Result<String> {
    desk.kubectl(&["exec", &format!("{workspace}-desktop"), "-c", "desktop", "--", "sh", "-c", script])
}

fn ready(desk: &Desk, kind: &str, name: &str) -> Result<Value> {
    desk.until(&format!("{kind} {name} is ready"), 2 * MINUTE, |d| {
        d.get(kind, name).filter(|object| is_true(object, "Ready"))
    })
}

/// An object as Velero restores it: no UID, no owner, no status, and a label that says which restore it came with.
fn restored(object: &Value) -> Value {
    let meta = &object["metadata"];
    let mut again = json!({
        "apiVersion": object["apiVersion"], "kind": object["kind"], "spec": object["spec"],
        "metadata": {"name": meta["name"], "namespace": meta["namespace"], "labels": meta["labels"], "annotations": meta["annotations"]},
    });
    again["metadata"]["labels"]["velero.io/restore-name"] = "the-restore".into();
    again
}

fn create(desk: &Desk, object: &Value) -> Result<Value> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), object.to_string())?;
    let text = desk.kubectl(&["create", "-o", "json", "-f", &file.path().display().to_string()])?;
    Ok(serde_json::from_str(&text)?)
}

fn what_came_back_is_taken_over(desk: &Desk) -> Result<()> {
    desk.apply(&format!("{HEAD}Workspace\nmetadata: {{name: moved}}\nspec: {{environment: desktop}}\n"))?;
    ready(desk, "workspace", "moved")?;
    shell(desk, "moved", "echo kept > note; sync")?;
    desk.apply(&format!(
        "{HEAD}Snapshot\nmetadata: {{name: moved-point}}\nspec: {{workspace: moved, deletionPolicy: Retain}}\n"
    ))?;
    let snapshot = ready(desk, "snapshot", "moved-point")?;
    let noted = &snapshot["metadata"]["annotations"]["velero.io/csi-volumesnapshot-handle"];
    ensure!(*noted == snapshot["status"]["handle"], "the notes for the backup name the handle: {snapshot}");
    // The backup's own copy of the volume.
    desk.apply(
        "apiVersion: snapshot.storage.k8s.io/v1\nkind: VolumeSnapshot\nmetadata: {name: moved-backup}\nspec: {source: {persistentVolumeClaimName: moved-home}}\n",
    )?;
    desk.until("the backup has the volume", MINUTE, |d| {
        d.get("volumesnapshot", "moved-backup").filter(|s| s["status"]["readyToUse"] == true).map(drop)
    })?;
    let workspace = desk.get("workspace", "moved").context("the Workspace")?;
    let claim = desk.get("pvc", "moved-home").context("its claim")?;
    let content = "jsonpath={.status.boundVolumeSnapshotContentName}";
    let name = snapshot["status"]["volumeSnapshot"].as_str().unwrap_or_default();
    let content = desk.kubectl(&["get", "volumesnapshot", name, "-o", content])?;
    desk.kubectl(&["delete", "workspace/moved", "snapshot/moved-point", "--timeout=90s"])?;
    desk.kubectl(&["delete", "volumesnapshotcontent", &content, "--ignore-not-found", "--wait=false"])?;
    desk.until("all of it is gone", MINUTE, |d| {
        (d.get("pvc", "moved-home").is_none() && d.get("pod", "moved-desktop").is_none()).then_some(())
    })?;

    // Claims come back before the objects that they belong to.
    let mut again = restored(&claim);
    let bound = |key: &String| key.starts_with("pv.kubernetes.io") || key.starts_with("volume.");
    again["metadata"]["annotations"].as_object_mut().context("notes")?.retain(|key, _| !bound(key));
    again["spec"]
        .as_object_mut()
        .context("a spec")?
        .retain(|key, _| !key.starts_with("volume") || key == "volumeMode");
    let source =
        json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "moved-backup"});
    again["spec"]["dataSource"] = source.clone();
    again["spec"]["dataSourceRef"] = source;
    let claim = create(desk, &again)?;
    create(desk, &restored(&snapshot))?;
    let workspace = create(desk, &restored(&workspace))?;

    ready(desk, "workspace", "moved")?;
    let now = desk.get("pvc", "moved-home").context("the claim")?;
    ensure!(now["metadata"]["uid"] == claim["metadata"]["uid"], "the volume that came back is used");
    ensure!(
        now["metadata"]["ownerReferences"][0]["uid"] == workspace["metadata"]["uid"],
        "and belongs to the Workspace that came back: {}",
        now["metadata"]
    );
    ensure!(shell(desk, "moved", "cat note")?.trim() == "kept", "with its files");
    let back = ready(desk, "snapshot", "moved-point")?;
    ensure!(back["status"]["handle"] == snapshot["status"]["handle"], "the same data, not taken again");
    desk.apply(&format!(
        "{HEAD}Workspace\nmetadata: {{name: moved-on}}\nspec: {{environment: desktop, source: {{snapshot: moved-point}}}}\n"
    ))?;
    ready(desk, "workspace", "moved-on")?;
    ensure!(shell(desk, "moved-on", "cat note")?.trim() == "kept", "a desktop starts from it");

    desk.kubectl(&[
        "patch",
        "snapshot",
        "moved-point",
        "--type=merge",
        "-p",
        r#"{"spec":{"deletionPolicy":"Delete"}}"#,
    ])?;
    desk.kubectl(&[
        "delete",
        "workspace/moved",
        "workspace/moved-on",
        "snapshot/moved-point",
        "--timeout=90s",
    ])?;
    desk.kubectl(&["delete", "volumesnapshot/moved-backup", "--timeout=60s"])?;
    let handle = snapshot["status"]["handle"].as_str().context("a handle")?.to_owned();
    desk.until("the backend has deleted it", MINUTE, |d| {
        (!d.backend().ok()?.iter().any(|entry| entry.contains(&handle))).then_some(())
    })
}

fn without_a_handle(desk: &Desk) -> Result<()> {
    desk.apply(&format!("{HEAD}Workspace\nmetadata: {{name: present}}\nspec: {{environment: desktop}}\n"))?;
    ready(desk, "workspace", "present")?;
    let before = desk.backend()?.len();
    create(
        desk,
        &json!({"apiVersion": "a8s.dev/v1alpha1", "kind": "Snapshot",
            "metadata": {"name": "past", "labels": {"velero.io/restore-name": "the-restore"}}, "spec": {"workspace": "present"}}),
    )?;
    desk.until("it says that its data is not known", MINUTE, |d| {
        let found = condition(&d.get("snapshot", "past")?, "Ready")?;
        (found == ("False".to_owned(), "RestoredWithoutState".to_owned())).then_some(())
    })?;
    ensure!(desk.backend()?.len() == before, "the present does not pass for the past");
    desk.kubectl(&["delete", "snapshot/past", "workspace/present", "--timeout=90s"]).map(drop)
}
