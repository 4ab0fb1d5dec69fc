//! Which claim is the volume, and what the next one is made from. A Workspace has one volume at a time, but more than one claim while one
//! takes the place of another. The claims say themselves which is which, whatever becomes of the status.

use a8s_crds::{RestoreStatus, Trigger, Workspace, conditions::Reason, labels, names};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;

use super::{EPOCH, Hold, Observed, RESTORED_FROM, Source, adoption, children, quantity, restore};

/// Annotation of a claim: the order to restore that it was made for.
pub(crate) const RESTORE_ID: &str = "a8s.dev/restore-id";
/// Annotation of a claim: the Snapshot of what was on the claim whose place it took.
pub(crate) const SAFETY: &str = "a8s.dev/safety-snapshot";
/// What [`RESTORED_FROM`] begins with if it names a Workspace. No Snapshot can have such a name.
const CLONE: &str = "workspace/";

pub(crate) fn note<'a>(claim: &'a PersistentVolumeClaim, key: &str) -> Option<&'a str> {
    claim.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

/// Which volume of its Workspace a claim is; 1 is the first.
pub(crate) fn generation(claim: &PersistentVolumeClaim) -> i64 {
    let label = claim.metadata.labels.as_ref().and_then(|all| all.get(labels::GENERATION)?.parse().ok());
    label.unwrap_or(1)
}

pub(crate) fn phase(claim: &PersistentVolumeClaim) -> &str {
    claim.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or("Pending")
}

/// Sorts what was found: the newest claim of this Workspace, and its older ones. Without any of its own, the newest that came back from a
/// backup, whichever of its volumes that was; else what has the name that the next one would have.
pub fn claims(
    workspace: &Workspace,
    mut found: Vec<PersistentVolumeClaim>,
) -> (Option<PersistentVolumeClaim>, Vec<PersistentVolumeClaim>) {
    let uid = workspace.metadata.uid.as_deref();
    let own = |c: &PersistentVolumeClaim| {
        let owners = c.metadata.owner_references.as_deref().unwrap_or_default();
        owners.iter().any(|o| o.controller == Some(true) && Some(o.uid.as_str()) == uid)
    };
    if !found.iter().any(own) {
        let own_name = workspace.metadata.name.as_deref().unwrap_or_default();
        let back = found.iter().filter(|claim| adoption::volume_of(own_name, claim));
        if let Some(back) = back.max_by_key(|claim| generation(claim)) {
            return (Some(back.clone()), Vec::new());
        }
        let name = next_name(workspace);
        return (found.into_iter().find(|c| c.metadata.name.as_deref() == Some(&*name)), Vec::new());
    }
    found.retain(own);
    found.sort_by_key(generation);
    let newest = found.pop();
    (newest, found)
}

/// Name of the claim that would be made if there were none.
pub fn next_name(workspace: &Workspace) -> String {
    let known = workspace.status.as_ref().and_then(|s| s.storage.as_ref());
    let generation = known.map_or(1, |s| s.generation.unwrap_or(1) + 1);
    names::claim(workspace.metadata.name.as_deref().unwrap_or_default(), generation)
}

/// The volume; nothing while there is none, while the last one gives way to its Snapshot, or once another one is to take its place.
pub(crate) fn current(observed: &Observed) -> Option<&PersistentVolumeClaim> {
    if observed.own_pod().is_none() && restore::replacing(observed).is_some() {
        return None;
    }
    observed
        .own_claim()
        .filter(|claim| claim.metadata.deletion_timestamp.is_none() || !archived(observed, claim))
}

/// The Archive that is written down.
pub(crate) fn recorded_archive(observed: &Observed) -> Option<&str> {
    observed.workspace.status.as_ref()?.archive.as_deref()
}

/// Whether the recorded Archive stands for what is on this claim, rather than the claim for what is in the Archive.
pub(crate) fn archived(observed: &Observed, claim: &PersistentVolumeClaim) -> bool {
    recorded_archive(observed).is_some_and(|archive| note(claim, RESTORED_FROM) != Some(archive))
}

/// Whether this claim was to get what is in the recorded Archive and has no volume yet, so that nothing goes with it.
pub(crate) fn blank(observed: &Observed, claim: &PersistentVolumeClaim) -> bool {
    let archive = recorded_archive(observed);
    let volume = claim.spec.as_ref().and_then(|s| s.volume_name.as_deref());
    archive.is_some()
        && note(claim, RESTORED_FROM) == archive
        && volume.is_none()
        && phase(claim) == "Pending"
}

