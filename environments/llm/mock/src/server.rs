//! The server: keys, faults, and which step of the scenario is next.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    asked::{self, Asked, Wire},
    refuse,
    scenario::{self, FaultKind, Piece, Step},
    send::{self, Fate},
    wire,
};

/// Requests that are remembered.
const REMEMBERED: usize = 500;

/// A request that came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its path.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Value,
}

#[derive(Default)]
struct Inner {
    key: Option<String>,
    seen: Mutex<Vec<Seen>>,
    /// How often a fault of a scenario has happened, and how many answers a scenario has had.
    counts: Mutex<HashMap<String, u32>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running mock; it ends when it is dropped.
pub struct Mock {
    address: SocketAddr,
    inner: Arc<Inner>,
    task: JoinHandle<()>,
}

impl Mock {
    /// Starts one. Port 0 is any free port; without a key any is accepted.
    pub async fn start(address: SocketAddr, key: Option<String>) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let inner = Arc::new(Inner { key, ..Inner::default() });
        let routes = routes(inner.clone());
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, routes).await {
                eprintln!("the mock has ended: {error}");
            }
        });
        Ok(Self { address, inner, task })
    }

    /// Its address: Anthropic's base URL. Those of the others end in `/v1`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request that came, oldest first.
    pub fn requests(&self) -> Vec<Seen> {
        lock(&self.inner.seen).clone()
    }

    /// Waits for ever.
    pub async fn wait(mut self) {
        let _ = (&mut self.task).await;
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The mock as routes of another server.
pub fn router(key: Option<String>) -> Router {
    routes(Arc::new(Inner { key, ..Inner::default() }))
}

fn routes(inner: Arc<Inner>) -> Router {
    let mut routes = Router::new();
    for base in ["", "/v1", "/v1beta/openai"] {
        let answer = |wire: Wire, path: String| {
            post(move |State(inner): State<Arc<Inner>>, headers: HeaderMap, body: Bytes| async move {
                answer(&inner, wire, path, headers, &body)
            })
        };
        for (wire, path) in
            [(Wire::Anthropic, "messages"), (Wire::OpenAi, "responses"), (Wire::Chat, "chat/completions")]
        {
            let path = format!("{base}/{path}");
            routes = routes.route(&path, answer(wire, path.clone()));
        }
        let models = || async {
            let model = json!({"id": "mock", "object": "model", "created": 0, "owned_by": "a8s"});
            Json(json!({"object": "list", "data": [model]}))
        };
        let count = |body: Bytes| async move { Json(json!({"input_tokens": body.len() / 4})) };
        routes = routes.route(&format!("{base}/models"), get(models));
        routes = routes.route(&format!("{base}/messages/count_tokens"), post(count));
    }
    for base in ["", "/v1beta"] {
        let gemini = |State(inner): State<Arc<Inner>>,
                      Path(model): Path<String>,
                      headers: HeaderMap,
                      body: Bytes| async move { gemini(&inner, &model, headers, &body) };
        routes = routes.route(&format!("{base}/models/{{model}}"), post(gemini));
    }
    routes.layer(DefaultBodyLimit::max(256 << 20)).with_state(inner)
}

/// Google puts model and method into the path: `gemini-pro:streamGenerateContent`.
fn gemini(inner: &Inner, path: &str, headers: HeaderMap, body: &Bytes) -> Response {
    let (model, method) = path.split_once(':').unwrap_or((path, ""));
    if method == "countTokens" {
        return Json(json!({"totalTokens": body.len() / 4})).into_response();
    }
    let mut value: Value = serde_json::from_slice(body).unwrap_or_default();
    value["model"] = json!(model);
    value["stream"] = json!(method == "streamGenerateContent");
    answer_value(inner, Wire::Gemini, path.to_owned(), headers, value, body.len())
}

fn answer(inner: &Inner, wire: Wire, path: String, headers: HeaderMap, body: &Bytes) -> Response {
    match serde_json::from_slice::<Value>(body) {
        Ok(value) => answer_value(inner, wire, path, headers, value, body.len()),
        Err(_) => {
            send::refusal(400, refuse::body(wire, "invalid_request_error", "the body is no JSON"), None)
        }
    }
}

fn answer_value(
    inner: &Inner,
    wire: Wire,
    path: String,
    headers: HeaderMap,
    value: Value,
    bytes: usize,
) -> Response {
    let asked = asked::read(wire, &value, bytes);
    let allowed = inner.key.as_deref().is_none_or(|key| given(&headers) == Some(key));
    {
        let mut seen = lock(&inner.seen);
        if seen.len() < REMEMBERED {
            seen.push(Seen { path, headers, body: value });
        }
    }
    if !allowed {
        let (kind, message) = match wire {
            Wire::Anthropic => ("authentication_error", "invalid x-api-key"),
            _ => ("invalid_api_key", "Incorrect API key provided: sk-mock***."),
        };
        return send::refusal(401, refuse::body(wire, kind, message), None);
    }
    if let Some((status, body)) = refuse::of(wire, &asked) {
        return send::refusal(status, body, None);
    }
    let step = step(inner, &asked);
    let fate = match faults(inner, &asked, &step) {
        Ok(fate) => fate,
        Err((status, retry_after)) => {
            let (kind, message) = match status {
                429 => ("rate_limit_error", "Rate limit reached"),
                529 => ("overloaded_error", "Overloaded"),
                _ => ("api_error", "Internal server error"),
            };
            return send::refusal(status, refuse::body(wire, kind, message), retry_after.as_deref());
        }
    };
    if fate != Fate::Cut && fate != Fate::Hang {
        *lock(&inner.counts).entry(format!("answers {}", asked.text)).or_default() += 1;
    }
    if asked.stream {
        send::events(&wire::events(wire, &asked, &step), fate, step.slow)
    } else {
        Json(wire::whole(wire, &asked, &step)).into_response()
    }
}

fn given(headers: &HeaderMap) -> Option<&str> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    text("x-api-key")
        .or_else(|| text("x-goog-api-key"))
        .or_else(|| text("authorization").and_then(|value| value.strip_prefix("Bearer ")))
}

