use std::collections::BTreeMap;

use a8s_crds::names;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, from_value, json};

use super::*;

const SHARE: &str = "share-uid";
const EXPIRES: i64 = 1_000;

fn env(second: i64) -> Env {
    let now = Timestamp::from_second(second).unwrap();
    Env { now, runner_image: "r".into(), system_namespace: "s".into() }
}

fn at(second: i64) -> Time {
    Time(Timestamp::from_second(second).unwrap())
}

fn share(role: &str) -> Share {
    let expires = Timestamp::from_second(EXPIRES).unwrap();
    from_value(json!({
        "apiVersion": "a8s.dev/v1alpha1", "kind": "Share",
        "metadata": {"name": "show", "namespace": "team", "uid": SHARE, "resourceVersion": "7", "generation": 1},
        "spec": {"session": "rain", "role": role, "expires": expires,
            "subjects": [{"kind": "User", "name": "jane"}, {"kind": "Group", "name": "reviewers"}]},
    }))
    .unwrap()
}

fn session(uid: &str, workspace: Option<(&str, &str)>) -> Session {
    let mut session = Session::new("rain", from_value(json!({"goal": "g"})).unwrap());
    session.metadata.uid = Some(uid.into());
    let workspace = workspace.map(|(name, uid)| ObjectRef { name: name.into(), uid: uid.into() });
    session.status = Some(a8s_crds::SessionStatus { workspace, ..Default::default() });
    session
}

fn workspace(name: &str, uid: &str) -> Workspace {
    let mut workspace = Workspace::new(name, from_value(json!({"environment": "desktop"})).unwrap());
    workspace.metadata.uid = Some(uid.into());
    workspace
}

/// What RBAC has of the Share, as an API server would keep it, and what is carried out on it.
#[derive(Clone, Debug, Default)]
struct Rbac {
    role: Option<Role>,
    binding: Option<RoleBinding>,
    made: u32,
    share_deleted: bool,
}

impl Rbac {
    fn carry_out(&mut self, ops: &[Op]) {
        for op in ops {
            self.made += 1;
            match op {
                Op::Create { object } => {
                    let mut object = object.clone();
                    object["metadata"]["uid"] = format!("rbac-{}", self.made).into();
                    object["metadata"]["resourceVersion"] = self.made.to_string().into();
                    self.put(&object);
                }
                Op::Delete { target, .. } if target.kind == "Role" => {
                    let uid = self.role.as_ref().and_then(|r| r.metadata.uid.clone());
                    assert_eq!(uid.as_ref(), Some(&target.uid));
                    self.role = None;
                }
                Op::Delete { target, .. } => {
                    let uid = self.binding.as_ref().and_then(|b| b.metadata.uid.clone());
                    assert_eq!(uid.as_ref(), Some(&target.uid));
                    self.binding = None;
                }
                Op::Swap { target, version, patch } => {
                    let found = match target.kind.as_str() {
                        "Role" => serde_json::to_value(&self.role),
                        _ => serde_json::to_value(&self.binding),
                    };
                    let mut object = found.unwrap();
                    assert_eq!(object["metadata"]["resourceVersion"], version.as_str());
                    object["metadata"]["resourceVersion"] = self.made.to_string().into();
                    object["metadata"]["labels"] = patch["metadata"]["labels"].clone();
                    for key in ["rules", "subjects"] {
                        if let Some(new) = patch.get(key) {
                            object[key] = new.clone();
                        }
                    }
                    object["kind"] = target.kind.clone().into();
                    self.put(&object);
                }
                Op::DeleteUnchanged { target, .. } => {
                    assert_eq!((target.kind.as_str(), target.uid.as_str()), ("Share", SHARE));
                    self.share_deleted = true;
                }
                other => panic!("{other:?} is no step of a Share"),
            }
        }
    }

    fn put(&mut self, object: &Value) {
        if object["kind"] == "Role" {
            self.role = Some(from_value(object.clone()).unwrap());
        } else {
            self.binding = Some(from_value(object.clone()).unwrap());
        }
    }