/// Name of the claim that the pod mounts.
pub(crate) fn claim_name(observed: &Observed) -> String {
    match current(observed) {
        Some(claim) => claim.metadata.name.clone().unwrap_or_default(),
        None => names::claim(observed.name(), next_generation(observed)),
    }
}

/// Number of the next claim: greater than that of any that there is or was.
pub(crate) fn next_generation(observed: &Observed) -> i64 {
    let known = observed.workspace.status.as_ref().and_then(|s| s.storage.as_ref());
    let known = known.map_or(0, |s| s.generation.unwrap_or(1));
    let seen = observed.own_claim().into_iter().chain(&observed.older).map(generation).max();
    known.max(seen.unwrap_or(0)) + 1
}

/// The Snapshot that stands for the volume while there is none. Without a status the newest Archive of this Workspace is it.
pub fn archive(observed: &Observed) -> Option<&str> {
    if let Some(archive) = recorded_archive(observed) {
        return Some(archive);
    }
    let status = observed.workspace.status.as_ref();
    if observed.own_claim().is_some() || status.is_some_and(|s| s.storage.is_some()) {
        return None;
    }
    let ours = observed.snapshots.iter().filter(|s| {
        s.trigger == Trigger::Archive && s.handle && s.workspace_uid.as_deref() == Some(observed.uid())
    });
    ours.max_by_key(|s| (s.created, &s.name)).map(|s| s.name.as_str())
}

/// What a new claim is made from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Origin<'a> {
    /// Nothing: deskd fills the home.
    Empty,
    /// A Snapshot.
    Snapshot {
        /// Its name.
        name: &'a str,
        /// What is known of it.
        source: &'a Source,
    },
    /// The claim of another Workspace.
    Clone {
        /// Its name.
        name: &'a str,
        /// What is known of it.
        live: &'a super::CloneSource,
    },
}

/// The next volume.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Next<'a> {
    pub generation: i64,
    pub epoch: i64,
    pub origin: Origin<'a>,
    /// The order that it is made for, and the Snapshot of what was there.
    pub order: Option<&'a RestoreStatus>,
}

impl Next<'_> {
    /// What [`RESTORED_FROM`] says.
    pub fn restored_from(&self) -> Option<String> {
        match self.origin {
            Origin::Empty => None,
            Origin::Snapshot { name, .. } => Some(name.to_owned()),
            Origin::Clone { name, .. } => Some(format!("{CLONE}{name}")),
        }
    }

    /// The least that it must hold.
    pub fn least(&self) -> Option<&str> {
        match self.origin {
            Origin::Empty => None,
            Origin::Snapshot { source, .. } => source.restore_size.as_deref(),
            Origin::Clone { live, .. } => live.size.as_deref(),
        }
    }
}

/// What the next volume is to be made from, or why it cannot be made. Never an empty one where there was one before.
pub(crate) fn next(observed: &Observed) -> Result<Next<'_>, Hold> {
    let generation = next_generation(observed);
    let status = observed.workspace.status.as_ref();
    let reached = status.and_then(|s| s.epoch);
    if let Some(order) = restore::replacing(observed) {
        let name = order.snapshot.as_str();
        let source = usable(name, observed.restore.as_ref())?;
        fits(observed, &format!("the Snapshot {name}"), source.restore_size.as_deref())?;
        let epoch = children::known_epoch(observed).unwrap_or(0).max(source.epoch) + 1;
        let origin = Origin::Snapshot { name, source };
        return Ok(Next { generation, epoch, origin, order: Some(order) });
    }
    if let Some(name) = archive(observed) {
        let source = observed.archive.as_ref().filter(|s| !s.deleting).ok_or_else(|| {
            let text = format!(
                "The volume was archived, and the Snapshot {name} that stands for it is gone. What was on it cannot be brought back; start another Workspace, or name another Snapshot in spec.restore."
            );
            Hold::stalled(Reason::SnapshotLost, text)
        })?;
        let source = usable(name, Some(source))?;
        // Nothing was lost: the conversation goes on where it was.
        let epoch = reached.unwrap_or(0).max(source.epoch);
        return Ok(Next { generation, epoch, origin: Origin::Snapshot { name, source }, order: None });
    }
    if let Some(storage) = status.and_then(|s| s.storage.as_ref()) {
        // A new claim would look as if the desktop had come back, with an empty home.
        let text = format!(
            "The claim {} is gone and everything on it. Put the volume back to a Snapshot by spec.restore, or start another Workspace from one.",
            storage.claim
        );
        return Err(Hold::stalled(Reason::ClaimLost, text));
    }
    let annotations = observed.workspace.metadata.annotations.as_ref();
    // A Session that had a desktop before says where its conversation goes on.
    let least = annotations.and_then(|a| a.get(EPOCH)?.parse().ok()).unwrap_or(0);
    let (origin, epoch) = origin(observed)?;
    Ok(Next { generation, epoch: epoch.max(least), origin, order: None })
}

