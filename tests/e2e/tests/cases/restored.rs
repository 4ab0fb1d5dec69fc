//! Desktops that start on the volume of one that was running: what the dead left is gone, it is a machine of its own, and what it holds
//! was compared with what was there.

use anyhow::{Result, ensure};

use crate::{
    Case, MINUTE,
    common::{Desk, is_true},
};

pub const CASES: &[Case] = &[
    ("a desktop made from one whose browser was running starts as if nothing had been", running_browser),
    ("the hook of a backup tool brings everything to the disk", hook),
];

const HEAD: &str = "apiVersion: a8s.dev/v1alpha1\nkind: ";
/// A shell of its own does not know what deskd gives to the desktop's programs.
const DISPLAY: &str = "export XAUTHORITY=/run/user-1000/a8s/xauthority;";
/// A page whose title is the name of its window.
const BROWSE: &str = "echo '<title>Where it was</title>' > page.html; setsid chromium file://$HOME/page.html >/dev/null 2>&1 &";
const WINDOWS: &str = "for w in $(xprop -root _NET_CLIENT_LIST | sed 's/.*#//; s/,//g'); \
    do xprop -id $w WM_CLASS _NET_WM_NAME; done";

fn workspace(desk: &Desk, name: &str, source: &str) -> Result<()> {
    desk.apply(&format!(
        "{HEAD}Workspace\nmetadata: {{name: {name}}}\nspec: {{environment: desktop{source}}}\n"
    ))?;
    desk.until(&format!("Workspace {name} is ready"), 2 * MINUTE, |d| {
        d.get("workspace", name).filter(|w| is_true(w, "Ready")).map(drop)
    })
}

fn shell(desk: &Desk, workspace: &str, script: &str) -> Result<String> {
    desk.kubectl(&["exec", &format!("{workspace}-desktop"), "-c", "desktop", "--", "sh", "-c", script])
}

/// Starts the browser, and returns the windows once its page is there.
fn browse(desk: &Desk, workspace: &str) -> Result<String> {
    shell(desk, workspace, &format!("{DISPLAY} {BROWSE}"))?;
    desk.until(&format!("the browser of {workspace} shows its page"), MINUTE, |d| {
        shell(d, workspace, &format!("{DISPLAY} {WINDOWS}"))
            .ok()
            .filter(|windows| windows.contains("Where it was"))
    })
}

fn running_browser(desk: &Desk) -> Result<()> {
    workspace(desk, "browsed", "")?;
    browse(desk, "browsed")?;
    shell(
        desk,
        "browsed",
        "echo ',jane,browsed,;' > 'Documents/.~lock.letter.odt#'; echo Dear > Documents/letter.odt",
    )?;
    desk.apply(&format!("{HEAD}Snapshot\nmetadata: {{name: browsing}}\nspec: {{workspace: browsed}}\n"))?;
    workspace(desk, "again", ", source: {snapshot: browsing}")?;

    let left = shell(desk, "again", "ls -A Documents .config/chromium")?;
    ensure!(left.contains("letter.odt\n") && !left.contains(".~lock"), "{left}");
    ensure!(!left.contains("Singleton"), "the browser's locks are still there: {left}");
    let machine = "cat /etc/machine-id; hostname";
    let (before, after) = (shell(desk, "browsed", machine)?, shell(desk, "again", machine)?);
    ensure!(before.lines().zip(after.lines()).all(|(a, b)| a != b), "{before} and {after} are one machine");
    ensure!(after.lines().next().is_some_and(|id| id.len() == 32), "{after} has no machine id");
    let windows = browse(desk, "again")?;
    ensure!(windows.matches("\"Chromium\"").count() == 1, "the browser asks something: {windows}");

    let receipt = desk.until("the receipt is written", MINUTE, |d| {
        let found = d.get("workspace", "again")?;
        found["status"]["receipt"].is_object().then(|| found["status"]["receipt"].clone())
    })?;
    ensure!(receipt["verified"] == true && receipt["firstFrame"].is_string(), "{receipt}");
    desk.until("the Snapshot is verified", MINUTE, |d| {
        d.get("snapshot", "browsing").filter(|s| is_true(s, "Verified")).map(drop)
    })?;
    desk.kubectl(&["delete", "workspace", "browsed", "again", "--timeout=90s"])?;
    desk.kubectl(&["delete", "snapshot", "browsing", "--timeout=90s"]).map(drop)
}

fn hook(desk: &Desk) -> Result<()> {
    workspace(desk, "hooked", "")?;
    let said = desk.kubectl(&["exec", "hooked-desktop", "-c", "runner", "--", "/a8s-runner", "quiesce"])?;
    ensure!(said.starts_with("on the disk: turn 0, event 0.0, "), "{said}");
    desk.kubectl(&["delete", "workspace", "hooked", "--timeout=90s"]).map(drop)
}
