//! Objects at rest as a few hundred bytes. As a Rust value a pod takes tens of kilobytes, most of it room for fields that it does not have;
//! its JSON takes two, and nearly all of that is what every other pod of ours says, too. So what is kept is the JSON, compressed with another
//! object of the kind as dictionary (LZ4, which undoes it at a gigabyte a second). Reading it costs about what cloning the value did.

use std::{
    marker::PhantomData,
    sync::{Arc, Mutex, PoisonError},
};

use lz4_flex::block::{compress_with_dict, decompress_with_dict};
use serde::{Serialize, de::DeserializeOwned};

/// Packs the objects of one kind.
#[derive(Debug, Default)]
pub struct Packer {
    /// JSON of the object that those are compressed with which come now.
    template: Mutex<Arc<[u8]>>,
}

/// One object.
#[derive(Debug)]
pub struct Packed<K> {
    template: Arc<[u8]>,
    bytes: Box<[u8]>,
    /// Of the JSON, in bytes.
    length: usize,
    kind: PhantomData<fn() -> K>,
}

/// What LZ4 looks back at most, in bytes.
const WINDOW: usize = 64 * 1024;

impl Packer {
    /// The object, packed. One that the template does not fit (it has a status where that has none) is the template from then on.
    ///
    /// # Errors
    ///
    /// If it cannot be written as JSON, which objects that came as JSON can.
    pub fn pack<K: Serialize>(&self, object: &K) -> Result<Packed<K>, serde_json::Error> {
        let text = serde_json::to_vec(object)?;
        let template = self.template.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (length, kind) = (text.len(), PhantomData);
        let bytes = compress_with_dict(&text, &template);
        if bytes.len() <= length / 3 || length > WINDOW {
            return Ok(Packed { template, bytes: bytes.into(), length, kind });
        }
        let template: Arc<[u8]> = text.into();
        *self.template.lock().unwrap_or_else(PoisonError::into_inner) = template.clone();
        let bytes = compress_with_dict(&template, &template);
        Ok(Packed { bytes: bytes.into(), template, length, kind })
    }
}

impl<K: DeserializeOwned> Packed<K> {
    /// The object again; nothing only if its type reads something else than it writes, which is a defect.
    pub fn open(&self) -> Option<K> {
        let text = decompress_with_dict(&self.bytes, self.length, &self.template).ok()?;
        match serde_json::from_slice(&text) {
            Ok(object) => Some(object),
            Err(error) => {
                tracing::error!(kind = std::any::type_name::<K>(), %error, "an object cannot be read back");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    use super::*;

    /// As one of ours, without and with what the kubelet says of it.
    fn pod(number: usize, started: bool) -> Pod {
        let uid = uuid::Uuid::new_v4();
        let container = |name: &str| {
            json!({"name": name, "image": format!("registry.example/{name}:1"), "resources": {"limits": {"memory": "1Gi"}},
            "volumeMounts": [{"name": "home", "mountPath": "/home/user"}, {"name": "run", "mountPath": "/run/a8s"}]})
        };
        let status = json!({"phase": "Running", "podIP": format!("10.1.{}.{}", number / 256, number % 256), "containerStatuses": [
            {"name": "runner", "image": "a", "imageID": "b", "ready": true, "restartCount": 0, "state": {"running": {"startedAt": "2026-11-22T08:00:00Z"}}},
            {"name": "desktop", "image": "a", "imageID": "b", "ready": true, "restartCount": 0, "state": {"running": {"startedAt": "2026-11-22T08:00:00Z"}}}]});
        let mut pod = json!({"metadata": {"name": format!("desk-{number}"), "namespace": "team", "uid": uid, "resourceVersion": number.to_string(),
            "ownerReferences": [{"apiVersion": "a8s.dev/v1alpha1", "kind": "Workspace", "name": format!("desk-{number}"), "uid": uid, "controller": true}]},
            "spec": {"containers": [container("runner"), container("desktop")], "restartPolicy": "Always"}});
        if started {
            pod["status"] = status;
        }
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn an_object_comes_out_as_it_went_in() {
        let packer = Packer::default();
        for number in 0..300 {
            let pod = pod(number, number % 3 != 0);
            assert_eq!(packer.pack(&pod).unwrap().open().unwrap(), pod);
        }
    }

    #[test]
    fn objects_of_a_kind_share_what_they_all_say() {
        let packer = Packer::default();
        let packed: Vec<_> = (0..300).map(|n| packer.pack(&pod(n, n > 0)).unwrap()).collect();
        let (last, text) = (packed.last().unwrap(), serde_json::to_vec(&pod(299, true)).unwrap());
        assert!(last.bytes.len() * 4 < text.len(), "{} of {}", last.bytes.len(), text.len());
        let templates: std::collections::HashSet<_> =
            packed.iter().map(|p| Arc::as_ptr(&p.template)).collect();
        assert!(templates.len() <= 3, "{}", templates.len());
    }

    #[test]
    fn what_nothing_is_like_and_what_is_bigger_than_the_window_comes_back_whole() {
        let packer = Packer::default();
        for size in [0, 10, 70_000, 200_000] {
            let text: String = (0..size).map(|_| char::from(rand::random_range(b' '..b'~'))).collect();
            assert_eq!(packer.pack(&text).unwrap().open().unwrap(), text);
        }
    }
}
