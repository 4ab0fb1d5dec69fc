//! Chromium with noVNC, in a process of its own that is told what to do line by line.

use std::{path::Path, process::Stdio};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

/// One that runs; it ends with its input.
pub struct Browser {
    /// Where its page comes from.
    pub origin: String,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Browser {
    /// Starts it. `repo` is the checkout, whose browser tests and page have been installed.
    pub async fn start(repo: &Path) -> Result<Self> {
        let mut child = Command::new("node")
            .arg("photon.mjs")
            .current_dir(repo.join("tests/e2e/browser"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting node")?;
        let input = child.stdin.take().context("its input")?;
        let output = BufReader::new(child.stdout.take().context("its output")?).lines();
        let mut browser = Self { origin: String::new(), input, output, _child: child };
        let hello = browser.answer().await?;
        hello["origin"].as_str().context("it says where its page is")?.clone_into(&mut browser.origin);
        Ok(browser)
    }

    /// Opens a stream, presses keys, closes it. Milliseconds of each press until its colour was on the canvas.
    pub async fn press(&mut self, url: &str, protocols: &[String], times: usize) -> Result<Vec<f64>> {
        let wish = json!({"url": url, "protocols": protocols, "times": times}).to_string() + "\n";
        self.input.write_all(wish.as_bytes()).await?;
        let answer = self.answer().await?;
        let times = answer["times"].as_array().with_context(|| format!("the browser says {answer}"))?;
        Ok(times.iter().filter_map(Value::as_f64).collect())
    }

    async fn answer(&mut self) -> Result<Value> {
        let line = self.output.next_line().await?.context("the browser ended; was npm ci done?")?;
        Ok(serde_json::from_str(&line)?)
    }
}
