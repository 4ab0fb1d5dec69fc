//! The agent as a process, this test as its ACP client, a model that does what it is told, and a desktop that is none.

// Not every test uses every helper.
#![allow(dead_code, missing_docs, clippy::unwrap_used)]

pub mod desk;

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use a8s_model_mock::Mock;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

pub use desk::FakeDesk;

/// Nothing here takes as long; what does has failed.
const PATIENCE: Duration = Duration::from_mins(1);
/// Carries standard input and output to a unix socket, as the shim does.
const BRIDGE: &str = "import socket,sys,os,threading\ns=socket.socket(socket.AF_UNIX);s.connect(sys.argv[1])\n\
def up():\n  while True:\n    b=os.read(0,65536)\n    if not b: os._exit(0)\n    s.sendall(b)\n\
threading.Thread(target=up,daemon=True).start()\n\
while True:\n  b=s.recv(65536)\n  if not b: break\n  while b: b=b[os.write(1,b):]\n";

pub async fn mock() -> Mock {
    Mock::start(SocketAddr::from(([127, 0, 0, 1], 0)), Some("gateway-token".into())).await.unwrap()
}

pub struct World {
    pub folder: tempfile::TempDir,
    pub desk: FakeDesk,
    pub mock: Mock,
    pub env: HashMap<String, String>,
}

impl World {
    pub async fn new(provider: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("home")).unwrap();
        let desk = FakeDesk::listen(&folder.path().join("mcp.sock"));
        let mock = mock().await;
        let behind = !matches!(provider, "anthropic" | "gemini");
        let url = if behind { format!("{}/v1", mock.url()) } else { mock.url() };
        let env = [
            ("A8S_MODEL_PROVIDER", provider),
            ("A8S_MODEL", "m"),
            ("A8S_MODEL_URL", &url),
            ("A8S_MODEL_KEY", "gateway-token"),
            ("A8S_INSTRUCTIONS", "be kind"),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Self { folder, desk, mock, env }
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.env.insert(name.to_owned(), value.to_owned());
    }

    pub fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// Starts the agent and opens a session; an old one if an id is given.
    pub async fn agent(&self, session: Option<&str>) -> Agent {
        Agent::start(self, session).await
    }

    /// Bodies of all requests that the model got.
    pub fn asked(&self) -> Vec<Value> {
        self.mock.requests().into_iter().map(|seen| seen.body).collect()
    }
}

pub struct Agent {
    child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    next: i64,
    pub session: String,
    /// Every `update` that came.
    pub updates: Vec<Value>,
    /// What is answered to a question for permission: the kind of an option.
    pub permission: &'static str,
    pub questions: Vec<Value>,
}

impl Agent {
    async fn start(world: &World, session: Option<&str>) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_a8s-agent"))
            .env("HOME", world.home())
            .envs(&world.env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut agent = Self {
            child,
            input,
            lines: BufReader::new(output).lines(),
            next: 0,
            session: String::new(),
            updates: Vec::new(),
            permission: "allow_once",
            questions: Vec::new(),
        };
        agent.call("initialize", json!({"protocolVersion": 1, "clientCapabilities": {}})).await.unwrap();
        let socket = world.folder.path().join("mcp.sock");
        let server = json!({"name": "a8s", "command": "python3", "args": ["-c", BRIDGE, socket], "env": []});
        let cwd = world.home();
        let servers = json!([server]);
        if let Some(id) = session {
            let given = json!({"sessionId": id, "cwd": cwd, "mcpServers": servers});
            agent.call("session/load", given).await.unwrap();
            id.clone_into(&mut agent.session);
        } else {
            let made = agent.call("session/new", json!({"cwd": cwd, "mcpServers": servers})).await.unwrap();
            made["sessionId"].as_str().unwrap().clone_into(&mut agent.session);
        }
        agent
    }

    async fn send(&mut self, message: &Value) {
        let mut line = message.to_string();
        line.push('\n');
        self.input.write_all(line.as_bytes()).await.unwrap();
    }

    /// Sends a request without waiting for the answer.
    pub async fn begin(&mut self, method: &str, params: Value) -> i64 {
        self.next += 1;
        let id = self.next;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).await;
        id
    }

    async fn call(&mut self, method: &str, params: Value) -> Result<Value, String> {
        let id = self.begin(method, params).await;
        self.answer(id).await
    }

    /// Reads until the request is answered.
    pub async fn answer(&mut self, id: i64) -> Result<Value, String> {
        loop {
            let message = self.message().await;
            if message["id"] == id && message.get("method").is_none() {
                return match message.get("error") {
                    Some(error) => Err(error["message"].as_str().unwrap_or_default().to_owned()),
                    None => Ok(message["result"].clone()),
                };
            }
        }
    }

    /// Reads until an update is as wanted.
    pub async fn update(&mut self, wanted: impl Fn(&Value) -> bool) {
        loop {
            let message = self.message().await;
            if message["method"] == "session/update" && wanted(&message["params"]["update"]) {
                return;
            }
        }
    }

    async fn message(&mut self) -> Value {
        let line = timeout(PATIENCE, self.lines.next_line()).await.expect("the agent is silent").unwrap();
        let message: Value = serde_json::from_str(&line.expect("the agent has ended")).unwrap();
        match message["method"].as_str() {
            Some("session/update") => self.updates.push(message["params"]["update"].clone()),
            Some("session/request_permission") => {
                let options = message["params"]["options"].as_array().unwrap().clone();
                let option = options.iter().find(|option| option["kind"] == self.permission).unwrap();
                let outcome = json!({"outcome": {"outcome": "selected", "optionId": option["optionId"]}});
                self.questions.push(message["params"].clone());
                self.send(&json!({"jsonrpc": "2.0", "id": message["id"], "result": outcome})).await;
            }
            _ => {}
        }
        message
    }

    /// Begins a turn.
    pub async fn prompt(&mut self, text: &str) -> i64 {
        let params = json!({"sessionId": self.session, "prompt": [{"type": "text", "text": text}]});
        self.begin("session/prompt", params).await
    }

    /// A whole turn; its stop reason, or its error.
    pub async fn turn(&mut self, text: &str) -> Result<String, String> {
        self.updates.clear();
        let id = self.prompt(text).await;
        let answer = self.answer(id).await?;
        Ok(answer["stopReason"].as_str().unwrap_or_default().to_owned())
    }

    pub async fn cancel(&mut self) {
        let params = json!({"sessionId": self.session});
        self.send(&json!({"jsonrpc": "2.0", "method": "session/cancel", "params": params})).await;
    }

    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Everything that was said in the chat.
    pub fn said(&self) -> String {
        let mut said = String::new();
        let mut message = Value::Null;
        for update in self.updates.iter().filter(|update| update["sessionUpdate"] == "agent_message_chunk") {
            if !said.is_empty() && update["messageId"] != message {
                said.push('\n');
            }
            message = update["messageId"].clone();
            said.push_str(update["content"]["text"].as_str().unwrap_or_default());
        }
        said
    }

    /// Titles of all steps.
    pub fn steps(&self) -> Vec<String> {
        let calls = self.updates.iter().filter(|update| update["sessionUpdate"] == "tool_call");
        calls.map(|call| call["title"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

/// The file with the conversation of a session.
pub fn conversation(home: &Path, session: &str) -> String {
    std::fs::read_to_string(home.join(".a8s-agent").join(format!("{session}.jsonl"))).unwrap()
}
