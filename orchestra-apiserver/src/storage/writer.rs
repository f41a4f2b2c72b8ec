//! The transactions that change objects.
//!
//! A change is an [`Edit`]: it sees the current object and says what becomes of it. The writer commits that against
//! the revision it was decided on, and asks again when somebody else was quicker.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use orchestra_store::{Committed, Entry, Key, Outcome, ReadAt, Revision, Store, Txn};
use serde_json::Value;

use super::claims;
use super::codec::Encoded;
use super::meta;
use super::narrow::Fields;
use super::resource::{EVENTS_KEPT, Kept, Resource, Stored};
use super::shared_lease::SharedLease;
use crate::status::StatusError;

/// How often an edit is tried again before the client is told of the conflict.
const MAX_TRIES: usize = 256;

/// What an edit wants to become of an object.
#[derive(Debug)]
pub(crate) enum Step {
    /// Leave it as it is.
    Keep,
    /// Store this instead.
    Put(Value),
    /// Remove it.
    Remove,
}

/// A decision about one object, taken on its current state.
#[async_trait]
pub(crate) trait Edit: Send + Sync {
    /// Decides on an existing object. Called again when the object has changed meanwhile.
    async fn edit(&self, current: &Value) -> Result<Step, StatusError>;

    /// The fields it looks at, where it is sure to look at no others and to change no others: it is then shown these, and spared the
    /// rest. Fields of the metadata, where it names any, have to be those among them that tell [`is_finished`]. Not for objects that
    /// claim something.
    fn looks_at(&self) -> Option<&'static Fields> {
        None
    }

    /// Whether what it [looks at](Self::looks_at) is enough for this object. It is asked before the edit, and after it by whoever would
    /// use its outcome.
    fn is_enough(&self, _seen: &Value) -> bool {
        true
    }

    /// What to store when there is no such object; `None` answers "not found".
    async fn create(&self) -> Result<Option<Value>, StatusError>;
}

/// What became of an edit.
#[derive(Debug)]
pub(crate) enum Written {
    /// It is stored, or was already so.
    Stored(Encoded),
    /// The object did not exist and does now.
    Created(Encoded),
    /// The object is gone; this was its last state.
    Removed(Encoded),
}

impl Written {
    pub(crate) fn into_encoded(self) -> Encoded {
        match self {
            Self::Stored(encoded) | Self::Created(encoded) | Self::Removed(encoded) => encoded,
        }
    }
}

/// Whether writes reach the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Real,
    DryRun,
}

impl From<bool> for Effect {
    fn from(dry_run: bool) -> Self {
        if dry_run { Self::DryRun } else { Self::Real }
    }
}

/// Commits changes of objects.
#[derive(Debug)]
pub(crate) struct Writer {
    store: Arc<dyn Store>,
    events: SharedLease,
}

/// How a creation was refused.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The name is taken.
    Exists,
    /// Something the object claims for itself, such as an address, was taken meanwhile.
    Claimed,
}

