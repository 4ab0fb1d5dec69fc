//! Runs a program to its end and turns a failure into an error that carries its own words.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Standard output of a program that must succeed.
pub fn run(command: &mut Command) -> Result<String> {
    run_with_input(command, None)
}

/// Like [`run`], with text for its standard input.
pub fn run_with_input(command: &mut Command, input: Option<&str>) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = command.spawn().with_context(|| format!("starting {program}"))?;
    if let (Some(text), Some(mut pipe)) = (input, child.stdin.take()) {
        pipe.write_all(text.as_bytes()).with_context(|| format!("talking to {program}"))?;
    }
    let output = child.wait_with_output().with_context(|| format!("waiting for {program}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let first: Vec<_> = command.get_args().take(3).map(|a| a.to_string_lossy().into_owned()).collect();
        bail!("{program} {}: {} ({})", first.join(" "), said.trim(), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
