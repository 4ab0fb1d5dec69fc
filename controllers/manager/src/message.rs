//! Messages: wakes the bridge of their Session, and says what became of those that no bridge will take. Everything else about a Message
//! is written by the bridge.

use std::sync::Arc;

use a8s_crds::{Message, Session};
use a8s_plan::message::{Observed, plan};
use futures::StreamExt;
use kube::{
    Api, ResourceExt,
    runtime::{
        Config, Controller,
        controller::Action,
        reflector::{ObjectRef, Store},
        watcher,
    },
};

use crate::{
    context::Context,
    errors::{Error, error_policy},
    execute::{carry_out, write_status_if_unchanged},
};

/// Reconciles Messages until the process ends.
pub async fn run(ctx: Arc<Context>) {
    let all = watcher::Config::default;
    let controller = Controller::new(Api::<Message>::all(ctx.client.clone()), all());
    let messages = controller.store();
    controller
        .watches(Api::<Session>::all(ctx.client.clone()), all(), move |session| {
            of_session(&messages, &session)
        })
        .with_config(Config::default().concurrency(16))
        .run(reconcile, error_policy, ctx)
        .for_each(|result| async move {
            if let Err(error) = result {
                tracing::debug!(%error, "message pass");
            }
        })
        .await;
}

/// People's Messages that a change of their Session may concern.
fn of_session(messages: &Store<Message>, session: &Session) -> Vec<ObjectRef<Message>> {
    let theirs = |m: &Arc<Message>| {
        m.spec.session == session.name_any() && m.namespace() == session.namespace() && !m.is_settled()
    };
    messages.state().into_iter().filter(theirs).map(|m| ObjectRef::from_obj(&*m)).collect()
}

async fn reconcile(cached: Arc<Message>, ctx: Arc<Context>) -> Result<Action, Error> {
    if cached.is_settled() {
        return Ok(Action::await_change());
    }
    let namespace = cached.namespace().unwrap_or_default();
    let sessions: Api<Session> = Api::namespaced(ctx.client.clone(), &namespace);
    let session = sessions.get_opt(&cached.spec.session).await?;
    // Its places and states are the bridge's; it reads the Message itself.
    ctx.live.wake(&namespace, &cached.spec.session);
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
