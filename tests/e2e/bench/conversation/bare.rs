//! The same agent without a8s: its program, spoken to in its own protocol over its own standard input and output.

use std::{path::Path, process::Stdio};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

/// An agent, ready for a prompt.
pub struct Agent {
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    session: String,
    count: u64,
}

impl Agent {
    /// Starts it in an empty home.
    pub async fn start(program: &Path, home: &Path) -> Result<Self> {
        let mut child = Command::new(program)
            .env("HOME", home)
            .current_dir(home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let input = child.stdin.take().context("its input")?;
        let output = BufReader::new(child.stdout.take().context("its output")?).lines();
        let mut agent = Self { _child: child, input, output, session: String::new(), count: 0 };
        agent.call("initialize", json!({"protocolVersion": 1, "clientCapabilities": {}})).await?;
        let made = agent.call("session/new", json!({"cwd": home, "mcpServers": []})).await?;
        made["sessionId"].as_str().context("a session has an id")?.clone_into(&mut agent.session);
        Ok(agent)
    }

    async fn send(&mut self, method: &str, params: Value) -> Result<u64> {
        self.count += 1;
        let line = json!({"jsonrpc": "2.0", "id": self.count, "method": method, "params": params});
        self.input.write_all(format!("{line}\n").as_bytes()).await?;
        Ok(self.count)
    }

    async fn next(&mut self) -> Result<Value> {
        let line = self.output.next_line().await?.context("the agent goes on")?;
        Ok(serde_json::from_str(&line)?)
    }

    async fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        let id = self.send(method, params).await?;
        loop {
            let said = self.next().await?;
            if said["id"] == id {
                ensure!(said["error"].is_null(), "{method}: {}", said["error"]);
                return Ok(said["result"].clone());
            }
        }
    }

    /// Prompts it; when the prompt was sent, when its first words were here, and what they are.
    pub async fn prompt(&mut self, text: &str) -> Result<(Timestamp, Timestamp, String)> {
        let params = json!({"sessionId": self.session, "prompt": [{"type": "text", "text": text}]});
        let sent = Timestamp::now();
        let id = self.send("session/prompt", params).await?;
        let mut first = None;
        loop {
            let said = self.next().await?;
            let at = Timestamp::now();
            let update = &said["params"]["update"];
            if update["sessionUpdate"] == "agent_message_chunk" && first.is_none() {
                first = Some((at, update["content"]["text"].as_str().unwrap_or_default().to_owned()));
            }
            if said["id"] == id {
                let (at, text) = first.context("it says something")?;
                return Ok((sent, at, text));
            }
        }
    }
}
