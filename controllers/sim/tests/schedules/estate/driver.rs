//! The snapshot-controller, its sidecar and the driver: what becomes of VolumeSnapshots and contents, one small step at a time.

use a8s_sim::Key;
use rand::Rng;
use serde_json::{Value, json};

use super::{
    Estate, all_of,
    gather::{API, DRIVER, backend},
    going, uid,
};
use crate::{
    judge::Stored,
    world::{NS, core},
};

const BOUND: &str = "snapshot.storage.kubernetes.io/volumesnapshot-bound-protection";
const CONTENT: &str = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection";
/// A claim that is being taken stays.
const SOURCE: &str = "snapshot.storage.kubernetes.io/pvc-as-source-protection";

impl Estate {
    pub(super) fn driver_step(&mut self) {
        let view = self.sim.view();
        let mut all = all_of(&view, "VolumeSnapshot");
        all.extend(all_of(&view, "VolumeSnapshotContent"));
        if !all.is_empty() {
            let index = self.sim.rng().random_range(0..all.len());
            self.drive(&all[index].0, &all[index].1);
        }
    }

    /// Everything that is to be done for what there is.
    pub(super) fn drivers(&mut self) {
        for kind in ["VolumeSnapshot", "VolumeSnapshotContent"] {
            for (key, object) in all_of(&self.sim.view(), kind) {
                self.drive(&key, &object);
                self.look();
            }
        }
    }

    fn drive(&mut self, key: &Key, object: &Value) {
        if key.kind == "VolumeSnapshotContent" {
            return if going(object) { self.content_goes(key, object) } else { self.take(key, object) };
        }
        if going(object) {
            return self.volume_snapshot_goes(key, object);
        }
        let content = self.content_key(object);
        let found = self.sim.get(&content).cloned();
        let given = object["spec"]["source"]["volumeSnapshotContentName"].is_string();
        let handle = found.as_ref().and_then(|c| c["status"]["snapshotHandle"].as_str());
        match (&found, handle) {
            (None, _) if given => {}
            (None, _) => self.make_content(key, object, &content),
            (Some(found), None) if given => {
                self.sim.set_finalizer(key, &uid(object), BOUND, true);
                let handle = found["spec"]["source"]["snapshotHandle"].clone();
                self.sim.set_status(&content, &uid(found), json!({"snapshotHandle": handle})).unwrap();
            }
            (Some(_), None) => {}
            (Some(_), Some(handle)) => {
                let known = self.truth.backend.contains_key(handle);
                self.release_claim(object);
                let time = self.sim.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
                let time = object["status"]["creationTime"].as_str().map_or(time, str::to_owned);
                let ready = json!({"readyToUse": true, "restoreSize": "5Gi", "creationTime": time});
                let lost = json!({"readyToUse": false, "error": {"message": "can not find snapshot for snapshotID"}});
                self.sim.set_status(key, &uid(object), if known { ready } else { lost }).unwrap();
            }
        }
    }

    fn content_key(&self, volume_snapshot: &Value) -> Key {
        let named = volume_snapshot["spec"]["source"]["volumeSnapshotContentName"].as_str();
        let name = named.map_or_else(|| format!("snapcontent-{}", uid(volume_snapshot)), str::to_owned);
        backend("VolumeSnapshotContent", "", &name)
    }

    fn claim_of(&self, volume_snapshot: &Value) -> Option<(Key, Value)> {
        let key = core(
            "PersistentVolumeClaim",
            volume_snapshot["spec"]["source"]["persistentVolumeClaimName"].as_str()?,
        );
        self.sim.get(&key).cloned().map(|claim| (key, claim))
    }

    fn release_claim(&mut self, volume_snapshot: &Value) {
        if let Some((key, claim)) = self.claim_of(volume_snapshot) {
            self.sim.set_finalizer(&key, &uid(&claim), SOURCE, false);
        }
    }

