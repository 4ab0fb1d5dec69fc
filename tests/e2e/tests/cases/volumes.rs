//! Volumes that go and come back: archives, restores in place, clones and forks. Each case writes a word into a home and looks where it is
//! to be found afterwards.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    Case, MINUTE,
    common::{Desk, condition, is_true},
};

pub const CASES: &[Case] = &[
    (
        "an archived workspace has no volume and comes back with its files and a verified receipt",
        archive_and_back,
    ),
    ("a workspace is put back to a snapshot in place and forth again to what was there", restore_in_place),
    ("an order to restore that cannot be carried out leaves the desktop alone and says why", refused_orders),
    ("a new workspace from a snapshot may be larger and is refused if it is smaller", larger_and_smaller),
    ("a live workspace is cloned while it goes on", clone_of_a_live_one),
    ("three workspaces start from one snapshot at once", three_at_once),
    ("a session is put back and what was said later is marked and not deleted", session_put_back),
    ("where the node is known the volume does not wait for the scheduler", volume_first),
];

fn apply(desk: &Desk, kind: &str, name: &str, spec: &str) -> Result<()> {
    desk.apply(&format!(
        "apiVersion: a8s.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"
    ))
}

fn patch(desk: &Desk, kind: &str, name: &str, spec: &str) -> Result<()> {
    let patch = format!("{{\"spec\":{spec}}}");
    desk.kubectl(&["patch", kind, name, "--type=merge", "-p", &patch]).map(drop)
}

fn ready(desk: &Desk, kind: &str, name: &str) -> Result<Value> {
    desk.until(&format!("{kind} {name} is ready"), 2 * MINUTE, |d| {
        d.get(kind, name).filter(|o| is_true(o, "Ready") && o["status"]["state"] != "Restoring")
    })
}

fn shell(desk: &Desk, workspace: &str, script: &str) -> Result<String> {
    desk.kubectl(&["exec", &format!("{workspace}-desktop"), "-c", "desktop", "--", "sh", "-c", script])
}

fn write(desk: &Desk, workspace: &str, word: &str) -> Result<()> {
    shell(desk, workspace, &format!("echo {word} > /home/agent/{word}")).map(drop)
}

fn words(desk: &Desk, workspace: &str) -> Result<String> {
    shell(desk, workspace, "cd /home/agent; for w in red green blue; do [ -e $w ] && cat $w; done; true")
}

fn gone(desk: &Desk, kind: &str, names: &[&str]) -> Result<()> {
    let mut all = vec!["delete", kind, "--timeout=90s"];
    all.extend(names);
    desk.kubectl(&all).map(drop)
}

/// PersistentVolumes whose claim is of this Workspace.
fn volumes(desk: &Desk, workspace: &str) -> Vec<String> {
    let text = desk.cluster().kubectl().run(&["get", "pv", "-o", "json"]).unwrap_or_default();
    let all: Value = serde_json::from_str(&text).unwrap_or_default();
    let claim = format!("{workspace}-home");
    let of_it = |v: &&Value| v["spec"]["claimRef"]["name"].as_str().is_some_and(|n| n.starts_with(&claim));
    let items = all["items"].as_array().cloned().unwrap_or_default();
    items.iter().filter(of_it).map(|v| v["metadata"]["name"].to_string()).collect()
}

fn state(object: &Value) -> &str {
    object["status"]["state"].as_str().unwrap_or_default()
}

fn restored(desk: &Desk, workspace: &str, id: &str) -> Result<Value> {
    desk.until(&format!("order {id} is done"), 2 * MINUTE, |d| {
        let found = d.get("workspace", workspace)?;
        let order = &found["status"]["restore"];
        (order["id"] == id && order["phase"] == "Done" && is_true(&found, "Ready")).then_some(found)
    })
}

