//! Messages: wakes the bridge of their Session, and says what became of those that no bridge will take. Everything else about a Message
//! is written by the bridge.

use std::{collections::HashMap, sync::Arc, time::Duration};

use a8s_crds::{Message, Session};
use a8s_plan::{
    Op, Target,
    message::{
        Observed, plan,
        retention::{Keep, surplus},
    },
};
use kube::{Api, ResourceExt, runtime::reflector::ObjectRef};

use crate::{
    context::Context,
    errors::Error,
    execute::{carry_out, step, write_status_if_unchanged},
    queue::{self, Action},
    stores::{Stores, within},
};

/// How often Messages that nobody needs are looked for.
const SWEEP: Duration = Duration::from_mins(1);
/// So many of one Session go at a time.
const AT_ONCE: usize = 50;

/// Reconciles Messages until the process ends.
pub async fn run(ctx: Arc<Context>) {
    ctx.stores.ready().await;
    let stores = ctx.stores.clone();
    let triggers = [
        queue::own(&ctx.stores.messages, |_| {}),
        queue::related(&ctx.stores.sessions, move |session| of_session(&stores, session)),
    ];
    let (passes, store) = (ctx.clone(), ctx.stores.messages.clone());
    tokio::select! {
        () = queue::run(ctx.clone(), store, triggers, 16, move |message| reconcile(message, passes.clone())) => {}
        () = sweep(ctx) => {}
    }
}

/// Deletes Messages that nobody looks at any more, now and then.
async fn sweep(ctx: Arc<Context>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let mut by_session: HashMap<ObjectRef<Session>, Vec<Arc<Message>>> = HashMap::new();
        for message in ctx.stores.messages.all() {
            let session =
                ObjectRef::new(&message.spec.session).within(&message.namespace().unwrap_or_default());
            by_session.entry(session).or_default().push(message);
        }
        let sessions = ctx.stores.sessions.clone();
        for (session, theirs) in by_session {
            let Some(session) = sessions.find(&session) else { continue };
            let (keep, now) = (Keep::default(), ctx.env().now);
            for message in
                surplus(&session, theirs.iter().map(AsRef::as_ref), keep, now).into_iter().take(AT_ONCE)
            {
                let target = Target {
                    api_version: "a8s.dev/v1alpha1".into(),
                    kind: "Message".into(),
                    namespace: message.namespace().unwrap_or_default(),
                    name: message.name_any(),
                    uid: message.uid().unwrap_or_default(),
                };
                // What was seen settled is settled for good; what has changed since is looked at again.
                let version = message.resource_version().unwrap_or_default();
                if let Err(error) = step(&ctx, &Op::DeleteUnchanged { target, version }).await {
                    tracing::debug!(%error, "a Message stays a little longer");
                }
            }
        }
    }
}

/// People's Messages that a change of their Session may concern.
fn of_session(stores: &Stores, session: &Session) -> Vec<ObjectRef<Message>> {
    let key = within(session.metadata.namespace.as_deref(), &session.name_any());
    let theirs = stores.messages_of.get(&key).into_iter().filter(|m| !m.is_settled());
    theirs.map(|m| ObjectRef::from_obj(&*m)).collect()
}

async fn reconcile(cached: Arc<Message>, ctx: Arc<Context>) -> Result<Action, Error> {
    if cached.is_settled() {
        return Ok(Action::await_change());
    }
    let namespace = cached.namespace().unwrap_or_default();
    // Its places and states are the bridge's; it reads the Message itself, and somebody waits for the answer.
    ctx.live.wake(&namespace, &cached.spec.session);
    let sessions: Api<Session> = Api::namespaced(ctx.client.clone(), &namespace);
    let session = sessions.get_opt(&cached.spec.session).await?;
    // Freshly read: the bridge may have written since.
    let messages: Api<Message> = Api::namespaced(ctx.client.clone(), &namespace);
    let Some(message) = messages.get_opt(&cached.name_any()).await? else {
        return Ok(Action::await_change());
    };
    let seen = Observed { message, session };
    let mut planned = plan(&seen, &ctx.env());
    if let Some(status) = planned.status.take()
        && !write_status_if_unchanged(&ctx, &seen.message, &serde_json::to_value(status)?).await?
    {
        // The bridge wrote since, and that is the truth; its change asks for the next pass.
        return Ok(Action::await_change());
    }
    carry_out(&ctx, &seen.message, planned).await
}
