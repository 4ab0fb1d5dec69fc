//! The volume of a Workspace that is suspended. One that was archived before gets it back, so that each state can be reached from each.

use a8s_crds::conditions::Reason;

use super::{Hold, Observed, removal, restore, running, status::Draft, volume};
use crate::{Env, Op};

/// Sees to it that there is a volume; `Err` while there is none yet, or with what keeps it from coming back.
pub(super) fn keep_volume(
    observed: &Observed,
    env: &Env,
    draft: &mut Draft<'_>,
    ops: &mut Vec<Op>,
) -> Result<(), Hold> {
    removal::replaced(observed, ops);
    // What is to be put back instead waits until the desktop runs.
    if restore::replacing(observed).is_some() {
        return Ok(());
    }
    let claim = volume::current(observed);
    if claim.is_some_and(|claim| claim.metadata.deletion_timestamp.is_some()) {
        return Ok(());
    }
    if claim.is_some_and(|claim| volume::phase(claim) == "Bound") {
        draft.status.archive = None;
        return Ok(());
    }
    let Some(archive) = volume::archive(observed) else { return Ok(()) };
    if claim.is_none() {
        // Written down, because the newest Archive is looked for only as long as there is no claim.
        draft.status.archive = Some(archive.to_owned());
        running::make(observed, env, ops)?;
    }
    let text = format!(
        "Suspended as spec.state asks; its volume comes from the Snapshot {archive}, at the latest when the desktop runs."
    );
    Err(Hold::wait(Reason::Suspended, text))
}
