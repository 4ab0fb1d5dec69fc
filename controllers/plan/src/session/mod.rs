//! Decisions for the kind Session: which Environment, whether everything it refers to is there, its one Workspace, and what its status
//! says. It never touches `Workspace.spec.control`: that belongs to people. What the running conversation did comes as [`Live`] facts
//! from the bridge; without them the status keeps what it said.
//!
//! A desktop that somebody deleted is not replaced on its own (see [`lost`]).

mod adopt;
mod choice;
mod lost;
mod oversight;
mod status;
mod upkeep;
mod usage;

use std::sync::Arc;

use a8s_crds::{
    Attachment, Connection, Environment, Request, Session, SessionState, Snapshot, Workspace, WorkspaceState,
    conditions::{self, ConditionType, Reason},
    labels, names,
};
use a8s_wire::EventId;
use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::{Value, json};

pub use adopt::{Waiting, fits};
pub use choice::{choose, choose_for};
pub use oversight::Advice;
pub(crate) use status::one_line;

pub use crate::overseer::Choice;
use crate::{Env, Op, Plan, Target, Wake, chat, overseer::Grants, workspace::EPOCH};

/// How often a missing reference is looked for.
const LOOK_AGAIN: u64 = 2_000;

/// What was seen.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The Session.
    pub session: Session,
    /// The whole catalogue.
    pub environments: Vec<Environment>,
    /// The Snapshot that `spec.source` names, if it exists.
    pub snapshot: Option<Snapshot>,
    /// The Workspace that `spec.source` names, if it exists.
    pub origin: Option<Workspace>,
    /// Attachments that cannot be resolved: why, and a sentence that names the object.
    pub missing: Vec<(Reason, String)>,
    /// Workspaces under the two names that the Session's Workspace may have.
    pub workspaces: Vec<Workspace>,
    /// Desktops that wait in pools of the namespace; needed only while the Session has none.
    pub pool: Vec<Waiting>,
    /// People's Messages that no agent has had yet, or whose answer is not known, while the Workspace is asleep; needed only while the
    /// Workspace that the status names is gone or asleep.
    pub undelivered: usize,
    /// What the bridge knows, while it is connected and has read the whole transcript.
    pub live: Option<Live>,
    /// The Session's Requests.
    pub requests: Vec<Arc<Request>>,
    /// Connections of the namespace.
    pub connections: Vec<Arc<Connection>>,
    /// How the talk before the work stands, while there is no more than that.
    pub chat: Option<chat::Stage>,
    /// What a model says about the Environment, where the rules do not know.
    pub advice: Advice,
}

impl Observed {
    /// A Session of which nothing else was seen.
    pub fn of(session: Session) -> Self {
        Self {
            session,
            environments: Vec::new(),
            snapshot: None,
            origin: None,
            missing: Vec::new(),
            workspaces: Vec::new(),
            pool: Vec::new(),
            undelivered: 0,
            live: None,
            requests: Vec::new(),
            connections: Vec::new(),
            chat: None,
            advice: Advice::None,
        }
    }
}

/// Facts of a running conversation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Live {
    /// The last event whose objects exist.
    pub recorded: EventId,
    /// Whether the agent has the goal.
    pub goal_given: bool,
    /// The running or last turn.
    pub turn: i64,
    /// Whether a turn runs.
    pub running: bool,
    /// Title of the newest tool call of the running turn.
    pub step: Option<String>,
    /// The newest plan: title and status.
    pub plan: Vec<(String, String)>,
    /// What the agent said when it declared the goal reached, if it did so in the last turn.
    pub finished: Option<String>,
    /// Messages, the goal included, whose turn has not begun.
    pub queued: i64,
    /// Highest place given to a Message.
    pub last_message: i64,
    /// Time of the last event.
    pub last_activity: Option<Timestamp>,
    /// Title of the newest tool call of any turn.
    pub last_step: Option<String>,
    /// What was used so far.
    pub usage: a8s_wire::Usage,
    /// The limit at which the agent stands still.
    pub limit: Option<String>,
    /// Why the agent is given nothing until a person changes something.
    pub hindrance: Option<String>,
}

/// The Workspace of this Session, or why its name cannot be had.
enum Place<'a> {
    Mine(&'a Workspace),
    Free(String),
    Taken(String),
}