    /// Verbs by resource and name that those who are bound have.
    fn granted(&self) -> BTreeMap<(String, String), Vec<String>> {
        let (Some(role), Some(binding)) = (&self.role, &self.binding) else { return BTreeMap::new() };
        assert_eq!(binding.role_ref.name, names::share_access("show"));
        let rules = role.rules.iter().flatten();
        rules
            .map(|rule| {
                let (resources, named) =
                    (rule.resources.as_ref().unwrap(), rule.resource_names.as_ref().unwrap());
                assert_eq!(
                    (resources.len(), named.len()),
                    (1, 1),
                    "a rule without a name would be about all"
                );
                ((resources[0].clone(), named[0].clone()), rule.verbs.clone())
            })
            .collect()
    }
}

fn seen(share: &Share, session: Option<Session>, desk: Option<Workspace>, rbac: &Rbac) -> Observed {
    let (role, binding) = (rbac.role.clone(), rbac.binding.clone());
    Observed { share: share.clone(), session, workspace: desk, role, binding }
}

/// Passes until nothing is to be done; the last status is the Share's.
fn settle(
    share: &mut Share,
    session: Option<&Session>,
    desk: Option<&Workspace>,
    rbac: &mut Rbac,
    second: i64,
) {
    for _ in 0..4 {
        let planned = plan(&seen(share, session.cloned(), desk.cloned(), rbac), &env(second));
        rbac.carry_out(&planned.ops);
        if planned.ops.is_empty() && planned.status.is_none() {
            return;
        }
        if let Some(status) = planned.status {
            share.status = Some(status);
        }
        if rbac.share_deleted {
            return;
        }
    }
    panic!("it does not settle");
}

fn ready(share: &Share) -> (&str, &str) {
    let conditions = &share.status.as_ref().unwrap().conditions;
    let ready = conditions::get(conditions, ConditionType::Ready).unwrap();
    (&ready.status, &ready.reason)
}

fn brief(rbac: &Rbac) -> Vec<String> {
    let all = rbac.granted();
    all.iter().map(|((resource, name), verbs)| format!("{resource} {name}: {}", verbs.join(" "))).collect()
}

#[test]
fn guests_get_the_desktop_of_one_workspace_and_nothing_else() {
    let (session, desk) = (session("s", Some(("rain", "w"))), workspace("rain", "w"));
    let (mut watch, mut rbac) = (share("Watch"), Rbac::default());
    settle(&mut watch, Some(&session), Some(&desk), &mut rbac, 1);
    assert_eq!(brief(&rbac), ["shares show: get", "workspaces rain: get", "workspaces/desktop rain: get"]);
    assert_eq!(ready(&watch), ("True", "Shared"));
    let status = watch.status.as_ref().unwrap();
    assert_eq!(status.path.as_deref(), Some("/#/shared/team/show"));
    assert_eq!(status.with.as_deref(), Some("jane, group reviewers"));
    assert_eq!(status.workspace.as_deref(), Some("rain"));
    let bound = rbac.binding.as_ref().unwrap().subjects.clone().unwrap();
    let bound: Vec<_> = bound.iter().map(|s| (s.kind.as_str(), s.name.as_str())).collect();
    assert_eq!(bound, [("User", "jane"), ("Group", "reviewers")]);
    let owner = &rbac.binding.as_ref().unwrap().metadata.owner_references.as_ref().unwrap()[0];
    assert_eq!((owner.uid.as_str(), owner.controller), (SHARE, Some(true)), "it goes with the Share");

    let (mut control, mut rbac) = (share("Control"), Rbac::default());
    settle(&mut control, Some(&session), Some(&desk), &mut rbac, 1);
    assert_eq!(
        brief(&rbac),
        ["shares show: get", "workspaces rain: get patch", "workspaces/desktop rain: get update"]
    );
}

