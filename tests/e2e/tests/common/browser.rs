//! Tests of the console in a real browser, in front of a real cluster.

use std::process::Command;

use anyhow::{Result, ensure};

use super::{DEMO, Desk, repo};

/// Runs `tests/e2e/browser/cluster/<file>.spec.mjs` as the person of the demo namespace, with variables of its own.
/// Pictures are left in `A8S_SCREENSHOTS`, or in the folder for temporary files.
pub fn spec(desk: &Desk, file: &str, variables: &[(&str, &str)]) -> Result<()> {
    let folder = repo().join("tests/e2e/browser");
    let pictures =
        std::env::var("A8S_SCREENSHOTS").unwrap_or_else(|_| std::env::temp_dir().display().to_string());
    let install = ["ci", "--no-audit", "--no-fund"];
    let install = Command::new("npm").args(install).current_dir(&folder).status()?;
    ensure!(install.success(), "npm ci in tests/e2e/browser");
    let run = Command::new("node")
        .args(["--test", &format!("cluster/{file}.spec.mjs")])
        .current_dir(&folder)
        .env("A8S_CONSOLE_URL", desk.cluster().console_url())
        .env("A8S_TOKEN", desk.cluster().token()?.trim())
        .env("A8S_NAMESPACE", DEMO)
        .env("A8S_SCREENSHOTS", pictures)
        .envs(variables.iter().copied())
        .status()?;
    ensure!(run.success(), "the browser test {file} failed");
    Ok(())
}
