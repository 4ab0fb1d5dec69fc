//! The receipt of a restored volume: what the runner found on it before anything changed it, and that the desktop showed a picture. It is
//! written once for each volume, when both are known.

use a8s_crds::{Receipt, conditions::Reason};

use super::{Observed, RESTORED_FROM, status::Draft, volume};
use crate::Env;

/// What a restored desktop has not reported so many seconds after its start it does not report any more.
const PATIENCE: i64 = 60;

/// Whether the receipt of a restored volume is still to come.
pub(crate) fn awaited(observed: &Observed, draft: &Draft<'_>, env: &Env) -> bool {
    let restored = volume::current(observed).and_then(|claim| volume::note(claim, RESTORED_FROM)).is_some();
    let began = draft.status.startup.as_ref().and_then(|s| s.began.as_ref());
    let fresh = began.is_some_and(|began| env.now.as_second() - began.0.as_second() < PATIENCE);
    restored && fresh && draft.status.receipt.is_none()
}

pub(crate) fn settle(observed: &Observed, draft: &mut Draft<'_>) {
    let Some(from) = volume::current(observed).and_then(|claim| volume::note(claim, RESTORED_FROM)) else {
        return;
    };
    let generation = volume::current(observed).map(volume::generation);
    let known = draft.status.storage.as_ref().and_then(|s| s.generation);
    // That of an earlier volume goes when this one is written down.
    if draft.status.receipt.is_some() || known != generation {
        return;
    }
    let found = observed.runner.as_ref().and_then(|r| r.restored.as_ref());
    let frame = observed.desk.as_ref().and_then(|d| d.first_frame.as_ref());
    let (Some(found), Some(frame)) = (found, frame) else { return };
    if found.from.as_deref().is_some_and(|said| said != from) {
        return;
    }
    let (verified, detail) = (found.intact(), found.summary());
    let reason = if verified { Reason::Verified } else { Reason::ManifestDiffers };
    draft.notice(!verified, reason, format!("Restored from {from}: {detail}"));
    draft.status.receipt = Some(Receipt {
        snapshot: from.to_owned(),
        verified,
        files: Some(found.files),
        detail: Some(detail),
        first_frame: Some(format!("{}.{:02}s", frame.after_millis / 1000, frame.after_millis % 1000 / 10)),
    });
}
