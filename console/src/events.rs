//! The live view of a Session: one event stream of its objects, watched in the person's name, and of what the runner says.

use std::{collections::HashMap, convert::Infallible, pin::pin, sync::Arc, time::Duration};

use axum::{
    extract::{Path, Query, State},
    http::HeaderMap,
    response::sse::{Event, KeepAlive, Sse},
};
use futures::{Stream, StreamExt};
use kube::{
    Client,
    api::DynamicObject,
    runtime::{WatchStreamExt, watcher},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use crate::{
    errors::Refusal,
    login::User,
    objects::{Kind, named},
    relay::{self, Place},
    server::Console,
    sessions::{is_artifact_of, is_snapshot_of, workspace_name},
};

/// Silence longer than this is broken by a comment, so that proxies on the way keep the connection.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Events that wait for a slow browser; then the watches wait too.
const BUFFER: usize = 256;

/// Where events go; an error means that the browser is gone.
pub type Out = mpsc::Sender<Event>;

/// Query of the stream.
#[derive(Deserialize)]
pub struct Parameters {
    after: Option<String>,
}

/// `GET /api/namespaces/{ns}/sessions/{s}/events`.
pub async fn stream(
    State(console): State<Arc<Console>>,
    user: User,
    Path((namespace, name)): Path<(String, String)>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Refusal> {
    named(&[&namespace, &name])?;
    // What the person may not see is refused with a status code, before a stream begins.
    Kind::Session.api(&user.client, &namespace).get(&name).await?;
    let resumed = headers.get("last-event-id").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let after = resumed.or(parameters.after).and_then(|text| text.parse().ok()).unwrap_or_default();
    let (out, events) = mpsc::channel(BUFFER);
    let left = u64::try_from(user.expires - jiff::Timestamp::now().as_second()).unwrap_or_default();
    let view = View { client: user.client, namespace, session: name, out };
    let tasks = view.start(&console, user.name, after);
    let events = futures::stream::unfold((events, tasks), |(mut events, tasks)| async move {
        // The tasks end with the stream that holds them.
        Some((Ok(events.recv().await?), (events, tasks)))
    });
    let end = futures::future::select(
        Box::pin(console.stop.clone().cancelled_owned()),
        Box::pin(tokio::time::sleep(Duration::from_secs(left))),
    );
    Ok(Sse::new(events.take_until(end)).keep_alive(KeepAlive::new().interval(HEARTBEAT).text("heartbeat")))
}

#[derive(Clone)]
struct View {
    client: Client,
    namespace: String,
    session: String,
    out: Out,
}

impl View {
    fn start(self, console: &Arc<Console>, user: String, after: a8s_wire::EventId) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        // The Session says which Workspace; the Workspace says where the runner is.
        let (desk_sender, desk) = watch::channel(None);
        let (place_sender, place) = watch::channel(None);
        let by_session = format!("spec.session={}", self.session);
        let view = self.clone();
        tasks.spawn(async move {
            let select = format!("metadata.name={}", view.session);
            let note = |session: Option<&DynamicObject>| {
                desk_sender.send_if_modified(|desk| replaced(desk, session.map(workspace_name)));
            };
            view.follow(Kind::Session, &select, |_| true, note).await;
        });
        let view = self.clone();
        let select = by_session.clone();
        tasks.spawn(async move { view.follow(Kind::Message, &select, |_| true, |_| {}).await });
        let view = self.clone();
        tasks.spawn(async move { view.follow(Kind::Request, &by_session, |_| true, |_| {}).await });
        let view = self.clone();
        tasks.spawn(async move {
            view.follow(Kind::Artifact, "", |found| is_artifact_of(found, &view.session), |_| {}).await;
        });
        let (view, mut of) = (self.clone(), desk.clone());
        tasks.spawn(async move {
            let Some(name) = known(&mut of).await else { return };
            let keep = |found: &DynamicObject| {
                let desk = of.borrow().clone();
                is_snapshot_of(found, &view.session, desk.as_deref().unwrap_or(&name))
            };
            view.follow(Kind::Snapshot, "", keep, |_| {}).await;
        });
        let (view, of) = (self.clone(), desk);
        tasks.spawn(async move { view.workspaces(of, place_sender).await });
        let relay = relay::Relay {
            console: console.clone(),
            client: self.client,
            namespace: self.namespace,
            user,
            out: self.out,
        };
        tasks.spawn(relay.run(place, after));
        tasks
    }

    /// Watches the Workspace, and another one when the Session gets another.
    async fn workspaces(
        &self,
        mut desk: watch::Receiver<Option<String>>,
        place: watch::Sender<Option<Place>>,
    ) {
        while let Some(name) = known(&mut desk).await {
            let select = format!("metadata.name={name}");
            let note = |workspace: Option<&DynamicObject>| {
                place.send_if_modified(|place| replaced(place, workspace.and_then(Place::of)));
            };
            let other = desk.wait_for(|now| now.as_ref() != Some(&name));
            tokio::select! {
                () = self.follow(Kind::Workspace, &select, |_| true, note) => {}
                changed = other => if changed.is_err() { return },
            }
        }
    }

    /// Sends what becomes of the objects that `fields` and `keep` select. `note` sees each object, or nothing once it is deleted. Returns
    /// when the person may not watch, or is gone.
    async fn follow(
        &self,
        kind: Kind,
        fields: &str,
        keep: impl Fn(&DynamicObject) -> bool,
        note: impl Fn(Option<&DynamicObject>),
    ) {
        let config = watcher::Config::default();
        let config = if fields.is_empty() { config } else { config.fields(fields) };
        let mut changes = pin!(watcher(kind.api(&self.client, &self.namespace), config).default_backoff());
        let mut shown: HashMap<String, DynamicObject> = HashMap::new();
        // While a list is read again: what has not been seen in it yet was deleted meanwhile.
        let mut missing: HashMap<String, DynamicObject> = HashMap::new();
        while let Some(change) = changes.next().await {
            let sent = match change {
                Ok(watcher::Event::Init) => {
                    missing.clone_from(&shown);
                    Ok(())
                }
                Ok(watcher::Event::InitApply(object) | watcher::Event::Apply(object)) => {
                    let id = object.metadata.uid.clone().unwrap_or_default();
                    missing.remove(&id);
                    if !keep(&object) {
                        continue;
                    }
                    note(Some(&object));
                    shown.insert(id, stub(&object));
                    self.send(kind, "Applied", object).await
                }
                Ok(watcher::Event::InitDone) => {
                    let mut sent = Ok(());
                    for (id, object) in missing.drain() {
                        shown.remove(&id);
                        note(None);
                        sent = self.send(kind, "Deleted", object).await;
                    }
                    sent
                }
                Ok(watcher::Event::Delete(object)) => {
                    if shown.remove(object.metadata.uid.as_deref().unwrap_or_default()).is_none() {
                        continue;
                    }
                    note(None);
                    self.send(kind, "Deleted", object).await
                }
                Err(error) => match refused(error) {
                    Some(refusal) => {
                        let _ = self.out.send(denied(kind.name(), &refusal)).await;
                        return;
                    }
                    None => Ok(()),
                },
            };
            if sent.is_err() {
                return;
            }
        }
    }

    async fn send(
        &self,
        kind: Kind,
        change: &str,
        object: DynamicObject,
    ) -> Result<(), mpsc::error::SendError<Event>> {
        let data = json!({"type": change, "kind": kind.name(), "object": kind.show(object)});
        self.out.send(event("object", &data)).await
    }
}

/// An event with JSON data.
pub fn event(name: &str, data: &Value) -> Event {
    Event::default().event(name).data(data.to_string())
}

/// Says that a part of the stream will not come.
pub fn denied(kind: &str, refusal: &Refusal) -> Event {
    event("denied", &json!({"kind": kind, "error": refusal.error, "reason": refusal.reason}))
}

/// The API server's final no; anything else is tried again.
fn refused(error: watcher::Error) -> Option<Refusal> {
    let refusal = match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => Refusal::from(error),
        watcher::Error::WatchError(status) => Refusal::from(kube::Error::Api(status)),
        watcher::Error::NoResourceVersion => return None,
    };
    matches!(refusal.status.as_u16(), 401 | 403).then_some(refusal)
}

/// Enough of an object to say later that it is gone.
fn stub(object: &DynamicObject) -> DynamicObject {
    let mut stub = DynamicObject { types: None, metadata: object.metadata.clone(), data: Value::Null };
    stub.metadata.annotations = None;
    stub.metadata.managed_fields = None;
    stub.data = json!({});
    stub
}

fn replaced<T: PartialEq>(old: &mut T, new: T) -> bool {
    let changed = *old != new;
    *old = new;
    changed
}

async fn known(desk: &mut watch::Receiver<Option<String>>) -> Option<String> {
    desk.wait_for(Option::is_some).await.ok()?.clone()
}
