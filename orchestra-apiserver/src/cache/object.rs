//! What the watch cache keeps of an object: its bytes, and the little that selectors look at.

use std::sync::OnceLock;

use bytes::Bytes;
use orchestra_core::protobuf;
use orchestra_store::{Entry, Revision};
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::collection::suffix_of;
use crate::status::StatusError;
use crate::storage::codec::Encoded;
use crate::storage::resource::Resource;

/// An object as lists and watches serve it.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) encoded: Encoded,
    pub(crate) namespace: Option<Box<str>>,
    pub(crate) name: Box<str>,
    /// Read when a selector first asks: what is written and listed without one is never looked into.
    traits: OnceLock<Traits>,
    /// The protobuf message. Made when a client first wants it; most clusters have no such client for most kinds.
    message: OnceLock<Bytes>,
}

/// What selectors look at.
#[derive(Debug, Default)]
struct Traits {
    labels: Option<Map<String, Value>>,
    /// Values of the kind's selectable fields, in the kind's order.
    fields: Box<[Box<str>]>,
}

impl AsRef<Object> for Object {
    fn as_ref(&self) -> &Object {
        self
    }
}

impl Object {
    /// An entry of the store, served as it is.
    ///
    /// # Errors
    /// When the entry is no object of the resource.
    pub(crate) fn of(resource: &Resource, entry: &Entry) -> Result<Self, StatusError> {
        let suffix = suffix_of(resource, entry.key.as_bytes()).unwrap_or_default();
        let (namespace, name) = match suffix.split_once('/') {
            Some((namespace, name)) => (Some(namespace.into()), name),
            None => (None, suffix),
        };
        Ok(Self {
            encoded: resource.attach(entry)?,
            namespace,
            name: name.into(),
            traits: OnceLock::new(),
            message: OnceLock::new(),
        })
    }

    /// An entry of the store that is to be shown beside others: what is broken would break a whole list or watch for everybody.
    ///
    /// # Errors
    /// When the entry is no object of the resource, or not whole.
    pub(crate) fn whole(resource: &Resource, entry: &Entry) -> Result<Self, StatusError> {
        let object = Self::of(resource, entry)?;
        serde_json::from_slice::<IgnoredAny>(object.encoded.stored()).map_err(StatusError::internal)?;
        Ok(object)
    }

    /// The same, of which a selector is about to ask: what it looks at is read while the rest is passed over.
    ///
    /// # Errors
    /// As for [`whole`](Self::whole).
    pub(crate) fn looked_into(resource: &Resource, entry: &Entry) -> Result<Self, StatusError> {
        let object = Self::of(resource, entry)?;
        let tree = resource.looked_at().skim(object.encoded.stored()).map_err(StatusError::internal)?;
        object.traits.get_or_init(|| Traits::of(resource, &tree));
        Ok(object)
    }

    /// Its key behind the resource's prefix: `name` or `namespace/name`.
    pub(crate) fn key(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{namespace}/{}", self.name),
            None => self.name.to_string(),
        }
    }

    fn traits(&self, resource: &Resource) -> &Traits {
        self.traits.get_or_init(|| match resource.looked_at().skim(self.encoded.stored()) {
            Ok(tree) => Traits::of(resource, &tree),
            Err(error) => {
                tracing::error!(name = %self.name, %error, "an object in the store cannot be read");
                Traits::default()
            }
        })
    }

    pub(crate) fn labels(&self, resource: &Resource) -> Option<&Map<String, Value>> {
        self.traits(resource).labels.as_ref()
    }

    /// The object as a protobuf message, without envelope.
    pub(crate) fn message(&self, resource: &Resource) -> Result<Bytes, StatusError> {
        shared(&self.message, || message(resource, &self.encoded.json()))
    }

    /// The value of a field that a selector names.
    pub(crate) fn field(&self, resource: &Resource, field: &str) -> &str {
        match field {
            "metadata.name" => &self.name,
            "metadata.namespace" => self.namespace.as_deref().unwrap_or_default(),
            _ => {
                let at = resource.kind.selectable_fields().iter().position(|f| *f == field);
                let fields = &self.traits(resource).fields;
                at.and_then(|at| fields.get(at)).map(AsRef::as_ref).unwrap_or_default()
            }
        }
    }
}

impl Traits {
    fn of(resource: &Resource, tree: &Value) -> Self {
        let kind = &resource.kind;
        let fields =
            kind.selectable_fields().iter().map(|f| kind.field_value(tree, f).as_ref().into()).collect();
        let labels = tree.pointer("/metadata/labels").and_then(Value::as_object);
        Self { labels: labels.filter(|labels| !labels.is_empty()).cloned(), fields }
    }
}

/// What happened to an object.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) revision: Revision,
    /// The state after the change; `None` when the object is gone.
    pub(crate) now: Option<std::sync::Arc<Object>>,
    /// The state before it; `None` when the object is new.
    pub(crate) before: Option<std::sync::Arc<Object>>,
    /// What a DELETED event shows, as a protobuf message. Made when first wanted.
    departed_message: OnceLock<Bytes>,
}

fn message(resource: &Resource, json: &[u8]) -> Result<Bytes, StatusError> {
    let ty = resource.object_type().ok_or_else(|| StatusError::not_acceptable(&["application/json"]))?;
    protobuf::encode_json(json, ty).map(Bytes::from).map_err(StatusError::internal)
}

fn shared(
    slot: &OnceLock<Bytes>,
    make: impl FnOnce() -> Result<Bytes, StatusError>,
) -> Result<Bytes, StatusError> {
    match slot.get() {
        Some(made) => Ok(made.clone()),
        None => make().map(|made| slot.get_or_init(|| made).clone()),
    }
}

impl Change {
    pub(crate) fn new(
        revision: Revision,
        now: Option<std::sync::Arc<Object>>,
        before: Option<std::sync::Arc<Object>>,
    ) -> Self {
        Self { revision, now, before, departed_message: OnceLock::new() }
    }

    /// The last state of an object that is gone, at the revision of the change.
    pub(crate) fn departed<'c>(&'c self, before: &'c Object) -> Departed<'c> {
        Departed { change: self, last: before.encoded.at(self.revision) }
    }

    /// How long the object is that an event of it shows.
    pub(crate) fn length(&self) -> usize {
        self.now.as_ref().or(self.before.as_ref()).map_or(0, |shown| shown.encoded.length())
    }

    /// How much memory the change holds alive, roughly.
    pub(crate) fn weight(&self) -> usize {
        self.now.as_ref().map_or(64, |now| now.encoded.length() + 128)
    }
}

/// An object that is gone, as the event of its removal shows it.
#[derive(Debug)]
pub(crate) struct Departed<'c> {
    change: &'c Change,
    pub(crate) last: Encoded,
}

impl Departed<'_> {
    /// It as a protobuf message, without envelope.
    pub(crate) fn message(&self, resource: &Resource) -> Result<Bytes, StatusError> {
        shared(&self.change.departed_message, || message(resource, &self.last.json()))
    }
}
