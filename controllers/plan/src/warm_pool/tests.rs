use a8s_crds::{
    WarmPoolStatus,
    conditions::{self, ConditionType},
    labels, names,
};
use jiff::Timestamp;
use serde_json::{Value, from_value, json};

use super::*;

const UID: &str = "uid-pool";

fn env() -> Env {
    let now = Timestamp::from_second(1_000).unwrap();
    Env { now, runner_image: "runner:1".into(), system_namespace: "a8s-system".into() }
}

fn environment(image: &str, golden: bool) -> Environment {
    let spec = json!({"title": "Desktop", "image": image, "storage": {"golden": golden}});
    Environment::new("desktop", from_value(spec).unwrap())
}

fn pool(replicas: i32) -> WarmPool {
    let mut pool =
        WarmPool::new("warm", from_value(json!({"environment": "desktop", "replicas": replicas})).unwrap());
    pool.metadata =
        from_value(json!({"name": "warm", "namespace": "team", "uid": UID, "generation": 1})).unwrap();
    pool
}

fn seen(replicas: i32) -> Observed {
    Observed {
        pool: pool(replicas),
        environment: Some(environment("desktop:1", false)),
        members: vec![],
        taken: BTreeSet::new(),
        nodes: BTreeMap::from([("n".to_owned(), Node { ready: true, schedulable: true })]),
        golden: vec![],
        behind: false,
        status_age: None,
        taken_age: None,
    }
}

fn current(seen: &Observed) -> String {
    template(seen.environment.as_ref().unwrap(), &seen.pool.spec, &env())
}

fn member(seen: &Observed, ordinal: u64, ready: bool) -> Member {
    let name = names::pool_member("warm", UID, ordinal);
    Member {
        namespace: "team".into(),
        uid: format!("uid-{ordinal}"),
        name,
        version: "7".into(),
        ordinal,
        waiting: true,
        template: current(seen),
        ready,
        node: Some("n".into()),
        stalled: None,
        seeds: None,
        needs: None,
    }
}

fn with(replicas: i32, members: &[(u64, bool)]) -> Observed {
    let mut seen = seen(replicas);
    seen.members = members.iter().map(|(n, ready)| member(&seen, *n, *ready)).collect();
    seen
}

fn made(plan: &Plan<WarmPoolStatus>) -> Vec<&Value> {
    let objects =
        plan.ops.iter().filter_map(|op| if let Op::Create { object } = op { Some(object) } else { None });
    objects.filter(|o| o["kind"] == "Workspace").collect()
}

fn numbers(plan: &Plan<WarmPoolStatus>) -> Vec<u64> {
    let number =
        |o: &&Value| o["metadata"]["annotations"][labels::ORDINAL].as_str().unwrap().parse().unwrap();
    made(plan).iter().map(number).collect()
}

fn removed(plan: &Plan<WarmPoolStatus>) -> Vec<&str> {
    let ops = plan.ops.iter();
    ops.filter_map(
        |op| if let Op::DeleteUnchanged { target, .. } = op { Some(target.uid.as_str()) } else { None },
    )
    .collect()
}

fn ready(plan: &Plan<WarmPoolStatus>) -> (String, String, String) {
    let status = plan.status.as_ref().unwrap();
    let c = conditions::get(&status.conditions, ConditionType::Ready).unwrap();
    (c.status.clone(), c.reason.clone(), c.message.clone())
}

#[test]
fn while_sessions_take_desktops_over_new_ones_wait_until_few_are_left() {
    let with_taken = |ready: u64, age| {
        let members: Vec<_> = (0..ready).map(|n| (n, true)).collect();
        let mut seen = with(20, &members);
        seen.taken_age = age;
        plan(&seen, &env())
    };
    assert_eq!(made(&with_taken(19, None)).len(), 1, "nobody takes any");
    let resting = with_taken(19, Some(100));
    assert_eq!(
        (made(&resting).len(), resting.wake),
        (0, Wake::AfterMillis(400)),
        "until half a second after the last"
    );
    assert_eq!(made(&with_taken(19, Some(500))).len(), 1);
    assert_eq!(made(&with_taken(5, Some(100))).len(), 0, "there are some left still");
    assert_eq!(made(&with_taken(4, Some(100))).len(), TRICKLE, "fewer than a quarter are left");
    assert_eq!(made(&with_taken(0, Some(100))).len(), 20, "there is nobody to step aside for");
}

