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
    match volume::current(observed) {
        Some(claim) if claim.metadata.deletion_timestamp.is_some() => Ok(()),
        Some(claim) if volume::phase(claim) == "Bound" => {
            draft.status.archive = None;
            Ok(())
        }
        Some(_) => match volume::archive(observed) {
            Some(archive) => Err(unbound(archive)),
            None => Ok(()),
        },
        None => match volume::archive(observed).map(str::to_owned) {
            Some(archive) => {
                // Written down, because the newest Archive is looked for only as long as there is no claim.
                draft.status.archive = Some(archive.clone());
                running::make(observed, env, ops).and(Err(unbound(&archive)))
            }
            None => Ok(()),
        },
    }
}

fn unbound(archive: &str) -> Hold {
    let text = format!(
        "Suspended as spec.state asks; its volume comes from the Snapshot {archive}, at the latest when the desktop runs."
    );
    Hold::wait(Reason::Suspended, text)
}
