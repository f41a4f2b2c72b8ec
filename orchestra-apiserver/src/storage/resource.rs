//! A served resource: its kind, and where and how its objects lie in the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use orchestra_core::custom::CustomKind;
use orchestra_core::gvk::GroupVersion;
use orchestra_core::kind::{Description, Kind, Scope};
use orchestra_core::kinds::{event, horizontal_pod_autoscaler};
use orchestra_core::patch::apply::Schema;
use orchestra_core::schema::{self, ObjectType};
use orchestra_store::{Entry, Key, KeyRange};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::cache::skim::Parts;
use crate::custom::conversion::{Family, Traveller};
use crate::status::{GroupResource, StatusError};
use crate::storage::codec::{Encoded, Layout};
use crate::storage::narrow::{Fields, Narrow};

/// For how long an event is kept, as upstream does by default.
pub(crate) const EVENTS_KEPT: Duration = Duration::from_secs(3600);

/// How long the objects of a resource are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Until somebody removes them.
    UntilRemoved,
    /// Until nobody has written them for [`EVENTS_KEPT`].
    AsEvents,
}

/// How what is served relates to the form in the store, where that is another.
#[derive(Debug)]
enum Translation {
    /// One set of objects in two forms, of which the store has the other.
    Form(&'static Form),
    /// Custom resources lie in one version, whichever they are served in, and their schema may have changed since.
    Custom { stored: Layout, kind: Arc<CustomKind>, family: Arc<Family> },
}

/// A built-in kind that is stored under another name, or in another version.
#[derive(Debug)]
struct Form {
    served: (GroupVersion, &'static str),
    stored: (GroupVersion, &'static str),
    into_stored: fn(Value) -> Value,
    from_stored: fn(Value) -> Value,
}

/// All of them.
static FORMS: [Form; 2] = [
    Form {
        served: (GroupVersion::new(EVENTS_GROUP, "v1"), "Event"),
        stored: (GroupVersion::new("", "v1"), "Event"),
        into_stored: event::to_core,
        from_stored: event::from_core,
    },
    Form {
        served: (GroupVersion::new("autoscaling", "v1"), "HorizontalPodAutoscaler"),
        stored: (GroupVersion::new("autoscaling", "v2"), "HorizontalPodAutoscaler"),
        into_stored: horizontal_pod_autoscaler::to_v2,
        from_stored: horizontal_pod_autoscaler::to_v1,
    },
];

impl Form {
    /// An object, which may be in either form, in that of `api_version`.
    fn shown(&self, mut object: Value, api_version: &str) -> Value {
        let is_of = |version: &GroupVersion, text: &str| version.to_string() == text;
        let (served, stored) = (&self.served.0, &self.stored.0);
        let own = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
        let target = if is_of(served, api_version) { &self.served } else { &self.stored };
        if is_of(stored, own) && is_of(served, api_version) {
            object = (self.from_stored)(object);
        } else if is_of(served, own) && is_of(stored, api_version) {
            object = (self.into_stored)(object);
        }
        object["apiVersion"] = api_version.into();
        if let Some(ty) = schema::of_kind(&target.0, target.1) {
            schema::complete(&mut object, ty);
        }
        object
    }

    fn encode(&self, object: &Value) -> bytes::Bytes {
        let (gv, kind) = &self.stored;
        let mut object = (self.into_stored)(object.clone());
        // As a server of that form would have stored it.
        if let Some(ty) = schema::of_kind(gv, kind) {
            schema::complete(&mut object, ty);
        }
        Layout::new(&gv.to_string(), kind).encode(&object)
    }
}

impl Translation {
    fn encode(&self, object: &Value) -> bytes::Bytes {
        match self {
            Self::Form(form) => form.encode(object),
            Self::Custom { stored, .. } => stored.encode(object),
        }
    }

    fn served(&self, mut stored: Value) -> Value {
        match self {
            Self::Form(form) => {
                let (gv, kind) = &form.served;
                let mut served = (form.from_stored)(stored);
                if let Some(ty) = schema::of_kind(gv, kind) {
                    schema::complete(&mut served, ty);
                }
                served
            }
            // Entries have been converted before they are read.
            Self::Custom { family, .. } if family.asks() => stored,
            Self::Custom { kind, family, .. } => {
                family.revive(&mut stored);
                kind.adopt(&mut stored);
                stored
            }
        }
    }
}

/// An object on its way into the store.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    /// What is stored.
    pub(crate) value: bytes::Bytes,
    /// What [`Resource::attach`] makes of it, in place of what is stored.
    pub(crate) shown: bytes::Bytes,
}

/// A kind with all that is derived from it once, when the server is built.
#[derive(Debug)]
pub(crate) struct Resource {
    pub(crate) kind: Arc<dyn Kind>,
    pub(crate) gr: GroupResource,
    pub(crate) api_version: String,
    /// What the fields are; `None` for kinds made at run time.
    object_type: Option<&'static ObjectType>,
    layout: Layout,
    /// Set when the store holds another version than the one that is served.
    translation: Option<Translation>,
    /// What selectors may ask for.
    looked_at: Parts,
    /// `/registry/{group}/{plural}/`.
    prefix: Box<str>,
    pub(crate) kept: Kept,
    /// Cancelled when the resource is served no more, or otherwise: its watches end.
    pub(crate) withdrawn: CancellationToken,
    /// Whether nothing may be made any more, because the definition is on its way out.
    closed: AtomicBool,
}

impl Resource {
    pub(crate) fn new(kind: Arc<dyn Kind>) -> Self {
        let description = kind.description();
        let form = FORMS
            .iter()
            .find(|form| form.served.0 == description.gv && form.served.1 == description.kind.as_ref());
        let translation = form.map(Translation::Form);
        let api_version = description.gv.to_string();
        let is_event =
            description.plural == "events" && matches!(description.gv.group.as_ref(), "" | EVENTS_GROUP);
        Self {
            gr: GroupResource::new(description.gv.group.as_ref(), description.plural.as_ref()),
            object_type: schema::of_kind(&description.gv, &description.kind),
            layout: Layout::new(&api_version, &description.kind),
            looked_at: Parts::at(
                std::iter::once("metadata.labels").chain(kind.selectable_fields().iter().map(AsRef::as_ref)),
            ),
            prefix: registry_prefix(&description.gv.group, Some(&description.plural)).into(),
            kept: if is_event { Kept::AsEvents } else { Kept::UntilRemoved },
            api_version,
            translation,
            withdrawn: CancellationToken::new(),
            closed: AtomicBool::new(false),
            kind,
        }
    }