/// What is to be done for a Session now.
pub fn plan(seen: &Observed, env: &Env) -> Plan<a8s_crds::SessionStatus> {
    let session = &seen.session;
    let mut plan = Plan::default();
    if session.metadata.deletion_timestamp.is_some() {
        // The Workspace goes with its owner; Artifacts and Snapshots have none and stay.
        return plan;
    }
    if let Some(stage) = &seen.chat {
        return talking(seen, stage, env);
    }
    let place = place(seen);
    let choice = choose(seen).map(|choice| oversight::of_the_workspace(seen, &place, choice));
    let granted = oversight::granted(seen, choice.as_ref().ok());
    let lost = lost::lost(seen, matches!(place, Place::Mine(_)));
    let mut problem = problem(seen, &place, &choice).filter(|_| lost.as_ref().is_none_or(|l| l.replace));
    let mut adopted = None;
    match (&place, session.spec.state) {
        (Place::Mine(workspace), SessionState::Terminated) => {
            if workspace.metadata.deletion_timestamp.is_none() {
                plan.ops.push(Op::Delete { target: target(workspace), grace: None });
            }
            problem = None;
        }
        (_, SessionState::Terminated) => problem = None,
        (Place::Mine(workspace), _) => plan.ops.extend(upkeep::steps(seen, workspace, &granted)),
        (Place::Free(_), SessionState::Active) if oversight::awaited(seen, &choice) => {}
        // A suspended Session that never had a Workspace has nothing to suspend.
        (Place::Free(name), SessionState::Active) => {
            if let (Ok(choice), None, None) = (&choice, &problem, &lost)
                && let Some(found) = adopt::choose(seen, choice, env)
            {
                plan.ops.push(adopt::swap(session, found));
                adopted = Some(found);
            } else if let (Ok(choice), None, true) =
                (&choice, &problem, lost.as_ref().is_none_or(|l| l.replace))
            {
                let mut object = workspace(session, name, &choice.environment, &granted);
                if lost.is_some() {
                    object["metadata"]["annotations"] = json!({EPOCH: lost::next_epoch(seen).to_string()});
                }
                plan.ops.push(Op::Create { object });
            }
        }
        (Place::Free(_) | Place::Taken(_), _) => {}
    }
    if problem.is_some() {
        plan.wake = Wake::AfterMillis(LOOK_AGAIN);
    }
    let mine = if let Place::Mine(workspace) = place { Some(workspace) } else { adopted };
    let choice = choice.ok().map(|choice| oversight::explained(choice, granted));
    let (new, notices) = status::status(seen, env, mine, choice, &problem, lost.as_ref());
    plan.notices = notices;
    if session.status.as_ref() != Some(&new) {
        plan.status = Some(new);
    }
    plan
}

/// While it is only talked, nothing is made; what was agreed on is written down before anything is.
fn talking(seen: &Observed, stage: &chat::Stage, env: &Env) -> Plan<a8s_crds::SessionStatus> {
    let (new, mut notices) = status::status(seen, env, None, None, &stage.problem, None);
    notices.extend(stage.notices.clone());
    let wake = if stage.look_again { Wake::AfterMillis(LOOK_AGAIN) } else { Wake::OnChange };
    Plan {
        status: (seen.session.status.as_ref() != Some(&new)).then_some(new),
        wake,
        notices,
        ..Plan::default()
    }
}

fn place(seen: &Observed) -> Place<'_> {
    let (name, uid) = (seen.session.name_any(), seen.session.uid().unwrap_or_default());
    let by_name = |name: &str| seen.workspaces.iter().find(|w| w.name_any() == name);
    let ours =
        |w: &Workspace| w.owner_references().iter().any(|r| r.controller == Some(true) && r.uid == uid);
    if let Some(workspace) = seen.workspaces.iter().find(|w| ours(w)) {
        return Place::Mine(workspace);
    }
    for taken in [false, true] {
        let candidate = names::workspace(&name, &uid, taken);
        if by_name(&candidate).is_none() {
            return Place::Free(candidate);
        }
    }
    Place::Taken(names::workspace(&name, &uid, true))
}

/// The first thing in the way that a person can put right.
fn problem(
    seen: &Observed,
    place: &Place<'_>,
    choice: &Result<Choice, (Reason, String)>,
) -> Option<(Reason, String)> {
    if let Place::Mine(_) = place {
        // Environment and Snapshot were needed to create it; from then on they are the Workspace's business.
        return seen.missing.first().cloned().filter(|_| !began(seen));
    }
    let choice = match choice {
        Ok(choice) => choice,
        Err(reason) => return Some(reason.clone()),
    };
    let environment = seen.environments.iter().find(|e| e.name_any() == choice.environment);
    if let Some(text) = environment.and_then(|e| crate::settings::unknown_harness(&seen.session, e)) {
        return Some((Reason::InvalidSpec, text));
    }
    if let Some(source) = seen.session.spec.source.as_ref().and_then(|s| s.snapshot.as_deref()) {
        let Some(snapshot) = &seen.snapshot else {
            return Some((
                Reason::SnapshotNotFound,
                format!("Snapshot {source} does not exist; create it, or name another"),
            ));
        };
        let conditions = snapshot.status.as_ref().map_or(&[][..], |s| &s.conditions);
        if !conditions::is_true(conditions, ConditionType::Ready) {
            return Some((Reason::SnapshotNotReady, format!("Snapshot {source} is not ready")));
        }
    }
    if let Place::Taken(name) = place {
        return Some((
            Reason::NameTaken,
            format!("Workspace {name} exists and belongs to somebody else; delete one of them"),
        ));
    }
    seen.missing.first().cloned()
}

