//! The driver may end at any moment, orderly or not, and the next one goes on from what is on the disk.

#![allow(clippy::unwrap_used, reason = "a test may panic anywhere")]

mod support;

use std::fs;

use support::{Rig, may_mount};
use tokio::task::JoinSet;

#[tokio::test]
async fn killed_in_the_middle_of_calls_it_keeps_what_it_promised_and_nothing_half_made() {
    if !may_mount() {
        return;
    }
    let mut rig = Rig::new();
    let mut base = rig.client();
    let origin = base.volume("origin", 50).await.unwrap().volume_id;
    let folder = base.publish(&origin, false).await.unwrap();
    fs::write(folder.join("data"), "kept").unwrap();
    // Each round ends after another number of answers, so that the kill meets other steps of other calls.
    for round in 0..8_usize {
        let client = rig.client();
        let mut calls = JoinSet::new();
        for number in 0..6 {
            let (mut client, origin) = (client.clone(), origin.clone());
            calls.spawn(async move {
                let name = format!("{round}-{number}");
                let snapshot = client.snapshot(&name, &origin).await?.snapshot_id;
                let volume = client.restore(&name, 50, &snapshot).await?.volume_id;
                if number % 2 == 0 {
                    client.delete_volume(&volume).await?;
                    client.delete_snapshot(&snapshot).await?;
                }
                Ok::<_, tonic::Status>((name, volume))
            });
        }
        let mut promised = Vec::new();
        while promised.len() < round.min(5)
            && let Some(call) = calls.join_next().await
        {
            promised.push(call.unwrap().unwrap());
        }
        rig.kill();
        calls.shutdown().await;
        rig.start();

        for kind in ["volumes", "snapshots"] {
            let records: Vec<_> =
                rig.pool(&format!("records/{kind}")).iter().map(|name| name.replace(".json", "")).collect();
            assert_eq!(rig.pool(kind), records, "{kind} and their records after round {round}");
        }
        let mut client = rig.client();
        for (name, id) in promised {
            let kept = rig.pool("volumes").contains(&id);
            assert_eq!(kept, name.ends_with(['1', '3', '5']), "{name}");
        }
        // Everything can be asked for again, under the same names, and be cleaned up.
        for number in 0..6 {
            let name = format!("{round}-{number}");
            let snapshot = client.snapshot(&name, &origin).await.unwrap().snapshot_id;
            let volume = client.restore(&name, 50, &snapshot).await.unwrap().volume_id;
            let folder = client.publish(&volume, false).await.unwrap();
            assert_eq!(fs::read_to_string(folder.join("data")).unwrap(), "kept");
            client.unpublish(&volume).await.unwrap();
            client.delete_volume(&volume).await.unwrap();
            client.delete_snapshot(&snapshot).await.unwrap();
        }
        assert_eq!(rig.pool("volumes"), [origin.as_str()]);
        assert_eq!(rig.pool("snapshots"), [""; 0]);
    }
}

#[tokio::test]
async fn an_orderly_stop_leaves_no_socket_no_mount_and_no_loop_device_and_loses_nothing() {
    if !may_mount() {
        return;
    }
    let mut rig = Rig::new();
    let mut client = rig.client();
    let id = client.volume("v", 20).await.unwrap().volume_id;
    let folder = client.publish(&id, false).await.unwrap();
    fs::write(folder.join("data"), "kept").unwrap();
    client.unpublish(&id).await.unwrap();
    assert!(!folder.exists());
    assert!(rig.has_loop());
    drop(client);
    rig.stop();
    assert!(!rig.socket().exists() && !rig.registry().exists());
    assert_eq!(rig.mounts(), [""; 0].map(std::path::PathBuf::from));
    support::eventually("the loop device is free", || !rig.has_loop());

    rig.start();
    let mut client = rig.client();
    let folder = client.publish(&id, false).await.unwrap();
    assert_eq!(fs::read_to_string(folder.join("data")).unwrap(), "kept");
}

#[tokio::test]
async fn a_pod_keeps_its_volume_while_the_driver_is_away() {
    if !may_mount() {
        return;
    }
    let mut rig = Rig::new();
    let mut client = rig.client();
    let id = client.volume("v", 20).await.unwrap().volume_id;
    let folder = client.publish(&id, false).await.unwrap();
    drop(client);
    rig.stop();
    fs::write(folder.join("data"), "written while it was away").unwrap();
    rig.start();
    let mut client = rig.client();
    let snapshot = client.snapshot("s", &id).await.unwrap().snapshot_id;
    let copy = client.restore("copy", 20, &snapshot).await.unwrap().volume_id;
    let copy = client.publish(&copy, false).await.unwrap();
    assert_eq!(fs::read_to_string(copy.join("data")).unwrap(), "written while it was away");
    client.unpublish(&id).await.unwrap();
}
