//! Connections: looks whether what they refer to is there, again and again, because nobody of us may list or watch Secrets. A Secret's
//! content is read only when its version is another one, and is forgotten at once: what is kept is the version.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use a8s_crds::{ConfigMapKey, Connection, SecretKey};
use a8s_plan::connection::{Observed, Reference, plan, references};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, ResourceExt};

use crate::{
    context::Context,
    errors::Error,
    execute,
    queue::{self, Action},
    reading,
    stores::within,
};

/// What a Connection's key was when it was looked at last.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    secret: SecretKey,
    /// Resource version of the Secret; none if there is no Secret.
    version: Option<String>,
    /// Whether the key is in it.
    there: bool,
}

struct Passes {
    ctx: Arc<Context>,
    /// By UID of the Connection.
    known: Mutex<HashMap<String, Known>>,
}

/// Reconciles Connections until the process ends.
pub async fn run(ctx: Arc<Context>) {
    ctx.stores.ready().await;
    let passes = Arc::new(Passes { ctx: ctx.clone(), known: Mutex::default() });
    let forgetting = passes.clone();
    let own = queue::own(&ctx.stores.connections, move |connection| {
        let uid = connection.uid().unwrap_or_default();
        forgetting.known().remove(&uid);
        forgetting.ctx.written.forget(&uid);
    });
    let store = ctx.stores.connections.clone();
    queue::run(ctx, store, [own], 4, move |connection| pass(connection, passes.clone())).await;
}

impl Passes {
    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn pass(connection: Arc<Connection>, passes: Arc<Passes>) -> Result<Action, Error> {
    let ctx = &passes.ctx;
    let cache = &ctx.stores.connections;
    let behind = |uid: &str| ctx.written.behind(uid, "Connection", cache.seen());
    let connection = match reading::current(cache, &*connection, behind) {
        Ok(connection) => connection,
        Err(action) => return Ok(action),
    };
    let uid = connection.uid().unwrap_or_default();
    let namespace = connection.namespace().unwrap_or_default();
    let before = passes.known().get(&uid).cloned();
    let (mut missing, mut now) = (Vec::new(), None);
    for reference in references(&connection.spec) {
        match reference {
            Reference::Secret(key) => {
                let known = look(ctx, &namespace, key, before.as_ref()).await?;
                missing.extend((!known.there).then(|| secret_missing(&known)));
                now = Some(known);
            }
            Reference::ConfigMap(key) => missing.extend(map_missing(ctx, &namespace, key).await?),
        }
    }
    let rotated = matches!((&before, &now), (Some(before), Some(now))
        if before.secret == now.secret && before.there && now.there && before.version != now.version);
    let sessions = ctx.stores.holders_of.count(&within(Some(&namespace), &connection.name_any()));
    let sessions = i64::try_from(sessions).unwrap_or(i64::MAX);
    let observed = Observed { connection: Connection::clone(&connection), missing, rotated, sessions };
    let action = execute::carry_out(ctx, &*connection, plan(&observed, &ctx.env())).await?;
    // Only now: a pass that failed has told nobody that the key is another one.
    match now {
        Some(now) => drop(passes.known().insert(uid, now)),
        None => drop(passes.known().remove(&uid)),
    }
    Ok(action)
}

async fn look(
    ctx: &Context,
    namespace: &str,
    key: &SecretKey,
    before: Option<&Known>,
) -> Result<Known, Error> {
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), namespace);
    let gone = || Known { secret: key.clone(), version: None, there: false };
    let Some(meta) = api.get_metadata_opt(&key.name).await? else { return Ok(gone()) };
    if let Some(before) = before.filter(|b| b.secret == *key && b.version == meta.resource_version()) {
        return Ok(before.clone());
    }
    let Some(secret) = api.get_opt(&key.name).await? else { return Ok(gone()) };
    let content = secret.data.as_ref().and_then(|data| data.get(&key.key));
    let there =
        content.is_some_and(|content| !content.0.is_empty() && std::str::from_utf8(&content.0).is_ok());
    Ok(Known { secret: key.clone(), version: secret.resource_version(), there })
}

fn secret_missing(known: &Known) -> String {
    let SecretKey { name, key } = &known.secret;
    match known.version {
        None => format!("Secret {name} does not exist; create it with a key {key}"),
        Some(_) => format!("Secret {name} has no text under the key {key}; add it"),
    }
}

async fn map_missing(ctx: &Context, namespace: &str, of: &ConfigMapKey) -> Result<Option<String>, Error> {
    let api: Api<ConfigMap> = Api::namespaced(ctx.client.clone(), namespace);
    let there = api.get_opt(&of.name).await?.is_some_and(|map| {
        map.data.is_some_and(|data| data.contains_key(&of.key))
            || map.binary_data.is_some_and(|data| data.contains_key(&of.key))
    });
    Ok((!there).then(|| format!("ConfigMap {} with key {} does not exist; create it", of.name, of.key)))
}