fn archive_and_back(desk: &Desk) -> Result<()> {
    apply(desk, "Workspace", "vault", "{environment: desktop}")?;
    ready(desk, "workspace", "vault")?;
    write(desk, "vault", "red")?;
    patch(desk, "workspace", "vault", "{\"state\":\"Archived\"}")?;
    let archived = desk
        .until("archived", 2 * MINUTE, |d| d.get("workspace", "vault").filter(|w| state(w) == "Archived"))?;
    ensure!(desk.get("pod", "vault-desktop").is_none(), "there is no pod");
    ensure!(desk.get("pvc", "vault-home").is_none(), "there is no claim");
    desk.until("the volume is gone", MINUTE, |d| volumes(d, "vault").is_empty().then_some(()))?;
    let archive = archived["status"]["archive"].as_str().context("the status names the Snapshot")?.to_owned();
    let snapshot = desk.get("snapshot", &archive).context("the Snapshot is there")?;
    ensure!(is_true(&snapshot, "Ready") && snapshot["spec"]["trigger"] == "Archive", "and ready: {snapshot}");
    patch(desk, "workspace", "vault", "{\"state\":\"Running\"}")?;
    let back = ready(desk, "workspace", "vault")?;
    ensure!(
        back["status"]["storage"]["generation"] == 2 && back["status"]["archive"].is_null(),
        "{}",
        back["status"]
    );
    ensure!(words(desk, "vault")?.trim() == "red", "its files are there");
    let receipt = desk.until("the receipt is written", MINUTE, |d| {
        let found = d.get("workspace", "vault")?;
        found["status"]["receipt"].is_object().then(|| found["status"]["receipt"].clone())
    })?;
    ensure!(receipt["verified"] == true && receipt["snapshot"] == archive.as_str(), "{receipt}");
    desk.until("the Snapshot is verified", MINUTE, |d| {
        d.get("snapshot", &archive).filter(|s| is_true(s, "Verified"))
    })?;
    patch(desk, "workspace", "vault", "{\"state\":\"Archived\"}")?;
    desk.until("archived again", 2 * MINUTE, |d| {
        d.get("workspace", "vault").filter(|w| state(w) == "Archived")
    })?;
    gone(desk, "workspace", &["vault"])?;
    gone(desk, "snapshots", &["-l", "a8s.dev/workspace=vault"])
}

fn restore_in_place(desk: &Desk) -> Result<()> {
    apply(desk, "Workspace", "canvas", "{environment: desktop}")?;
    ready(desk, "workspace", "canvas")?;
    write(desk, "canvas", "red")?;
    apply(desk, "Snapshot", "canvas-red", "{workspace: canvas}")?;
    ready(desk, "snapshot", "canvas-red")?;
    write(desk, "canvas", "green")?;
    patch(desk, "workspace", "canvas", "{\"restore\":{\"snapshot\":\"canvas-red\",\"id\":\"1\"}}")?;
    let back = restored(desk, "canvas", "1")?;
    ensure!(words(desk, "canvas")?.trim() == "red", "what came later is not there");
    ensure!(
        back["status"]["epoch"] == 1 && back["status"]["storage"]["restoredFrom"] == "canvas-red",
        "{}",
        back["status"]
    );
    let safety = back["status"]["restore"]["safety"].as_str().context("what was there is saved")?.to_owned();
    desk.until("the old claim is gone", MINUTE, |d| d.get("pvc", "canvas-home").is_none().then_some(()))?;
    let order = format!("{{\"restore\":{{\"snapshot\":\"{safety}\",\"id\":\"2\"}}}}");
    patch(desk, "workspace", "canvas", &order)?;
    let forth = restored(desk, "canvas", "2")?;
    ensure!(words(desk, "canvas")?.split_whitespace().eq(["red", "green"]), "what was there before is back");
    ensure!(
        forth["status"]["epoch"] == 2 && forth["status"]["storage"]["generation"] == 3,
        "{}",
        forth["status"]
    );
    gone(desk, "workspace", &["canvas"])?;
    gone(desk, "snapshots", &["-l", "a8s.dev/workspace=canvas"])?;
    gone(desk, "snapshot", &["canvas-red", "--ignore-not-found"])
}