fn origin(observed: &Observed) -> Result<(Origin<'_>, i64), Hold> {
    let Some(wanted) = &observed.workspace.spec.source else { return Ok((Origin::Empty, 0)) };
    if let Some(name) = wanted.snapshot.as_deref() {
        let source = usable(name, observed.source.as_ref())?;
        fits(observed, &format!("the Snapshot {name}"), source.restore_size.as_deref())?;
        same_driver(observed, &format!("The Snapshot {name}"), source.driver.as_deref())?;
        return Ok((Origin::Snapshot { name, source }, source.epoch + 1));
    }
    let name = wanted.workspace.as_deref().unwrap_or_default();
    let Some(live) = observed.clone_source.as_ref() else {
        let text = format!(
            "There is no Workspace {name} in this namespace to clone; create it, or name another in a new Workspace."
        );
        return Err(Hold::stalled(Reason::WorkspaceNotFound, text));
    };
    if let (None, Some(archive)) = (&live.claim, &live.archive) {
        let text = format!(
            "The Workspace {name} is archived and has no volume to clone; start from its Snapshot {archive} instead, or resume it."
        );
        return Err(Hold::stalled(Reason::Archived, text));
    }
    if live.claim.is_none() || !live.bound {
        return Err(Hold::wait(
            Reason::ClaimPending,
            format!("The Workspace {name} has no volume yet; it is cloned as soon as it has one."),
        ));
    }
    fits(observed, &format!("the volume of Workspace {name}"), live.size.as_deref())?;
    same_driver(observed, &format!("The volume of Workspace {name}"), live.driver.as_deref())?;
    Ok((Origin::Clone { name, live }, live.epoch + 1))
}

/// The Snapshot, if a volume can be made from it.
pub(crate) fn usable<'a>(name: &str, source: Option<&'a Source>) -> Result<&'a Source, Hold> {
    let Some(source) = source else {
        return Err(Hold::stalled(
            Reason::SnapshotNotFound,
            format!("There is no Snapshot {name} in this namespace."),
        ));
    };
    if let Some(why) = &source.failed {
        return Err(Hold::stalled(
            Reason::SnapshotLost,
            format!("The Snapshot {name} cannot be restored: {why}"),
        ));
    }
    if !source.ready || source.volume_snapshot.is_none() {
        return Err(Hold::wait(Reason::SnapshotNotReady, format!("The Snapshot {name} is not ready yet.")));
    }
    Ok(source)
}

/// A size that somebody asked for is kept or refused, never changed.
pub(crate) fn fits(observed: &Observed, what: &str, least: Option<&str>) -> Result<(), Hold> {
    let asked = observed.workspace.spec.storage.as_ref().and_then(|s| s.size.as_ref()).map(|q| q.0.as_str());
    let (Some(asked), Some(least)) = (asked, least) else { return Ok(()) };
    if quantity::bytes(asked) >= quantity::bytes(least) {
        return Ok(());
    }
    let text = format!(
        "spec.storage.size is {asked}, and {what} needs {least}; make a Workspace with at least {least}, or without a size."
    );
    Err(Hold::stalled(Reason::InvalidSpec, text))
}

/// No driver reads what another one wrote.
pub(crate) fn same_driver(observed: &Observed, what: &str, driver: Option<&str>) -> Result<(), Hold> {
    let (Some(ours), Some(theirs)) = (observed.driver.as_deref(), driver) else { return Ok(()) };
    if ours == theirs {
        return Ok(());
    }
    let text = format!(
        "{what} is of driver {theirs}, and the StorageClass of this Workspace is of {ours}; name a class of {theirs} in spec.storage.storageClassName of a new Workspace."
    );
    Err(Hold::stalled(Reason::InvalidSpec, text))
}