    /// A version of a custom resource.
    pub(crate) fn of_custom(kind: Arc<CustomKind>, family: Arc<Family>) -> Self {
        let stored = Layout::new(&kind.storage().to_string(), &kind.description().kind);
        let translation = Some(Translation::Custom { stored, kind: kind.clone(), family });
        Self { translation, ..Self::new(kind) }
    }

    /// Says whether objects may still be made.
    pub(crate) fn set_closed(&self, closed: bool) {
        self.closed.store(closed, Ordering::Relaxed);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// The kind, where it is one made at run time.
    pub(crate) fn custom(&self) -> Option<&Arc<CustomKind>> {
        match &self.translation {
            Some(Translation::Custom { kind, .. }) => Some(kind),
            _ => None,
        }
    }

    pub(crate) fn description(&self) -> &Description {
        self.kind.description()
    }

    pub(crate) fn object_type(&self) -> Option<&'static ObjectType> {
        self.object_type
    }

    /// Adds what upstream's encoder always writes, empty or not.
    pub(crate) fn complete(&self, object: &mut Value) {
        if let Some(ty) = self.object_type {
            schema::complete(object, ty);
        }
    }

    /// [`complete`](Self::complete) for what a write of the status may change.
    pub(crate) fn complete_status(&self, object: &mut Value) {
        if let Some(ty) = self.object_type {
            schema::complete_only(object, ty, &["metadata", "status"]);
        }
    }

    pub(crate) fn kind_name(&self) -> &str {
        &self.description().kind
    }

    pub(crate) fn namespaced(&self) -> bool {
        self.description().scope == Scope::Namespaced
    }

