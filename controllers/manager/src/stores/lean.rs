//! Objects without `metadata.managedFields`: who wrote which field. That is up to half of what a watch sends, nobody here reads it, and it
//! would be read into a tree of maps first. Here it is skipped while the rest is read.

use std::{borrow::Cow, fmt, marker::PhantomData};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor, value::CowStrDeserializer},
};

/// What is left out: a key of the object, and one in what that holds.
const MANAGED_FIELDS: &[&str] = &["metadata", "managedFields"];

/// An object, as it came without what is left out.
#[derive(Clone, Debug)]
pub struct Lean<K>(pub K);

impl<'de, K: Deserialize<'de>> Deserialize<'de> for Lean<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        K::deserialize(Without { inner: deserializer, path: MANAGED_FIELDS }).map(Self)
    }
}

impl<K: Resource> Resource for Lean<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(dt)
    }

    fn group(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::group(dt)
    }

    fn version(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::version(dt)
    }

    fn plural(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(dt)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.meta()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.meta_mut()
    }
}

/// Anything of serde's, through which the value at `path` is not seen.
#[derive(Clone, Copy)]
struct Without<T> {
    inner: T,
    path: &'static [&'static str],
}

/// Whatever has no keys is read as it is.
macro_rules! as_it_is {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
            self.inner.$method(visitor)
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Without<D> {
    type Error = D::Error;

    as_it_is! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16 deserialize_u32
        deserialize_u64 deserialize_f32 deserialize_f64 deserialize_char deserialize_str deserialize_string deserialize_bytes
        deserialize_byte_buf deserialize_unit deserialize_seq deserialize_identifier deserialize_ignored_any
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.inner.deserialize_any(Without { inner: visitor, path: self.path })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.inner.deserialize_map(Without { inner: visitor, path: self.path })
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.inner.deserialize_option(Without { inner: visitor, path: self.path })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.inner.deserialize_struct(name, fields, Without { inner: visitor, path: self.path })
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.inner.deserialize_unit_struct(name, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.inner.deserialize_newtype_struct(name, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Self::Error> {
        self.inner.deserialize_tuple(len, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.inner.deserialize_tuple_struct(name, len, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.inner.deserialize_enum(name, variants, visitor)
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Without<V> {
    type Value = V::Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(formatter)
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        self.inner.visit_some(Without { inner: deserializer, path: self.path })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        self.inner.visit_map(Entries { inner: map, path: self.path, on_the_way: false })
    }
}

/// The entries of a map but the one that is left out.
struct Entries<A> {
    inner: A,
    path: &'static [&'static str],
    /// The value that comes next holds what is left out.
    on_the_way: bool,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Entries<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Self::Error> {
        while let Some(Key(key)) = self.inner.next_key()? {
            let found = self.path.first() == Some(&&*key);
            if found && self.path.len() == 1 {
                self.inner.next_value::<IgnoredAny>()?;
                continue;
            }
            self.on_the_way = found;
            return seed.deserialize(CowStrDeserializer::new(key)).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Self::Error> {
        if !self.on_the_way {
            return self.inner.next_value_seed(seed);
        }
        let path = self.path.get(1..).unwrap_or_default();
        self.inner.next_value_seed(Without { inner: seed, path })
    }

    fn size_hint(&self) -> Option<usize> {
        None
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Without<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        self.inner.deserialize(Without { inner: deserializer, path: self.path })
    }
}

/// A key, which is copied only if the text has it in another form.
struct Key<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text<'de>(PhantomData<&'de ()>);
        impl<'de> Visitor<'de> for Text<'de> {
            type Value = Key<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a key")
            }

            fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }

            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(key)))
            }

            fn visit_string<E>(self, key: String) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(key)))
            }
        }
        deserializer.deserialize_str(Text(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use a8s_crds::Workspace;
    use k8s_openapi::api::core::v1::Pod;
    use kube::{ResourceExt, core::WatchEvent};
    use serde_json::json;

    use super::*;

    fn managed() -> serde_json::Value {
        json!([{"manager": "kubelet", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {"f:labels": {}}}}])
    }

    fn both<K>(object: &serde_json::Value)
    where
        K: Resource<DynamicType = ()> + serde::de::DeserializeOwned + PartialEq + fmt::Debug + Clone,
    {
        let event = json!({"type": "MODIFIED", "object": object}).to_string();
        let Ok(WatchEvent::Modified(Lean(lean))) = serde_json::from_str::<WatchEvent<Lean<K>>>(&event) else {
            panic!("not read: {event}");
        };
        let mut whole: K = serde_json::from_value(object.clone()).unwrap();
        assert_eq!(whole.managed_fields().len(), 1);
        whole.managed_fields_mut().clear();
        let mut lean_too = lean.clone();
        lean_too.managed_fields_mut().clear();
        assert_eq!(lean_too, whole, "nothing else is left out");
        assert!(lean.managed_fields().is_empty());
    }

    #[test]
    fn of_an_object_of_any_kind_nothing_but_the_managed_fields_is_left_out() {
        both::<Pod>(&json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"managedFields": managed(), "name": "p", "labels": {"managedFields": "kept", "a\"b": "c"}, "uid": "u"},
            "spec": {"containers": [{"name": "c", "env": [{"name": "metadata", "value": "v"}]}], "restartPolicy": "Always"},
            "status": {"phase": "Running", "podIP": "10.0.0.1"}}));
        both::<Workspace>(&json!({"apiVersion": "a8s.dev/v1alpha1", "kind": "Workspace",
            "metadata": {"name": "w", "namespace": "n", "managedFields": managed(), "resourceVersion": "7"},
            "spec": {"environment": "desktop"}, "status": {"observedGeneration": 3}}));
    }

    #[test]
    fn an_object_without_them_and_one_that_is_wrong_are_read_as_ever() {
        let pod: Lean<Pod> = serde_json::from_value(json!({"metadata": {"name": "p"}})).unwrap();
        assert_eq!(pod.0.name_any(), "p");
        assert!(serde_json::from_str::<Lean<Workspace>>(r#"{"metadata": {"name": 7}, "spec": {}}"#).is_err());
        assert!(serde_json::from_str::<Lean<Pod>>("[]").is_err());
    }
}
