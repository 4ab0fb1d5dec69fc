//! How every kind is reconciled: references come in from the shared caches and from whoever else has news, an object has one pass at a
//! time, and a pass that failed comes again. `kube`'s `Controller` does the same with a watch and a cache of its own for each controller:
//! with ten of them every change would be sent, parsed and kept several times. And it sends what is to be done at once through a timer,
//! which wakes a millisecond or two later, once for each of the passes that a start is made of.

pub mod work;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{
    StreamExt,
    stream::{self, BoxStream, FuturesUnordered},
};
use kube::{Resource, ResourceExt, runtime::reflector::ObjectRef};
use tracing::Instrument;

use crate::{
    context::Context,
    errors::{self, Error},
    stores::{Cache, Cached},
};
use work::WorkQueue;

/// So many names are taken from the triggers at once.
const NAMES: usize = 256;

/// Objects that are to have a pass.
pub type Triggers<K> = BoxStream<'static, ObjectRef<K>>;

/// When a pass wants the next one, whatever else asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action(Option<Duration>);

impl Action {
    /// After so long.
    pub const fn requeue(after: Duration) -> Self {
        Self(Some(after))
    }

    /// Not until something changes.
    pub const fn await_change() -> Self {
        Self(None)
    }
}

/// Passes for what `triggers` name, `at_once` of them at most, until the process ends.
pub async fn run<K, Pass, Outcome>(
    ctx: Arc<Context>,
    cache: Arc<Cache<K>>,
    triggers: impl IntoIterator<Item = Triggers<K>>,
    at_once: usize,
    mut pass: Pass,
) where
    K: Cached,
    Pass: FnMut(Arc<K>) -> Outcome + Send,
    Outcome: Future<Output = Result<Action, Error>> + Send,
{
    let mut triggers = stream::select_all(triggers).ready_chunks(NAMES);
    let (mut queue, mut passes) = (WorkQueue::default(), FuturesUnordered::new());
    loop {
        while passes.len() < at_once
            && let Some(name) = queue.next(Instant::now())
        {
            let Some(object) = cache.find(&name) else {
                queue.done(&name);
                continue;
            };
            let span = tracing::info_span!("pass", kind = %K::kind(&()), object = %name);
            let outcome = pass(object);
            passes.push(async move { (outcome.await, name) }.instrument(span));
        }
        let due = queue.due().filter(|_| passes.len() < at_once);
        tokio::select! {
            Some(names) = triggers.next() => names.into_iter().for_each(|name| queue.add(name)),
            Some((result, name)) = passes.next() => {
                queue.done(&name);
                let action = result.unwrap_or_else(|error| errors::policy(&name, &error, &ctx.metrics));
                match action.0 {
                    // An object that went meanwhile needs none.
                    Some(after) if cache.has(&name) => queue.add_at(name, Instant::now() + after),
                    _ => {}
                }
            }
            () = sleep_until(due) => {}
        }
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// The objects of a cache themselves, now and whenever one changes; `forget` is told what is gone.
pub fn own<K: Cached>(cache: &Arc<Cache<K>>, mut forget: impl FnMut(&K) + Send + 'static) -> Triggers<K> {
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
    cache: &Arc<Cache<Other>>,
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

/// The names of these objects.
pub fn references<K: Resource<DynamicType = ()>>(objects: &[Arc<K>]) -> Vec<ObjectRef<K>> {
    objects.iter().map(|object| ObjectRef::from_obj(&**object)).collect()
}

/// The object of this kind that controls another.
pub fn controller_of<K: Resource<DynamicType = ()>>(object: &impl ResourceExt) -> Option<ObjectRef<K>> {
    let owners = object.owner_references().iter();
    let owner = owners.filter(|r| r.controller == Some(true)).find(|r| r.kind == K::kind(&()))?;
    Some(ObjectRef::new(&owner.name).within(&object.namespace()?))
}
