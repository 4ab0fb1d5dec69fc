//! How every kind is reconciled: references come in from the shared caches and from whoever else has news, an object has one pass at a
//! time, and a pass that failed comes again. `kube`'s `Controller` does the same with a watch and a cache of its own for each controller;
//! with ten of them every change would be sent, parsed and kept several times.

use std::sync::Arc;

use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use kube::{
    Resource, ResourceExt,
    runtime::{
        Config, applier,
        controller::{Action, ReconcileRequest},
        reflector::{ObjectRef, Store},
        watcher,
    },
};

use crate::{
    context::Context,
    errors::{Error, error_policy},
    stores::{Cache, Cached},
};

/// Objects that are to have a pass.
pub type Triggers<K> = BoxStream<'static, ObjectRef<K>>;

/// Passes for what `triggers` name, `at_once` of them at most, until the process ends.
pub async fn run<K, Pass, Outcome>(
    ctx: Arc<Context>,
    store: Store<K>,
    triggers: impl IntoIterator<Item = Triggers<K>>,
    at_once: u16,
    mut pass: Pass,
) where
    K: Cached,
    Pass: FnMut(Arc<K>) -> Outcome + Send,
    Outcome: Future<Output = Result<Action, Error>> + Send,
{
    let queue = stream::select_all(triggers);
    let queue = queue.map(|object| Ok::<_, watcher::Error>(ReconcileRequest::from(object)));
    let reconciler = |object, _| Box::pin(pass(object));
    applier(reconciler, error_policy, ctx, store, queue, Config::default().concurrency(at_once))
        .for_each(|result| {
            if let Err(error) = result {
                tracing::debug!(kind = %K::kind(&()), %error, "pass");
            }
            std::future::ready(())
        })
        .await;
}

/// The objects of a cache themselves, now and whenever one changes; `forget` is told what is gone.
pub fn own<K: Cached>(cache: &Cache<K>, mut forget: impl FnMut(&K) + Send + 'static) -> Triggers<K> {
    let changes = cache.changes().filter_map(move |change| {
        if change.gone {
            forget(&change.object);
        }
        std::future::ready((!change.gone).then(|| ObjectRef::from_obj(&*change.object)))
    });
    changes.boxed()
}

/// The objects that `related` finds for each change of another kind.
pub fn related<K, Other, Found>(
    cache: &Cache<Other>,
    mut related: impl FnMut(&Other) -> Found + Send + 'static,
) -> Triggers<K>
where
    K: Resource<DynamicType = ()> + 'static,
    Other: Cached,
    Found: IntoIterator<Item = ObjectRef<K>>,
    Found::IntoIter: Send + 'static,
{
    cache.touched().map(move |other| stream::iter(related(&other))).flatten().boxed()
}

/// The object of this kind that controls another.
pub fn controller_of<K: Resource<DynamicType = ()>>(object: &impl ResourceExt) -> Option<ObjectRef<K>> {
    let owners = object.owner_references().iter();
    let owner = owners.filter(|r| r.controller == Some(true)).find(|r| r.kind == K::kind(&()))?;
    Some(ObjectRef::new(&owner.name).within(&object.namespace()?))
}
