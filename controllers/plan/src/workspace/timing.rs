//! How long a start takes, stage by stage. Each stage counts from the moment when a running desktop was asked for to the pass that saw the
//! stage reached, to the millisecond; Kubernetes' own times have whole seconds only.

use a8s_crds::{
    Startup,
    conditions::{self, ConditionType},
    labels,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime};

use super::{Observed, trouble, volume};

/// The clock of a start that is asked for now.
pub(super) fn begin(observed: &Observed, resumed: bool, now: Timestamp) -> Startup {
    let had = observed.workspace.status.as_ref().is_some_and(|s| s.storage.is_some());
    let pooled = observed.workspace.metadata.labels.as_ref().is_some_and(|l| l.contains_key(labels::POOL));
    let kind = match volume::current(observed) {
        Some(_) if resumed => "Resume",
        Some(_) if had => "Restart",
        None if had => "Restore",
        _ if observed.workspace.spec.source.is_some() => "Restore",
        _ if pooled => "Pool",
        _ => "Cold",
    };
    Startup { began: Some(MicroTime(now)), kind: Some(kind.into()), ..Startup::default() }
}

/// Notes the stages that are reached now and were not before.
pub(super) fn note(
    observed: &Observed,
    startup: &mut Startup,
    all: &[Condition],
    ready: bool,
    now: Timestamp,
) {
    let Some(began) = startup.began.as_ref().map(|t| t.0) else { return };
    if startup.total.is_some() {
        return;
    }
    let millis = (now.as_millisecond() - began.as_millisecond()).max(0);
    let text = format!("{}.{:03}s", millis / 1000, millis % 1000);
    let is = |kind| conditions::is_true(all, kind);
    let containers = is(ConditionType::PodReady);
    let pod = observed.own_pod().filter(|pod| !trouble::leaving(pod));
    let placed = pod.is_some_and(|pod| pod.spec.as_ref().is_some_and(|s| s.node_name.is_some()));
    let pulled = pod.is_some_and(|pod| trouble::containers(pod).iter().any(|c| !c.image_id.is_empty()));
    let stages = [
        (&mut startup.storage, is(ConditionType::StorageReady)),
        (&mut startup.scheduled, placed || containers),
        (&mut startup.image, pulled || containers),
        (&mut startup.containers, containers),
        (&mut startup.desktop, is(ConditionType::DesktopReady)),
        (&mut startup.agent, is(ConditionType::AgentReady)),
        (&mut startup.total, ready),
    ];
    for (stage, reached) in stages {
        if reached && stage.is_none() {
            *stage = Some(text.clone());
        }
    }
}
