//! Objects that are sent, and whose answer nobody looks at.

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

is_what_it_holds!(Unread);