impl Writer {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { events: SharedLease::new(Arc::clone(&store), EVENTS_KEPT), store }
    }

    /// Commits `txn` and a put, which goes by itself when the objects of the resource are kept for a time only.
    async fn commit(
        &self,
        resource: &Resource,
        txn: Txn,
        key: &Key,
        value: &Bytes,
    ) -> Result<Committed, StatusError> {
        let (key, value) = (|| key.clone(), || value.clone());
        if resource.kept == Kept::UntilRemoved {
            return Ok(self.store.commit(txn.put(key(), value())).await?);
        }
        let lease = self.events.take().await?;
        match self.store.commit(txn.clone().put_leased(key(), value(), lease)).await {
            Err(error) if self.events.is_gone(&error, lease) => {
                let lease = self.events.take().await?;
                Ok(self.store.commit(txn.put_leased(key(), value(), lease)).await?)
            }
            outcome => Ok(outcome?),
        }
    }

    /// Stores a new object.
    pub(crate) async fn create(
        &self,
        resource: &Resource,
        object: &Value,
        effect: Effect,
    ) -> Result<Result<Encoded, Refused>, StatusError> {
        let key = resource.key(meta::namespace(object), meta::name(object));
        let Stored { value, shown } = resource.to_store(object).await?;
        if effect == Effect::DryRun {
            let there = self.store.get(&key, ReadAt::Latest).await?.value;
            if there.is_some() {
                return Ok(Err(Refused::Exists));
            }
            return Ok(Ok(encoded(resource, key, shown, Revision::NONE)?));
        }
        let txn =
            claims::take_and_give(resource, None, Some(object), Txn::new().when(key.clone(), Revision::NONE));
        let committed = self.commit(resource, txn, &key, &value).await?;
        match committed.outcome {
            Outcome::Applied => Ok(Ok(encoded(resource, key, shown, committed.revision)?)),
            Outcome::Refused(found) if found.first().is_some_and(Option::is_some) => Ok(Err(Refused::Exists)),
            Outcome::Refused(_) => Ok(Err(Refused::Claimed)),
        }
    }

    /// Changes an object by `edit`.
    pub(crate) async fn update(
        &self,
        resource: &Resource,
        key: Key,
        name: &str,
        effect: Effect,
        edit: &dyn Edit,
    ) -> Result<Written, StatusError> {
        for _ in 0..MAX_TRIES {
            let Some(entry) = self.store.get(&key, ReadAt::Latest).await?.value else {
                let Some(object) = edit.create().await? else { return Err(resource.not_found(name)) };
                match self.create(resource, &object, effect).await? {
                    Ok(encoded) => return Ok(Written::Created(encoded)),
                    Err(_) => continue,
                }
            };
            let seen = resource.convert_one(entry.clone()).await?;
            if let Some(narrow) = edit.looks_at().and_then(|fields| resource.narrow(&seen, fields))
                && let Some(step) = edit_narrowly(edit, &narrow.tree).await
                && let Step::Put(new) = step?
                && !is_finished(&new)
            {
                let stored = resource.narrow_to_store(&narrow, &new);
                if stored.value == entry.value {
                    return Ok(Written::Stored(resource.attach(&seen)?));
                }
                let txn = Txn::new().when(entry.key.clone(), entry.mod_revision);
                if let Some(written) = self.put(resource, &entry, stored, txn, effect).await? {
                    return Ok(written);
                }
                continue;
            }
            let current = resource.tree(&seen)?;
            let step = edit.edit(&current).await?;
            let found = Found { entry: &entry, seen: &seen, current: &current };
            if let Some(written) = self.take(resource, found, step, effect).await? {
                return Ok(written);
            }
        }
        Err(StatusError::modified(&resource.gr, name))
    }

    /// Commits one step; `None` when the object changed meanwhile.
    async fn take(
        &self,
        resource: &Resource,
        Found { entry, seen, current }: Found<'_>,
        step: Step,
        effect: Effect,
    ) -> Result<Option<Written>, StatusError> {
        let txn = Txn::new().when(entry.key.clone(), entry.mod_revision);
        let (txn, last) = match step {
            Step::Keep => return Ok(Some(Written::Stored(resource.attach(seen)?))),
            Step::Remove => {
                let txn = claims::take_and_give(resource, Some(current), None, txn);
                (txn.delete(entry.key.clone()), None)
            }
            Step::Put(new) => {
                let stored = resource.to_store(&new).await?;
                if stored.value == entry.value {
                    return Ok(Some(Written::Stored(resource.attach(seen)?)));
                }
                if is_finished(&new) {
                    let txn = claims::take_and_give(resource, Some(current), None, txn);
                    (txn.delete(entry.key.clone()), Some(stored.shown))
                } else {
                    let txn = claims::take_and_give(resource, Some(current), Some(&new), txn);
                    return self.put(resource, entry, stored, txn, effect).await;
                }
            }
        };
        let last = last.unwrap_or_else(|| seen.value.clone());
        let revision = match effect {
            Effect::DryRun => entry.mod_revision,
            Effect::Real => match self.store.commit(txn).await? {
                committed if committed.outcome == Outcome::Applied => committed.revision,
                _ => return Ok(None),
            },
        };
        Ok(Some(Written::Removed(encoded(resource, entry.key.clone(), last, revision)?)))
    }

    async fn put(
        &self,
        resource: &Resource,
        entry: &Entry,
        Stored { value, shown }: Stored,
        txn: Txn,
        effect: Effect,
    ) -> Result<Option<Written>, StatusError> {
        let revision = match effect {
            Effect::DryRun => entry.mod_revision,
            Effect::Real => {
                let committed = self.commit(resource, txn, &entry.key, &value).await?;
                if committed.outcome != Outcome::Applied {
                    return Ok(None);
                }
                committed.revision
            }
        };
        Ok(Some(Written::Stored(encoded(resource, entry.key.clone(), shown, revision)?)))
    }
}

/// What an edit wants of an object of which it sees a part; `None` where it has to see the whole.
async fn edit_narrowly(edit: &dyn Edit, seen: &Value) -> Option<Result<Step, StatusError>> {
    if !edit.is_enough(seen) {
        return None;
    }
    let step = edit.edit(seen).await;
    edit.is_enough(seen).then_some(step)
}

/// An object as it was found.
#[derive(Clone, Copy)]
struct Found<'a> {
    /// As it is stored.
    entry: &'a Entry,
    /// The same in the version that is served.
    seen: &'a Entry,
    current: &'a Value,
}

fn encoded(resource: &Resource, key: Key, value: Bytes, revision: Revision) -> Result<Encoded, StatusError> {
    let entry = Entry { key, value, create_revision: revision, mod_revision: revision, version: 1 };
    resource.attach(&entry)
}

/// Whether an object was only waiting for its finalizers, and they are gone.
///
/// An object with a grace period still waits for whoever runs it to confirm.
pub(crate) fn is_finished(object: &Value) -> bool {
    meta::is_terminating(object)
        && meta::finalizers(object).next().is_none()
        && meta::number(object, "deletionGracePeriodSeconds").unwrap_or(0) == 0
        && !waits_for_namespace_finalizers(object)
}

/// Namespaces keep finalizers in their spec, too.
fn waits_for_namespace_finalizers(object: &Value) -> bool {
    object.get("kind").and_then(Value::as_str) == Some("Namespace")
        && object.pointer("/spec/finalizers").and_then(Value::as_array).is_some_and(|list| !list.is_empty())
}
