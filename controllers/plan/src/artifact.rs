//! Decisions for the kind Artifact: bring the content into the store once, verified, and take it out again when the Artifact goes.

use a8s_crds::{
    Artifact, ArtifactStatus,
    conditions::{self, ConditionType, Reason, Status},
    labels,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use crate::{Effect, Env, Notice, Op, Plan, Target, Wake};

/// What was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// The Artifact.
    pub artifact: Artifact,
    /// Whether the store holds content under its key with the right size and SHA-256.
    pub stored: bool,
    /// Who could still give the content.
    pub source: Source,
    /// How storing ended, if that was done in this pass.
    pub outcome: Option<Outcome>,
}

/// The Workspace that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// There is no Workspace of that UID any more.
    Gone,
    /// It has no pod, and keeps its volume.
    Suspended,
    /// Its runner does not answer yet.
    Starting,
    /// Its runner answers.
    Ready,
}

/// How storing ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Stored and verified.
    Stored,
    /// The content has another SHA-256 or size; it was not kept.
    Mismatch(String),
    /// The runner does not have it.
    Lost,
    /// The runner broke off or the store refused.
    Failed(String),
}

/// Key of the content: the UID keeps Artifacts of one name apart, the digest makes content under a key unchangeable.
pub fn key(artifact: &Artifact) -> String {
    let recorded = artifact.status.as_ref().and_then(|s| s.key.clone());
    recorded.unwrap_or_else(|| {
        let (namespace, uid) = (artifact.namespace().unwrap_or_default(), artifact.uid().unwrap_or_default());
        format!("{namespace}/{uid}/{}", artifact.spec.sha256)
    })
}

/// Whether the content is in the store, as far as the status says.
pub fn is_stored(artifact: &Artifact) -> bool {
    artifact
        .status
        .as_ref()
        .is_some_and(|s| s.key.is_some() && conditions::is_true(&s.conditions, ConditionType::Ready))
}

/// Decides.
pub fn plan(observed: &Observed, env: &Env) -> Plan<ArtifactStatus> {
    let artifact = &observed.artifact;
    let present = artifact.finalizers().iter().any(|f| f == labels::ARTIFACT_FINALIZER);
    let finalizer =
        |present| Op::Finalizer { target: target(artifact), finalizer: labels::ARTIFACT_FINALIZER, present };
    if artifact.metadata.deletion_timestamp.is_some() {
        let ops = vec![Op::Effect(Effect::DeleteContent { key: key(artifact) }), finalizer(false)];
        return Plan { ops: if present { ops } else { Vec::new() }, ..Plan::default() };
    }
    let mut plan = Plan::default();
    if !present {
        plan.ops.push(finalizer(true));
    }
    let verdict =
        if is_stored(artifact) || observed.stored { Verdict::Stored } else { judge(observed, &mut plan) };
    let old = artifact.status.clone().unwrap_or_default();
    let status = write(artifact, &old, &verdict, env, &mut plan.notices);
    if status != old {
        plan.status = Some(status);
    }
    plan
}

enum Verdict {
    Stored,
    Waiting(Reason, String),
    Stalled(Reason, String),
}

