//! Something made of all objects of a resource, kept until one of them changes.
//!
//! Rules that users write (webhooks, policies, limits, quotas) are asked for on every write and change seldom: they are read
//! from the watch cache, and arranged once for each change.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orchestra_core::gvk::GroupVersion;
use orchestra_store::Revision;
use serde_json::Value;

use crate::cache::collection::Collection;
use crate::cache::feed::Feed;
use crate::catalog::Catalog;
use crate::state::State;
use crate::status::StatusError;
use crate::storage::resource::Resource;

/// The objects of one resource, arranged as a `T`.
pub(crate) struct Followed<T> {
    feed: Arc<Feed>,
    resource: Arc<Resource>,
    made: Mutex<Option<Made<T>>>,
}

struct Made<T> {
    of: Arc<Collection>,
    at: Revision,
    thing: Arc<T>,
}

impl<T> std::fmt::Debug for Followed<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Followed({})", self.resource.gr)
    }
}

impl<T> Followed<T> {
    /// `None` when a registry of one's own does not serve the resource.
    pub(crate) fn new(feed: &Arc<Feed>, catalog: &Catalog, gv: &GroupVersion, plural: &str) -> Option<Self> {
        let resource = catalog.find(gv, plural)?;
        Some(Self { feed: feed.clone(), resource, made: Mutex::default() })
    }

    /// What `make` makes of the objects, in the order of their keys, as the watch cache has them.
    pub(crate) async fn get(&self, make: impl FnOnce(Vec<Value>) -> T) -> Result<Arc<T>, StatusError> {
        if let Some(Made { of, at, thing }) = &*self.made()
            && of.current() == Some(*at)
        {
            return Ok(thing.clone());
        }
        let collection = self.feed.collection(&self.resource).await?;
        let snapshot = collection.snapshot("", "", usize::MAX, None);
        let objects = snapshot.objects.iter().filter_map(|object| {
            let read = serde_json::from_slice(&object.encoded.json());
            read.map_err(|error| tracing::error!(key = %object.key(), %error, "an object cannot be read"))
                .ok()
        });
        let thing = Arc::new(make(objects.collect()));
        *self.made() = Some(Made { of: collection, at: snapshot.last, thing: thing.clone() });
        Ok(thing)
    }

    fn made(&self) -> MutexGuard<'_, Option<Made<T>>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Followed<Vec<T>> {
    /// Whether it is known already that there is nothing. What is not known, somebody has to [get](Self::get).
    pub(crate) fn is_known_empty(&self) -> bool {
        matches!(&*self.made(), Some(Made { of, at, thing }) if thing.is_empty() && of.current() == Some(*at))
    }
}

/// What decides about later writes, by group and plural; an empty plural is all of the group.
const DECISIVE: [(&str, &str); 6] = [
    ("admissionregistration.k8s.io", ""),
    ("", "limitranges"),
    ("", "namespaces"),
    ("", "resourcequotas"),
    ("", "serviceaccounts"),
    ("scheduling.k8s.io", "priorityclasses"),
];

/// Waits, after a write of what decides about later ones, until it does: its maker's next write is decided by it.
pub(crate) async fn settle(state: &State, resource: &Arc<Resource>) {
    let is_decisive = DECISIVE.iter().any(|(group, plural)| {
        resource.gr.group == *group && (plural.is_empty() || resource.gr.resource == *plural)
    });
    if is_decisive && let Err(error) = state.feed.fresh(resource).await {
        tracing::warn!(%error, resource = %resource.gr, "it is not known whether a change is in force");
    }
}
