//! An API server in memory, for tests of whole schedules: uids, resource versions, generations, finalizers, garbage collection by UID,
//! server-side apply, and faults from a seed. It carries plans out the way `a8s-controller` does. It checks no schema but for null, and
//! no CEL: that is tried against a real API server.
//!
//! What is simpler than the real thing: lists are atomic in server-side apply, there is no list chunking and no watch (tests look at a
//! [`View`], fresh or stale), and garbage is collected when a test says so.

mod execute;
mod journal;
mod key;
mod managed;
mod schema;
mod view;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use a8s_wire::{ControlState, Holder};
use jiff::{SignedDuration, Timestamp};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

pub use journal::{By, Change};
pub use key::Key;
use managed::Managed;
pub use view::{Object, View};

/// What the server says to a write that has the UID of another object: not a conflict, but a field that nobody may change.
const ANOTHER: &str = "metadata.uid: field is immutable";

/// So many old states are kept for stale views.
const HISTORY: usize = 12;

/// What the server, or fate, answers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SimError {
    /// There is no such object.
    #[error("{0} is not found")]
    NotFound(Key),
    /// The name is taken.
    #[error("{0} exists")]
    AlreadyExists(Key),
    /// A precondition does not hold.
    #[error("conflict on {0}: {1}")]
    Conflict(Key, &'static str),
    /// A process outside of the API server does not answer.
    #[error("{0} does not answer")]
    Unavailable(String),
    /// The controller died here.
    #[error("crashed")]
    Crashed,
    /// Not an object.
    #[error("invalid: {0}")]
    Invalid(&'static str),
}

/// The server, and the few processes beside it that plans talk to.
pub struct Sim {
    objects: View,
    history: VecDeque<View>,
    /// Who has which fields, of each object that is there.
    managed: BTreeMap<Key, Managed>,
    /// Objects of ours that nobody has written since they were created.
    fresh: BTreeSet<Key>,
    desks: BTreeMap<String, ControlState>,
    stored: BTreeMap<String, String>,
    rng: StdRng,
    now: Timestamp,
    version: u64,
    crash_in: Option<usize>,
    steps: usize,
    journal: Option<Vec<Change>>,
    by: By,
}

impl Sim {
    /// An empty server; the same seed gives the same UIDs and the same faults.
    pub fn new(seed: u64) -> Self {
        Self {
            objects: View::default(),
            history: VecDeque::new(),
            managed: BTreeMap::new(),
            fresh: BTreeSet::new(),
            desks: BTreeMap::new(),
            stored: BTreeMap::new(),
            rng: StdRng::seed_from_u64(seed),
            now: Timestamp::constant(1_800_000_000, 0),
            version: 0,
            crash_in: None,
            steps: 0,
            journal: None,
            by: By::Other,
        }
    }

    /// The seeded source of all chance.
    pub fn rng(&mut self) -> &mut StdRng {
        &mut self.rng
    }

    /// The server's clock.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Time passes.
    pub fn advance(&mut self, millis: i64) {
        self.now += SignedDuration::from_millis(millis);
    }

    /// How many writes changed something so far.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The objects as they are.
    pub fn view(&self) -> View {
        self.objects.clone()
    }

    /// The objects as they were up to `lag` writes ago.
    pub fn stale(&self, lag: usize) -> View {
        let index = self.history.len().checked_sub(lag);
        let old = if lag == 0 { None } else { self.history.get(index.unwrap_or_default()) };
        old.cloned().unwrap_or_else(|| self.view())
    }

    /// One object.
    pub fn get(&self, key: &Key) -> Option<&Value> {
        self.objects.value(key)
    }

    /// POST.
    pub fn create(&mut self, object: Value) -> Result<Key, SimError> {
        let key = self.make(object)?;
        let managed = self.get(&key).map(Managed::created).unwrap_or_default();
        self.managed.insert(key.clone(), managed);
        Ok(key)
    }

    fn make(&mut self, mut object: Value) -> Result<Key, SimError> {
        let key = Key::of(&object)?;
        if self.get(&key).is_some() {
            return Err(SimError::AlreadyExists(key));
        }
        if let Some(all) = object.as_object_mut() {
            all.remove("status");
        }
        let uid = uuid::Builder::from_random_bytes(self.rng.random()).into_uuid();
        let metadata = &mut object["metadata"];
        metadata["uid"] = uid.to_string().into();
        metadata["generation"] = 1.into();
        metadata["creationTimestamp"] = self.second().into();
        self.put(&key, object);
        if key.is_ours() {
            self.fresh.insert(key.clone());
        }
        Ok(key)
    }

    /// Server-side apply with force; creates what is missing.
    pub fn apply(&mut self, mut object: Value, manager: &str) -> Result<(), SimError> {
        let key = Key::of(&object)?;
        let wanted = object["metadata"].as_object_mut().and_then(|m| m.remove("uid"));
        if let Some(all) = object.as_object_mut() {
            all.remove("status");
        }
        let Some(found) = self.get(&key) else {
            // With a UID it is about an object that is gone.
            if wanted.is_some_and(|uid| !uid.is_null()) {
                return Err(SimError::Conflict(key, "the UID is of an object that is gone"));
            }
            let managed = Managed::applied(&object, manager);
            self.make(object)?;
            self.managed.insert(key, managed);
            return Ok(());
        };
        if wanted.is_some_and(|uid| !uid.is_null() && uid != found["metadata"]["uid"]) {
            return Err(SimError::Invalid(ANOTHER));
        }
        let mut managed = self.managed.get(&key).cloned().unwrap_or_default();
        if managed.knows(manager, &object) {
            self.settle(&key);
            return Ok(());
        }
        let (mut merged, moved) = managed.apply(found, &object, manager);
        if !schema::nulls(&key, &mut merged) {
            return Err(SimError::Invalid("a map that is somebody's was left without anything in it"));
        }
        let same = *found == merged;
        self.managed.insert(key.clone(), managed);
        // Who has a field is part of the object: that alone is a write, too.
        if moved && same {
            self.put(&key, merged);
        } else {
            self.update(&key, merged);
        }
        Ok(())
    }

    /// PUT of the status, by the one who owns it.
    pub fn set_status(&mut self, key: &Key, uid: &str, status: Value) -> Result<(), SimError> {
        let found = self.get(key).ok_or_else(|| SimError::NotFound(key.clone()))?;
        if found["metadata"]["uid"] != uid {
            return Err(SimError::Invalid(ANOTHER));
        }
        if found["status"] != status {
            let mut object = found.clone();
            object["status"] = status;
            self.put(key, object);
        }
        Ok(())
    }

    /// Whether the object is as it was seen.
    pub fn unchanged(&self, key: &Key, uid: &str, version: &str) -> Result<(), SimError> {
        let found = self.get(key).ok_or_else(|| SimError::NotFound(key.clone()))?;
        if found["metadata"]["uid"] != uid {
            return Err(SimError::Conflict(key.clone(), "the UID is another"));
        }
        if found["metadata"]["resourceVersion"] != version {
            return Err(SimError::Conflict(key.clone(), "it was changed meanwhile"));
        }
        Ok(())
    }

    /// PATCH with a merge patch (RFC 7396) of anything but the status. UID and resource version in it are preconditions.
    pub fn patch(&mut self, key: &Key, patch: &Value) -> Result<(), SimError> {
        let mut object = self.get(key).cloned().ok_or_else(|| SimError::NotFound(key.clone()))?;
        let another = |field: &str| {
            let wanted = &patch["metadata"][field];
            !wanted.is_null() && *wanted != object["metadata"][field]
        };
        if another("resourceVersion") {
            return Err(SimError::Conflict(key.clone(), "it was changed meanwhile"));
        }
        if another("uid") {
            return Err(SimError::Invalid(ANOTHER));
        }
        let status = object.get("status").cloned();
        let found = object.clone();
        managed::merge_patch(&mut object, patch);
        // The real one leaves out what is empty there.
        for field in ["labels", "annotations"] {
            if object["metadata"][field].as_object().is_some_and(serde_json::Map::is_empty) {
                object["metadata"].as_object_mut().into_iter().for_each(|m| drop(m.remove(field)));
            }
        }
        if let Some(all) = object.as_object_mut() {
            let empty = |value: &Value| value.as_object().is_some_and(serde_json::Map::is_empty);
            if key.api_version == "v1" && all.get("data").is_some_and(empty) {
                all.remove("data");
            }
            all.remove("status");
            all.extend(status.map(|status| ("status".to_owned(), status)));
        }
        if let Some(managed) = self.managed.get_mut(key) {
            managed.updated(&found, &object);
        }
        self.update(key, object);
        Ok(())
    }

    /// DELETE in the background. Pods go gracefully: [`Sim::finish`] is the kubelet's last word.
    pub fn delete(&mut self, key: &Key, uid: Option<&str>, grace: Option<u32>) -> Result<(), SimError> {
        let found = self.get(key).ok_or_else(|| SimError::NotFound(key.clone()))?;
        if uid.is_some_and(|uid| found["metadata"]["uid"] != uid) {
            return Err(SimError::Conflict(key.clone(), "the UID is another"));
        }
        let held = found["metadata"]["finalizers"].as_array().is_some_and(|all| !all.is_empty());
        if !held && (key.kind != "Pod" || grace == Some(0)) {
            self.remove(key);
        } else if found["metadata"]["deletionTimestamp"].is_null() {
            let mut object = found.clone();
            object["metadata"]["deletionTimestamp"] = self.second().into();
            // That it shall go is something else that is wanted of it.
            let generation = object["metadata"]["generation"].as_i64().unwrap_or_default();
            object["metadata"]["generation"] = json!(generation + 1);
            self.put(key, object);
        }
        Ok(())
    }

    /// The end of something that goes gracefully.
    pub fn finish(&mut self, key: &Key) {
        let going = self.get(key).is_some_and(|o| !o["metadata"]["deletionTimestamp"].is_null());
        if going {
            self.remove(key);
        }
    }

    /// Adds or removes a finalizer; of another object of that name it says nothing.
    pub fn set_finalizer(&mut self, key: &Key, uid: &str, finalizer: &str, present: bool) {
        // What is going takes no new one, and that is an answer, too.
        let _ = self.finalize(key, uid, finalizer, present);
    }

    /// The same, and what the server says to it.
    pub fn finalize(&mut self, key: &Key, uid: &str, finalizer: &str, present: bool) -> Result<(), SimError> {
        let Some(found) = self.get(key).filter(|o| o["metadata"]["uid"] == uid) else { return Ok(()) };
        let mut all: Vec<Value> = found["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
        if all.iter().any(|f| f == finalizer) == present {
            return Ok(());
        }
        let going = !found["metadata"]["deletionTimestamp"].is_null();
        if present && going {
            return Err(SimError::Invalid("no new finalizer for an object that is going"));
        }
        let mut object = found.clone();
        all.retain(|f| f != finalizer);
        if present {
            all.push(finalizer.into());
        }
        if all.is_empty() {
            if going {
                self.remove(key);
                return Ok(());
            }
            object["metadata"].as_object_mut().into_iter().for_each(|m| drop(m.remove("finalizers")));
        } else {
            object["metadata"]["finalizers"] = all.into();
        }
        self.put(key, object);
        Ok(())
    }

    /// Deletes what has owners of which none is left, until there is no more of it.
    pub fn collect_garbage(&mut self) {
        loop {
            let view = self.view();
            let uids: Vec<&Value> = view.iter().map(|(_, o)| &o["metadata"]["uid"]).collect();
            let orphans: Vec<Key> = view
                .iter()
                .filter(|(_, o)| o["metadata"]["deletionTimestamp"].is_null())
                .filter(|(_, o)| {
                    let owners = o["metadata"]["ownerReferences"].as_array();
                    owners
                        .is_some_and(|all| !all.is_empty() && all.iter().all(|r| !uids.contains(&&r["uid"])))
                })
                .map(|(key, _)| key.clone())
                .collect();
            if orphans.is_empty() {
                return;
            }
            let by = std::mem::replace(&mut self.by, By::Garbage);
            for key in orphans {
                let _ = self.delete(&key, None, None);
            }
            self.by = by;
        }
    }

    /// After so many steps of plans the controller dies, once.
    pub fn crash_after(&mut self, steps: usize) {
        self.crash_in = Some(steps);
    }

    /// Steps of plans done so far.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// deskd of a Workspace comes up anew, with the agent in control.
    pub fn start_desk(&mut self, workspace_uid: &str) {
        let control = ControlState {
            holder: Holder::Agent,
            user: None,
            private: false,
            epoch: 0,
            since: String::new(),
        };
        self.desks.insert(workspace_uid.to_owned(), control);
    }

    /// deskd of a Workspace is gone.
    pub fn stop_desk(&mut self, workspace_uid: &str) {
        self.desks.remove(workspace_uid);
    }

    /// What deskd of a Workspace would say.
    pub fn desk(&self, workspace_uid: &str) -> Option<&ControlState> {
        self.desks.get(workspace_uid)
    }

    /// Keys in the artifact store.
    pub fn stored(&self) -> impl Iterator<Item = &str> {
        self.stored.keys().map(String::as_str)
    }

    fn second(&self) -> String {
        self.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// Stores a change of anything but the status; a no-op is no write.
    fn update(&mut self, key: &Key, mut object: Value) {
        let Some(found) = self.get(key) else { return };
        if *found == object {
            return self.settle(key);
        }
        if !same_intent(found, &object) {
            let generation = object["metadata"]["generation"].as_i64().unwrap_or_default();
            object["metadata"]["generation"] = json!(generation + 1);
        }
        self.put(key, object);
    }

    /// A write that changes nothing. The real server compares what it would store with what is stored; of one of our objects that was only
    /// created, that is without the default of its status, which is added whenever it is read. So the first such write is one.
    fn settle(&mut self, key: &Key) {
        if !self.fresh.contains(key) {
            return;
        }
        if let Some(object) = self.get(key).cloned() {
            self.put(key, object);
        }
    }

    fn put(&mut self, key: &Key, mut object: Value) {
        self.fresh.remove(key);
        self.remember();
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.objects.insert(key.clone(), object);
        self.note(key);
    }

    fn remove(&mut self, key: &Key) {
        self.remember();
        self.objects.remove(key);
        self.managed.remove(key);
        self.fresh.remove(key);
        self.note(key);
    }

    fn remember(&mut self) {
        self.version += 1;
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(self.objects.clone());
    }
}

/// Whether two states of an object differ in nothing but metadata and status.
fn same_intent(a: &Value, b: &Value) -> bool {
    let fields = |o: &Value| o.as_object().into_iter().flatten().filter(intended).count();
    let mut said = a.as_object().into_iter().flatten().filter(intended);
    fields(a) == fields(b) && said.all(|(key, value)| b.get(key) == Some(value))
}

fn intended((key, _): &(&String, &Value)) -> bool {
    *key != "metadata" && *key != "status"
}
