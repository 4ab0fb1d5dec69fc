//! What volumes and snapshots must do, over the real socket, on a real btrfs.

#![allow(clippy::unwrap_used, reason = "a test may panic anywhere")]

mod support;

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, chown, symlink},
    path::Path,
};

use a8s_csi_btrfs::csi::{
    GetCapacityRequest, ListSnapshotsRequest, NodeGetVolumeStatsRequest,
    volume_content_source::Type as Content,
};
use support::{Rig, may_mount};
use tonic::Code;

const MIB: usize = 1 << 20;

fn noise(bytes: usize) -> Vec<u8> {
    // Not compressible, and different everywhere: a mixed-up block shows.
    (0..bytes as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

/// Whether an error means that a volume has reached its size.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::QuotaExceeded | io::ErrorKind::StorageFull)
}

/// Fills a volume until it refuses, and returns how much went in.
fn fill(folder: &Path) -> usize {
    let mut written = 0;
    for number in 0..200 {
        let path = folder.join(format!("fill-{number}"));
        match fs::write(&path, noise(MIB)).and_then(|()| fs::File::open(&path)?.sync_all()) {
            Ok(()) => written += MIB,
            Err(error) => {
                assert!(is_full(&error), "{error}");
                return written;
            }
        }
    }
    panic!("{written} bytes went in without an end");
}

#[tokio::test]
async fn a_restored_volume_has_what_the_snapshot_saw_and_not_what_came_later() {
    if !may_mount() {
        return;
    }
    let rig = Rig::new();
    let mut client = rig.client();
    let source = client.volume("source", 100).await.unwrap().volume_id;
    let folder = client.publish(&source, false).await.unwrap();
    fs::write(folder.join("note"), "first").unwrap();
    fs::write(folder.join("blob"), noise(3 * MIB)).unwrap();
    chown(folder.join("note"), Some(1000), Some(1001)).unwrap();
    symlink("note", folder.join("link")).unwrap();

    let snapshot = client.snapshot("snap", &source).await.unwrap();
    assert!(snapshot.ready_to_use);
    assert_eq!((snapshot.size_bytes, snapshot.source_volume_id.as_str()), (100 << 20, source.as_str()));
    fs::write(folder.join("note"), "second").unwrap();
    fs::remove_file(folder.join("blob")).unwrap();

    let restored = client.restore("restored", 100, &snapshot.snapshot_id).await.unwrap();
    let Some(Content::Snapshot(echo)) = restored.content_source.unwrap().r#type else { panic!("no source") };
    assert_eq!(echo.snapshot_id, snapshot.snapshot_id);
    let old = client.publish(&restored.volume_id, false).await.unwrap();
    assert_eq!(fs::read_to_string(old.join("link")).unwrap(), "first");
    assert_eq!(fs::read(old.join("blob")).unwrap(), noise(3 * MIB));
    let owner = fs::metadata(old.join("note")).unwrap();
    assert_eq!((owner.uid(), owner.gid()), (1000, 1001));

    // A clone has the present, and is apart from its source from then on.
    let clone = client.clone_of("clone", 100, &source).await.unwrap().volume_id;
    let twin = client.publish(&clone, false).await.unwrap();
    assert_eq!(fs::read_to_string(twin.join("note")).unwrap(), "second");
    fs::write(twin.join("note"), "third").unwrap();
    assert_eq!(fs::read_to_string(folder.join("note")).unwrap(), "second");

    // The snapshot does not need its source.
    client.unpublish(&source).await.unwrap();
    client.delete_volume(&source).await.unwrap();
    let again = client.restore("again", 100, &snapshot.snapshot_id).await.unwrap().volume_id;
    for id in [&restored.volume_id, &clone, &again] {
        client.unpublish(id).await.unwrap();
        client.delete_volume(id).await.unwrap();
    }
    client.delete_snapshot(&snapshot.snapshot_id).await.unwrap();
    for folder in ["volumes", "snapshots", "records/volumes", "records/snapshots"] {
        assert_eq!(rig.pool(folder), [""; 0], "left in {folder}");
    }
    assert_eq!(rig.mounts(), [rig.folder.join("state/mnt")]);
}

#[tokio::test]
async fn a_volume_takes_what_it_promised_and_no_more_and_can_be_emptied_again() {
    if !may_mount() {
        return;
    }
    let rig = Rig::new();
    let mut client = rig.client();
    let small = client.volume("small", 20).await.unwrap().volume_id;
    let folder = client.publish(&small, false).await.unwrap();
    let written = fill(&folder);
    assert!((17 * MIB..=20 * MIB).contains(&written), "{written}");
    let snapshot = client.snapshot("full", &small).await.unwrap().snapshot_id;

    let request =
        NodeGetVolumeStatsRequest { volume_id: small.clone(), volume_path: folder.display().to_string() };
    let usage = client.node.node_get_volume_stats(request).await.unwrap().into_inner().usage;
    assert_eq!(usage[0].total, 20 << 20);
    assert!(usage[0].used >= i64::try_from(written).unwrap() && usage[0].available < 3 << 20, "{usage:?}");

    // Another volume does not suffer, and a larger copy of the full one has room again.
    let other = client.volume("other", 20).await.unwrap().volume_id;
    let other = client.publish(&other, false).await.unwrap();
    fs::write(other.join("data"), noise(10 * MIB)).unwrap();
    let larger = client.restore("larger", 40, &snapshot).await.unwrap().volume_id;
    let larger = client.publish(&larger, false).await.unwrap();
    let more = fill_more(&larger);
    assert!((16 * MIB..=20 * MIB).contains(&more), "{more}");

    // A full volume can be emptied and used again.
    for entry in fs::read_dir(&folder).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    fs::write(folder.join("after"), noise(MIB)).unwrap();
}

/// Fills below a folder that holds filled files already.
fn fill_more(folder: &Path) -> usize {
    let more = folder.join("more");
    fs::create_dir(&more).unwrap();
    fill(&more)
}

#[tokio::test]
async fn a_repeated_call_finds_the_same_and_a_different_one_under_the_same_name_is_refused() {
    if !may_mount() {
        return;
    }
    let rig = Rig::new();
    let mut client = rig.client();
    let calls = (0..8).map(|_| {
        let mut client = client.clone();
        tokio::spawn(async move { client.volume("same", 20).await.unwrap().volume_id })
    });
    let mut ids = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        ids.push(call.await.unwrap());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    let id = ids.remove(0);
    assert_eq!(client.volume("same", 30).await.unwrap_err().code(), Code::AlreadyExists);
    assert_eq!(client.clone_of("same", 20, &id).await.unwrap_err().code(), Code::AlreadyExists);

    let snapshot = client.snapshot("shot", &id).await.unwrap();
    assert_eq!(client.snapshot("shot", &id).await.unwrap(), snapshot);
    let other = client.volume("other", 20).await.unwrap().volume_id;
    assert_eq!(client.snapshot("shot", &other).await.unwrap_err().code(), Code::AlreadyExists);
    assert_eq!(client.restore("less", 19, &snapshot.snapshot_id).await.unwrap_err().code(), Code::OutOfRange);
    assert_eq!(client.volume("huge", 30 << 10).await.unwrap_err().code(), Code::OutOfRange);

    let unknown = id.replace(|c: char| c.is_ascii_digit(), "0");
    assert_eq!(client.snapshot("none", &unknown).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(client.restore("none", 20, "snap-unknown").await.unwrap_err().code(), Code::NotFound);
    for _ in 0..2 {
        client.delete_snapshot(&snapshot.snapshot_id).await.unwrap();
        client.delete_volume(&id).await.unwrap();
        client.unpublish(&id).await.unwrap();
    }
    assert_eq!(client.publish(&id, false).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_volume_is_published_read_only_when_asked_and_only_below_the_kubelets_folder() {
    if !may_mount() {
        return;
    }
    let rig = Rig::new();
    let mut client = rig.client();
    let id = client.volume("v", 20).await.unwrap().volume_id;
    let folder = client.publish(&id, true).await.unwrap();
    let error = fs::write(folder.join("x"), "x").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ReadOnlyFilesystem);
    assert_eq!(client.publish(&id, true).await.unwrap(), folder, "a repeated publish mounts nothing twice");
    assert_eq!(rig.mounts().len(), 2);

    let mut elsewhere = a8s_csi_btrfs::csi::NodeUnpublishVolumeRequest {
        volume_id: id.clone(),
        target_path: rig.folder.join("state").display().to_string(),
    };
    for path in [rig.folder.join("state"), rig.kubelet().join("../state"), "relative".into()] {
        elsewhere.target_path = path.display().to_string();
        let error = client.node.node_unpublish_volume(elsewhere.clone()).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{}", path.display());
    }
}

#[tokio::test]
async fn snapshots_are_listed_for_a_static_import_and_capacity_is_told() {
    if !may_mount() {
        return;
    }
    let rig = Rig::new();
    let mut client = rig.client();
    let id = client.volume("v", 20).await.unwrap().volume_id;
    let first = client.snapshot("one", &id).await.unwrap();
    client.snapshot("two", &id).await.unwrap();
    let by_handle = ListSnapshotsRequest { snapshot_id: first.snapshot_id.clone(), ..Default::default() };
    let entries = client.controller.list_snapshots(by_handle).await.unwrap().into_inner().entries;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].snapshot.as_ref(), Some(&first));
    let all = client.controller.list_snapshots(ListSnapshotsRequest::default()).await.unwrap().into_inner();
    assert_eq!((all.entries.len(), all.next_token.as_str()), (2, ""));
    let free = client.controller.get_capacity(GetCapacityRequest {}).await.unwrap().into_inner();
    assert!((19 << 30..=20 << 30).contains(&free.available_capacity), "{free:?}");
}