#[test]
fn what_has_settled_costs_no_writes_and_wakes_when_it_is_over() {
    let (session, desk) = (session("s", Some(("rain", "w"))), workspace("rain", "w"));
    let (mut share, mut rbac) = (share("Watch"), Rbac::default());
    let first = plan(&seen(&share, Some(session.clone()), Some(desk.clone()), &rbac), &env(1));
    assert_eq!((first.notices.len(), first.notices[0].reason), (1, Reason::Shared));
    settle(&mut share, Some(&session), Some(&desk), &mut rbac, 1);
    let later = plan(&seen(&share, Some(session.clone()), Some(desk.clone()), &rbac), &env(990));
    assert_eq!((later.ops.len(), &later.status, later.notices.len()), (0, &None, 0));
    assert_eq!(later.wake, crate::Wake::AfterMillis(10_001));
    let over = plan(&seen(&share, Some(session.clone()), Some(desk.clone()), &rbac), &env(EXPIRES));
    let kinds: Vec<_> = over.ops.iter().map(kind_of).collect();
    assert_eq!(kinds, ["RoleBinding", "Role"], "first what grants");
    assert_eq!((over.notices.len(), over.notices[0].reason), (1, Reason::Expired));
    settle(&mut share, Some(&session), Some(&desk), &mut rbac, EXPIRES);
    assert_eq!((ready(&share), rbac.granted().len()), (("False", "Expired"), 0));
    assert!(rbac.role.is_none() && rbac.binding.is_none());
    let kept = plan(&seen(&share, Some(session.clone()), Some(desk.clone()), &rbac), &env(EXPIRES + 60));
    assert_eq!((kept.ops.len(), kept.status), (0, None));
    settle(&mut share, Some(&session), Some(&desk), &mut rbac, EXPIRES + KEPT.as_secs());
    assert!(rbac.share_deleted, "after a week it goes itself");
}

fn kind_of(op: &Op) -> &str {
    match op {
        Op::Delete { target, .. } => &target.kind,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_end_that_is_put_off_gives_the_rights_back_and_one_brought_forward_takes_them() {
    let (session, desk) = (session("s", Some(("rain", "w"))), workspace("rain", "w"));
    let (mut share, mut rbac) = (share("Watch"), Rbac::default());
    settle(&mut share, Some(&session), Some(&desk), &mut rbac, EXPIRES);
    share.spec.expires = Some(at(EXPIRES + 500));
    settle(&mut share, Some(&session), Some(&desk), &mut rbac, EXPIRES + 1);
    assert_eq!((ready(&share), rbac.granted().len()), (("True", "Shared"), 3));
    share.spec.expires = Some(at(1));
    settle(&mut share, Some(&session), Some(&desk), &mut rbac, EXPIRES + 2);
    assert_eq!(rbac.granted().len(), 0);
}

#[test]
fn another_session_or_workspace_of_the_same_name_is_not_shared() {
    let (mine, desk) = (session("s", Some(("rain", "w"))), workspace("rain", "w"));
    let cases = vec![
        (None, Some(desk.clone()), "SessionNotFound"),
        (Some(session("other", Some(("rain", "w2")))), Some(workspace("rain", "w2")), "SessionNotFound"),
        (Some(mine.clone()), Some(workspace("rain", "w2")), "WorkspaceNotFound"),
        (Some(mine.clone()), None, "WorkspaceNotFound"),
        (Some(session("s", None)), None, "WorkspaceNotFound"),
    ];
    for (found, there, reason) in cases {
        let (mut share, mut rbac) = (share("Control"), Rbac::default());
        settle(&mut share, Some(&mine), Some(&desk), &mut rbac, 1);
        assert_eq!(rbac.granted().len(), 3);
        settle(&mut share, found.as_ref(), there.as_ref(), &mut rbac, 2);
        assert_eq!((ready(&share), rbac.granted().len()), (("False", reason), 0));
        assert_eq!(share.status.as_ref().unwrap().workspace, None);
    }
    let (mut share, mut rbac) = (share("Control"), Rbac::default());
    settle(&mut share, Some(&mine), Some(&desk), &mut rbac, 1);
    let next = session("s", Some(("rain-2", "w2")));
    settle(&mut share, Some(&next), Some(&workspace("rain-2", "w2")), &mut rbac, 2);
    assert!(
        rbac.granted().keys().all(|(_, name)| name != "rain"),
        "it is the next desktop of the Session, and no more the last: {:?}",
        rbac.granted()
    );
    assert_eq!(ready(&share), ("True", "Shared"));
}

#[test]
fn what_belongs_to_somebody_else_is_left_alone_and_nothing_is_granted_through_it() {
    let (session, desk) = (session("s", Some(("rain", "w"))), workspace("rain", "w"));
    let (mut share, mut rbac) = (share("Watch"), Rbac::default());
    settle(&mut share, Some(&session), Some(&desk), &mut rbac, 1);
    let meta = json!({"name": names::share_access("show"), "namespace": "team", "uid": "foreign"});
    let all = json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]);
    rbac.role = Some(from_value(json!({"metadata": meta, "rules": all})).unwrap());
    settle(&mut share, Some(&session), Some(&desk), &mut rbac, 2);
    assert!(rbac.binding.is_none(), "ours would grant what the foreign Role has");
    assert_eq!(rbac.role.as_ref().unwrap().metadata.uid.as_deref(), Some("foreign"));
    assert_eq!(ready(&share), ("False", "NameTaken"));
    assert!(conditions::is_true(&share.status.as_ref().unwrap().conditions, ConditionType::Stalled));
}

