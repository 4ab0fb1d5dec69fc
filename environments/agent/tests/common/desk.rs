//! A desktop without a display: it counts its screens, remembers what it was asked, and can be held.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use rmcp::{
    RoleServer, ServerHandler, ServiceExt,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, InitializeResult, JsonObject,
        ListToolsResult, PaginatedRequestParams, ServerCapabilities, Tool,
    },
    service::{Peer, RequestContext},
};
use serde_json::{Value, json};
use tokio::{net::UnixListener, sync::watch};

#[derive(Default)]
struct State {
    calls: Vec<(String, Value)>,
    withdrawn: u32,
    screen: u32,
    frozen: bool,
    extra: Vec<String>,
    peer: Option<Peer<RoleServer>>,
}

#[derive(Clone)]
pub struct FakeDesk {
    state: Arc<Mutex<State>>,
    held: watch::Sender<bool>,
    /// Grows with everything that happens.
    events: watch::Sender<u32>,
    refused: watch::Sender<u32>,
}

impl FakeDesk {
    pub fn listen(socket: &Path) -> Self {
        let desk = Self {
            state: Arc::default(),
            held: watch::Sender::new(false),
            events: watch::Sender::new(0),
            refused: watch::Sender::new(0),
        };
        let listener = UnixListener::bind(socket).unwrap();
        let server = desk.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = server.clone();
                tokio::spawn(async move {
                    if let Ok(running) = server.clone().serve(stream).await {
                        server.state.lock().unwrap().peer = Some(running.peer().clone());
                        let _ = running.waiting().await;
                    }
                });
            }
        });
        desk
    }

    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// Nothing that is done changes the screen any more.
    pub fn freeze(&self) {
        self.state.lock().unwrap().frozen = true;
    }

    /// Waits until the agent was refused so often.
    pub async fn refused(&self, times: u32) {
        self.refused.subscribe().wait_for(|count| *count >= times).await.unwrap();
    }

    /// Waits until a tool was called.
    pub async fn called(&self, name: &str) {
        let mut events = self.events.subscribe();
        events.wait_for(|_| self.calls().iter().any(|(called, _)| called == name)).await.unwrap();
    }

    /// Waits until a call was withdrawn.
    pub async fn withdrawn(&self) {
        let mut events = self.events.subscribe();
        events.wait_for(|_| self.state.lock().unwrap().withdrawn > 0).await.unwrap();
    }

    pub fn calls(&self) -> Vec<(String, Value)> {
        self.state.lock().unwrap().calls.clone()
    }

    /// Another tool from now on.
    pub async fn add_tool(&self, name: &str) {
        let peer = {
            let mut state = self.state.lock().unwrap();
            state.extra.push(name.to_owned());
            state.peer.clone()
        };
        peer.unwrap().notify_tool_list_changed().await.unwrap();
    }

    fn happened(&self) {
        self.events.send_modify(|count| *count += 1);
    }
}

fn tool(name: &str) -> Tool {
    let schema = json!({"type": "object", "properties": {"action": {"type": "string"}}});
    let schema: JsonObject = schema.as_object().unwrap().clone();
    Tool::new(name.to_owned(), format!("the tool {name}"), Arc::new(schema))
}

impl ServerHandler for FakeDesk {
    fn get_info(&self) -> InitializeResult {
        InitializeResult::new(ServerCapabilities::builder().enable_tools().enable_tool_list_changed().build())
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, rmcp::ErrorData> {
        let mut tools: Vec<_> =
            ["computer", "computer_batch", "desktop_info", "set_plan", "finish", "slow"].map(tool).into();
        tools.extend(self.state.lock().unwrap().extra.iter().map(|name| tool(name)));
        Ok(ListToolsResult::with_all_items(tools))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, rmcp::ErrorData> {
        if *self.held.borrow() {
            self.refused.send_modify(|count| *count += 1);
            let text = "control_held_by_user: ann has control";
            return Ok(CallToolResult::error(vec![ContentBlock::text(text)]).into());
        }
        let name = request.name.to_string();
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        self.state.lock().unwrap().calls.push((name.clone(), arguments.clone()));
        self.happened();
        if name == "slow" {
            context.ct.cancelled().await;
            self.state.lock().unwrap().withdrawn += 1;
            self.happened();
        }
        if name == "desktop_info" {
            return Ok(CallToolResult::success(vec![ContentBlock::text("{\"windows\":[]}")]).into());
        }
        if !name.starts_with("computer") {
            return Ok(CallToolResult::success(vec![ContentBlock::text(format!("{name} ok"))]).into());
        }
        if arguments["action"] == "fail" {
            return Ok(CallToolResult::error(vec![ContentBlock::text("bad_argument: no such action")]).into());
        }
        let mut state = self.state.lock().unwrap();
        if !state.frozen {
            state.screen += 1;
        }
        // Base64 of nothing in particular; each screen another.
        let picture = format!("{:08}", state.screen);
        let content = vec![ContentBlock::image(picture, "image/jpeg"), ContentBlock::text("{}")];
        Ok(CallToolResult::success(content).into())
    }
}