    /// Whether this is the resource `plural` of `group`.
    pub(crate) fn is(&self, group: &str, plural: &str) -> bool {
        self.gr.group == group && self.gr.resource == plural
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// What stands behind the prefix in an object's key.
    pub(crate) fn suffix(&self, namespace: Option<&str>, name: &str) -> String {
        match namespace {
            Some(namespace) if self.namespaced() => format!("{namespace}/{name}"),
            _ => name.to_owned(),
        }
    }

    pub(crate) fn key(&self, namespace: Option<&str>, name: &str) -> Key {
        Key::from(format!("{}{}", self.prefix, self.suffix(namespace, name)))
    }

    /// The keys of all objects, or those of one namespace.
    pub(crate) fn range(&self, namespace: Option<&str>) -> KeyRange {
        match namespace {
            Some(namespace) if self.namespaced() => KeyRange::prefix(format!("{}{namespace}/", self.prefix)),
            _ => KeyRange::prefix(self.prefix.as_bytes()),
        }
    }

    /// The kind and its other versions, where objects of those have to be converted by somebody else.
    fn converted(&self) -> Option<(&Arc<CustomKind>, &Arc<Family>)> {
        match &self.translation {
            Some(Translation::Custom { kind, family, .. }) if family.asks() => Some((kind, family)),
            _ => None,
        }
    }

    /// Whether entries have to go through [`convert`](Self::convert) before they are read.
    pub(crate) fn is_converted(&self) -> bool {
        self.converted().is_some()
    }

    /// Entries of the store in the version that is served, whatever version they lie in: what everything here reads.
    ///
    /// # Errors
    /// The conversion webhook failed.
    pub(crate) async fn convert(&self, mut entries: Vec<Entry>) -> Result<Vec<Entry>, StatusError> {
        let Some((kind, family)) = self.converted() else { return Ok(entries) };
        let mut travellers = Vec::with_capacity(entries.len());
        for entry in &entries {
            let mut object: Value = serde_json::from_slice(&entry.value).map_err(StatusError::internal)?;
            family.revive(&mut object);
            travellers.push(Traveller { object, length: entry.value.len() });
        }
        let converted = family.convert(travellers, kind).await?;
        for (entry, object) in entries.iter_mut().zip(converted) {
            entry.value = self.layout.encode(&object);
        }
        Ok(entries)
    }

    /// One entry, see [`convert`](Self::convert).
    ///
    /// # Errors
    /// The conversion webhook failed.
    pub(crate) async fn convert_one(&self, entry: Entry) -> Result<Entry, StatusError> {
        let mut converted = self.convert(vec![entry]).await?;
        converted.pop().ok_or_else(|| StatusError::internal("an object was lost in conversion"))
    }

    /// An object of this kind, which may be in another version, in the version that is served here.
    ///
    /// # Errors
    /// The conversion webhook failed.
    pub(crate) async fn translate(&self, object: Value) -> Result<Value, StatusError> {
        let Some((kind, family)) = self.converted() else {
            return Ok(self.reformed(object));
        };
        let converted = family.convert(vec![Traveller { object, length: 0 }], kind).await?.pop();
        converted.ok_or_else(|| StatusError::internal("an object was lost in conversion"))
    }

    /// What is known of the fields of the kind.
    pub(crate) fn schema(&self) -> Schema<'_> {
        match (self.object_type, self.custom()) {
            (Some(ty), _) => Schema::Builtin(ty),
            (None, Some(kind)) => Schema::Custom(kind.schema()),
            (None, None) => Schema::Unknown,
        }
    }

    /// All versions of the kind, where they have fields of their own and [`show`](Self::show) knows them; none otherwise.
    pub(crate) fn versions(&self) -> Vec<(String, Schema<'_>)> {
        if let Some((_, family)) = self.converted() {
            let of = |kind: &'_ Arc<CustomKind>| kind.description().gv.to_string();
            return family.kinds().iter().map(|kind| (of(kind), Schema::Custom(kind.schema()))).collect();
        }
        let Some(form) = self.form() else { return Vec::new() };
        let both = [&form.served, &form.stored].into_iter();
        both.filter_map(|(gv, kind)| Some((gv.to_string(), Schema::Builtin(schema::of_kind(gv, kind)?))))
            .collect()
    }

    /// Objects of the kind in another of its versions.
    ///
    /// # Errors
    /// The conversion webhook failed, or there is no such version.
    pub(crate) async fn show(&self, objects: &[Value], api_version: &str) -> Result<Vec<Value>, StatusError> {
        if let Some((_, family)) = self.converted() {
            let kind = family.of_version(api_version).ok_or_else(|| {
                let why = format!("request to convert CR to an invalid group/version: {api_version}");
                StatusError::unforeseen(why)
            })?;
            let travellers = objects.iter().map(|object| Traveller { object: object.clone(), length: 0 });
            return family.convert(travellers.collect(), kind).await;
        }
        let Some(form) = self.form() else { return Ok(objects.to_vec()) };
        Ok(objects.iter().map(|object| form.shown(object.clone(), api_version)).collect())
    }

    /// The two forms of the kind, of which this is one.
    fn form(&self) -> Option<&'static Form> {
        let Description { gv, kind, .. } = self.description();
        let is_this = |of: &(GroupVersion, &str)| of.0 == *gv && of.1 == kind.as_ref();
        FORMS.iter().find(|form| is_this(&form.served) || is_this(&form.stored))
    }

