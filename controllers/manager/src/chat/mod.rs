//! The chat stage's hands: reads what was said, does what the plan says, and has a model asked where one is named. A model is asked in a
//! task of its own; what it answered is kept until it has become objects, and asked again if the process ends before.

mod access;
mod materials;
mod model;
mod thoughts;

use a8s_crds::{Message, MessageStatus, Request, RequestStatus, Session};
use a8s_plan::{
    chat::{self, Heard, Stage, Step},
    session::Observed,
};
use kube::{
    Api, Resource, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
    core::NamespaceResourceScope,
};
use serde_json::json;
use std::{collections::HashMap, fmt::Debug, sync::Arc};

pub use thoughts::{Thoughts, advice};

use crate::{context::Context, errors::Error, execute, request::own_fields};

/// One pass of the talk. Nothing is returned if something changed since it was read: then it has to be looked at again.
pub async fn pass(ctx: &Arc<Context>, seen: &Observed) -> Result<Option<Stage>, Error> {
    let session = &seen.session;
    let (namespace, uid) = (session.namespace().unwrap_or_default(), session.uid().unwrap_or_default());
    let theirs = ListParams::default().fields(&format!("spec.session={}", session.name_any()));
    let messages = Api::<Message>::namespaced(ctx.client.clone(), &namespace).list(&theirs).await?.items;
    let requests = Api::<Request>::namespaced(ctx.client.clone(), &namespace).list(&theirs).await?.items;
    let requests = requests.into_iter().map(Arc::new).collect();
    let heard = Heard { messages, requests, thought: ctx.thoughts.get(&uid) };
    let stage = chat::plan(seen, &heard, &ctx.env());
    if !carry_out(ctx, session, &stage.steps).await? {
        return Ok(None);
    }
    match &stage.think {
        Some(question) => thoughts::ensure(ctx, seen, &heard, question),
        None => ctx.thoughts.forget(&uid),
    }
    Ok(Some(stage))
}

/// Steps in order; false if one met an object that is not as it was seen.
pub async fn carry_out(ctx: &Context, session: &Session, steps: &[Step]) -> Result<bool, Error> {
    // Adopting a Message changes it, and that was our own doing.
    let mut adopted: HashMap<String, Message> = HashMap::new();
    for step in steps {
        let done = match step {
            Step::Adopt(message) => match adopt(ctx, session, message).await? {
                Some(found) => {
                    adopted.insert(message.name_any(), found);
                    true
                }
                None => false,
            },
            Step::Mark(message, status) => {
                mark(ctx, adopted.get(&message.name_any()).unwrap_or(message), status).await?
            }
            Step::Say(message, status) => {
                let made = create(ctx, session, message).await?;
                mark(ctx, &made, status).await?
            }
            Step::Ask(request, status) => {
                let made = create(ctx, session, request).await?;
                close(ctx, &made, status).await?
            }
            Step::Close(request, status) => close(ctx, request, status).await?,
        };
        if !done {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn mark(ctx: &Context, message: &Message, status: &MessageStatus) -> Result<bool, Error> {
    execute::write_status_if_unchanged(ctx, message, &serde_json::to_value(status)?).await
}

async fn close(ctx: &Context, request: &Request, status: &RequestStatus) -> Result<bool, Error> {
    execute::write_status_if_unchanged(ctx, request, &own_fields(status)?).await
}

/// Nothing if it was deleted, or is another one.
async fn adopt(ctx: &Context, session: &Session, message: &Message) -> Result<Option<Message>, Error> {
    let owner = chat::objects::owner(session, false);
    let intent = json!({
        "apiVersion": "a8s.dev/v1alpha1", "kind": "Message",
        "metadata": {"name": message.name_any(), "uid": message.uid(), "ownerReferences": [owner]},
    });
    let params = PatchParams::apply("a8s/session").force();
    let api: Api<Message> = Api::namespaced(ctx.client.clone(), &message.namespace().unwrap_or_default());
    match api.patch(&message.name_any(), &params, &Patch::Apply(&intent)).await {
        Err(kube::Error::Api(s)) if matches!(s.code, 404 | 409) => Ok(None),
        other => Ok(Some(other?)),
    }
}

/// Creates it; that it is there is success if it is the Session's.
async fn create<K>(ctx: &Context, session: &Session, object: &K) -> Result<K, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + serde::Serialize
        + serde::de::DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(ctx.client.clone(), &session.namespace().unwrap_or_default());
    let params = PostParams { field_manager: Some("a8s".into()), ..PostParams::default() };
    let name = object.meta().name.clone().unwrap_or_default();
    match api.create(&params, object).await {
        Err(kube::Error::Api(s)) if s.code == 409 && s.reason == "AlreadyExists" => {
            let found = api.get(&name).await?;
            let uid = session.uid().unwrap_or_default();
            let owners = found.meta().owner_references.as_deref().unwrap_or_default();
            if owners.iter().any(|r| r.controller == Some(true) && r.uid == uid) {
                return Ok(found);
            }
            Err(Error::Other(format!("{} {name} exists and belongs to somebody else", K::kind(&()))))
        }
        other => Ok(other?),
    }
}
