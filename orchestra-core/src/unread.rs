//! Objects that are sent, and whose answer nobody looks at.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{Metadata, Resource};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};

/// An object on its way to a server. A server answers with all of the object, several times what was sent; whoever writes, say,
/// events, wants to know that it did and no more, so that nothing is made of the answer: what is read is empty.
///
/// ```
/// use k8s_openapi::api::core::v1::Event;
/// use orchestra_core::unread::Unread;
///
/// let event = Event { reason: Some("Pulled".into()), ..Event::default() };
/// let sent = serde_json::to_string(&Unread(event.clone()))?;
/// assert_eq!(sent, serde_json::to_string(&event)?);
/// let Unread(answer) = serde_json::from_str::<Unread<Event>>(&sent)?;
/// assert_eq!(answer, Event::default());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Unread<K>(pub K);

impl<'de, K: Default> Deserialize<'de> for Unread<K> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(input).map(|IgnoredAny| Self(K::default()))
    }
}

impl<K: Resource> Resource for Unread<K> {
    const API_VERSION: &'static str = K::API_VERSION;
    const GROUP: &'static str = K::GROUP;
    const KIND: &'static str = K::KIND;
    const VERSION: &'static str = K::VERSION;
    const URL_PATH_SEGMENT: &'static str = K::URL_PATH_SEGMENT;
    type Scope = K::Scope;
}

impl<K: Metadata<Ty = ObjectMeta>> Metadata for Unread<K> {
    type Ty = ObjectMeta;

    fn metadata(&self) -> &ObjectMeta {
        self.0.metadata()
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        self.0.metadata_mut()
    }
}
