//! What the volume holds: flushes, restored homes, and whose conversation it is.

#![allow(clippy::unwrap_used)]

mod common;

use std::{
    fs::{File, FileTimes},
    path::Path,
    process::{Command, Output},
    time::{Duration, SystemTime},
};

use a8s_wire::{Restored, Scope};
use common::{Pod, UID};
use reqwest::StatusCode;
use serde_json::json;

/// Writes a file that is older than anything the test does later.
fn old_file(home: &Path, name: &str, text: &str) {
    let path = home.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    age(&path);
}

/// Makes a file or folder an hour old.
fn age(path: &Path) {
    let hour_ago = SystemTime::now() - Duration::from_hours(1);
    File::open(path).unwrap().set_times(FileTimes::new().set_modified(hour_ago)).unwrap();
}

async fn restored(pod: &Pod) -> Restored {
    loop {
        if let Some(restored) = pod.state().await.restored {
            return restored;
        }
        tokio::task::yield_now().await;
    }
}

fn quiesce(state: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_a8s-runner")).args(["quiesce", "--state"]).arg(state).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_home_is_compared_with_the_last_flush_and_the_result_is_kept() {
    let mut pod = Pod::with_stub();
    let home = pod.home();
    for name in
        ["Documents/same.txt", "Documents/lost.txt", "cut.txt", "rotten.txt", "written.txt", "repaired.txt"]
    {
        old_file(&home, name, "what it holds");
    }
    assert_eq!(pod.post("/v1/quiesce", json!({})).await.status(), StatusCode::OK);
    assert_eq!(pod.state().await.restored, None, "this volume began empty");
    pod.kill_runner();

    std::fs::remove_file(home.join("Documents/lost.txt")).unwrap();
    age(&home.join("Documents"));
    old_file(&home, "cut.txt", "");
    let before = home.join("rotten.txt").metadata().unwrap().modified().unwrap();
    std::fs::write(home.join("rotten.txt"), "what it hOlds").unwrap();
    File::open(home.join("rotten.txt")).unwrap().set_times(FileTimes::new().set_modified(before)).unwrap();
    std::fs::write(home.join("written.txt"), "after the flush, before the Snapshot").unwrap();
    old_file(&home, "repaired.txt", "by deskd");
    std::fs::write(pod.folder.path().join("repaired"), "repaired.txt\n").unwrap();
    pod.add(&["--restored-from", "before-lunch"]);
    pod.set_epoch(1);
    pod.start_runner();
    let found = restored(&pod).await;
    assert_eq!(found.from.as_deref(), Some("before-lunch"));
    assert_eq!(found.differs, ["missing Documents/lost.txt", "changed cut.txt", "damaged rotten.txt"]);
    assert_eq!((found.files, found.later, found.different), (1, 1, 3));
    assert!(found.conversation_ok && found.exact && !found.intact());

    std::fs::remove_file(home.join("Documents/same.txt")).unwrap();
    pod.kill_runner();
    pod.start_runner();
    assert_eq!(restored(&pod).await, found, "a restart compares nothing anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_without_a_flush_is_intact_and_its_conversation_goes_on() {
    let mut pod = Pod::start();
    old_file(&pod.home(), "a.txt", "a");
    assert_eq!(pod.post("/v1/quiesce", json!({})).await.status(), StatusCode::OK);
    pod.prompt("m1", "/say hello", &[]).await;
    pod.events("").await.turn_end("m1").await;
    pod.kill_runner();
    pod.set_epoch(1);
    pod.start_runner();
    let found = restored(&pod).await;
    assert!(found.intact() && !found.exact, "{found:?}");
    assert_eq!((found.from, found.flushed.unwrap().seq), (None, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_that_ends_before_the_flush_is_told() {
    let mut pod = Pod::start();
    pod.prompt("m1", "/say hello", &[]).await;
    pod.events("").await.turn_end("m1").await;
    pod.post("/v1/quiesce", json!({})).await;
    pod.kill_runner();
    let transcript = pod.folder.path().join("state/transcript.jsonl");
    let text = std::fs::read_to_string(&transcript).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    std::fs::write(&transcript, lines[..lines.len() - 1].join("\n") + "\n").unwrap();
    pod.add(&["--restored-from", "lossy"]);
    pod.start_runner();
    let found = restored(&pod).await;
    assert!(!found.conversation_ok && !found.intact());
    assert!(found.summary().contains("lost events"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_without_a_list_of_files_is_not_called_intact() {
    let mut pod = Pod::with_stub();
    pod.kill_runner();
    std::fs::write(pod.folder.path().join("state/manifest"), "cut of").unwrap();
    pod.add(&["--restored-from", "crash"]);
    pod.start_runner();
    let found = restored(&pod).await;
    assert_eq!(found.flushed, None);
    assert!(!found.intact() && found.conversation_ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_tool_flushes_by_running_a_command_in_the_container() {
    let mut pod = Pod::start();
    let state = pod.folder.path().join("state");
    old_file(&pod.home(), "a.txt", "a");
    pod.prompt("m1", "/say hello", &[]).await;
    pod.events("").await.turn_end("m1").await;
    let done = quiesce(&state);
    let line = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success(), "{line}");
    let place = format!("on the disk: turn 1, event 0.{}, ", pod.state().await.seq);
    assert!(line.starts_with(&place) && line.ends_with(" files\n"), "{line}");
    assert!(state.join("manifest").exists());

    pod.kill_runner();
    let refused = quiesce(&state);
    assert!(!refused.status.success());
    assert!(String::from_utf8(refused.stderr).unwrap().contains("does not answer"));
    pod.start_runner();
    assert!(quiesce(&state).status.success(), "a socket that a killed runner left is replaced");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_waited_learns_its_session_once_and_for_all() {
    let mut pod = Pod::with_stub();
    assert_eq!(pod.state().await.session, None);
    let talk = json!({"session": "talk", "uid": "u-1"});
    let request = pod.client().put(pod.url("/v1/session")).bearer_auth(pod.token(&[Scope::Stream], UID));
    assert_eq!(request.json(&talk).send().await.unwrap().status(), StatusCode::FORBIDDEN);
    assert_eq!(pod.bind(json!({"session": ""})).await.status(), StatusCode::BAD_REQUEST);
    for _ in 0..2 {
        assert_eq!(pod.bind(talk.clone()).await.status(), StatusCode::OK);
    }
    assert_eq!(pod.bind(json!({"session": "talk"})).await.status(), StatusCode::OK);
    for other in [json!({"session": "other", "uid": "u-2"}), json!({"session": "talk", "uid": "u-2"})] {
        let refused = pod.bind(other).await;
        assert_eq!(refused.status(), StatusCode::CONFLICT);
        assert!(refused.text().await.unwrap().contains("belongs to the Session talk"));
    }
    pod.kill_runner();
    pod.start_runner();
    assert_eq!(pod.state().await.session.unwrap().uid.as_deref(), Some("u-1"));
    assert_eq!(pod.bind(json!({"session": "other"})).await.status(), StatusCode::CONFLICT);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_made_for_a_session_knows_it_and_learns_only_the_uid() {
    let mut pod = Pod::with_stub();
    pod.kill_runner();
    pod.add(&["--session", "talk"]);
    pod.start_runner();
    assert_eq!(pod.state().await.session.unwrap().session, "talk");
    assert_eq!(pod.bind(json!({"session": "talk", "uid": "u-1"})).await.status(), StatusCode::OK);
    assert_eq!(pod.state().await.session.unwrap().uid.as_deref(), Some("u-1"));
    assert_eq!(pod.bind(json!({"session": "talk", "uid": "u-2"})).await.status(), StatusCode::CONFLICT);
}