#[test]
fn what_somebody_changed_is_put_back() {
    let (session, desk) = (session("s", Some(("rain", "w"))), workspace("rain", "w"));
    let (mut share, mut rbac) = (share("Watch"), Rbac::default());
    settle(&mut share, Some(&session), Some(&desk), &mut rbac, 1);
    let right = brief(&rbac);
    rbac.role.as_mut().unwrap().rules.as_mut().unwrap()[0].verbs.push("update".into());
    rbac.binding.as_mut().unwrap().subjects.as_mut().unwrap()[0].name = "omar".into();
    rbac.binding.as_mut().unwrap().metadata.labels = None;
    settle(&mut share, Some(&session), Some(&desk), &mut rbac, 2);
    assert_eq!(brief(&rbac), right);
    assert_eq!(rbac.binding.as_ref().unwrap().subjects.as_ref().unwrap()[0].name, "jane");
    rbac.binding.as_mut().unwrap().role_ref.name = "cluster-admin".into();
    let first = plan(&seen(&share, Some(session.clone()), Some(desk.clone()), &rbac), &env(3));
    let conditions = first.status.unwrap().conditions;
    assert!(!conditions::is_true(&conditions, ConditionType::Ready), "until it is made anew");
    settle(&mut share, Some(&session), Some(&desk), &mut rbac, 3);
    assert_eq!(brief(&rbac), right);
}

#[test]
fn what_is_left_of_a_share_that_is_gone_goes_also_if_it_was_orphaned() {
    let (session, desk) = (session("s", Some(("rain", "w"))), workspace("rain", "w"));
    let (mut share, mut rbac) = (share("Watch"), Rbac::default());
    settle(&mut share, Some(&session), Some(&desk), &mut rbac, 1);
    let mut meta = rbac.binding.as_ref().unwrap().metadata.clone();
    assert_eq!(access::leftover("RoleBinding", &meta, Some(&share)), None);
    meta.owner_references = None;
    let mut another = share.clone();
    another.metadata.uid = Some("another".into());
    for gone in [None, Some(&another)] {
        let op = access::leftover("RoleBinding", &meta, gone).unwrap();
        assert_eq!(kind_of(&op), "RoleBinding");
    }
    meta.labels = None;
    assert_eq!(access::leftover("RoleBinding", &meta, None), None, "somebody else's is not touched");
    share.metadata.deletion_timestamp = Some(at(0));
    let going = plan(&seen(&share, Some(session), Some(desk), &rbac), &env(2));
    assert_eq!(going.ops.iter().map(kind_of).collect::<Vec<_>>(), ["RoleBinding", "Role"]);
    assert_eq!(going.status, None);
}