fn step(inner: &Inner, asked: &Asked) -> Step {
    if !asked.is_scenario {
        let said = match &asked.forced {
            // A form is asked for: an empty one is all that can be said.
            Some(name) => {
                let call = scenario::Call { name: name.clone(), arguments: "{}".into() };
                return Step { calls: vec![call], ..Step::default() };
            }
            None => format!("You said: {}", asked.text.chars().take(2000).collect::<String>()),
        };
        return Step { pieces: vec![Piece::Say(said)], ..Step::default() };
    }
    let steps = scenario::steps(&asked.text);
    let counted = scenario::lines(&asked.text).iter().any(|(command, _)| *command == "/counted");
    let mut step = if counted {
        let given = lock(&inner.counts).get(&format!("answers {}", asked.text)).copied().unwrap_or_default();
        let at = usize::try_from(given).unwrap_or_default().min(steps.len() - 1);
        steps[at].clone()
    } else {
        scenario::after_results(&steps, asked.results).clone()
    };
    // Whoever gives no tools wants text, whatever the scenario says: a title or a summary.
    if asked.tools.is_empty() && asked.spaced.is_empty() && asked.hosted.is_none() {
        step.calls.clear();
    }
    for piece in &mut step.pieces {
        if *piece == Piece::Echo {
            *piece = Piece::Say(asked.last_results.join("\n"));
        }
    }
    step
}

/// What happens to this answer; `Err` is a refusal.
fn faults(inner: &Inner, asked: &Asked, step: &Step) -> Result<Fate, (u16, Option<String>)> {
    for (number, fault) in step.faults.iter().enumerate() {
        let mut counts = lock(&inner.counts);
        let count = counts.entry(format!("fault {number} {} {}", asked.results, asked.text)).or_default();
        if *count >= fault.times {
            continue;
        }
        *count += 1;
        return match &fault.kind {
            FaultKind::Status { status, retry_after } => Err((*status, retry_after.clone())),
            FaultKind::Cut => Ok(Fate::Cut),
            FaultKind::Malformed => Ok(Fate::Malformed),
            FaultKind::Overloaded => Ok(Fate::Overloaded),
            FaultKind::Hang => Ok(Fate::Hang),
        };
    }
    Ok(Fate::Arrives)
}
