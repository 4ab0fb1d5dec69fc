//! What becomes of Shares: a Role and a `RoleBinding` that are there while a guest may see the desktop, and go when the time is over or
//! the desktop is another one. What the two grant is in [`access`]; nothing here knows more of a guest than RBAC does.

pub mod access;
#[cfg(test)]
mod tests;

use a8s_crds::{
    ObjectRef, Session, SessionState, Share, ShareStatus, Workspace,
    conditions::{self, ConditionType, Reason, Status},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::ResourceExt;

use crate::{Env, Notice, Op, Plan, Target};

/// A Share that has expired stays for so long, so that people see who was invited; then it is deleted.
pub const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What was seen.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The Share.
    pub share: Share,
    /// The Session of that name, if there is one.
    pub session: Option<Session>,
    /// The Workspace that the Session's status names, if there is one of that name.
    pub workspace: Option<Workspace>,
    /// The Role of the name that the Share's has.
    pub role: Option<Role>,
    /// The `RoleBinding` of the name that the Share's has.
    pub binding: Option<RoleBinding>,
}

/// How it stands with a Share, whatever RBAC says at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    /// They may see the desktop of this Workspace.
    Open(String),
    /// They may not, and why.
    Closed(Reason, String),
    /// They may not any more.
    Expired,
}

/// What is to be done for a Share.
pub fn plan(seen: &Observed, env: &Env) -> Plan<ShareStatus> {
    let (share, mut plan) = (&seen.share, Plan::default());
    if share.metadata.deletion_timestamp.is_some() {
        plan.ops = access::withdraw(seen);
        return plan;
    }
    let expires = share.ends();
    let end = expires.checked_add(KEPT).unwrap_or(Timestamp::MAX);
    let standing = standing(seen, env.now);
    if standing == Standing::Expired && end <= env.now {
        plan.ops = access::withdraw(seen);
        let version = share.resource_version().unwrap_or_default();
        // Whoever puts the end off at this moment is not overrun.
        plan.ops.push(Op::DeleteUnchanged { target: target(share), version });
        return plan;
    }
    let standing = match standing {
        Standing::Open(workspace) => match access::grant(seen, &workspace) {
            Ok(ops) => {
                let again = ops.iter().any(|op| matches!(op, Op::Delete { .. }));
                plan.ops = ops;
                if again {
                    Standing::Closed(Reason::Progressing, "the RoleBinding is made anew".to_owned())
                } else {
                    Standing::Open(workspace)
                }
            }
            Err(taken) => {
                plan.ops = access::withdraw(seen);
                let why =
                    format!("{taken} belongs to somebody else; delete that, or make a Share of another name");
                Standing::Closed(Reason::NameTaken, why)
            }
        },
        over => {
            plan.ops = access::withdraw(seen);
            over
        }
    };
    plan.wake = plan.wake.at(if standing == Standing::Expired { end } else { expires }, env.now);
    let (new, reason) = status(seen, &standing, env.now);
    plan.notices.extend(news(share, &new, reason));
    if share.status.as_ref() != Some(&new) {
        plan.status = Some(new);
    }
    plan
}

/// What is said of a Share whose rights the API server, or a policy of the cluster, refuses to give or to take.
pub fn refused(seen: &Observed, why: &str, env: &Env) -> Plan<ShareStatus> {
    let mut plan = Plan::default();
    let (new, reason) = status(seen, &Standing::Closed(Reason::Forbidden, why.to_owned()), env.now);
    plan.notices.extend(news(&seen.share, &new, reason));
    plan.status = (seen.share.status.as_ref() != Some(&new)).then_some(new);
    plan
}

/// The Share as something to refer to.
pub fn target(share: &Share) -> Target {
    Target {
        api_version: "a8s.dev/v1alpha1".into(),
        kind: "Share".into(),
        namespace: share.namespace().unwrap_or_default(),
        name: share.name_any(),
        uid: share.uid().unwrap_or_default(),
    }
}