    fn make_content(&mut self, key: &Key, object: &Value, content: &Key) {
        let Some((claim_key, claim)) = self.claim_of(object) else { return };
        if claim["status"]["phase"] != "Bound" || going(&claim) {
            return;
        }
        self.sim.set_finalizer(&claim_key, &uid(&claim), SOURCE, true);
        self.sim.set_finalizer(key, &uid(object), BOUND, true);
        let object = json!({
            "apiVersion": API, "kind": "VolumeSnapshotContent", "metadata": {"name": content.name, "finalizers": [CONTENT]},
            "spec": {
                "deletionPolicy": "Delete", "driver": DRIVER, "source": {"volumeHandle": uid(&claim)},
                "volumeSnapshotRef": {"namespace": NS, "name": key.name, "uid": uid(object)},
            },
        });
        self.sim.create(object).unwrap();
    }

    /// The sidecar asks the driver, under a name that gives the same snapshot as long as there is one.
    fn take(&mut self, key: &Key, content: &Value) {
        let volume = content["spec"]["source"]["volumeHandle"].as_str();
        let Some(volume) = volume.filter(|_| content["status"]["snapshotHandle"].is_null()) else { return };
        let handle = format!("handle-{}", key.name);
        if let Some(on_it) = self.truth.volumes.get(volume).copied() {
            let stored = Stored { content: on_it, claim: volume.to_owned() };
            self.truth.backend.entry(handle.clone()).or_insert(stored);
            self.sim.set_status(key, &uid(content), json!({"snapshotHandle": handle})).unwrap();
        }
    }

    fn volume_snapshot_goes(&mut self, key: &Key, object: &Value) {
        let content = self.content_key(object);
        if let Some(found) = self.sim.get(&content).cloned() {
            self.meant.insert(uid(&found));
            if found["spec"]["deletionPolicy"] == "Delete" {
                let _ = self.sim.delete(&content, None, None);
            }
        }
        self.release_claim(object);
        self.sim.set_finalizer(key, &uid(object), BOUND, false);
    }

    fn content_goes(&mut self, key: &Key, content: &Value) {
        let notes = &content["metadata"]["annotations"];
        let noted = notes["snapshot.storage.kubernetes.io/volumesnapshot-being-deleted"] == "yes";
        let unbound = content["spec"]["source"]["snapshotHandle"].is_string() && content["status"].is_null();
        // Nothing happens to the content of a VolumeSnapshot that just vanished.
        if !(unbound || noted || self.meant.contains(&uid(content))) {
            return;
        }
        if content["spec"]["deletionPolicy"] == "Delete" {
            let of = |at: &Value| at["snapshotHandle"].as_str().map(str::to_owned);
            let handle = of(&content["status"]).or(of(&content["spec"]["source"])).unwrap_or_default();
            self.truth.backend.remove(&handle);
        }
        self.sim.set_finalizer(key, &uid(content), CONTENT, false);
    }

    /// What a volume would have that is made from this VolumeSnapshot now.
    pub(super) fn restorable(&self, name: &str) -> Option<u64> {
        let found = self.sim.get(&backend("VolumeSnapshot", NS, name))?;
        let content = self.sim.get(&self.content_key(found))?;
        let ready = found["status"]["readyToUse"] == true && !going(found);
        let handle = content["status"]["snapshotHandle"].as_str()?;
        self.truth.backend.get(handle).map(|s| s.content).filter(|_| ready)
    }

    /// Somebody removes VolumeSnapshot and content of a Snapshot by force; the backend learns nothing of it.
    pub(super) fn lose_objects(&mut self) {
        let all = all_of(&self.sim.view(), "VolumeSnapshot");
        let bound: Vec<_> =
            all.into_iter().filter(|(_, o)| o["status"]["readyToUse"] == true && !going(o)).collect();
        if bound.is_empty() {
            return;
        }
        let index = self.sim.rng().random_range(0..bound.len());
        let (key, object) = &bound[index];
        let owner = object["metadata"]["ownerReferences"][0]["uid"].as_str().unwrap_or_default();
        let snapshots = all_of(&self.sim.view(), "Snapshot");
        // What nobody has written down yet nobody can find again.
        if !snapshots.iter().any(|(_, s)| uid(s) == owner && s["status"]["handle"].is_string() && !going(s)) {
            return;
        }
        let content = self.content_key(object);
        for (key, finalizer) in [(&**key, BOUND), (&content, CONTENT)] {
            let Some(uid) = self.sim.get(key).map(uid) else { continue };
            self.sim.set_finalizer(key, &uid, finalizer, false);
            let _ = self.sim.delete(key, None, None);
        }
    }
}