/// Attachments are put in place before the first turn; afterwards their sources may go.
fn began(seen: &Observed) -> bool {
    let status = seen.session.status.as_ref();
    let before = status.is_some_and(|s| s.seq.unwrap_or_default() > 0 || s.goal_epoch.is_some());
    before || seen.live.as_ref().is_some_and(|live| live.recorded.seq > 0)
}

fn desired(state: SessionState) -> WorkspaceState {
    match state {
        SessionState::Active => WorkspaceState::Running,
        SessionState::Archived => WorkspaceState::Archived,
        SessionState::Suspended | SessionState::Terminated => WorkspaceState::Suspended,
    }
}

fn target(workspace: &Workspace) -> Target {
    Target {
        api_version: "a8s.dev/v1alpha1".into(),
        kind: "Workspace".into(),
        namespace: workspace.namespace().unwrap_or_default(),
        name: workspace.name_any(),
        uid: workspace.uid().unwrap_or_default(),
    }
}

/// Only the one field that the Session decides after creation; the UID keeps the intent from creating a Workspace anew.
fn state_intent(workspace: &Workspace, state: WorkspaceState) -> Value {
    json!({
        "apiVersion": "a8s.dev/v1alpha1", "kind": "Workspace",
        "metadata": {"name": workspace.name_any(), "namespace": workspace.namespace(), "uid": workspace.uid()},
        "spec": {"state": state},
    })
}

fn workspace(session: &Session, name: &str, environment: &str, granted: &Grants) -> Value {
    let mut spec = json!({"environment": environment, "state": desired(session.spec.state)});
    if !granted.connections.is_empty() {
        spec["grants"] = json!(granted.connections);
    }
    if let Some(lifecycle) = &session.spec.lifecycle {
        spec["lifecycle"] = json!(lifecycle);
    }
    if let Some(snapshots) = &session.spec.snapshots {
        spec["snapshots"] = json!(snapshots);
    }
    if let Some(source) = &session.spec.source {
        spec["source"] = json!(source);
    }
    if let Some(overrides) = &session.spec.workspace {
        if let Some(resources) = &overrides.resources {
            spec["resources"] = json!(resources);
        }
        if let Some(storage) = &overrides.storage {
            spec["storage"] = json!(storage);
        }
        if let Some(desktop) = &overrides.desktop {
            spec["desktop"] = json!(desktop);
        }
    }
    json!({
        "apiVersion": "a8s.dev/v1alpha1", "kind": "Workspace",
        "metadata": {
            "name": name, "namespace": session.namespace(),
            "labels": {labels::MANAGED_BY: labels::MANAGER, labels::SESSION: session.name_any()},
            "ownerReferences": [adopt::owner(session)],
        },
        "spec": spec,
    })
}

/// A sentence for an attachment whose source is missing.
pub fn missing(attachment: &Attachment) -> (Reason, String) {
    if let Some(source) = &attachment.config_map {
        let text = format!(
            "attachment {}: ConfigMap {} with key {} does not exist; create it, or name another",
            attachment.name, source.name, source.key
        );
        return (Reason::ConfigMapNotFound, text);
    }
    if let Some(source) = &attachment.connection {
        return no_connection(&format!("attachment {}", attachment.name), &source.name);
    }
    let name = attachment.artifact.as_ref().map_or("", |a| a.name.as_str());
    (
        Reason::ArtifactNotFound,
        format!(
            "attachment {}: Artifact {name} does not exist or is not ready; wait for it, or name another",
            attachment.name
        ),
    )
}

/// A sentence for a Connection that the spec names and that is not there.
pub fn no_connection(place: &str, name: &str) -> (Reason, String) {
    (
        Reason::ConnectionNotFound,
        format!("{place}: Connection {name} does not exist; create it, or name another"),
    )
}

#[cfg(test)]
mod tests;