#[test]
fn an_empty_pool_makes_as_many_as_are_asked_for_with_everything_a_session_needs() {
    let mut seen = seen(3);
    seen.pool.spec.storage = from_value(json!({"size": "2Gi"})).unwrap();
    let planned = plan(&seen, &env());
    assert_eq!(numbers(&planned), [0, 1, 2]);
    let first = made(&planned)[0];
    assert_eq!(first["metadata"]["name"], names::pool_member("warm", UID, 0));
    assert_eq!(first["metadata"]["labels"][labels::POOL], "warm");
    assert_eq!(first["metadata"]["finalizers"], json!([labels::WORKSPACE_FINALIZER]));
    assert_eq!(first["metadata"]["ownerReferences"][0]["uid"], UID);
    assert_eq!(first["spec"], json!({"environment": "desktop", "storage": {"size": "2Gi"}}));
    assert_eq!(ready(&planned), ("False".into(), "Scaling".into(), "0 of 3 desktops are ready.".into()));
}

#[test]
fn numbers_go_on_after_those_that_sessions_took() {
    let mut seen = with(2, &[(0, true), (4, true)]);
    seen.members[1].waiting = false;
    assert_eq!(numbers(&plan(&seen, &env())), [5]);
    seen.taken.insert(names::pool_member("warm", UID, 5));
    assert_eq!(numbers(&plan(&seen, &env())), [6], "a name that somebody else has is left out");
}

#[test]
fn a_full_pool_does_nothing_and_says_so_once() {
    let mut seen = with(2, &[(0, true), (1, true)]);
    let planned = plan(&seen, &env());
    assert_eq!(planned.ops, []);
    assert_eq!(ready(&planned).1, "Filled");
    let status = planned.status.unwrap();
    assert_eq!((status.replicas, status.ready_replicas, status.updated_replicas), (2, 2, 2));
    assert_eq!(status.selector.as_deref(), Some("a8s.dev/pool=warm"));
    seen.pool.status = Some(status);
    let again = plan(&seen, &env());
    assert_eq!((again.ops, again.status, again.notices), (vec![], None, vec![]));
}

#[test]
fn a_view_that_is_behind_leads_to_nothing() {
    let mut seen = seen(3);
    seen.behind = true;
    let planned = plan(&seen, &env());
    assert_eq!((planned.ops, planned.status), (vec![], None));
    assert_eq!(planned.wake, Wake::AfterMillis(BEHIND));
}

#[test]
fn fewer_means_that_unready_ones_go_first_and_then_the_newest() {
    let seen = with(1, &[(0, true), (1, false), (2, true), (3, true)]);
    assert_eq!(removed(&plan(&seen, &env())), ["uid-1", "uid-3", "uid-2"]);
    let none = with(0, &[(0, true)]);
    let planned = plan(&none, &env());
    assert_eq!(removed(&planned), ["uid-0"]);
    assert!(planned.ops.iter().all(|op| matches!(op, Op::DeleteUnchanged { version, .. } if version == "7")));
}

#[test]
fn a_new_environment_replaces_the_desktops_step_by_step() {
    let mut seen = with(8, &(0..8).map(|n| (n, n != 5)).collect::<Vec<_>>());
    seen.environment = Some(environment("desktop:2", false));
    let planned = plan(&seen, &env());
    // Seven serve, six must: one may go, besides the one that does not serve anyway.
    assert_eq!(removed(&planned), ["uid-5", "uid-0"]);
    assert_eq!(made(&planned).len(), 0, "their places are filled once they are seen to be leaving");
    assert_eq!(ready(&planned).1, "Rolling");
    seen.pool.spec.max_unavailable = Some(8);
    assert_eq!(removed(&plan(&seen, &env())).len(), 8);
    seen.members.truncate(6);
    seen.members.iter_mut().for_each(|m| m.template = "x-y".into());
    seen.pool.spec.max_unavailable = Some(2);
    let planned = plan(&seen, &env());
    assert_eq!(
        (removed(&planned), numbers(&planned)),
        (vec!["uid-5"], vec![6, 7]),
        "six must serve, five do"
    );
}

#[test]
fn what_is_only_for_people_makes_no_desktop_another() {
    let seen = seen(1);
    let mut other = environment("desktop:1", false);
    other.spec.title = "Another".into();
    other.spec.description = Some("text".into());
    assert_eq!(template(&other, &seen.pool.spec, &env()), current(&seen));
    assert!(is_current(&current(&seen), &other, &env()));
    other.spec.image = "desktop:2".into();
    assert!(!is_current(&current(&seen), &other, &env()));
    let newer = Env { runner_image: "runner:2".into(), ..env() };
    assert!(!is_current(&current(&seen), seen.environment.as_ref().unwrap(), &newer));
}

