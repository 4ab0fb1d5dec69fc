//! The server behaves like the real one where plans rely on it.

#![allow(clippy::unwrap_used, reason = "a test may panic anywhere")]

use a8s_sim::{Key, Sim, SimError};
use serde_json::{Value, json};

fn config(name: &str, owners: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "n", "ownerReferences": owners}, "data": {}})
}

fn key(name: &str) -> Key {
    Key::new("v1", "ConfigMap", "n", name)
}

fn uid(sim: &Sim, name: &str) -> String {
    sim.get(&key(name)).unwrap()["metadata"]["uid"].as_str().unwrap().to_owned()
}

#[test]
fn the_same_seed_gives_the_same_uids_and_names_are_unique() {
    let (mut a, mut b) = (Sim::new(7), Sim::new(7));
    a.create(config("x", &json!([]))).unwrap();
    b.create(config("x", &json!([]))).unwrap();
    assert_eq!(uid(&a, "x"), uid(&b, "x"));
    assert_eq!(a.create(config("x", &json!([]))), Err(SimError::AlreadyExists(key("x"))));
}

#[test]
fn applying_the_same_again_writes_nothing_and_only_the_spec_moves_the_generation() {
    let mut sim = Sim::new(1);
    let object = |n: i64| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "n"}, "data": {"n": n}});
    sim.apply(object(1), "m").unwrap();
    let version = sim.version();
    sim.apply(object(1), "m").unwrap();
    assert_eq!(sim.version(), version);
    let own = uid(&sim, "x");
    sim.set_status(&key("x"), &own, json!({"s": 1})).unwrap();
    assert_eq!(sim.get(&key("x")).unwrap()["metadata"]["generation"], 1);
    sim.apply(object(2), "m").unwrap();
    assert_eq!(sim.get(&key("x")).unwrap()["metadata"]["generation"], 2);
    assert_eq!(sim.get(&key("x")).unwrap()["status"], json!({"s": 1}), "apply leaves the status alone");
}

#[test]
fn an_apply_with_a_uid_creates_nothing_and_touches_no_other_object() {
    let mut sim = Sim::new(1);
    let mut object = config("x", &json!([]));
    object["metadata"]["uid"] = "gone".into();
    assert!(matches!(sim.apply(object.clone(), "m"), Err(SimError::Conflict(..))));
    sim.create(config("x", &json!([]))).unwrap();
    assert!(matches!(sim.apply(object, "m"), Err(SimError::Invalid(_))));
}

#[test]
fn deletion_keeps_to_uid_and_finalizers() {
    let mut sim = Sim::new(1);
    sim.create(config("x", &json!([]))).unwrap();
    let own = uid(&sim, "x");
    assert!(matches!(sim.delete(&key("x"), Some("other"), None), Err(SimError::Conflict(..))));
    sim.set_finalizer(&key("x"), &own, "f", true);
    sim.delete(&key("x"), Some(&own), None).unwrap();
    assert!(sim.get(&key("x")).unwrap()["metadata"]["deletionTimestamp"].is_string());
    sim.set_finalizer(&key("x"), &own, "f", false);
    assert_eq!(sim.get(&key("x")), None);
}

#[test]
fn garbage_is_what_has_lost_all_its_owners_by_uid() {
    let mut sim = Sim::new(1);
    sim.create(config("owner", &json!([]))).unwrap();
    let first = uid(&sim, "owner");
    sim.create(config("child", &json!([{"uid": first, "kind": "ConfigMap", "name": "owner"}]))).unwrap();
    let child = uid(&sim, "child");
    sim.create(config("grandchild", &json!([{"uid": child}]))).unwrap();
    sim.collect_garbage();
    assert!(sim.get(&key("grandchild")).is_some());
    sim.delete(&key("owner"), None, None).unwrap();
    sim.create(config("owner", &json!([]))).unwrap();
    sim.collect_garbage();
    assert_eq!(sim.view().iter().count(), 1, "another owner of that name is another owner");
}

#[test]
fn stale_views_show_the_past() {
    let mut sim = Sim::new(1);
    sim.create(config("a", &json!([]))).unwrap();
    sim.create(config("b", &json!([]))).unwrap();
    assert_eq!(sim.stale(0).iter().count(), 2);
    assert_eq!(sim.stale(1).iter().count(), 1);
    assert_eq!(sim.stale(99).iter().count(), 0);
}

#[test]
fn the_first_write_after_the_creation_of_one_of_ours_is_one_even_if_it_changes_nothing() {
    let mut sim = Sim::new(1);
    let object = json!({"apiVersion": "a8s.dev/v1alpha1", "kind": "Workspace",
        "metadata": {"name": "a", "namespace": "n"}, "spec": {"environment": "desktop"}});
    let key = sim.create(object.clone()).unwrap();
    let again = |sim: &mut Sim| {
        sim.patch(&key, &json!({"spec": {"environment": "desktop"}})).unwrap();
        sim.version()
    };
    let created = sim.version();
    assert_eq!([again(&mut sim), again(&mut sim)], [created + 1, created + 1]);
}
