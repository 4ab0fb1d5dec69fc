//! A deskd that has no display but behaves as the desktop's programs would: a terminal runs what is typed, the browser has a print
//! dialog and a file chooser.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

use rmcp::{
    RoleServer, ServerHandler, ServiceExt,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, InitializeResult, JsonObject,
        ListToolsResult, PaginatedRequestParams, ServerCapabilities, Tool,
    },
    service::RequestContext,
};
use serde_json::Value;
use tokio::{net::UnixListener, sync::watch};

#[derive(Default)]
struct State {
    windows: Vec<String>,
    typed: String,
    dialog: Dialog,
    calls: Vec<String>,
}

#[derive(Default, PartialEq)]
enum Dialog {
    #[default]
    None,
    Preview,
    Chooser,
}

#[derive(Clone)]
pub struct FakeDesk {
    state: Arc<Mutex<State>>,
    home: PathBuf,
    held: watch::Sender<bool>,
    refusals: watch::Sender<u32>,
    dialog_works: watch::Sender<bool>,
}

impl FakeDesk {
    pub fn listen(socket: &Path, home: &Path) -> Self {
        let desk = Self {
            state: Arc::default(),
            home: home.to_owned(),
            held: watch::Sender::new(false),
            refusals: watch::Sender::new(0),
            dialog_works: watch::Sender::new(true),
        };
        let listener = UnixListener::bind(socket).unwrap();
        let server = desk.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = server.clone();
                tokio::spawn(async move {
                    if let Ok(running) = server.serve(stream).await {
                        let _ = running.waiting().await;
                    }
                });
            }
        });
        desk
    }

    /// A person takes or gives back the desktop.
    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// Waits until the agent was refused `times` times.
    pub async fn refused(&self, times: u32) {
        self.refusals.subscribe().wait_for(|count| *count >= times).await.unwrap();
    }

    /// Makes the browser's print dialog useless.
    pub fn break_dialog(&self) {
        self.dialog_works.send_replace(false);
    }

    /// What was asked of the desktop, one line a call.
    pub fn calls(&self) -> Vec<String> {
        self.state.lock().unwrap().calls.clone()
    }

    fn act(&self, name: &str, arguments: &Value) -> Result<String, String> {
        if *self.held.borrow() {
            self.refusals.send_modify(|count| *count += 1);
            return Err("control_held_by_user since 2026-11-22T12:00:00Z".to_owned());
        }
        let mut state = self.state.lock().unwrap();
        state.calls.push(format!("{name} {arguments}"));
        let text = |field: &str| arguments[field].as_str().unwrap_or_default().to_owned();
        match name {
            "launch" => {
                let first = arguments["args"][0].as_str().unwrap_or_default().to_owned();
                let title = match text("program").as_str() {
                    "terminal" => arguments["args"][1].as_str().unwrap_or_default().to_owned(),
                    "browser" => page_title(arguments["args"][1].as_str().unwrap_or_default()),
                    "files" | "editor" => first,
                    other => return Err(format!("{other} is no program of this desktop")),
                };
                state.windows.push(title);
                state.typed.clear();
                Ok("ok".to_owned())
            }
            "wait_for_window" => {
                let wanted = text("title_contains");
                let there = state.windows.iter().any(|title| title.contains(&wanted));
                if there { Ok("ok".to_owned()) } else { Err(format!("no window with {wanted:?} came up")) }
            }
            "computer" => {
                match text("action").as_str() {
                    "type" => state.typed.push_str(&text("text")),
                    "key" => self.key(&mut state, &text("text")),
                    _ => {}
                }
                Ok("ok".to_owned())
            }
            _ => Ok("ok".to_owned()),
        }
    }

    fn key(&self, state: &mut State, keys: &str) {
        match keys {
            "ctrl+p" if *self.dialog_works.borrow() => state.dialog = Dialog::Preview,
            "ctrl+a" => state.typed.clear(),
            "Escape" => state.dialog = Dialog::None,
            "Return" => match state.dialog {
                Dialog::Preview => {
                    state.dialog = Dialog::Chooser;
                    state.windows.push("Save File".to_owned());
                }
                Dialog::Chooser => {
                    let path = std::mem::take(&mut state.typed);
                    let page = self.home.join("Reports/seattle-weather/report.html");
                    let body = std::fs::read_to_string(page).unwrap_or_default();
                    std::fs::write(path, format!("%PDF-1.4\n<</Type /Page>>\n{body}\n%%EOF\n")).unwrap();
                    state.dialog = Dialog::None;
                    state.windows.retain(|title| title != "Save File");
                }
                Dialog::None => self.run(&std::mem::take(&mut state.typed)),
            },
            _ => {}
        }
    }

    /// What a terminal does with a line.
    fn run(&self, line: &str) {
        let print = "chromium() { for a in \"$@\"; do case $a in --print-to-pdf=*) \
                     printf '%%PDF-1.4\\n<</Type /Page>>\\n%%%%EOF\\n' > \"${a#--print-to-pdf=}\";; esac; done; }; ";
        let script = format!("{print}{line}");
        let status = Command::new("sh").args(["-c", &script]).env("HOME", &self.home).status().unwrap();
        assert!(status.success(), "{line}");
    }
}

fn page_title(url: &str) -> String {
    let page = url.strip_prefix("file://").map(std::fs::read_to_string);
    let page = page.and_then(Result::ok).unwrap_or_default();
    let title = page.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
    title.map_or_else(|| url.to_owned(), |(title, _)| title.to_owned())
}

impl ServerHandler for FakeDesk {
    fn get_info(&self) -> InitializeResult {
        InitializeResult::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, rmcp::ErrorData> {
        let tool = |name: &'static str| Tool::new(name, "a tool of the desktop", Arc::new(JsonObject::new()));
        let names = ["computer", "launch", "desktop_info", "wait_for_window", "wait_settled"];
        Ok(ListToolsResult::with_all_items(names.into_iter().map(tool).collect()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, rmcp::ErrorData> {
        let arguments = Value::Object(request.arguments.clone().unwrap_or_default());
        let (desk, name) = (self.clone(), request.name.to_string());
        let done = tokio::task::spawn_blocking(move || desk.act(&name, &arguments)).await.unwrap();
        Ok(match done {
            Ok(text) => CallToolResult::success(vec![ContentBlock::text(text)]).into(),
            Err(text) => CallToolResult::error(vec![ContentBlock::text(text)]).into(),
        })
    }
}