#[test]
fn desktops_on_a_node_that_is_drained_or_gone_do_not_count_as_ready() {
    let mut seen = with(2, &[(0, true), (1, true)]);
    seen.members[0].node = Some("drained".into());
    seen.nodes.insert("drained".into(), Node { ready: true, schedulable: false });
    let planned = plan(&seen, &env());
    assert_eq!(removed(&planned), ["uid-0"]);
    assert_eq!(ready(&planned).2, "1 of 2 desktops are ready.");
    seen.nodes.get_mut("n").unwrap().schedulable = false;
    assert_eq!(removed(&plan(&seen, &env())).len(), 0, "there is nowhere else");
    seen.nodes.clear();
    assert_eq!(ready(&plan(&seen, &env())).2, "0 of 2 desktops are ready.");
}

#[test]
fn an_environment_that_is_missing_stalls_the_pool_and_is_named() {
    let mut seen = with(2, &[(0, true)]);
    seen.environment = None;
    let planned = plan(&seen, &env());
    assert_eq!(planned.ops, []);
    assert_eq!(ready(&planned).1, "EnvironmentNotFound");
    assert!(planned.notices[0].warning && planned.notices[0].note.contains("Environment desktop"));
    let status = planned.status.unwrap();
    assert!(conditions::is_true(&status.conditions, ConditionType::Stalled));
    seen.pool.status = Some(status);
    assert_eq!(plan(&seen, &env()).notices, [], "said once");
}

#[test]
fn what_ails_a_member_is_what_the_pool_says() {
    let mut seen = with(1, &[(0, false)]);
    seen.members[0].stalled = Some("The image cannot be pulled.".into());
    let status = plan(&seen, &env()).status.unwrap();
    let stalled = conditions::get(&status.conditions, ConditionType::Stalled).unwrap();
    assert!(stalled.message.ends_with("The image cannot be pulled."), "{}", stalled.message);
    seen.members[0].stalled = None;
    seen.pool.status = Some(status);
    let healed = plan(&seen, &env()).status.unwrap();
    assert!(conditions::get(&healed.conditions, ConditionType::Stalled).is_none());
}

#[test]
fn counts_that_come_and_go_are_written_once_a_second_at_most() {
    let mut seen = with(2, &[(0, true), (1, true)]);
    seen.pool.status = plan(&seen, &env()).status;
    seen.members.pop();
    seen.status_age = Some(300);
    let planned = plan(&seen, &env());
    assert_eq!((planned.status, planned.wake), (None, Wake::AfterMillis(700)));
    assert_eq!(planned.ops.len(), 1, "what is to be done is done at once");
    seen.status_age = Some(1_000);
    assert!(plan(&seen, &env()).status.is_some());
    seen.status_age = Some(1);
    seen.environment = None;
    assert!(plan(&seen, &env()).status.is_some(), "trouble is told at once");
}

#[test]
fn a_deleted_pool_does_nothing() {
    let mut seen = seen(3);
    seen.pool.metadata.deletion_timestamp = from_value(json!("2026-11-22T08:00:00Z")).unwrap();
    assert_eq!(plan(&seen, &env()), Plan::default());
}

/// A pool with a golden Snapshot, which has come so far.
fn golden(seen: &Observed, ready: bool, failed: Option<&str>) -> Golden {
    Golden {
        name: names::golden_snapshot("warm", UID, &current(seen)),
        uid: "uid-golden".into(),
        workspace: names::pool_member("warm", UID, 0),
        ready,
        failed: failed.map(Into::into),
        deleting: false,
    }
}

#[test]
fn the_first_desktop_becomes_the_golden_snapshot_and_the_others_start_from_it() {
    let mut seen = seen(3);
    seen.environment = Some(environment("desktop:1", true));
    let planned = plan(&seen, &env());
    assert_eq!(numbers(&planned), [0], "the others wait");
    let name = golden(&seen, false, None).name;
    assert_eq!(made(&planned)[0]["metadata"]["annotations"][labels::SEEDS], *name);

    let mut first = member(&seen, 0, false);
    first.seeds = Some(name.clone());
    seen.members.push(first);
    assert_eq!(plan(&seen, &env()).ops, [], "it is not ready yet");
    seen.members[0].ready = true;
    let planned = plan(&seen, &env());
    let [Op::Create { object }] = &planned.ops[..] else { panic!("{:?}", planned.ops) };
    assert_eq!(
        (object["kind"].as_str(), object["metadata"]["name"].as_str()),
        (Some("Snapshot"), Some(&*name))
    );
    assert_eq!((&object["spec"]["trigger"], &object["spec"]["hold"]), (&json!("Golden"), &json!(true)));
    assert_eq!(planned.status.as_ref().unwrap().ready_replicas, 0, "nobody may take it yet");

    seen.golden = vec![golden(&seen, false, None)];
    assert_eq!(plan(&seen, &env()).ops, []);
    seen.golden[0].ready = true;
    let planned = plan(&seen, &env());
    assert!(matches!(&planned.ops[0], Op::Swap { target, patch, .. }
        if target.uid == "uid-0" && patch["metadata"]["annotations"][labels::SEEDS].is_null()));
    assert_eq!(numbers(&planned), [1, 2]);
    assert!(made(&planned).iter().all(|o| o["spec"]["source"]["snapshot"] == *name));
    assert_eq!(planned.status.unwrap().golden, Some(name));
}