fn refused_orders(desk: &Desk) -> Result<()> {
    apply(desk, "Workspace", "stubborn", "{environment: desktop}")?;
    let before = ready(desk, "workspace", "stubborn")?;
    let pod = desk.get("pod", "stubborn-desktop").context("the pod")?["metadata"]["uid"].clone();
    patch(desk, "workspace", "stubborn", "{\"restore\":{\"snapshot\":\"nowhere\",\"id\":\"1\"}}")?;
    desk.until("the missing Snapshot is named", MINUTE, |d| {
        let order = d.get("workspace", "stubborn")?["status"]["restore"].clone();
        let text = order["message"].as_str()?;
        (order["phase"] == "Waiting" && text.contains("nowhere")).then_some(())
    })?;
    let now = desk.get("workspace", "stubborn").context("the Workspace")?;
    ensure!(
        is_true(&now, "Ready") && now["status"]["epoch"] == before["status"]["epoch"],
        "it goes on: {}",
        now["status"]
    );
    ensure!(
        desk.get("pod", "stubborn-desktop").context("the pod")?["metadata"]["uid"] == pod,
        "in the same pod"
    );
    gone(desk, "workspace", &["stubborn"])
}

fn larger_and_smaller(desk: &Desk) -> Result<()> {
    apply(desk, "Workspace", "seed", "{environment: desktop, storage: {size: 2Gi}}")?;
    ready(desk, "workspace", "seed")?;
    write(desk, "seed", "blue")?;
    apply(desk, "Snapshot", "seed-blue", "{workspace: seed}")?;
    ready(desk, "snapshot", "seed-blue")?;
    apply(
        desk,
        "Workspace",
        "small",
        "{environment: desktop, source: {snapshot: seed-blue}, storage: {size: 1Gi}}",
    )?;
    desk.until("the smaller one is refused with both sizes", MINUTE, |d| {
        let found = d.get("workspace", "small")?;
        let text = found["status"]["conditions"].to_string();
        let refused = condition(&found, "Stalled")? == ("True".into(), "InvalidSpec".into());
        (refused && text.contains("1Gi") && text.contains("2Gi")).then_some(())
    })?;
    ensure!(desk.get("pvc", "small-home").is_none(), "no volume is made for it");
    apply(
        desk,
        "Workspace",
        "large",
        "{environment: desktop, source: {snapshot: seed-blue}, storage: {size: 3Gi}}",
    )?;
    ready(desk, "workspace", "large")?;
    ensure!(words(desk, "large")?.trim() == "blue", "the larger one has the files");
    gone(desk, "workspace", &["small", "large", "seed"])?;
    gone(desk, "snapshot", &["seed-blue"])
}

fn clone_of_a_live_one(desk: &Desk) -> Result<()> {
    apply(desk, "Workspace", "dolly", "{environment: desktop}")?;
    let origin = ready(desk, "workspace", "dolly")?;
    write(desk, "dolly", "red")?;
    apply(desk, "Workspace", "polly", "{environment: desktop, source: {workspace: dolly}}")?;
    let clone = ready(desk, "workspace", "polly")?;
    ensure!(words(desk, "polly")?.trim() == "red", "the clone has the files");
    ensure!(clone["status"]["epoch"] == 1, "and the next epoch: {}", clone["status"]);
    write(desk, "polly", "green")?;
    ensure!(words(desk, "dolly")?.trim() == "red", "what happens there does not happen here");
    let now = desk.get("workspace", "dolly").context("the original")?;
    ensure!(
        now["status"]["pod"] == origin["status"]["pod"] && is_true(&now, "Ready"),
        "which went on all the time"
    );
    gone(desk, "workspace", &["polly", "dolly"])
}

