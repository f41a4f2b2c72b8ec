//! Objects read without the account of who wrote which field.
//!
//! `metadata.managedFields` is about half of what there is to read of a pod, all of it small strings in maps, and no
//! component of a cluster looks at it: upstream's informers drop it once it is read. Here it is passed over while reading,
//! so that nothing is made of it in the first place.
//!
//! Only that field is left out. It refuses to leave out more: what else a reader does without, it drops itself.

use std::borrow::Cow;
use std::fmt;

use serde::de::value::CowStrDeserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, forward_to_deserialize_any};

/// An object whose `metadata.managedFields` was passed over. It is written like the object itself.
///
/// ```
/// use k8s_openapi::api::core::v1::Pod;
/// use orchestra_core::light::Light;
///
/// let text = r#"{"metadata": {"managedFields": [{"manager": "kubectl"}], "name": "web"}}"#;
/// let Light(pod) = serde_json::from_str::<Light<Pod>>(text)?;
/// assert_eq!((pod.metadata.name.as_deref(), pod.metadata.managed_fields), (Some("web"), None));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Light<K>(pub K);

impl<'de, K: Deserialize<'de>> Deserialize<'de> for Light<K> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        K::deserialize(Passing { inner: input, place: Place::Object }).map(Self)
    }
}

is_what_it_holds!(Light);

/// Where in the object something stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Object,
    Metadata,
}

/// Whatever reads or is read, on the way to the one field that is passed over.
struct Passing<T> {
    inner: T,
    place: Place,
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Passing<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_any(Passing { inner: visitor, place: self.place })
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_option(Passing { inner: visitor, place: self.place })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

// What is no object is handed on, for the reader to refuse it in its own words.
impl<'de, V: Visitor<'de>> Visitor<'de> for Passing<V> {
    type Value = V::Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(out)
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<V::Value, A::Error> {
        let fields = Fields { inner: fields, place: self.place, is_metadata: false };
        self.inner.visit_map(fields)
    }

    fn visit_some<D: Deserializer<'de>>(self, input: D) -> Result<V::Value, D::Error> {
        self.inner.visit_some(Passing { inner: input, place: self.place })
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<V::Value, A::Error> {
        self.inner.visit_seq(items)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<V::Value, E> {
        self.inner.visit_bool(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<V::Value, E> {
        self.inner.visit_i64(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<V::Value, E> {
        self.inner.visit_u64(value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<V::Value, E> {
        self.inner.visit_f64(value)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<V::Value, E> {
        self.inner.visit_str(value)
    }
}

/// The fields of the object, or of its metadata.
struct Fields<A> {
    inner: A,
    place: Place,
    /// Whether the value that comes next is the object's metadata.
    is_metadata: bool,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Fields<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        while let Some(name) = self.inner.next_key_seed(Name)? {
            if self.place == Place::Metadata && name == "managedFields" {
                self.inner.next_value::<IgnoredAny>()?;
                continue;
            }
            self.is_metadata = self.place == Place::Object && name == "metadata";
            return seed.deserialize(CowStrDeserializer::new(name)).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        if self.is_metadata {
            self.inner.next_value_seed(Passing { inner: seed, place: Place::Metadata })
        } else {
            self.inner.next_value_seed(seed)
        }
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Passing<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(Passing { inner: input, place: self.place })
    }
}

/// The name of a field, as it stands in the text where that is possible.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Self::Value, D::Error> {
        input.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a field name")
    }

    fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::{Value, json};

    use super::*;

    fn whole() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "p", "namespace": "n", "uid": "u", "resourceVersion": "7", "generation": 3, "generateName": "p-",
                "labels": {"a": "b", "managedFields": "kept"}, "annotations": {"metadata": "kept"}, "finalizers": ["f"],
                "managedFields": [{"manager": "m", "fieldsV1": {"f:spec": {}}}], "selfLink": "/s",
                "creationTimestamp": "2026-01-01T00:00:00Z", "deletionTimestamp": "2026-01-01T00:00:30Z",
                "deletionGracePeriodSeconds": 30,
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "o"}],
            },
            "spec": {"containers": [{"name": "c", "image": "i"}]},
            "status": {"phase": "Pending"},
        })
    }

    #[test]
    fn everything_but_the_account_of_writers_is_read() {
        let mut whole = whole();
        let from_tree = serde_json::from_value::<Light<Pod>>(whole.clone()).unwrap();
        let text = whole.to_string();
        let from_text = serde_json::from_str::<Light<Pod>>(&text).unwrap();
        let from_reader = serde_json::from_reader::<_, Light<Pod>>(text.as_bytes()).unwrap();
        whole["metadata"].as_object_mut().unwrap().remove("managedFields");
        for Light(pod) in [from_tree, from_text, from_reader] {
            assert_eq!(serde_json::to_value(pod).unwrap(), whole);
        }
    }

    #[test]
    fn metadata_may_be_absent_or_null_where_the_kind_allows_it() {
        for text in ["{}", r#"{"metadata": null}"#, r#"{"metadata": {"managedFields": null}}"#] {
            let light = serde_json::from_str::<Light<Pod>>(text).unwrap();
            assert_eq!(light, Light(Pod::default()), "{text}");
        }
    }

    #[test]
    fn what_is_no_object_is_refused_as_without_it() {
        for text in ["[]", "7", r#"{"metadata": "x"}"#, r#"{"metadata": {"name": 7}}"#, r#"{"metadata": {"#] {
            let plain = serde_json::from_str::<Pod>(text).unwrap_err().to_string();
            let light = serde_json::from_str::<Light<Pod>>(text).unwrap_err().to_string();
            assert_eq!(light, plain, "{text}");
        }
    }
}