    /// An object of another version in the form of this one, without asking anybody.
    fn reformed(&self, mut object: Value) -> Value {
        if let Some(form) = self.form() {
            return form.shown(object, &self.api_version);
        }
        object["apiVersion"] = self.api_version.as_str().into();
        self.complete(&mut object);
        object
    }

    /// An object as it is to lie in the store, and as it is served from there. Both are known before anything is written:
    /// what cannot be read back is not stored.
    ///
    /// # Errors
    /// The conversion webhook failed.
    pub(crate) async fn to_store(&self, object: &Value) -> Result<Stored, StatusError> {
        let Some(Translation::Custom { stored, kind, family }) =
            self.translation.as_ref().filter(|_| self.is_converted())
        else {
            let value = self.encode(object);
            return Ok(Stored { shown: value.clone(), value });
        };
        let shown = self.layout.encode(object);
        if kind.storage() == &kind.description().gv {
            return Ok(Stored { value: shown.clone(), shown });
        }
        let there = family.storage().ok_or_else(|| StatusError::internal("there is no storage version"))?;
        let object: Value = serde_json::from_slice(&shown).map_err(StatusError::internal)?;
        let converted = family.convert(vec![Traveller { object, length: shown.len() }], there).await?;
        let value = converted.first().map(|object| stored.encode(object)).unwrap_or_default();
        let back = converted.into_iter().map(|object| Traveller { object, length: value.len() }).collect();
        let shown = family.convert(back, kind).await?;
        let shown = shown.first().map(|object| self.layout.encode(object)).unwrap_or_default();
        Ok(Stored { value, shown })
    }

    pub(crate) fn encode(&self, object: &Value) -> bytes::Bytes {
        match &self.translation {
            Some(translation) => translation.encode(object),
            None => self.layout.encode(object),
        }
    }

    /// A stored entry as clients see it.
    pub(crate) fn attach(&self, entry: &Entry) -> Result<Encoded, StatusError> {
        if self.translation.is_some() {
            let served = self.layout.encode(&self.tree(entry)?);
            return self.layout.attach(&served, entry.mod_revision).map_err(StatusError::internal);
        }
        self.layout.attach(&entry.value, entry.mod_revision).map_err(StatusError::internal)
    }

    /// A stored entry as a tree, resourceVersion included.
    pub(crate) fn tree(&self, entry: &Entry) -> Result<Value, StatusError> {
        let mut value: Value = serde_json::from_slice(&entry.value).map_err(StatusError::internal)?;
        if let Some(translation) = &self.translation {
            value = translation.served(value);
        }
        set_resource_version(&mut value, entry.mod_revision.0);
        Ok(value)
    }

    /// A stored entry of which only some fields are read, beside the metadata without its account; resourceVersion included.
    /// `None` where the whole object has to be read.
    pub(crate) fn narrow<'e>(&self, entry: &'e Entry, fields: &'static Fields) -> Option<Narrow<'e>> {
        if self.translation.is_some() {
            return None;
        }
        let mut narrow = Narrow::read(&entry.value, &self.layout, fields)?;
        set_resource_version(&mut narrow.tree, entry.mod_revision.0);
        Some(narrow)
    }

    /// As [`to_store`](Self::to_store), with `tree` in the place of what was read.
    pub(crate) fn narrow_to_store(&self, narrow: &Narrow<'_>, tree: &Value) -> Stored {
        let value = narrow.write(tree, &self.layout);
        Stored { shown: value.clone(), value }
    }

    /// What selectors may ask for.
    pub(crate) fn looked_at(&self) -> &Parts {
        &self.looked_at
    }

    pub(crate) fn not_found(&self, name: &str) -> StatusError {
        StatusError::not_found(&self.gr, name)
    }
}

/// The second name of events.
const EVENTS_GROUP: &str = "events.k8s.io";

/// The prefix of the keys of a resource, or of all in its group.
pub(crate) fn registry_prefix(group: &str, plural: Option<&str>) -> String {
    match (group, plural) {
        ("", None) => "/registry/core/".to_owned(),
        ("", Some(plural)) => format!("/registry/core/{plural}/"),
        // Only these: a custom resource of the group must not reach what else lies in core.
        (EVENTS_GROUP, None | Some("events")) => "/registry/core/events/".to_owned(),
        (group, None) => format!("/registry/{group}/"),
        (group, Some(plural)) => format!("/registry/{group}/{plural}/"),
    }
}

/// Writes `metadata.resourceVersion`.
pub(crate) fn set_resource_version(object: &mut Value, revision: u64) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("resourceVersion".into(), revision.to_string().into());
    }
}
