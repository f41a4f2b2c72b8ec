//! Everything that was ever written in a world, in order: the witness that two runs of a seed are one.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use orchestra_store::Event;
use serde_json::Value;

/// One object, as stored.
#[derive(Clone, Debug)]
pub struct Object {
    /// The plural name of its kind and, unless that is empty, the group behind a dot, as in `deployments.apps`.
    pub resource: Arc<str>,
    /// Empty for what is in no namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// All of it, but for the resourceVersion.
    pub value: Arc<Value>,
}

impl Object {
    /// The value at a JSON pointer.
    pub fn at(&self, pointer: &str) -> &Value {
        self.value.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// The text at a JSON pointer; empty when there is none.
    pub fn text(&self, pointer: &str) -> &str {
        self.at(pointer).as_str().unwrap_or_default()
    }

    /// The number at a JSON pointer.
    pub fn number(&self, pointer: &str) -> Option<i64> {
        self.at(pointer).as_i64()
    }

    /// Its uid.
    pub fn uid(&self) -> &str {
        self.text("/metadata/uid")
    }

    /// Whether it has been told to go.
    pub fn is_going(&self) -> bool {
        !self.at("/metadata/deletionTimestamp").is_null()
    }

    /// The uid of the owner that controls it.
    pub fn controller(&self) -> Option<&str> {
        self.owners().find(|owner| owner["controller"] == true)?["uid"].as_str()
    }

    /// Its owner references.
    pub fn owners(&self) -> impl Iterator<Item = &Value> {
        self.at("/metadata/ownerReferences").as_array().into_iter().flatten()
    }
}

/// One write.
#[derive(Clone, Debug)]
pub struct Write {
    /// When, since the world began.
    pub at: Duration,
    /// The revision of the store that it made.
    pub revision: u64,
    /// The key in the store.
    pub key: Arc<str>,
    /// The bytes; `None` when the key was removed.
    pub bytes: Option<Bytes>,
}

impl std::fmt::Display for Write {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = self.bytes.as_deref().map_or("gone".into(), String::from_utf8_lossy);
        write!(f, "{:>9.3}s #{} {} {what}", self.at.as_secs_f64(), self.revision, self.key)
    }
}

/// All writes so far, and what stands after them.
#[derive(Debug, Default)]
pub struct WriteLog {
    writes: Vec<Write>,
    hasher: DefaultHasher,
    objects: BTreeMap<Arc<str>, Object>,
}

/// What a write did to an object.
#[derive(Clone, Debug)]
pub struct Change {
    /// When, since the world began.
    pub at: Duration,
    /// Before; `None` when it was created.
    pub old: Option<Object>,
    /// After; `None` when it went.
    pub new: Option<Object>,
}

impl Change {
    /// The object after the change, or before if it went.
    pub fn object(&self) -> Option<&Object> {
        self.new.as_ref().or(self.old.as_ref())
    }

    /// The kind of the object; see [`Object::resource`].
    pub fn resource(&self) -> &str {
        self.object().map_or("", |object| &object.resource)
    }
}

impl WriteLog {
    /// Takes an event of the store; tells what it did, if it was to an object.
    pub(super) fn take(&mut self, at: Duration, event: &Event) -> Option<Change> {
        let key: Arc<str> = String::from_utf8_lossy(event.key().as_bytes()).into();
        let bytes = match event {
            Event::Put { entry, .. } => Some(entry.value.clone()),
            Event::Delete { .. } => None,
        };
        let write = Write { at, revision: event.revision().0, key, bytes };
        (write.at, write.revision, &write.key, &write.bytes).hash(&mut self.hasher);
        let change = self.change(&write);
        self.writes.push(write);
        change
    }

    fn change(&mut self, write: &Write) -> Option<Change> {
        let new = match &write.bytes {
            Some(bytes) => Some(object(&write.key, bytes)?),
            None => None,
        };
        let old = match &new {
            Some(new) => self.objects.insert(write.key.clone(), new.clone()),
            None => self.objects.remove(&write.key),
        };
        (old.is_some() || new.is_some()).then_some(Change { at: write.at, old, new })
    }

    /// All writes so far.
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// A number that stands for every byte of every write, its order and its time.
    pub fn witness(&self) -> u64 {
        self.hasher.finish()
    }

    /// The objects that stand now, of one kind; see [`Object::resource`].
    pub fn of<'a>(&'a self, resource: &'a str) -> impl Iterator<Item = &'a Object> {
        let (plural, group) = resource.split_once('.').unwrap_or((resource, "core"));
        let prefix = format!("/registry/{group}/{plural}/");
        let from =
            self.objects.range::<str, _>((std::ops::Bound::Included(&*prefix), std::ops::Bound::Unbounded));
        from.take_while(move |(key, _)| key.starts_with(&*prefix)).map(|(_, object)| object)
    }

    /// The objects that stand now.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.objects.values()
    }
}

/// Reads what a key of the API server's holds; nothing for what it keeps besides objects, and for events, which say what
/// happened and decide nothing.
fn object(key: &str, bytes: &[u8]) -> Option<Object> {
    let mut parts = key.strip_prefix("/registry/")?.splitn(4, '/');
    let (group, plural) = (parts.next()?, parts.next()?);
    if plural == "events" {
        return None;
    }
    let (first, second) = (parts.next()?, parts.next());
    let (namespace, name) = second.map_or(("", first), |name| (first, name));
    let resource = if group == "core" { plural.into() } else { format!("{plural}.{group}").into() };
    let value = Arc::new(serde_json::from_slice(bytes).ok()?);
    Some(Object { resource, namespace: namespace.into(), name: name.into(), value })
}