#[test]
fn without_a_golden_snapshot_desktops_start_from_an_empty_home_and_people_are_told_why() {
    let mut seen = seen(2);
    seen.environment = Some(environment("desktop:1", true));
    let mut first = member(&seen, 0, true);
    seen.golden = vec![golden(&seen, false, Some("no class"))];
    first.seeds = Some(seen.golden[0].name.clone());
    seen.members.push(first);
    let planned = plan(&seen, &env());
    assert!(matches!(&planned.ops[0], Op::Swap { .. }));
    assert_eq!(numbers(&planned), [1]);
    assert_eq!(made(&planned)[0]["spec"].get("source"), None);
    assert!(planned.notices.iter().any(|n| n.warning && n.note.contains("no class")));
}

#[test]
fn a_golden_snapshot_whose_desktop_went_before_it_was_taken_is_made_again() {
    let mut seen = seen(2);
    seen.environment = Some(environment("desktop:1", true));
    seen.golden = vec![golden(&seen, false, None)];
    let planned = plan(&seen, &env());
    assert!(matches!(&planned.ops[..], [Op::Delete { target, .. }] if target.uid == "uid-golden"));
    seen.golden.clear();
    assert_eq!(numbers(&plan(&seen, &env())), [0]);
}

#[test]
fn an_old_golden_snapshot_goes_when_no_volume_is_still_made_from_it() {
    let mut seen = with(1, &[(0, false)]);
    let old = Golden { name: "old".into(), ..golden(&seen, true, None) };
    seen.members[0].needs = Some("old".into());
    seen.golden = vec![old];
    assert_eq!(plan(&seen, &env()).ops, []);
    seen.members[0].needs = None;
    assert!(matches!(&plan(&seen, &env()).ops[..], [Op::Delete { target, .. }] if target.name == "old"));
}

fn workspace(name: &str, change: impl Fn(&mut Value)) -> a8s_crds::Workspace {
    let mut object = json!({
        "apiVersion": "a8s.dev/v1alpha1", "kind": "Workspace",
        "metadata": {"name": name, "namespace": "team", "uid": "u", "resourceVersion": "1", "generation": 1,
            "labels": {labels::POOL: "warm"}, "annotations": {labels::ORDINAL: "3"},
            "ownerReferences": [{"apiVersion": "a8s.dev/v1alpha1", "kind": "WarmPool", "name": "warm", "uid": UID, "controller": true}]},
        "spec": {"environment": "desktop"},
        "status": {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True", "reason": "Ready", "message": "",
            "lastTransitionTime": "2026-11-22T08:00:00Z"}]},
    });
    change(&mut object);
    from_value(object).unwrap()
}

#[test]
fn only_what_is_ready_and_nobodys_may_be_taken_over() {
    assert!(adoptable(&workspace("w", |_| {})));
    let not: [fn(&mut Value); 7] = [
        |w| w["metadata"]["deletionTimestamp"] = "2026-11-22T08:00:00Z".into(),
        |w| w["metadata"]["ownerReferences"][0]["kind"] = "Session".into(),
        |w| w["metadata"]["labels"] = json!({}),
        |w| w["metadata"]["annotations"][labels::SEEDS] = "golden".into(),
        |w| w["spec"]["state"] = "Suspended".into(),
        |w| w["status"]["conditions"][0]["status"] = "False".into(),
        |w| w["metadata"]["generation"] = 2.into(),
    ];
    for change in not {
        let workspace = workspace("w", change);
        assert!(!adoptable(&workspace), "{workspace:?}");
    }
}

#[test]
fn a_written_number_alone_makes_no_member() {
    assert!(is_member(&workspace(&names::pool_member("warm", UID, 3), |_| {}), "warm", UID));
    assert!(!is_member(&workspace(&names::pool_member("warm", UID, 4), |_| {}), "warm", UID));
    assert!(!is_member(&workspace("warm-1234567", |_| {}), "warm", UID));
}
