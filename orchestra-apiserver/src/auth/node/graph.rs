//! The pods of each node and what they refer to, kept by the changes of the watch cache.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use orchestra_store::Revision;
use serde_json::Value;

use super::PodReferences;
use crate::cache::collection::Collection;
use crate::cache::feed::Feed;
use crate::cache::object::Object;
use crate::status::StatusError;
use crate::storage::resource::Resource;

/// A pod by its namespace and name.
type PodKey = (String, String);

/// Which pods are bound to which node.
pub(super) struct Graph {
    feed: Arc<Feed>,
    pods: Arc<Resource>,
    known: Mutex<Option<Known>>,
}

struct Known {
    /// Whose changes these are: the feed makes a new one when it has lost its place.
    collection: Arc<Collection>,
    at: Revision,
    by_node: HashMap<String, HashMap<PodKey, PodReferences>>,
    node_of: HashMap<PodKey, String>,
}

impl Graph {
    pub(super) fn new(feed: Arc<Feed>, pods: Arc<Resource>) -> Self {
        Self { feed, pods, known: Mutex::default() }
    }

    /// Whether a pod of `node` in `namespace` is as wanted; its name comes first.
    pub(super) async fn any(
        &self,
        node: &str,
        namespace: &str,
        wanted: impl Fn(&str, &PodReferences) -> bool,
    ) -> Result<bool, StatusError> {
        let collection = self.feed.collection(&self.pods).await?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = match &mut *known {
            Some(known) if Arc::ptr_eq(&known.collection, &collection) => {
                known.catch_up();
                known
            }
            known => known.insert(Known::read(collection)),
        };
        let pods = known.by_node.get(node).into_iter().flatten();
        Ok(pods.filter(|((of, _), _)| of == namespace).any(|((_, name), found)| wanted(name, found)))
    }
}

impl Known {
    fn read(collection: Arc<Collection>) -> Self {
        let snapshot = collection.snapshot("", "", usize::MAX, None);
        let (by_node, node_of) = (HashMap::new(), HashMap::new());
        let mut known = Self { collection, at: snapshot.last, by_node, node_of };
        for object in &snapshot.objects {
            known.put(object);
        }
        known
    }

    fn catch_up(&mut self) {
        if self.collection.last() == self.at {
            return;
        }
        let Ok((changes, at)) = self.collection.changes(self.at) else {
            *self = Self::read(self.collection.clone());
            return;
        };
        for change in changes {
            match (&change.now, &change.before) {
                (Some(now), _) => self.put(now),
                (None, Some(before)) => self.remove(&key(before)),
                (None, None) => {}
            }
        }
        self.at = at;
    }

    fn put(&mut self, object: &Object) {
        let key = key(object);
        self.remove(&key);
        let Ok(pod) = serde_json::from_slice::<Value>(&object.encoded.json()) else { return };
        let node = pod.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default();
        // What a node makes up about itself gives it no rights.
        let is_mirror = pod
            .pointer("/metadata/annotations")
            .and_then(|all| all.get("kubernetes.io/config.mirror"))
            .is_some();
        if node.is_empty() {
            return;
        }
        let references = if is_mirror { PodReferences::default() } else { PodReferences::of(&pod) };
        self.by_node.entry(node.to_owned()).or_default().insert(key.clone(), references);
        self.node_of.insert(key, node.to_owned());
    }

    fn remove(&mut self, key: &PodKey) {
        let Some(node) = self.node_of.remove(key) else { return };
        if let Some(pods) = self.by_node.get_mut(&node) {
            pods.remove(key);
            if pods.is_empty() {
                self.by_node.remove(&node);
            }
        }
    }
}

fn key(object: &Object) -> PodKey {
    (object.namespace.as_deref().unwrap_or_default().to_owned(), object.name.to_string())
}
