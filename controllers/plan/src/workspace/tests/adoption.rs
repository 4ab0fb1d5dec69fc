//! A Workspace whose children came back from a backup before it did.

use a8s_crds::labels;
use k8s_openapi::{api::core::v1::PersistentVolumeClaim, apimachinery::pkg::apis::meta::v1::Time};

use super::*;

/// The objects of a Workspace that ran, as a restore leaves them: without owners, and of another UID.
fn restored() -> Observed {
    let mut observed = ready();
    observed.workspace.status = None;
    let uid = |all: &mut Option<std::collections::BTreeMap<String, String>>| {
        all.as_mut().unwrap().insert(labels::WORKSPACE_UID.into(), "an earlier life".into());
    };
    let claim = observed.claim.as_mut().unwrap();
    claim.metadata.owner_references = None;
    claim.metadata.resource_version = Some("7".into());
    uid(&mut claim.metadata.labels);
    let pod = observed.pod.as_mut().unwrap();
    pod.metadata.owner_references = None;
    uid(&mut pod.metadata.labels);
    observed
}

#[test]
fn a_restored_pod_goes_before_the_volume_is_taken_over_and_nothing_is_made_anew() {
    let mut observed = restored();
    let first = plan(&observed, &env(10));
    assert_eq!(check(&observed, &env(10), &first), []);
    let pod_uid = observed.pod.as_ref().unwrap().metadata.uid.clone().unwrap();
    assert!(
        first.ops.iter().any(
            |op| matches!(op, Op::Delete { target, .. } if target.kind == "Pod" && target.uid == pod_uid)
        )
    );
    assert!(!first.ops.iter().any(|op| matches!(op, Op::Swap { .. } | Op::Create { .. })));

    observed.pod = None;
    let second = plan(&observed, &env(11));
    assert_eq!(check(&observed, &env(11), &second), []);
    let swap = second.ops.iter().find_map(|op| match op {
        Op::Swap { target, version, patch } => Some((target, version, patch)),
        _ => None,
    });
    let (target, version, patch) = swap.unwrap();
    assert_eq!((target.kind.as_str(), version.as_str()), ("PersistentVolumeClaim", "7"));
    assert_eq!(patch["metadata"]["ownerReferences"][0]["uid"], UID);
    assert_eq!((creates(&second, "PersistentVolumeClaim"), creates(&second, "Pod")), (0, 0));
}

#[test]
fn whichever_volume_came_back_is_the_one_and_none_is_made_beside_it() {
    let restored = restored();
    let (workspace, first) = (&restored.workspace, restored.claim.clone().unwrap());
    let numbered = |generation: i64, name: &str| {
        let mut claim = first.clone();
        claim.metadata.name = Some(name.into());
        claim.metadata.labels.as_mut().unwrap().insert(labels::GENERATION.into(), generation.to_string());
        claim
    };
    let chosen = |workspace: &Workspace, found: Vec<PersistentVolumeClaim>| {
        crate::workspace::claims(workspace, found).0.and_then(|claim| claim.metadata.name)
    };
    let (second, third) = (numbered(2, "w-home-2"), numbered(3, "w-home-3"));
    let all = vec![third, first.clone(), second.clone()];
    assert_eq!(chosen(workspace, all).as_deref(), Some("w-home-3"), "the newest");
    // With its status restored too it knows of a volume, which is this one and not the one before the next.
    let mut knowing = workspace.clone();
    let storage = json!({"storage": {"claim": "w-home-2", "generation": 2}});
    knowing.status = Some(serde_json::from_value(storage).unwrap());
    assert_eq!(chosen(&knowing, vec![second.clone()]).as_deref(), Some("w-home-2"));
    // What goes, or was never a Workspace's, is none.
    let mut going = second.clone();
    going.metadata.deletion_timestamp = Some(Time(at(0)));
    let mut plain = second;
    plain.metadata.annotations = None;
    assert_eq!(chosen(workspace, vec![going, plain]), None);
}

#[test]
fn what_somebody_owns_or_never_was_ours_is_left_alone() {
    let mut owned = restored();
    owned.pod = None;
    owned.claim.as_mut().unwrap().metadata.owner_references = Some(vec![
        serde_json::from_value(json!({"apiVersion": "v1", "kind": "X", "name": "x", "uid": "x"})).unwrap(),
    ]);
    let mut plain = restored();
    plain.pod = None;
    plain.claim.as_mut().unwrap().metadata.annotations = None;
    for observed in [owned, plain] {
        let plan = plan(&observed, &env(10));
        assert!(!plan.ops.iter().any(|op| matches!(op, Op::Swap { .. } | Op::Delete { .. })));
        let ready = get(&plan.status.unwrap().conditions, ConditionType::Ready).unwrap().clone();
        assert_eq!(ready.reason, "NameTaken");
    }
}

#[test]
fn a_desktop_of_a_pool_writes_when_its_start_began_and_when_it_is_ready_and_nothing_between() {
    let mut observed = fresh(json!({}));
    observed.workspace.metadata.labels = Some([(labels::POOL.to_owned(), "warm".to_owned())].into());
    let mut written = vec![pass(&mut observed, 0).status.is_some()];
    bind(&mut observed, "Bound");
    written.push(pass(&mut observed, 1).status.is_some());
    run_containers(&mut observed);
    // The kubelet says that the containers are ready, and that is what a pool goes by.
    let last = pass(&mut observed, 2);
    written.push(last.status.is_some());
    assert_eq!((written, last.notices.as_slice()), (vec![true, false, true], &[][..]));
    assert_eq!(status(&observed).startup.as_ref().unwrap().total.as_deref(), Some("2.000s"));
}

#[test]
fn a_desktop_of_a_pool_that_takes_long_says_what_it_waits_for() {
    let mut observed = fresh(json!({}));
    observed.workspace.metadata.labels = Some([(labels::POOL.to_owned(), "warm".to_owned())].into());
    pass(&mut observed, 0);
    bind(&mut observed, "Pending");
    assert!(pass(&mut observed, 1).status.is_none());
    assert!(pass(&mut observed, 4).status.is_some());
    assert_eq!(reason(&observed, ConditionType::Ready), "ClaimPending");
}
