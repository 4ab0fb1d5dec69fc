//! Objects that are deleted while they start, at moments of their start that no condition marks: here the time is the input.

use std::{collections::BTreeSet, thread::sleep, time::Duration};

use anyhow::Result;

use crate::{
    MINUTE,
    common::{Desk, everything},
};

const MOMENTS: [u64; 4] = [0, 200, 800, 2000];

/// Makes it, deletes it at each moment, and expects everything to be as before.
fn comes_and_goes(desk: &Desk, kind: &str, spec: &str) -> Result<()> {
    for moment in MOMENTS {
        let before = everything(desk)?;
        let name = format!("brief-{moment}");
        desk.apply(&format!(
            "apiVersion: a8s.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"
        ))?;
        sleep(Duration::from_millis(moment));
        desk.kubectl(&["delete", kind, &name, "--timeout=60s"])?;
        let mut left = BTreeSet::new();
        let gone = desk.until(&format!("nothing is left of {kind} {name}"), MINUTE, |d| {
            left = everything(d).ok()?.difference(&before).cloned().collect();
            left.is_empty().then_some(())
        });
        gone.map_err(|error| error.context(format!("left: {left:?}")))?;
    }
    Ok(())
}

pub fn sessions(desk: &Desk) -> Result<()> {
    comes_and_goes(desk, "Session", "{goal: /say hello}")
}

pub fn workspaces(desk: &Desk) -> Result<()> {
    comes_and_goes(desk, "Workspace", "{environment: desktop}")
}

/// Of a Workspace that runs.
pub fn snapshots(desk: &Desk) -> Result<()> {
    comes_and_goes(desk, "Snapshot", "{workspace: seattle-report}")
}