fn three_at_once(desk: &Desk) -> Result<()> {
    apply(desk, "Workspace", "stem", "{environment: desktop}")?;
    ready(desk, "workspace", "stem")?;
    write(desk, "stem", "blue")?;
    apply(desk, "Snapshot", "stem-blue", "{workspace: stem}")?;
    ready(desk, "snapshot", "stem-blue")?;
    gone(desk, "workspace", &["stem"])?;
    let forks = ["fork-1", "fork-2", "fork-3"];
    for fork in forks {
        apply(desk, "Workspace", fork, "{environment: desktop, source: {snapshot: stem-blue}}")?;
    }
    for fork in forks {
        ready(desk, "workspace", fork)?;
        ensure!(words(desk, fork)?.trim() == "blue", "{fork} has the files");
    }
    gone(desk, "workspace", &forks)?;
    gone(desk, "snapshot", &["stem-blue"])
}

fn say(desk: &Desk, session: &str, name: &str, content: &str) -> Result<()> {
    apply(desk, "Message", name, &format!("{{session: {session}, content: {content}}}"))?;
    desk.until(&format!("{name} is answered"), 2 * MINUTE, |d| {
        d.get("message", name).filter(|m| m["status"]["state"] == "Consumed").map(drop)
    })
}

fn abandoned(message: &Value) -> bool {
    message["metadata"]["labels"]["a8s.dev/abandoned"] == "true"
}

fn session_put_back(desk: &Desk) -> Result<()> {
    apply(desk, "Session", "talk", "{goal: /say hello}")?;
    ready(desk, "session", "talk")?;
    say(desk, "talk", "talk-before", "/say before")?;
    apply(desk, "Snapshot", "talk-good", "{workspace: talk}")?;
    let taken = ready(desk, "snapshot", "talk-good")?;
    say(desk, "talk", "talk-after", "/say after")?;
    patch(desk, "workspace", "talk", "{\"restore\":{\"snapshot\":\"talk-good\",\"id\":\"1\"}}")?;
    restored(desk, "talk", "1")?;
    desk.until("what was said later is marked", MINUTE, |d| {
        d.get("message", "talk-after").filter(abandoned)
    })?;
    ensure!(
        !abandoned(&desk.get("message", "talk-before").context("the earlier one")?),
        "and what was said before is not"
    );
    let turn = &taken["status"]["checkpoint"]["turn"];
    desk.until("the Session counts from the Snapshot on", MINUTE, |d| {
        d.get("session", "talk").filter(|s| s["status"]["turn"] == *turn && s["status"]["epoch"] == 1)
    })?;
    say(desk, "talk", "talk-again", "/say again")?;
    ensure!(desk.get("message", "talk-after").is_some(), "nothing is deleted");
    let later = desk.get("session", "talk").context("the Session")?;
    ensure!(later["status"]["turn"].as_i64() == turn.as_i64().map(|t| t + 1), "{}", later["status"]);
    gone(desk, "session", &["talk"])?;
    gone(desk, "snapshots", &["-l", "a8s.dev/workspace=talk"])?;
    gone(desk, "snapshot", &["talk-good", "--ignore-not-found"])
}

fn volume_first(desk: &Desk) -> Result<()> {
    let class = "apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: waits}\nprovisioner: local.csi.a8s.dev\nvolumeBindingMode: WaitForFirstConsumer\n";
    desk.apply(class)?;
    apply(desk, "Workspace", "swift", "{environment: desktop, storage: {storageClassName: waits}}")?;
    let found = ready(desk, "workspace", "swift")?;
    let claim = desk.get("pvc", "swift-home").context("the claim")?;
    let node = &claim["metadata"]["annotations"]["volume.kubernetes.io/selected-node"];
    ensure!(node.is_string() && *node == found["status"]["node"], "the node was chosen: {claim}");
    let pod = desk.get("pod", "swift-desktop").context("the pod")?;
    let scheduled = pod["status"]["conditions"]
        .as_array()
        .and_then(|all| all.iter().find(|c| c["type"] == "PodScheduled").cloned());
    let at = scheduled.map(|c| c["lastTransitionTime"].clone()).unwrap_or_default();
    ensure!(at == pod["metadata"]["creationTimestamp"], "scheduled in the second it was made: {at}");
    gone(desk, "workspace", &["swift"])?;
    gone(desk, "storageclass", &["waits"])
}