fn judge(observed: &Observed, plan: &mut Plan<ArtifactStatus>) -> Verdict {
    let artifact = &observed.artifact;
    match &observed.outcome {
        Some(Outcome::Stored) => return Verdict::Stored,
        Some(Outcome::Mismatch(found)) => {
            let expected = &artifact.spec.sha256;
            return Verdict::Stalled(
                Reason::ChecksumMismatch,
                format!("expected SHA-256 {expected}, the runner sent {found}; publish the file again"),
            );
        }
        Some(Outcome::Lost) => {
            return Verdict::Stalled(
                Reason::ContentLost,
                "the runner does not have the content; publish the file again".into(),
            );
        }
        Some(Outcome::Failed(why)) => {
            plan.wake = Wake::AfterMillis(2000);
            return Verdict::Waiting(Reason::StoreFailed, format!("{why}; it is tried again"));
        }
        None => {}
    }
    let mismatch =
        artifact.status.as_ref().and_then(|s| conditions::get(&s.conditions, ConditionType::Stalled));
    if let Some(old) = mismatch.filter(|c| c.reason == Reason::ChecksumMismatch.as_str()) {
        // The spec cannot change, nor can what is named by a digest: asking again gives the same.
        return Verdict::Stalled(Reason::ChecksumMismatch, old.message.clone());
    }
    let workspace = &artifact.spec.workspace.name;
    match observed.source {
        Source::Gone => Verdict::Stalled(
            Reason::ContentLost,
            format!("Workspace {workspace} was gone before the content could be stored"),
        ),
        Source::Suspended => {
            Verdict::Waiting(Reason::Storing, format!("waits until Workspace {workspace} runs again"))
        }
        Source::Starting => {
            plan.wake = Wake::AfterMillis(1000);
            Verdict::Waiting(Reason::Storing, format!("waits for the runner of Workspace {workspace}"))
        }
        Source::Ready => {
            plan.ops.push(Op::Effect(Effect::StoreContent {
                artifact: target(artifact),
                workspace: Target {
                    api_version: "a8s.dev/v1alpha1".into(),
                    kind: "Workspace".into(),
                    namespace: artifact.namespace().unwrap_or_default(),
                    name: workspace.clone(),
                    uid: artifact.spec.workspace.uid.clone(),
                },
                sha256: artifact.spec.sha256.clone(),
                key: key(artifact),
            }));
            plan.wake = Wake::AfterMillis(0);
            Verdict::Waiting(Reason::Storing, "the content is being stored".into())
        }
    }
}

fn write(
    artifact: &Artifact,
    old: &ArtifactStatus,
    verdict: &Verdict,
    env: &Env,
    notices: &mut Vec<Notice>,
) -> ArtifactStatus {
    let generation = artifact.metadata.generation;
    let mut status = old.clone();
    status.observed_generation = generation;
    status.size = Some(human(artifact.spec.size));
    let (ready, reason, message) = match verdict {
        Verdict::Stored => {
            status.key = Some(key(artifact));
            if status.stored_at.is_none() {
                status.stored_at = Some(Time(env.now));
            }
            (Status::True, Reason::Ready, "")
        }
        Verdict::Waiting(reason, message) | Verdict::Stalled(reason, message) => {
            (Status::False, *reason, message.as_str())
        }
    };
    let all = &mut status.conditions;
    conditions::set(all, ConditionType::Ready, ready, reason, message, generation, env.now);
    if let Verdict::Stalled(..) = verdict {
        conditions::set(all, ConditionType::Stalled, Status::True, reason, message, generation, env.now);
    } else {
        conditions::clear(all, ConditionType::Stalled);
    }
    let new =
        conditions::get(&old.conditions, ConditionType::Ready).is_none_or(|c| c.reason != reason.as_str());
    let warning = matches!(verdict, Verdict::Stalled(..)) || reason == Reason::StoreFailed;
    if new && warning {
        notices.push(Notice { warning, reason, note: message.to_owned() });
    }
    status
}

fn target(artifact: &Artifact) -> Target {
    Target {
        api_version: "a8s.dev/v1alpha1".into(),
        kind: "Artifact".into(),
        namespace: artifact.namespace().unwrap_or_default(),
        name: artifact.name_any(),
        uid: artifact.uid().unwrap_or_default(),
    }
}

/// A size for people: `84Ki`, `1.2Mi`.
pub fn human(bytes: i64) -> String {
    let mut unit_bytes: i64 = 1;
    for (index, unit) in ["", "Ki", "Mi", "Gi"].iter().enumerate() {
        let tenths = bytes.saturating_mul(10) / unit_bytes;
        if bytes < unit_bytes * 1024 || index == 3 {
            return match tenths {
                t if index > 0 && t < 100 && t % 10 != 0 => format!("{}.{}{unit}", t / 10, t % 10),
                t => format!("{}{unit}", t / 10),
            };
        }
        unit_bytes *= 1024;
    }
    String::new()
}

#[cfg(test)]
mod tests;