fn standing(seen: &Observed, now: Timestamp) -> Standing {
    if seen.share.ends() <= now {
        return Standing::Expired;
    }
    let name = &seen.share.spec.session;
    let no_session =
        |why: &str| Standing::Closed(Reason::SessionNotFound, format!("the Session {name} {why}"));
    let Some(session) = &seen.session else { return no_session("does not exist") };
    if session.metadata.deletion_timestamp.is_some() || session.spec.state == SessionState::Terminated {
        return no_session("is over");
    }
    let known = seen.share.status.as_ref().and_then(|s| s.session.as_ref());
    if known.is_some_and(|known| Some(&known.uid) != session.uid().as_ref()) {
        return no_session("is another one than the one that was shared; make another Share for it");
    }
    let no_desktop = || {
        let why = "the Session has no desktop now; it is shared once there is one".to_owned();
        Standing::Closed(Reason::WorkspaceNotFound, why)
    };
    let Some(wanted) = session.status.as_ref().and_then(|s| s.workspace.as_ref()) else {
        return no_desktop();
    };
    let found = seen.workspace.as_ref().filter(|w| {
        w.name_any() == wanted.name
            && w.uid().as_ref() == Some(&wanted.uid)
            && w.metadata.deletion_timestamp.is_none()
    });
    found.map_or_else(no_desktop, |workspace| Standing::Open(workspace.name_any()))
}

fn status(seen: &Observed, standing: &Standing, now: Timestamp) -> (ShareStatus, Reason) {
    let (share, old) = (&seen.share, seen.share.status.clone().unwrap_or_default());
    let mut new = ShareStatus { observed_generation: share.metadata.generation, ..old };
    let namespace = share.namespace().unwrap_or_default();
    new.path = Some(format!("/#/shared/{namespace}/{}", share.name_any()));
    new.with = Some(with(share));
    if new.session.is_none() {
        let named = |s: &Session| Some(ObjectRef { name: s.name_any(), uid: s.uid()? });
        new.session = seen.session.as_ref().and_then(named);
    }
    new.workspace = None;
    let until = share.ends();
    let (ready, reason, text) = match standing {
        Standing::Open(workspace) => {
            let may = share.spec.role.words();
            new.workspace = Some(workspace.clone());
            let text = format!("{} may {may} the desktop {workspace} until {until}", with(share));
            (Status::True, Reason::Shared, text)
        }
        Standing::Closed(reason, why) => (Status::False, *reason, why.clone()),
        Standing::Expired => {
            let text = format!("it ended at {until}; put spec.expires off, or make another Share");
            (Status::False, Reason::Expired, text)
        }
    };
    let (all, generation) = (&mut new.conditions, new.observed_generation);
    if reason == Reason::NameTaken {
        conditions::set(all, ConditionType::Stalled, Status::True, reason, text.clone(), generation, now);
    } else {
        conditions::clear(all, ConditionType::Stalled);
    }
    conditions::set(all, ConditionType::Ready, ready, reason, text, generation, now);
    (new, reason)
}

/// Who is invited, for people.
fn with(share: &Share) -> String {
    let one = |subject: &a8s_crds::ShareSubject| match subject.kind {
        a8s_crds::SubjectKind::User => subject.name.clone(),
        a8s_crds::SubjectKind::Group => format!("group {}", subject.name),
    };
    share.spec.subjects.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// What people are told: that the rights are there, and that they are not any more.
fn news(share: &Share, new: &ShareStatus, reason: Reason) -> Option<Notice> {
    let ready = |status: &ShareStatus| conditions::get(&status.conditions, ConditionType::Ready).cloned();
    let (before, after) = (share.status.as_ref().and_then(ready), ready(new)?);
    let (was, is) = (before.as_ref().is_some_and(|c| c.status == "True"), after.status == "True");
    let another = before.as_ref().is_none_or(|c| c.reason != after.reason);
    let stalled = another && conditions::is_true(&new.conditions, ConditionType::Stalled);
    if was == is && !stalled {
        return None;
    }
    Some(Notice { warning: stalled, reason, note: after.message })
}
