//! What a cluster of one node cannot show: a node that is lost, a volume that is attached elsewhere, and where a pod asks to run.

use k8s_openapi::api::core::v1::{Event, Node, Pod};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    doubles,
    world::{OURS, TEAM, World, is_ready},
};

async fn workspace(world: &World, name: &str, environment: &str) {
    world
        .create(
            &json!({"apiVersion": OURS, "kind": "Workspace", "metadata": {"name": name, "namespace": TEAM},
            "spec": {"environment": environment}}),
        )
        .await;
}

async fn found(world: &World, name: &str) -> Value {
    let all = world.all("Workspace").await;
    all.into_iter().find(|w| w["metadata"]["name"] == name).unwrap_or_default()
}

/// Why the Workspace is not ready, in a word and in words.
async fn trouble(world: &World, name: &str) -> (String, String) {
    let workspace = found(world, name).await;
    let conditions = workspace["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let ready = conditions.into_iter().find(|c| c["type"] == "Ready" && c["status"] == "False");
    let text = |key: &str| ready.as_ref().and_then(|c| c[key].as_str()).unwrap_or_default().to_owned();
    (text("reason"), text("message"))
}

fn claim(pod: &Pod) -> Option<String> {
    let volumes = pod.spec.as_ref()?.volumes.as_ref()?;
    volumes.iter().find_map(|v| Some(v.persistent_volume_claim.as_ref()?.claim_name.clone()))
}

fn node(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

/// What the node controller does when it hears nothing of a node: it doubts its pods and, after a while, deletes them. Nobody confirms it.
async fn give_up(world: &World, pod: &Pod) {
    let api: Api<Pod> = Api::namespaced(world.client.clone(), TEAM);
    let doubted =
        json!({"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "NodeNotReady"}]}});
    api.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(doubted))
        .await
        .expect("doubted");
    api.delete(&pod.name_any(), &DeleteParams::default().grace_period(1)).await.expect("deleted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_desktop_on_a_silent_node_has_no_second_pod_until_the_node_is_marked_out_of_service() {
    let world = World::new().await;
    workspace(&world, "w", "desktop").await;
    world.until("the desktop runs", async || is_ready(&found(&world, "w").await)).await;
    let [first] = &world.pods().await[..] else { panic!("one pod") };
    assert_eq!(node(first), Some("n"));

    world.node("m").await;
    world.node_says("n", "Unknown").await;
    give_up(&world, first).await;
    world
        .until("the Workspace says that its node is lost", async || {
            trouble(&world, "w").await.0 == "NodeLost"
        })
        .await;
    let (_, words) = trouble(&world, "w").await;
    assert!(words.contains("Node n") && words.contains("out-of-service"), "what to do: {words}");
    // Whoever looks again does not think better of it, and neither does a controller that knows nothing of the past.
    world.kill();
    world.start();
    world.patch("Workspace", "w".into(), &json!({"metadata": {"annotations": {"look": "again"}}})).await;
    let looked = found(&world, "w").await["metadata"]["generation"].clone();
    world.patch("Workspace", "w".into(), &json!({"spec": {"desktop": {"width": 1024, "height": 768}}})).await;
    world
        .until("it was looked at again", async || {
            let workspace = found(&world, "w").await;
            workspace["metadata"]["generation"] != looked
                && workspace["status"]["observedGeneration"] == workspace["metadata"]["generation"]
        })
        .await;
    let uids = |pods: &[Pod]| pods.iter().filter_map(ResourceExt::uid).collect::<Vec<_>>();
    assert_eq!(uids(&world.pods().await), uids(std::slice::from_ref(first)), "the one that may still write");

    let nodes: Api<Node> = Api::all(world.client.clone());
    let taint =
        json!({"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"});
    let off = Patch::Merge(json!({"spec": {"taints": [taint]}}));
    nodes.patch("n", &PatchParams::default(), &off).await.expect("tainted");
    world
        .until("the desktop runs elsewhere", async || {
            let pods = world.pods().await;
            pods.len() == 1 && node(&pods[0]) == Some("m") && is_ready(&found(&world, "w").await)
        })
        .await;
    let [second] = &world.pods().await[..] else { panic!("one pod") };
    assert_eq!(claim(second), claim(first), "on the same volume");
    assert!(claim(second).is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_that_is_attached_to_another_node_is_named_until_it_comes_free() {
    let world = World::new().await;
    workspace(&world, "stuck-w", "desktop").await;
    world
        .until("there is a pod on a node", async || world.pods().await.iter().any(|p| node(p).is_some()))
        .await;
    let pod = world.pods().await.remove(0);
    let (uid, now) = (pod.uid().unwrap_or_default(), "2026-11-22T12:00:00Z");
    let note = "Multi-Attach error for volume \"pvc-1\" Volume is already exclusively attached to one node and can't be attached to another";
    let event = json!({"metadata": {"name": "stuck.1", "namespace": TEAM}, "type": "Warning", "reason": "FailedAttachVolume",
        "message": note, "firstTimestamp": now, "lastTimestamp": now, "count": 1, "source": {"component": "attachdetach-controller"},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "namespace": TEAM, "name": pod.name_any(), "uid": uid}});
    let events: Api<Event> = Api::namespaced(world.client.clone(), TEAM);
    let event = serde_json::from_value(event).expect("an Event");
    events.create(&PostParams::default(), &event).await.expect("an Event");
    world
        .until("the Workspace names the cause", async || trouble(&world, "stuck-w").await.0 == "MultiAttach")
        .await;
    let (_, words) = trouble(&world, "stuck-w").await;
    assert!(words.contains("attached to another node") && words.contains("out-of-service"), "{words}");
    doubles::run(&world.client, &pod).await.expect("it runs");
    world.until("the desktop runs", async || is_ready(&found(&world, "stuck-w").await)).await;
    assert_eq!(world.pods().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_has_a_user_namespace_and_nodes_as_its_environment_asks() {
    let world = World::new().await;
    world
        .create(&json!({"apiVersion": OURS, "kind": "Environment", "metadata": {"name": "apart"},
            "spec": {"title": "Apart", "image": "desktop:1",
                "pod": {"userNamespace": true, "nodeSelector": {"kubernetes.io/os": "linux"}}}}))
        .await;
    workspace(&world, "apart", "apart").await;
    workspace(&world, "plain", "desktop").await;
    world
        .until("both run", async || {
            is_ready(&found(&world, "apart").await) && is_ready(&found(&world, "plain").await)
        })
        .await;
    let pods = world.pods().await;
    let spec = |of: &str| {
        let pod = pods.iter().find(|p| p.name_any().starts_with(of)).expect("a pod");
        pod.spec.clone().expect("a spec")
    };
    let (apart, plain) = (spec("apart"), spec("plain"));
    assert_eq!((apart.host_users, plain.host_users.unwrap_or(true)), (Some(false), true));
    assert_eq!(
        apart.node_selector.unwrap_or_default().get("kubernetes.io/os").map(String::as_str),
        Some("linux")
    );
    assert!(plain.node_selector.unwrap_or_default().is_empty());
}
