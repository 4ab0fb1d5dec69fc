//! Recordings of turns, with deskd's display without X.

#![allow(clippy::unwrap_used)]

mod common;

use std::{
    io::Read,
    path::PathBuf,
    time::{Duration, Instant},
};

use a8s_wire::{
    ArtifactInfo, EventBody,
    recording::{FBS_MAGIC, Index, MEDIA_TYPE},
};
use common::{Events, Pod, tools::Tools};
use serde_json::json;

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < until, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Bytes of segments that are on the volume.
fn recorded(pod: &Pod) -> u64 {
    let list = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let files = list(pod.folder.path().join("state/recordings")).flat_map(|entry| list(entry.path()));
    let segments = files.filter(|file| file.file_name().to_string_lossy().ends_with(".fbs"));
    segments.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
}

async fn artifact(events: &mut Events) -> ArtifactInfo {
    let event = events.until("artifact", |event| matches!(event.body, EventBody::Artifact(_))).await;
    let EventBody::Artifact(info) = event.body else { unreachable!() };
    info
}

/// A turn in which something is typed; stopped by a person.
async fn turn(pod: &Pod, events: &mut Events, id: &str, number: i64, recording: bool) {
    pod.prompt(id, "deaf", &[]).await;
    events.until("step", |event| matches!(event.body, EventBody::Step { .. })).await;
    if recording {
        eventually("the desktop is recorded", || recorded(pod) > 0).await;
    }
    let tools = Tools::connect(pod).await;
    tools.call("launch", json!({"program": "editor"})).await;
    tools.call("computer", json!({"action": "type", "text": "hunter2"})).await;
    assert!(pod.interrupt(number).await);
    events.turn_end(id).await;
}

/// Index and segments of a published recording.
async fn unpack(pod: &Pod, info: &ArtifactInfo) -> (Index, Vec<(String, Vec<u8>)>) {
    let blob = pod.get(&format!("/v1/blobs/{}", info.sha256)).await.bytes().await.unwrap();
    assert_eq!(i64::try_from(blob.len()).unwrap(), info.size);
    let mut files = Vec::new();
    for entry in tar::Archive::new(&blob[..]).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        files.push((entry.path().unwrap().display().to_string(), content));
    }
    let (name, index) = files.remove(0);
    assert_eq!(name, "index.json");
    (serde_json::from_slice(&index).unwrap(), files)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_is_recorded_only_while_that_is_wanted_and_becomes_an_artifact() {
    let pod = Pod::with_fake_display();
    let mut events = pod.events("").await;
    turn(&pod, &mut events, "m1", 1, false).await;
    assert_eq!(recorded(&pod), 0);
    pod.configure(json!({"recording": true})).await;
    turn(&pod, &mut events, "m2", 2, true).await;
    let info = artifact(&mut events).await;
    assert_eq!(
        (info.name.as_str(), info.media_type.as_str(), info.turn, info.version),
        ("recording-turn-2", MEDIA_TYPE, 2, 1)
    );
    let (index, files) = unpack(&pod, &info).await;
    assert_eq!((index.version, index.turn, index.width, index.height), (1, 2, 1280, 800));
    let told: Vec<&str> = index.actions.iter().map(|action| action.what.as_str()).collect();
    assert_eq!(told, ["launch editor", "type (7 characters)"]);
    assert_eq!(index.segments.len(), files.len());
    for (segment, (name, content)) in index.segments.iter().zip(&files) {
        assert_eq!((&segment.file, segment.bytes), (name, content.len() as u64));
        assert!(content.starts_with(FBS_MAGIC));
    }
    eventually("nothing else is left of it", || {
        std::fs::read_dir(pod.folder.path().join("state/recordings")).unwrap().count() == 0
    })
    .await;
    pod.configure(json!({"recording": false})).await;
    turn(&pod, &mut events, "m3", 3, false).await;
    assert_eq!(pod.state().await.artifacts, [info]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_ended_with_its_runner_keeps_what_was_recorded() {
    let mut pod = Pod::with_fake_display();
    pod.configure(json!({"recording": true})).await;
    let mut events = pod.events("").await;
    pod.prompt("m1", "deaf", &[]).await;
    events.until("step", |event| matches!(event.body, EventBody::Step { .. })).await;
    // One whole picture of plain pixels.
    eventually("the desktop is recorded", || recorded(&pod) > 1280 * 800 * 4).await;
    pod.kill_runner();
    pod.start_runner();
    let mut events = pod.events("").await;
    let info = artifact(&mut events).await;
    assert_eq!((info.name.as_str(), info.turn), ("recording-turn-1", 1));
    let (index, files) = unpack(&pod, &info).await;
    assert_eq!((index.segments.len(), files.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_desktop_that_cannot_record_holds_up_no_turn() {
    let pod = Pod::with_stub();
    pod.configure(json!({"recording": true})).await;
    let mut events = pod.events("").await;
    for id in ["m1", "m2"] {
        pod.prompt(id, "hello", &[]).await;
        assert_eq!(events.turn_end(id).await, "end_turn");
    }
    assert!(pod.state().await.artifacts.is_empty());
}