#[test]
fn what_the_cluster_refuses_is_said_once() {
    let (mut share, rbac) = (share("Watch"), Rbac::default());
    let refuse = |share: &Share| refused(&seen(share, None, None, &rbac), "no RoleBindings here", &env(1));
    share.status = Some(refuse(&share).status.unwrap());
    assert_eq!(ready(&share), ("False", "Forbidden"));
    assert_eq!(share.status.as_ref().unwrap().conditions[0].message, "no RoleBindings here");
    assert_eq!(refuse(&share).status, None);
}

/// What may happen around a Share.
#[derive(Clone, Copy, Debug)]
enum Happens {
    Pass,
    Session(u8),
    Workspace(u8),
    Points(u8),
    Time(i64),
    End(i64),
    RoleGoes,
    BindingGoes,
    Crash(usize),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => Just(Happens::Pass),
        1 => (0..3_u8).prop_map(Happens::Session),
        1 => (0..4_u8).prop_map(Happens::Workspace),
        1 => (0..4_u8).prop_map(Happens::Points),
        1 => (0..600_i64).prop_map(Happens::Time),
        1 => (0..2_000_i64).prop_map(Happens::End),
        1 => Just(Happens::RoleGoes),
        1 => Just(Happens::BindingGoes),
        1 => (0..2_usize).prop_map(Happens::Crash),
    ]
}

proptest! {
    /// Whatever happens in whatever order, and whichever step of a pass is the last before a crash: once passes have caught up, exactly
    /// the Workspace of the Session that was first seen is granted, and nothing after the end.
    #[test]
    fn only_the_shares_own_workspace_is_granted_and_nothing_is_left_after_its_end(all in vec(happens(), 1..60)) {
        let (mut share, mut rbac, mut now) = (share("Control"), Rbac::default(), 1_i64);
        let (mut of, mut desk, mut points) = (1_u8, 1_u8, 1_u8);
        let desks = |n: u8| (n > 0).then(|| (if n == 3 { "other" } else { "rain" }, format!("w{n}")));
        let world = |of: u8, desk: u8, points: u8| {
            let named = desks(points);
            let named = named.as_ref().map(|(name, uid)| (*name, uid.as_str()));
            let session = (of > 0).then(|| session(&format!("s{of}"), named));
            // The one that the Session names, if there is one of that name.
            let there = desks(desk).filter(|(name, _)| named.is_some_and(|(wanted, _)| wanted == *name));
            (session, there.map(|(name, uid)| workspace(name, &uid)))
        };
        for event in all {
            let (session, there) = world(of, desk, points);
            match event {
                Happens::Session(n) => of = n,
                Happens::Workspace(n) => desk = n,
                Happens::Points(n) => points = n,
                Happens::Time(more) => now += more,
                Happens::End(second) => share.spec.expires = Some(at(second)),
                Happens::RoleGoes => rbac.role = None,
                Happens::BindingGoes => rbac.binding = None,
                Happens::Pass => settle(&mut share, session.as_ref(), there.as_ref(), &mut rbac, now),
                Happens::Crash(after) => {
                    let planned = plan(&seen(&share, session, there, &rbac), &env(now));
                    rbac.carry_out(&planned.ops[..after.min(planned.ops.len())]);
                }
            }
            let (session, there) = world(of, desk, points);
            let mut caught_up = (share.clone(), rbac.clone());
            settle(&mut caught_up.0, session.as_ref(), there.as_ref(), &mut caught_up.1, now);
            let (after, granted) = (&caught_up.0, caught_up.1.granted());
            let first = after.status.as_ref().and_then(|s| s.session.as_ref()).map(|s| s.uid.clone());
            let open = share.ends().as_second() > now
                && of > 0
                && first == Some(format!("s{of}"))
                && desk > 0
                && desk == points;
            prop_assert_eq!(!granted.is_empty(), open);
            let name = desks(points).map_or("", |(name, _)| name);
            let only = granted.keys().all(|(what, named)| named == if what == "shares" { "show" } else { name });
            prop_assert!(only, "{:?}", granted);
            if !open {
                prop_assert!(caught_up.1.role.is_none() && caught_up.1.binding.is_none());
            }
            prop_assert_eq!(after.status.as_ref().is_some_and(|s| conditions::is_true(&s.conditions, ConditionType::Ready)), open);
        }
    }
}
