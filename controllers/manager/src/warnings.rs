//! What the cluster warns of: why a pod or a claim does not come up. One watch for all of it. To list the Events of one object the API server
//! reads all of its namespace, and where much is wrong there are many, and many who ask.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use a8s_crds::Workspace;
use futures::{StreamExt, future::ready};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, ObjectReference};
use kube::{
    Api, ResourceExt,
    runtime::{
        WatchStreamExt,
        reflector::ObjectRef,
        watcher::{self, watcher},
    },
};

use crate::{
    context::Context,
    queue::{self, Triggers},
    stores::Stores,
};

/// So many objects are remembered at most, and among them ours before others'.
const MOST: usize = 4096;
/// Events in one answer of a list.
const PAGE: u32 = 100;

/// The newest warning of each object, by UID.
#[derive(Default)]
pub struct Warnings(Mutex<HashMap<String, Warning>>);

struct Warning {
    /// Kind, namespace and name of the object.
    about: [String; 3],
    text: String,
    at: Option<Timestamp>,
}

impl Warnings {
    /// The newest warning of the object with this UID: its reason, and what it says.
    pub fn of(&self, uid: &str) -> Option<String> {
        self.all().get(uid).map(|warning| warning.text.clone())
    }

    /// Takes in an Event. When there is no more room, what is not `ours` goes, and then the older half.
    fn take(&self, event: &Event, ours: impl Fn(&str, &[String; 3]) -> bool) {
        let object = &event.involved_object;
        let Some(uid) = object.uid.clone() else { return };
        let about =
            [&object.kind, &object.namespace, &object.name].map(|part| part.clone().unwrap_or_default());
        let at = event.last_timestamp.as_ref().map(|t| t.0).or(event.event_time.as_ref().map(|t| t.0));
        let (reason, message) = (event.reason.as_deref(), event.message.as_deref());
        let text = format!("{}: {}", reason.unwrap_or_default(), message.unwrap_or_default());
        let mut all = self.all();
        if all.get(&uid).is_some_and(|known| known.at > at) {
            return;
        }
        all.insert(uid, Warning { about, text, at });
        if all.len() > MOST {
            all.retain(|uid, warning| ours(uid, &warning.about));
            if all.len() > MOST {
                let mut order: Vec<_> = all.iter().map(|(uid, warning)| (warning.at, uid.clone())).collect();
                let (older, ..) = order.select_nth_unstable(MOST / 2);
                for (_, uid) in older {
                    all.remove(uid);
                }
            }
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Warning>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Workspaces of whose pod or claim something is said.
pub fn passes(ctx: &Arc<Context>) -> Triggers<Workspace> {
    let events = Api::<Event>::all(ctx.client.clone());
    let said = watcher::Config::default().fields("type=Warning").page_size(PAGE);
    let ctx = ctx.clone();
    let said = watcher(events, said).default_backoff().touched_objects().filter_map(move |event| {
        ready(event.ok().and_then(|event| {
            ctx.warnings.take(&event, |uid, about| owner(&ctx.stores, uid, about).is_some());
            let object = &event.involved_object;
            owner(&ctx.stores, object.uid.as_deref()?, &about(object))
        }))
    });
    said.boxed()
}

/// Kind, namespace and name.
fn about(object: &ObjectReference) -> [String; 3] {
    [&object.kind, &object.namespace, &object.name].map(|part| part.clone().unwrap_or_default())
}

/// The Workspace of a pod or claim of ours.
fn owner(stores: &Stores, uid: &str, [kind, namespace, name]: &[String; 3]) -> Option<ObjectRef<Workspace>> {
    let namespace = Some(namespace.as_str());
    match kind.as_str() {
        "Pod" => {
            let pod = stores.pods.get(namespace, name).filter(|pod| pod.uid().as_deref() == Some(uid))?;
            queue::controller_of(&*pod)
        }
        "PersistentVolumeClaim" => {
            let claim = stores.claims.get(namespace, name).filter(|c| c.uid().as_deref() == Some(uid))?;
            queue::controller_of(&*claim)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(uid: &str, text: &str, second: usize) -> Event {
        let at = Timestamp::from_second(1_790_000_000 + i64::try_from(second).unwrap()).unwrap();
        serde_json::from_value(
            json!({"metadata": {"name": "e"}, "reason": "Failed", "message": text, "lastTimestamp": at,
            "involvedObject": {"kind": "Pod", "namespace": "n", "name": uid, "uid": uid}}),
        )
        .unwrap()
    }

    #[test]
    fn the_newest_warning_of_an_object_counts_whatever_order_they_come_in() {
        let warnings = Warnings::default();
        for (text, second) in [("first", 1), ("third", 3), ("second", 2)] {
            warnings.take(&event("a", text, second), |_, _| true);
        }
        assert_eq!(warnings.of("a").as_deref(), Some("Failed: third"));
        assert_eq!(warnings.of("b"), None);
    }

    #[test]
    fn what_others_are_warned_of_goes_before_ours_and_there_is_a_bound_to_all() {
        let warnings = Warnings::default();
        warnings.take(&event("ours", "no room", 0), |_, _| true);
        for number in 0..MOST {
            warnings.take(&event(&format!("other-{number}"), "x", 9), |uid, _| uid == "ours");
        }
        assert!(warnings.of("ours").is_some() && warnings.all().len() == 1);
        for number in 0..3 * MOST {
            warnings.take(&event(&format!("u{number}"), "x", number), |_, _| true);
        }
        assert!(warnings.all().len() <= MOST);
        assert!(warnings.of(&format!("u{}", 3 * MOST - 1)).is_some(), "the newest is known");
    }
}
